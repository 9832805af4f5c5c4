"""Datasets whose bytes lie in raw files, which HDF5 calls external storage.

HDF5 looks for these files in the current folder, and takes zeros for what is missing; here they lie
beside the HDF5 file, and are as long as it says.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data.open_handles import RawFile, Stamp, check_stamp, stamp_file
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten


@dataclass
class ExternalStorage:
    """The raw files of a dataset.

    Attributes:
        shape: of the whole.
        dtype: of its values.
        segments: path, first byte and number of bytes of each piece, in order.
        stamps: what changes when a file is replaced or written to, by its path.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    segments: tuple[tuple[str, int, int], ...]
    stamps: Mapping[str, Stamp]

    def read(self, box: tuple[slice, ...]) -> np.ndarray:
        """Return the values in a box; all that lies between its first and last row is read."""
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        low, high = (box[0].start * row, box[0].stop * row) if box else (0, row)
        content, begin = bytearray(), 0
        for path, offset, size in self.segments:
            first, last = max(low, begin), min(high, begin + size)
            if first < last:
                check_stamp(path, self.stamps[path])
                content += RawFile(path).read(last - first, offset + first - begin)
            begin += size
        values = np.frombuffer(content, self.dtype).reshape(-1, *self.shape[1:])
        return values[(slice(None), *box[1:])] if box else values.reshape(())


def find_external_storage(where: str, dataset: h5py.Dataset) -> ExternalStorage:
    """Return the raw files of a dataset.

    Args:
        where: what messages call it.
        dataset: of plain numbers, contiguous.

    Raises:
        InputError: a file is missing, or too short.
    """
    main = Path(dataset.file.filename)
    segments: list[tuple[str, int, int]] = []
    missing = dataset.nbytes
    for name, offset, size in dataset.external:
        path, needed = main.parent / name, min(size, missing)
        if not os.path.isfile(path) or os.path.getsize(path) < offset + needed:
            raise InputError(
                f"{where} needs {needed:,} bytes of {shorten(str(path), 200)} from byte {offset:,} "
                "on, which are missing. Copy the file there, or fetch it again."
            )
        segments.append((str(path), offset, needed))
        missing -= needed
    if missing:
        raise InputError(
            f"{where} has {missing:,} bytes more than its raw files. Fetch or write it again."
        )
    stamps = {path: stamp_file(path) for path, _, _ in segments}
    return ExternalStorage(dataset.shape, dataset.dtype, tuple(segments), stamps)
