#!/usr/bin/env bash
# Runs the tests of both tiers in fresh environments, with the oldest and the newest versions that
# pyproject.toml admits. Needs uv, and some 15 GB of disk while it runs.
#
#   scripts/check_versions.sh             both
#   scripts/check_versions.sh oldest      one of them
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- oldest newest

fresh() { # name, resolution, further options of pytest
  scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/signs_lightning.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  printf '\n%s versions\n' "$1"
  uv venv -q "$scratch/venv" --python "$(command -v python)"
  uv pip install -q --python "$scratch/venv/bin/python" --resolution "$2" -e '.[test]'
  PATH="$scratch/venv/bin:$PATH" python -m pytest -n 2 --dist loadfile -m "not long" "${@:3}"
  rm -rf "$scratch"
}

for part in "$@"; do
  case $part in
  oldest) fresh oldest lowest-direct -W default ;; # old releases warn of things since fixed
  newest) fresh newest highest ;;
  *) echo "there is no part '$part'; there are oldest, newest" >&2 && exit 2 ;;
  esac
done
