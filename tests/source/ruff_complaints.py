"""Ruff's word on written source, in a folder where this package is one of others."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
SETTINGS = PROJECT["tool"]["ruff"]


def complaints(*paths: Path) -> str:
    """What ruff says of files with the project's rules and line length; "" for nothing."""
    width = ["--line-length", str(SETTINGS["line-length"]), "--isolated", "--no-cache"]
    rules = ["--select", ",".join(SETTINGS["lint"]["select"])]
    rules += ["--ignore", ",".join(SETTINGS["lint"]["ignore"]), "--target-version", "py311"]
    said = ""
    for arguments in (["check", "-q", *rules], ["format", "--diff", "-q"]):
        command = [sys.executable, "-m", "ruff", *arguments, *width, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=paths[0].parent)
        said += done.stdout + done.stderr if done.returncode else ""
    return said
