"""Checks of a dataset's header before HDF5 reads it, which believes it."""

from __future__ import annotations

import math
import zlib
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.hdf5_filters import (
    CHECKSUM,
    DEFLATE,
    SHUFFLE,
    can_unpack,
    explain_missing_filter,
    explain_refused_filter,
    explain_rewriting,
    is_trusted,
    list_filters,
)
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import format_shape

MAX_CHUNK_BYTES = 2**29  # of a chunk when it is unpacked
NOT_PACKING = (SHUFFLE, CHECKSUM)  # which may stand beside one that packs
CHECKSUM_BYTES = 4
FILTER_HEADER = 1024  # bytes that such a filter may add to a chunk
FLOATS = ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8")
MAX_DEFLATE_RATIO = 1032  # that zlib can reach (https://zlib.net/zlib_tech.html)


def has_plain_values(stored: h5py.h5t.TypeID) -> bool:
    """Whether values of a type are NumPy's numbers, without unused bits, or no numbers at all.

    HDF5 converts others bit by bit.
    """
    kind, size = stored.get_class(), stored.get_size()
    if kind in (h5py.h5t.INTEGER, h5py.h5t.BITFIELD):
        return size <= 8 and stored.get_precision() == 8 * size and stored.get_offset() == 0
    if kind == h5py.h5t.FLOAT:
        return size <= 8 and any(stored == h5py.h5t.py_create(np.dtype(x)) for x in FLOATS)
    if kind == h5py.h5t.ENUM:  # truth values, as h5py has them
        return has_plain_values(stored.get_super())
    return kind not in (h5py.h5t.TIME, h5py.h5t.ARRAY)


def max_deflated(size: int) -> int:
    """Return how many bytes deflate makes of `size` bytes at worst."""
    return size + size // 100 + 1024


def check_dataset_header(
    where: str, dataset: h5py.Dataset, max_bytes: int | None = None, unpacks: bool = True
) -> None:
    """Check the filters and chunks of a dataset that is to be read through HDF5.

    Args:
        where: what messages call it.
        dataset: of which nothing is read but, where it may be a bomb, packed chunks.
        max_bytes: that the whole dataset may have, where it is read at once.
        unpacks: whether HDF5 unpacks the chunks; large ones are looked into then.

    Raises:
        InputError: it lies in other files, is too large to be read, has values with unused bits, is
            packed twice, or by a filter that is unknown or not trusted, or has a chunk that is, or
            unpacks to, more than the dataset has room for.
    """
    leads_elsewhere = dataset.is_virtual or dataset.external
    if leads_elsewhere and not getattr(dataset, "is_followed", False):  # by `open_dataset`
        raise InputError(
            f"{where} keeps its data in other files, which are not followed. Copy it into one file."
        )
    itemsize, shape, chunks = dataset.dtype.itemsize, dataset.shape, dataset.chunks
    if dataset.dtype.kind == "O":
        itemsize = 16  # in the file, where it leads into the heap
    if max_bytes is not None and shape is not None and math.prod(shape) * itemsize > max_bytes:
        raise InputError(
            f"{where} claims to hold {format_shape(shape)} values, more than can be read: "
            "it is damaged or malicious. Fetch or write it again."
        )
    if not has_plain_values(dataset.id.get_type()):
        raise InputError(
            f"{where} has values with unused bits, or of a type of their own, which are not read. "
            f"{explain_rewriting(dataset)}"
        )
    if chunks is None:
        return
    size = math.prod(chunks) * itemsize
    if size > MAX_CHUNK_BYTES:
        raise InputError(
            f"{where} has chunks of {size:,} bytes, more than {MAX_CHUNK_BYTES:,}. Write it again."
        )
    filters = list_filters(dataset)
    if refused := [code for code in filters if not is_trusted(code)]:
        raise InputError(explain_refused_filter(where, dataset, refused[0]))
    if sum(code not in NOT_PACKING for code in filters) > 1:
        raise InputError(
            f"{where} is packed twice (filters {filters}), as no program does. Do not trust it."
        )
    if missing := [code for code in filters if not can_unpack(code)]:
        raise InputError(explain_missing_filter(where, missing[0]))
    if not unpacks or not hasattr(dataset.id, "chunk_iter"):
        return
    stored = math.prod(chunks) * dataset.id.get_type().get_size()
    # Texts and pictures of any length are read past HDF5.
    is_read_past = dataset.dtype.kind == "O" and h5py.check_ref_dtype(dataset.dtype) is None

    def check(chunk: Any) -> None:
        applied = [code for k, code in enumerate(filters) if not chunk.filter_mask >> k & 1]
        if not is_read_past and all(code in NOT_PACKING for code in applied):
            _check_unpacked_chunk(where, chunk.size, stored, CHECKSUM in applied)
        elif DEFLATE in applied:
            _check_deflated_chunk(where, dataset, chunk, size)

    dataset.id.chunk_iter(check)


def _check_unpacked_chunk(where: str, found: int, size: int, has_checksum: bool) -> None:
    """Check the size of a chunk that is not packed: HDF5 would read as much as it says."""
    if not size <= found <= size + CHECKSUM_BYTES * has_checksum:
        raise InputError(
            f"{where} is damaged: it has a chunk of {found:,} bytes where there are {size:,}. "
            "Fetch or write it again."
        )


def _check_deflated_chunk(where: str, dataset: h5py.Dataset, chunk: Any, size: int) -> None:
    """Unpack a chunk that could be a decompression bomb, up to its size.

    HDF5 would unpack as long as anything comes.
    """
    if chunk.size * MAX_DEFLATE_RATIO <= 2 * MAX_CHUNK_BYTES:
        return
    if chunk.size <= max_deflated(size):
        packed = zlib.decompressobj()
        try:
            content = dataset.id.read_direct_chunk(chunk.chunk_offset)[1]
            packed.decompress(content, size + FILTER_HEADER)
        except zlib.error:
            return  # reported by HDF5
        if not packed.unconsumed_tail:
            return
    raise InputError(
        f"{where} has a chunk of {chunk.size:,} bytes that unpacks to more than its {size:,}: a "
        "decompression bomb. Do not trust this file."
    )
