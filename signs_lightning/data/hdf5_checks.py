"""What a dataset claims of itself, looked at before HDF5 is asked to read it: HDF5 believes every header."""

from __future__ import annotations

import math
import zlib
from typing import Any

import h5py

from signs_lightning.errors import InputError

DEFLATE, SHUFFLE, CHECKSUM, SZIP = 1, 2, 3, 4  # numbers of HDF5's own filters
MAX_CHUNK_BYTES = 2**29  # bytes of a chunk when it is unpacked
DEFLATED = (
    1032  # times that a deflated byte can unpack to at most (https://zlib.net/zlib_tech.html)
)


def filters_of(dataset: h5py.Dataset) -> list[int]:
    """The numbers of its filters, in the order in which they were applied."""
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]


def check_dataset_header(
    where: str, dataset: h5py.Dataset, most: int | None = None, bombs: bool = True
) -> None:
    """Looks at the filters and chunks of a dataset that is to be read through HDF5.

    Args:
        where: what messages call it.
        dataset: nothing is read but, where it may be a bomb, packed chunks.
        most: bytes that the whole dataset may have, where it is read at once.
        bombs: whether to look into large chunks as well; not needed for what is unpacked past HDF5.

    Raises:
        InputError: it lies in other files, is too large to be read, is packed twice, by an unknown
            filter, or with options that crash the library, or has a chunk that unpacks to more than
            the dataset has room for.
    """
    if dataset.is_virtual or dataset.external:
        raise InputError(
            f"{where} keeps its data in other files, which are not followed. Copy it into one file."
        )
    if (
        most is not None
        and dataset.shape is not None
        and math.prod(dataset.shape) * dataset.dtype.itemsize > most
    ):
        raise InputError(
            f"{where} claims to hold {'×'.join(map(str, dataset.shape))} values, "
            "more than can be read: "
            "it is damaged or malicious. Fetch or write it again."
        )
    if dataset.chunks is None:
        return
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if size > MAX_CHUNK_BYTES:
        raise InputError(
            f"{where} is in chunks of {size:,} bytes, expected at most "
            f"{MAX_CHUNK_BYTES:,}. Write it again."
        )
    filters = filters_of(dataset)
    if sum(code not in (SHUFFLE, CHECKSUM) for code in filters) > 1:
        raise InputError(
            f"{where} is packed twice (by filters {filters}), which no program "
            "does. Do not trust this file."
        )
    if SZIP in filters:
        _, _, options, _ = dataset.id.get_create_plist().get_filter(filters.index(SZIP))
        if (
            len(options) < 4
            or not 2 <= options[1] <= 32
            or not 0 < options[2] <= 64
            or not options[1] <= options[3] <= 4096
        ):
            raise InputError(
                f"{where} has nonsense for options of its szip filter. Fetch or write it again."
            )
    if unknown := [code for code in filters if not h5py.h5z.filter_avail(code)]:
        raise InputError(
            f"{where} is packed by filter {unknown[0]}, which is not built in, "
            "and not installed here. "
            "Unpack it where it was written, with `h5repack -f NONE`."
        )
    if bombs and DEFLATE in filters and hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(
            lambda chunk: _check_decompression_bomb(
                where, dataset, chunk, size, filters.index(DEFLATE)
            )
        )


def _check_decompression_bomb(
    where: str, dataset: h5py.Dataset, chunk: Any, size: int, place: int
) -> None:
    """Unpacks a chunk as far as it claims to reach, where it could reach far; HDF5 would go on as long as something comes."""
    if chunk.size * DEFLATED <= 2 * MAX_CHUNK_BYTES or chunk.filter_mask & 1 << place:
        return
    packed = zlib.decompressobj()
    if chunk.size <= size + size // 100 + 1024:  # what deflate can add at worst
        try:
            packed.decompress(dataset.id.read_direct_chunk(chunk.chunk_offset)[1], size)
        except zlib.error:
            return  # which HDF5 will say
        if not packed.unconsumed_tail:
            return
    raise InputError(
        f"{where} has a chunk of {chunk.size:,} bytes that unpacks to more than its {size:,}: a "
        "decompression bomb. "
        "Do not trust this file."
    )
