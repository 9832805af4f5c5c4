"""What `scripts/benchmark.py` measures: one module for each subject, and the rivals that each is
measured against.
"""
