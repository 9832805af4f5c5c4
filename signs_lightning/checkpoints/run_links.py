"""Links in a run folder: none may lead `fit` or `report` to write outside of it."""

from __future__ import annotations

import os
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten


def check_links(run: Path) -> None:
    """Check that no link in a run folder leads out of it: what is behind it would be overwritten.

    The folder itself, and those above it, may be links: they are the user's own.

    Args:
        run: a run folder, or a checkpoint, which may be in one.

    Raises:
        InputError: one does.
    """
    folder = run if run.is_dir() else run.parent.parent
    if not run.is_dir() and run.parent.name != "checkpoints":
        return
    home = folder.resolve()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and home not in path.resolve().parents:
                raise InputError(
                    f"{shorten(str(path), 200)} is a link that leads out of the run folder, to "
                    "what would be written over: refused. If you made it, put what it leads to in "
                    "its place."
                )
