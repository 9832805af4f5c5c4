#!/usr/bin/env bash
# Known vulnerabilities of what `pip install .` and its extras bring, by the Python Packaging Advisory Database. Needs uv and the network.
set -euo pipefail
cd "$(dirname "$0")/.."
found=$(mktemp)
trap 'rm -f "$found"' EXIT
uv pip compile -q --all-extras pyproject.toml --output-file "$found"
uvx pip-audit --requirement "$found" --disable-pip --no-deps --strict # what could not be audited is a failure, too
