"""What an option of files names: paths, patterns, addresses, lists of them, or arrays."""

from __future__ import annotations

import contextlib
import glob
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from signs_lightning.data.download import fetch_once, hide_secrets, is_address, is_fetched
from signs_lightning.errors import InputError

ARRAYS = "(arrays)"  # what a checkpoint remembers of a run on arrays instead of a file's name


def expand_paths(
    value: str | Path | Iterable[str | Path], sha256: Sequence[str] | None = None
) -> list[str]:
    """Return a path, what a pattern matches (sorted), a copy of an address, or those of a list.

    Args:
        value: the option.
        sha256: checksums of files at addresses; each must have one of them.

    Raises:
        InputError: a pattern matches nothing.
    """
    if not isinstance(value, str | Path):
        return [path for item in value for path in expand_paths(item, sha256)]
    pattern = str(value)
    if is_address(pattern):
        return [str(fetch_once(pattern, sha256))]
    if os.path.exists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise InputError(f"No file matches '{pattern}'. Check the pattern.")
    return paths


def is_named(value: Any) -> bool:
    """Whether an option holds names of files, and not a pair of arrays."""
    if isinstance(value, list | tuple):
        return all(isinstance(item, str | Path) for item in value)
    return isinstance(value, str | Path)


def to_plain_paths(value: Any) -> Any:
    """Return an option for a checkpoint: paths as strings, arrays as `ARRAYS`."""
    if value is None:
        return None
    if not is_named(value):
        return ARRAYS
    return [str(path) for path in value] if isinstance(value, list | tuple) else str(value)


def forget_unfetched(options: dict[str, Any]) -> dict[str, str]:
    """Drop files at addresses that were never fetched from a checkpoint's options.

    A checkpoint may come from anyone, and must not make this machine ask a server for anything.

    Args:
        options: of the data module; changed in place.

    Returns:
        Option, such as `--data.test_file`, → the address, without what is secret in it.
    """
    dropped = {}
    for name, value in options.items():
        paths = value if isinstance(value, list) else [value]
        addresses = [x for x in paths if isinstance(x, str) and is_address(x) and not is_fetched(x)]
        if (name == "file" or name.endswith("_file")) and addresses:
            dropped[f"--data.{name}"] = hide_secrets(addresses[0])
            options[name] = None
    return dropped


def identify_files(value: Any) -> dict[tuple[int, int], str]:
    """Return device and inode of each file that exists → the first name it is given.

    Links and other ways of writing a path lead to the same file.
    """
    identities: dict[tuple[int, int], str] = {}
    # Files and patterns that cannot be found are reported where they are read.
    with contextlib.suppress(InputError):
        for path in expand_paths(value) if is_named(value) else ():
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(path)
                identities.setdefault((status.st_dev, status.st_ino), path)
    return identities


def warn_of_repeated_file(value: Any, option: str) -> None:
    """Warn of a file that an option names twice, by whatever names."""
    seen: set[tuple[int, int]] = set()
    for path in expand_paths(value) if is_named(value) else ():
        new = set(identify_files(path))
        if new & seen:
            message = f"{path} is named twice by {option}: its images count twice."
            warnings.warn(message, stacklevel=3)
            return
        seen |= new
