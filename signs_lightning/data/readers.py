"""How the images of one set lie on the disk, and how they are read: mapped, or in blocks of whole chunks."""

from __future__ import annotations

import math
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.chunked_reader import ChunkedReader
from signs_lightning.data.hdf5_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.data.image_set import ImageSet, damaged_data_error, translate_read_errors
from signs_lightning.errors import InputError
from signs_lightning.runtime.os_errors import translate_os_errors

BLOCK_BYTES = 2**20  # a block is at least this long, so that small chunks are not read one by one
MAX_BLOCK = 2**28  # bytes, which a chunk of very many images is cut to


@dataclass(frozen=True)
class StorageLayout:
    """Where the images of a set are.

    Attributes:
        description: `contiguous`, `in chunks of 64×64×64×3, gzip`, or `an array`.
        offset: the byte of the file at which they can be mapped, None where they cannot.
        block: number of images that are best read together: whole chunks.
    """

    description: str
    offset: int | None
    block: int

    @property
    def mapped(self) -> bool:
        """Whether any image can be had at once, without reading others."""
        return self.offset is not None


def storage_layout(images: ImageSet) -> StorageLayout:
    """How a set is stored; looks at its header only."""
    image_bytes = math.prod(images.shape[1:])
    few = max(1, BLOCK_BYTES // image_bytes)
    if images.path is None:
        return StorageLayout("an array", 0, few)
    with translate_read_errors(images), open_read_only(images.path) as file:
        dataset = file[images.images_key]
        filters = [
            name
            for name, used in (
                ("gzip", dataset.compression == "gzip"),
                ("lzf", dataset.compression == "lzf"),
            )
            if used
        ]
        if dataset.chunks is not None:
            chunks = "×".join(map(str, dataset.chunks))
            rows = dataset.chunks[0]
            block = min(rows * max(1, few // rows), max(1, MAX_BLOCK // image_bytes))
            return StorageLayout(", ".join([f"in chunks of {chunks}", *filters]), None, block)
        offset = dataset.id.get_offset()
        # An unwritten dataset reports an offset, too, but stores fewer bytes than it has.
        if offset is None or dataset.id.get_storage_size() != dataset.nbytes:
            return StorageLayout("not written, or inside the file's header", None, few)
        return StorageLayout("contiguous", offset, few)


class ImageReader:
    """The images of one set, as bytes. The file is opened at the first read of each process: no handle crosses a fork or a pickle."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.layout = storage_layout(images)
        with translate_os_errors(images.name):
            self._stamp = None if images.path is None else _stamp(os.stat(images.path))
        self._file: int | None = None
        self._source: Any = None
        self._process: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_source": None, "_process": None}

    def take(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n,) indices in any order → uint8 (n, H, W, C); quick where the set is mapped."""
        if self.layout.mapped:
            with translate_os_errors(self.images.name):
                return self._as_bytes(self._open()[indices])
        wanted, place = np.unique(indices, return_inverse=True)
        return np.concatenate([self.read(row, row + 1) for row in wanted.tolist()])[place]

    def read(self, low: int, high: int) -> np.ndarray:
        """Images low to high (exclusive), uint8 (high - low, H, W, C); quickest for whole blocks. Safe in several threads."""
        with translate_os_errors(self.images.name):
            return self._as_bytes(self._open()[low:high])

    def _open(self) -> Any:
        if self._process != os.getpid():
            self._source, self._process = self._opened(), os.getpid()
        if self._file is not None and _stamp(os.fstat(self._file)) != self._stamp:
            raise InputError(
                f"{self.images.name} was changed or replaced while this run reads it. Put it "
                "back, then go on with `fit --ckpt_path` "
                "and the run folder, or begin a new run with the file as it is."
            )
        return self._source

    def _opened(self) -> Any:
        images = self.images
        if images.path is None:
            return images.array
        with translate_read_errors(images):
            self._file = os.open(images.path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            dataset = open_read_only(images.path)[images.images_key]
            if self.layout.offset is not None:
                if not hasattr(
                    os, "preadv"
                ):  # Windows, which lets nobody cut a file that is mapped
                    return np.memmap(
                        images.path, dataset.dtype, "r", self.layout.offset, dataset.shape
                    )
                return ContiguousReader(images, dataset, self.layout.offset, self._file)
            return (
                ChunkedReader(images, dataset)
                if ChunkedReader.suit(dataset)
                else HDF5Reader(images, dataset)
            )

    def _as_bytes(self, values: np.ndarray) -> np.ndarray:
        if self.images.unit:
            values = values * 255
        return np.ascontiguousarray(
            values if values.dtype == np.uint8 else np.rint(values).astype(np.uint8)
        )


class ContiguousReader:
    """Any images of a contiguous dataset, by `preadv`.

    Nearly as quick as a memory map, and what is missing in a file that is cut meanwhile can be
    said; a map would end the process with SIGBUS. The operating system keeps what was read in
    memory in either case.
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
            done = os.preadv(self.file, [part], position)
            if not done:
                raise damaged_data_error(self.images, "the file has become shorter")
            part, position = part[done:], position + done


class HDF5Reader:
    """Slices of a dataset through HDF5 itself, for whatever filters it was built with."""

    def __init__(self, images: ImageSet, dataset: h5py.Dataset) -> None:
        self.images, self.dataset = images, dataset
        check_dataset_header(f"'{images.images_key}' in {images.name}", dataset)

    def __getitem__(self, rows: slice) -> np.ndarray:
        with translate_read_errors(self.images):
            return self.dataset[rows]


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """What tells a file from another one, or from itself as it was before it was written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def free_memory() -> int:
    """Bytes of memory that this machine can still give, as the kernel estimates it; half of all where it doesn't."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
