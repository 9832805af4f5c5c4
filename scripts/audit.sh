#!/usr/bin/env bash
# Lists the C libraries inside the installed packages, which no database of Python packages knows;
# then known vulnerabilities of what `pip install .` and its extras bring, by the Python Packaging
# Advisory Database. Needs uv and the network.
set -euo pipefail
cd "$(dirname "$0")/.."
python scripts/wheel_libraries.py
found=$(mktemp)
trap 'rm -f "$found"' EXIT
uv pip compile -q --all-extras pyproject.toml --output-file "$found"
# --strict: what cannot be audited is a failure, too.
uvx pip-audit --requirement "$found" --disable-pip --no-deps --strict
