"""How the images of a set are stored and read: alone, or in blocks of chunks."""

from __future__ import annotations

import math
import os
import weakref
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.direct_chunk_reader import ChunkedReader
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_image_set import ImageSet, damaged_data_error, translate_read_errors
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.errors import InputError
from signs_lightning.runtime.file_read_errors import translate_os_errors

BLOCK_BYTES = 2**20  # a block is at least this long, so that small chunks are not read one by one
MAX_BLOCK = 2**28  # bytes, which a chunk of very many images is cut to


@dataclass(frozen=True)
class StorageLayout:
    """How the images of a set are stored.

    Attributes:
        description: `contiguous`, `in chunks of 64×64×64×3, gzip`, or `an array`.
        offset: the byte of the file at which they can be mapped, None where they cannot.
        block: number of images that are best read together: whole chunks.
    """

    description: str
    offset: int | None
    block: int

    @property
    def is_mapped(self) -> bool:
        """Whether any image can be read without reading others."""
        return self.offset is not None


def read_storage_layout(images: ImageSet) -> StorageLayout:
    """Return how a set is stored; reads its header only."""
    image_bytes = math.prod(images.shape[1:])
    few = max(1, BLOCK_BYTES // image_bytes)
    if images.path is None:
        return StorageLayout("an array", 0, few)
    with translate_read_errors(images), open_read_only(images.path) as file:
        dataset = file[images.images_key]
        if dataset.chunks is not None:
            packing = dataset.compression if dataset.compression in ("gzip", "lzf") else None
            text = f"in chunks of {'×'.join(map(str, dataset.chunks))}"
            rows = dataset.chunks[0]
            block = min(rows * max(1, few // rows), max(1, MAX_BLOCK // image_bytes))
            return StorageLayout(f"{text}, {packing}" if packing else text, None, block)
        offset = dataset.id.get_offset()
        # An unwritten dataset reports an offset, too, but stores fewer bytes than it has.
        if offset is None or dataset.id.get_storage_size() != dataset.nbytes:
            return StorageLayout("not written, or inside the file's header", None, few)
        return StorageLayout("contiguous", offset, few)


class ImageReader:
    """The images of one set, as bytes.

    The file is opened at the first read of each process: no handle crosses a fork or a pickle.

    Args:
        images: the set.
    """

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.layout = read_storage_layout(images)
        with translate_os_errors(images.name):
            self._stamp = None if images.path is None else _stamp(os.stat(images.path))
        self._file: int | None = None
        self._source: Any = None
        self._process: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_source": None, "_process": None}

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Return images in any order, quick where the set is mapped.

        Args:
            indices: int64 (n,).

        Returns:
            uint8 (n, H, W, C).
        """
        if self.layout.is_mapped:
            with translate_os_errors(self.images.name):
                return self._as_bytes(self._open()[indices])
        rows, place = np.unique(indices, return_inverse=True)
        return np.concatenate([self.read(row, row + 1) for row in rows.tolist()])[place]

    def read(self, low: int, high: int) -> np.ndarray:
        """Return images `low` to `high` (exclusive), uint8 (high - low, H, W, C).

        Quickest for whole blocks, and safe in several threads.
        """
        with translate_os_errors(self.images.name):
            return self._as_bytes(self._open()[low:high])

    def _open(self) -> Any:
        """Return what to read from, opened once in each process."""
        if self._process != os.getpid():
            self._source, self._process = self._open_source(), os.getpid()
        if self._file is not None and _stamp(os.fstat(self._file)) != self._stamp:
            raise InputError(
                f"{self.images.name} was changed or replaced while this run reads it. Put it back "
                "and resume with `fit --ckpt_path` and the run folder, or begin a new run."
            )
        return self._source

    def _open_source(self) -> Any:
        images, offset = self.images, self.layout.offset
        if images.path is None:
            return images.array
        with translate_read_errors(images):
            self._file = os.open(images.path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            dataset = open_read_only(images.path)[images.images_key]
            if offset is None:
                is_plain = ChunkedReader.can_read(dataset)
                return ChunkedReader(images, dataset) if is_plain else HDF5Reader(images, dataset)
            if hasattr(os, "preadv"):
                return ContiguousReader(images, dataset, offset, self._file)
            # Windows, where a mapped file cannot be cut
            return np.memmap(images.path, dataset.dtype, "r", offset, dataset.shape)

    def _as_bytes(self, values: np.ndarray) -> np.ndarray:
        axes = self.images.axes
        if axes != "NHWC":
            values = values.reshape(-1, *self.images.stored_shape[1:])  # from flat rows, too
            # (N, C, H, W) or the like -> (N, H, W, C)
            values = values.transpose([axes.index(axis) for axis in "NHWC" if axis in axes])
            values = values.reshape(-1, *self.images.shape[1:])  # grey images without a channel
        if self.images.is_unit_range:
            values = values * 255
        if values.dtype != np.uint8:
            values = np.rint(values).astype(np.uint8)
        return np.ascontiguousarray(values)


class ContiguousReader:
    """Any images of a contiguous dataset, by `preadv`.

    Nearly as quick as a memory map, and a file that is cut meanwhile gives an error; a map would
    end the process with SIGBUS. The operating system keeps what was read in memory in either case.
    """

    def __init__(self, images: ImageSet, dataset: h5py.Dataset, offset: int, file: int) -> None:
        self.images, self.offset, self.file = images, offset, file
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self.bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        starts = [rows.start] if isinstance(rows, slice) else rows.tolist()
        count = rows.stop - rows.start if isinstance(rows, slice) else len(starts)
        values = np.empty((count, *self.shape[1:]), self.dtype)
        content = values.reshape(-1).view(np.uint8).data
        size = len(content) // max(1, len(starts))
        for k, row in enumerate(starts):
            self._fill(content[k * size : (k + 1) * size], self.offset + row * self.bytes)
        return values

    def _fill(self, part: memoryview, position: int) -> None:
        while len(part):  # a single call reads up to 2 GiB
            count = os.preadv(self.file, [part], position)
            if not count:
                raise damaged_data_error(self.images, "the file has become shorter")
            part, position = part[count:], position + count


class HDF5Reader:
    """Slices of a dataset through HDF5 itself, with any filter that it has."""

    def __init__(self, images: ImageSet, dataset: h5py.Dataset) -> None:
        self.images, self.dataset = images, dataset
        check_dataset_header(f"'{images.images_key}' in {images.name}", dataset)

    def __getitem__(self, rows: slice) -> np.ndarray:
        with translate_read_errors(self.images):
            return self.dataset[rows]


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
