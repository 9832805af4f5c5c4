"""Reads an HDF5 file that may be damaged or malicious.

No link is followed out of the file, and every type is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.hdf5_attributes import MAX_PARTS, has_attribute, read_attribute
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.errors import InputError
from signs_lightning.keras_io.file_errors import damaged_file, inconsistent_model, untrusted_file
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import os_error_message

BFLOAT16 = np.dtype("V2")  # how h5py has Keras's bfloat16
READ_ERRORS = (
    *(OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, OverflowError),
    MemoryError,
)


@contextmanager
def translate_damage() -> Iterator[None]:
    """Turn what h5py raises over a damaged file into an InputError.

    It is for code, or as a decorator for functions, that only reads.
    """
    try:
        yield
    except InputError:
        raise
    except READ_ERRORS as error:
        if message := os_error_message(error, "The file"):
            raise message from error
        reason = str(error).strip("'\"").partition("\n")[0][:200]
        raise damaged_file(f"The file is damaged ({reason})") from error


def find_group(group: h5py.Group, path: str) -> h5py.Group | None:
    """Return the group that holds the last part of `path`, or None.

    Raises:
        InputError: a part is a link to another place.
    """
    parts = [part for part in path.split("/") if part]
    for k, part in enumerate(parts):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise untrusted_file(
                f"'{shorten(path, 150)}' is a link to another place, expected data in the file "
                "itself"
            )
        if k == len(parts) - 1:
            return group
        group = group[part]
    return None


def get_member(group: h5py.Group, path: str, kind: type) -> Any:
    """Return the group or array at `path`; `kind` is h5py.Group or h5py.Dataset.

    Raises:
        InputError: there is none, or it is something else.
    """
    parent, name = find_group(group, path), shorten(path, 150)
    if parent is None:
        raise damaged_file(f"The file lists '{name}' but does not contain it")
    member = parent[path.rstrip("/").split("/")[-1]]
    if not isinstance(member, kind):
        expected = "a group" if kind is h5py.Group else "an array"
        raise inconsistent_model(
            f"'{name}' in the file is a {type(member).__name__}, expected {expected}"
        )
    return member


def get_array(group: h5py.Group, path: str, name: str) -> tuple[tuple[int, ...], h5py.Dataset]:
    """Return shape and dataset of the numbers at `path`, without reading them.

    Raises:
        InputError: there are none, they are not numbers, they lie in another file, or HDF5 is not
            trusted with how they are stored.
    """
    dataset = get_member(group, path, h5py.Dataset)
    if dataset.external or dataset.is_virtual:
        raise untrusted_file(
            f"The weight '{shorten(name)}' lies in another file, expected it in this one"
        )
    is_number = dataset.dtype.kind in "fiu" or dataset.dtype == BFLOAT16
    if dataset.shape is None or not is_number:
        raise inconsistent_model(
            f"The weight '{shorten(name)}' has dtype {shorten(str(dataset.dtype))}, expected "
            "float32"
        )
    check_dataset_header(f"The weight '{shorten(name)}'", dataset)
    return dataset.shape, dataset


def get_text(group: h5py.Group, attribute: str) -> str:
    """Return an attribute that is text; some versions of Keras write bytes.

    Raises:
        InputError: it is something else.
    """
    value = read_attribute(group, attribute)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, str | bytes):
        raise inconsistent_model(
            f"The attribute {attribute} is of type {type(value).__name__}, expected text"
        )
    return _decode(value)


def get_names(group: h5py.Group, attribute: str) -> list[str]:
    """Return an attribute that is a list of names.

    Keras splits one that is too long for HDF5 into layer_names0, layer_names1, …

    Raises:
        InputError: there is none, or it is something else.
    """
    if has_attribute(group, attribute):
        parts = [read_attribute(group, attribute)]
    else:
        parts = []
        while len(parts) < MAX_PARTS and has_attribute(group, f"{attribute}{len(parts)}"):
            parts.append(read_attribute(group, f"{attribute}{len(parts)}"))
        if not parts:
            raise inconsistent_model(f"'{shorten(group.name)}' has no attribute {attribute}")
    names = []
    for part in parts:
        names += list(part) if isinstance(part, np.ndarray) and part.ndim == 1 else [part]
    for name in names:
        if not isinstance(name, str | bytes):
            raise inconsistent_model(
                f"{attribute} of '{shorten(group.name)}' holds {shorten(repr(name))}, expected "
                "names"
            )
    return [_decode(name) for name in names]


def _decode(value: str | bytes) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
