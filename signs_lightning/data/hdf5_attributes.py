"""Attributes of HDF5 files, checked before HDF5 reads them: it believes what their headers say."""

from __future__ import annotations

import math
from typing import Any

import h5py

from signs_lightning.data.hdf5_dataset_checks import has_plain_values
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

MAX_VALUES = 2**16  # of an attribute: names of layers, mostly
MAX_BYTES = (
    2**26
)  # that they take in the header, or where texts of any length are, their references
MAX_PARTS = 2**10  # of a list that Keras splits
PLAIN = (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)


def has_attribute(item: h5py.HLObject, name: str) -> bool:
    """Whether a group, or a file, has an attribute of this name."""
    return bool(h5py.h5a.exists(item.id, name.encode()))


def read_attribute(item: h5py.HLObject, name: str) -> Any:
    """Return an attribute as h5py does: text, a number, or an array of them; None if there is none.

    Raises:
        InputError: it holds something else, or too much of it.
    """
    if not has_attribute(item, name):
        return None
    attribute = h5py.h5a.open(item.id, name.encode())
    stored, shape = attribute.get_type(), attribute.shape
    is_plain = stored.get_class() in PLAIN and has_plain_values(stored)
    count = 0 if shape is None else math.prod(shape)
    if not is_plain or count > MAX_VALUES or count * stored.get_size() > MAX_BYTES:
        raise InputError(
            f"The attribute {shorten(name)} of '{shorten(str(item.name))}' has {count:,} values of "
            f"{stored.get_size():,} bytes, expected text or a number. The file is damaged or "
            "malicious: fetch or write it again."
        )
    return item.attrs[name]
