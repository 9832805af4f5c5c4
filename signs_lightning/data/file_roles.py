"""Which files an argument names, and whether two roles of a run share a file, by whatever names."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from signs_lightning.errors import InputError

Role = Literal["train", "val", "test"]
ARRAYS = "(arrays)"  # what a checkpoint remembers of a run on arrays instead of a file's name
SPLITS = {
    "train": {"train", "training"},
    "val": {"val", "valid", "validation", "dev"},
    "test": {"test", "testing"},
}


def split_of(key: str, path: Path) -> str:
    """One of `SPLITS`, as the images' key or else the file's name says; "" where neither does."""
    for text in (key, path.stem):
        words = set(re.findall("[a-z]+", text.lower()))
        for split, names in SPLITS.items():
            if words & names:
                return split
    return ""


def expand_paths(value: str | Path | Iterable[str | Path]) -> list[str]:
    """A path, every path that a pattern matches (sorted), or those of a list of them.

    Raises:
        InputError: a pattern matches nothing.
    """
    if not isinstance(value, str | Path):
        return [path for one in value for path in expand_paths(one)]
    pattern = str(value)
    if os.path.exists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise InputError(f"No file matches '{pattern}'. Check the pattern.")
    return paths


def is_named(value: Any) -> bool:
    """Whether an argument is made of names, and not a pair of arrays."""
    return isinstance(value, str | Path) or (
        isinstance(value, list | tuple) and all(isinstance(one, str | Path) for one in value)
    )


def plain_paths(value: Any) -> Any:
    """An argument as a checkpoint keeps it: paths as strings, arrays as `ARRAYS`."""
    if value is None:
        return None
    if not is_named(value):
        return ARRAYS
    return [str(path) for path in value] if isinstance(value, list | tuple) else str(value)


def file_identities(value: Any) -> dict[tuple[int, int], str]:
    """Device and inode of each file that is there → its first name. Links and other ways of writing a path lead to the same."""
    found: dict[tuple[int, int], str] = {}
    if not is_named(value):
        return found
    try:
        paths = expand_paths(value)
    except InputError:
        return found
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # it is missed where it is read
            continue
        found.setdefault((status.st_dev, status.st_ino), path)
    return found


def shared_file(first: Any, second: Any) -> str | None:
    """What to call the first file that two arguments share, None where there is none."""
    one, two = file_identities(first), file_identities(second)
    for identity, name in two.items():
        if identity in one:
            other = one[identity]
            return name if name == other else f"{name}, which is {other} under another name,"
    return None


def repeated_file(paths: list[str]) -> str | None:
    """The first path that leads to a file which an earlier one has named already."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        new = set(file_identities(path))
        if new & seen:
            return path
        seen |= new
    return None


def warn_of_shared_files(files: dict[Role, Any], stage: str, splits: bool) -> None:
    """Says which figures will come from images that the model was trained on, or that chose its checkpoint.

    Args:
        files: the arguments, by role.
        stage: what is being set up: "fit", "validate", "test" or "predict".
        splits: whether validation is a part of the training file.
    """
    train, val, test = files["train"], files["val"], files["test"]
    found: list[tuple[str | None, str, str]] = []
    if stage in ("fit", "validate") and not splits:
        name = shared_file(train, test if val is None else val)
        found.append((name, "training and for validation", "the validation figures mean nothing"))
    if stage in ("test", "predict") or (stage == "fit" and (splits or val is not None)):
        found.append(
            (shared_file(train, test), "training and for the test", "the test figures mean nothing")
        )
        name = shared_file(val, test)
        found.append(
            (
                name,
                "validation and for the test",
                "the test figures are of images that chose the checkpoint",
            )
        )
    for name, roles, consequence in found:
        if name is not None:
            warnings.warn(f"{name} serves for {roles}: {consequence}.", stacklevel=4)
