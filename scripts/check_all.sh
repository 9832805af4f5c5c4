#!/usr/bin/env bash
# Everything that can be checked, the slow tests included. In an environment made with `pip install -e '.[test]'`.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
mypy
python -m pytest -m "slow or not slow" "$@"
