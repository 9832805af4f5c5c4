"""Writes an HDF5 file anew, with plain values in place of those that are not read in training.

It is for `runtime.sandbox`: HDF5 may crash on what it unpacks here.
"""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data.hdf5_dataset_checks import MAX_CHUNK_BYTES, has_plain_values
from signs_lightning.data.hdf5_filters import describe_filters, is_trusted, list_filters
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import format_shape, shorten

BLOCK_BYTES = 2**26  # that are read at a time
MAX_INFLATION = 2**12  # bytes that a stored one may become; and
FREE_BYTES = 2**30  # however few are stored


def rewrite_hdf5(source: Path, output: Path) -> list[tuple[str, str]]:
    """Write a file with the same groups, links, attributes and values.

    Args:
        source: any HDF5 file.
        output: the file to write; what is there is replaced.

    Returns:
        Name and shape, and what they were before, of datasets whose values are stored plainly now.

    Raises:
        InputError: it cannot be read, or none of its datasets needs it.
    """
    written: list[tuple[str, str]] = []
    with open_hdf5(source) as file, h5py.File(output, "w", locking=False) as new:
        names: list[bytes] = []
        file.id.links.visit(names.append)
        _copy_attributes(file, new)
        places: dict[int, bytes] = {}  # by the address of what was copied
        for name in names:
            link = file.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                new[name] = link
                continue
            item = file[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in places:
                new[name] = new[places[address]]
                continue
            places[address] = name
            if isinstance(item, h5py.Dataset) and (before := _needs_rewriting(item)):
                _copy_values(item, new, name)
                shown = shorten(name.decode(errors="replace"))
                written.append((f"{shown} {format_shape(item.shape)}", before))
            elif isinstance(item, h5py.Group):
                _copy_attributes(item, new.create_group(name))
            else:  # as it is, packed or not
                h5py.h5o.copy(file.id, name, new.id, name)
    if not written:
        raise InputError(f"{source} has plain values, and trains as it is. It needs no rewriting.")
    return written


def _needs_rewriting(dataset: h5py.Dataset) -> str:
    """Return what keeps a dataset from being read in training, or nothing."""
    if not has_plain_values(dataset.id.get_type()):
        return "unused bits, or a type of its own"
    if dataset.chunks is None or all(map(is_trusted, list_filters(dataset))):
        return ""
    return ", ".join(describe_filters(dataset))


def _copy_attributes(old: h5py.HLObject, new: h5py.HLObject) -> None:
    for name, value in old.attrs.items():
        new.attrs[name] = value


def _copy_values(old: h5py.Dataset, new: h5py.File, name: bytes) -> None:
    """Copy a dataset into one without chunks, block by block."""
    where = f"'{shorten(name.decode(errors='replace'))}'"
    shape, dtype = old.shape or (), old.dtype
    size = math.prod(shape) * dtype.itemsize
    if size > FREE_BYTES + MAX_INFLATION * old.id.get_storage_size():
        raise InputError(
            f"{where} claims to hold {size:,} bytes, more than its file can unpack to."
        )
    if old.chunks is not None and math.prod(old.chunks) * dtype.itemsize > MAX_CHUNK_BYTES:
        raise InputError(f"{where} has chunks too large to be unpacked.")
    copy = new.create_dataset(name, shape, dtype)
    _copy_attributes(old, copy)
    if not shape:
        copy[()] = old[()]
        return
    step = old.chunks[0] if old.chunks else 1
    row = max(1, size // max(1, shape[0]))
    step *= max(1, BLOCK_BYTES // (row * step))
    for low in range(0, shape[0], step):
        copy[low : low + step] = np.asarray(old[low : low + step])
