#!/usr/bin/env bash
# Everything that can be checked, the slow tests included: in this environment (made with `pip install -e '.[test]'`), then all
# tests in fresh ones with the oldest and the newest versions that pyproject.toml admits. Those need uv, and some 15 GB for a while.
#
#   scripts/check_all.sh                  all of it
#   scripts/check_all.sh here             this environment only
#   scripts/check_all.sh oldest newest    the fresh ones only
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- here oldest newest

here() {
  ruff check .
  ruff format --check .
  mypy
  python -m pytest -n 2 --dist loadfile -m "slow or not slow"
}

fresh() { # name, resolution, further options of pytest
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  printf '\n%s versions\n' "$1"
  uv venv -q "$scratch/venv" --python "$(command -v python)"
  uv pip install -q --python "$scratch/venv/bin/python" --resolution "$2" -e '.[test]'
  PATH="$scratch/venv/bin:$PATH" "$scratch/venv/bin/python" -m pytest -n 2 --dist loadfile "${@:3}"
  rm -rf "$scratch"
}

for part in "$@"; do
  case $part in
  here) here ;;
  oldest) fresh oldest lowest-direct -W default ;; # old releases warn of what newer ones have put right
  newest) fresh newest highest ;;
  *) echo "there is no part '$part'; there are here, oldest, newest" >&2 && exit 2 ;;
  esac
done
