"""What a table was measured with: processor, and the commits of its configurations."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import describe as describe_machine

from recipes.runs import ROOT
from signs_lightning.errors import InputError


def processor() -> str:
    """Return the name of this machine's processor, and its instructions."""
    machine = describe_machine()
    return f"{machine['processor']} ({', '.join(machine['instructions'])})"


def describe(configs: Sequence[Path]) -> dict[str, Any]:
    """Return processor, and digest and commit of each configuration.

    Raises:
        InputError: a configuration of this checkout has changes that are not committed, so that
            nothing shows that it was written before the test file was opened.
    """
    found = {}
    for config in configs:
        found[config.stem] = {"sha256": _digest(config), "commit": _commit(config)}
    return {"processor": processor(), "configs": found}


def check_unchanged(entry: dict[str, Any], config: Path) -> None:
    """Check that a configuration is the one that a table was measured with.

    Raises:
        InputError: it is another one, or gone.
    """
    known = entry.get("configs", {}).get(config.stem)
    if not config.is_file():
        raise InputError(f"{config} is no file. Go back to the commit of the table.")
    if known and known["sha256"] != _digest(config):
        back = f"Run `git checkout {known['commit']} -- {config}`, or m" if known["commit"] else "M"
        raise InputError(
            f"{config} has changed since the table was measured. {back}easure the table anew."
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _commit(config: Path) -> str | None:
    """Return the commit that a configuration is as in; None of one that lies elsewhere."""
    if not config.resolve().is_relative_to(ROOT) or not shutil.which("git"):
        return None
    if _git("status", "--porcelain", "--", str(config.resolve())):
        raise InputError(
            f"{config} has changes that are not committed. Commit it first, so that its settings "
            "are fixed before the test file is opened."
        )
    return _git("log", "-1", "--format=%h", "--", str(config.resolve())) or None


def _git(*args: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True)
    return done.stdout.strip()
