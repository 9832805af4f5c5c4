"""Reading an HDF5 file that may be damaged or malicious: no link is followed out of it, and every type is checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.os_errors import os_error_message


@contextmanager
def translate_damage() -> Iterator[None]:
    """What h5py raises over a damaged file, in one sentence; for code, or as a decorator of a function, that only reads."""
    try:
        yield
    except InputError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        OverflowError,
        MemoryError,
    ) as error:
        if refusal := os_error_message(error, "The file"):
            raise refusal from error
        reason = str(error).strip("'\"").partition("\n")[0][:200]
        raise InputError(f"The file is damaged ({reason}). Fetch or write it again.") from error


def find_group(group: h5py.Group, path: str) -> h5py.Group | None:
    """The group that holds the last part of `path`, or None. No link that leads out of the file is followed."""
    parts = [part for part in path.split("/") if part]
    for k, part in enumerate(parts):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(
                f"'{shorten(path, 150)}' is a link to another place, expected data in the file "
                "itself. Do not trust this file."
            )
        if k == len(parts) - 1:
            return group
        group = group[part]
    return None


def get_member(group: h5py.Group, path: str, kind: type) -> Any:
    """The group or array at `path`; `kind` is h5py.Group or h5py.Dataset.

    Raises:
        InputError: there is none, or it is something else.
    """
    parent = find_group(group, path)
    if parent is None:
        raise InputError(
            f"The file lists '{shorten(path, 150)}' but does not contain it. Fetch "
            "or write the file again."
        )
    found = parent[path.rstrip("/").split("/")[-1]]
    if not isinstance(found, kind):
        expected = "a group" if kind is h5py.Group else "an array"
        raise InputError(
            f"'{shorten(path, 150)}' in the file is a {type(found).__name__}, expected "
            f"{expected}. Save the model again."
        )
    return found


def get_array(group: h5py.Group, path: str, name: str) -> tuple[tuple[int, ...], h5py.Dataset]:
    """Shape and data set of the numbers at `path`; nothing of them is read yet.

    Raises:
        InputError: there are none, they are no numbers, or they lie in another file.
    """
    dataset = get_member(group, path, h5py.Dataset)
    if dataset.external or dataset.is_virtual:
        raise InputError(
            f"The weight '{shorten(name)}' lies in another file, expected it in this one. Do "
            "not trust this file."
        )
    if dataset.shape is None or dataset.dtype.kind not in "fiu":
        raise InputError(
            f"The weight '{shorten(name)}' has dtype {shorten(str(dataset.dtype))}, expected "
            "float32. Save it again."
        )
    return dataset.shape, dataset


def get_text(group: h5py.Group, attribute: str) -> str:
    """An attribute that is text; some versions write bytes."""
    value = group.attrs[attribute]
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        raise InputError(
            f"The attribute {attribute} is of type {type(value).__name__}, expected text. Save "
            "the model again."
        )
    return value


def get_names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; Keras splits one that is too long for an HDF5 attribute into layer_names0, layer_names1, …"""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
        if not parts:
            raise InputError(
                f"'{shorten(group.name)}' has no attribute {attribute}. Save the model again."
            )
    names = []
    for part in parts:
        for name in part if isinstance(part, np.ndarray) and part.ndim == 1 else [part]:
            if not isinstance(name, str | bytes):
                raise InputError(
                    f"{attribute} of '{shorten(group.name)}' holds {shorten(repr(name))}, "
                    "expected names. Save it again."
                )
            names.append(
                name.decode("utf-8", errors="replace") if isinstance(name, bytes) else name
            )
    return names
