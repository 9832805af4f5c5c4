"""The names of the classes, which a file may list."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.global_heap import read_texts
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

MAX_CLASSES, MAX_NAME_BYTES = 2**16, 2**24  # of a class list


def read_class_list(path: Path, key: str, classes: h5py.Dataset) -> list[str]:
    """Return the names of the classes that a dataset holds.

    Raises:
        InputError: it holds none, two that are the same, or cannot be read.
    """
    where = f"'{shorten(key)}' in {path}"
    check_dataset_header(where, classes, MAX_NAME_BYTES)
    count = 0 if classes.shape is None else math.prod(classes.shape)
    if h5py.check_ref_dtype(classes.dtype) is h5py.Reference and count <= MAX_CLASSES:
        return check_class_names(str(path), _read_cells(where, classes))
    if classes.dtype == np.uint8 and len(classes.shape or ()) == 2 and 1 not in classes.shape:
        # texts as rows of codes, filled up with zeros
        rows = classes[()] if len(classes) <= MAX_CLASSES else []
        return check_class_names(str(path), [bytes(row).rstrip(b"\0") for row in rows])
    if count > MAX_CLASSES or classes.dtype.kind not in "SUOiub":
        raise InputError(
            f"{where} holds {count:,} values of type {shorten(str(classes.dtype))}, expected the "
            "names of the classes."
        )
    if classes.dtype.kind == "O":
        values = read_texts(path, key, MAX_NAME_BYTES, "the names of the classes")
    else:
        values = [] if count == 0 else np.ravel(classes[()]).tolist()
    return check_class_names(str(path), values)


def _read_cells(where: str, classes: h5py.Dataset) -> list[str]:
    """Return the texts of a cell array of MATLAB, each an array of UTF-16 codes."""
    texts = []
    for reference in np.ravel(classes[()]):
        cell = classes.file[reference] if reference else None
        if not isinstance(cell, h5py.Dataset) or cell.dtype.kind != "u":
            raise InputError(f"{where} refers to what is no text, expected the class names.")
        check_dataset_header(where, cell, MAX_NAME_BYTES)
        texts.append("".join(map(chr, np.ravel(cell[()]).tolist())))
    return texts


def check_class_names(name: str, values: list[Any]) -> list[str]:
    """Return the entries of a class list as different names.

    Raises:
        InputError: there are none, or two are the same.
    """
    names = [
        value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        for value in values
    ]
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"The class list in {name} is {shorten(str(names), 150)}, expected different names, "
            "one for each class."
        )
    return names
