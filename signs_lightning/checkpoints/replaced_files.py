"""Read a file that another process may replace meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from signs_lightning.data.open_handles import Stamp, stamp_file
from signs_lightning.errors import InputError

ATTEMPTS = 100  # a run of a tiny model replaces its checkpoint every 20 ms
Content = TypeVar("Content")


def read_unreplaced(path: Path, read: Callable[[], Content]) -> Content:
    """Return what `read` gives, once the file was the same one before and after it.

    PyTorch opens a mapped checkpoint twice, for its table and for its tensors, and tensors of one
    file at the places of another are wrong numbers.

    Args:
        path: of the file, which `read` opens.
        read: may be called several times.

    Raises:
        InputError: the file is replaced again and again.
    """
    for _ in range(ATTEMPTS):
        before = _identity(path)
        try:
            content = read()
        except Exception:
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return content
    raise InputError(f"{path} is replaced faster than it can be read. Try again.")


def _identity(path: Path) -> Stamp | None:
    return stamp_file(path) if os.path.exists(path) else None
