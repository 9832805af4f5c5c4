"""Parts of `scripts/benchmark.py`: one module a subject, and the rivals."""
