"""The images of a set, read as they are stored: alone, or in blocks of chunks."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from signs_lightning.data.direct_chunk_reader import ChunkedReader
from signs_lightning.data.encoded_picture_reader import EncodedPictureReader
from signs_lightning.data.encoded_pictures import EncodedPictures
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_links import open_dataset
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.data.hdf5_virtual import Assembly
from signs_lightning.data.image_set import ImageSet, damaged_data_error, translate_read_errors
from signs_lightning.data.open_handles import (
    HANDLES,
    RawFile,
    check_stamp,
    stamp_file,
    stamp_status,
)
from signs_lightning.data.storage_layout import StorageLayout, find_row_axis, read_storage_layout
from signs_lightning.runtime.file_read_errors import translate_os_errors


class StorageReader(Protocol):
    """What reads a dataset from a handle that stays open."""

    def open(self) -> Any:
        """Return a new handle, which closes when nothing refers to it."""

    def read(self, handle: Any, rows: Any) -> np.ndarray:
        """Return images, their axis in front and the others as stored.

        Args:
            handle: from `open`.
            rows: a slice; where the images are mapped also int64 (n,).
        """


class ImageReader:
    """The images of one set, in the numbers that `ImageSet.values` gives.

    The file is opened at the first read of each process, and again where many others were read
    meanwhile: no handle crosses a fork or a pickle.

    Args:
        images: the set.
    """

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.layout = read_storage_layout(images)
        with translate_os_errors(images.name):
            self._stamp = None if self.layout.path is None else stamp_file(self.layout.path)
        self._source: StorageReader | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_source": None}

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Return images in any order, quick where the set is mapped.

        Args:
            indices: int64 (n,).

        Returns:
            (n, H, W, C) of the set's dtype.
        """
        if self.layout.is_mapped or self.images.is_encoded:
            return self._read(indices)
        rows, place = np.unique(indices, return_inverse=True)
        # Images that are unpacked together are read together.
        cuts = np.flatnonzero(np.diff(rows // self.layout.chunk)) + 1
        parts = [
            self.read(int(part[0]), int(part[-1]) + 1)[part - part[0]]
            for part in np.split(rows, cuts)
        ]
        return np.concatenate(parts)[place]

    def read(self, low: int, high: int) -> np.ndarray:
        """Return images `low` to `high` (exclusive), (high - low, H, W, C).

        Quickest for whole blocks, and safe in several threads.
        """
        return self._read(slice(low, high))

    def _read(self, rows: slice | np.ndarray) -> np.ndarray:
        images = self.images
        with translate_os_errors(images.name):
            if images.array is not None:
                axis = find_row_axis(images.axes, images.array.ndim)
                return self._arrange(np.moveaxis(images.array, axis, 0)[rows])
            # Other threads may open so many files that this one is given up; it stays open here.
            handle = HANDLES.get(self, self._open)
            check_stamp(images.name, self._stamp, stamp_status(_status(handle)))
            assert self._source is not None
            return self._arrange(self._source.read(handle, rows))

    def _open(self) -> Any:
        """Return a new handle; what is read from the header at the first is kept."""
        with translate_read_errors(self.images):
            if self._source is None:
                self._source = _find_source(self.images, self.layout)
            return self._source.open()

    def _arrange(self, values: np.ndarray) -> np.ndarray:
        """Return (n, H, W, C) of values as stored, the axis of the images in front."""
        axes = "N" + self.images.axes.replace("N", "")
        if axes != "NHWC" or values.ndim != len(axes):
            sizes = dict(zip("NHWC", self.images.shape, strict=True)) | {"N": len(values)}
            values = values.reshape([sizes[axis] for axis in axes])  # flat rows, too
            # (N, C, H, W) or the like -> (N, H, W, C)
            values = values.transpose([axes.index(axis) for axis in "NHWC" if axis in axes])
            values = values.reshape(len(values), *self.images.shape[1:])  # grey without a channel
        return np.ascontiguousarray(self.images.values.convert(values))


def _find_source(images: ImageSet, layout: StorageLayout) -> StorageReader:
    """Return what reads the images of a file."""
    if images.is_encoded:
        return EncodedPictureReader(images)
    if layout.parts is not None:
        assert layout.path is not None
        return AssembledReader(images, layout.parts, layout.path)
    dataset = _open_images(images)
    axis = find_row_axis(images.axes, len(dataset.shape))
    if layout.offset is not None:
        return ContiguousReader(images, dataset, layout.offset, axis)
    if ChunkedReader.can_read(dataset):
        return ChunkedReader(images, dataset, axis)
    return HDF5Reader(images, dataset, axis)


def _open_images(images: ImageSet) -> h5py.Dataset:
    """Return the dataset of the images, whose file closes when nothing refers to it any more.

    Each chunk is read once by whoever reads it, so none is kept: many open files would keep many.
    """
    assert images.path is not None
    file = open_read_only(images.path, rdcc_nbytes=0)
    return open_dataset(file, images.images_key, images.follow_links)


class ContiguousReader:
    """Any images of a contiguous dataset, by `preadv`.

    Nearly as quick as a memory map, and a file that is cut meanwhile gives an error; a map would
    end the process with SIGBUS. The operating system keeps what was read in memory in either case.
    """

    def __init__(self, images: ImageSet, dataset: h5py.Dataset, offset: int, axis: int = 0) -> None:
        self.images, self.offset, self.axis = images, offset, axis
        self.path, self.shape, self.dtype = dataset.file.filename, dataset.shape, dataset.dtype
        self.bytes = math.prod(self.shape[axis + 1 :]) * self.dtype.itemsize  # of one image's run

    def open(self) -> RawFile:
        return RawFile(self.path)

    def read(self, handle: RawFile, rows: slice | np.ndarray) -> np.ndarray:
        starts = [rows.start] if isinstance(rows, slice) else rows.tolist()
        count = rows.stop - rows.start if isinstance(rows, slice) else len(starts)
        before, after = self.shape[: self.axis], self.shape[self.axis + 1 :]
        values = np.empty((*before, count, *after), self.dtype)
        content = values.reshape(-1).view(np.uint8).data
        size = count // max(1, len(starts)) * self.bytes
        position, read_into = 0, handle.read_into
        for line in range(math.prod(before)):  # one, where the images are on the first axis
            first = self.offset + line * self.shape[self.axis] * self.bytes
            for row in starts:
                part, place = content[position : position + size], first + row * self.bytes
                if read_into(part, place) != size:
                    raise damaged_data_error(self.images, "the file has become shorter")
                position += size
        return np.moveaxis(values, self.axis, 0) if self.axis else values


class HDF5Reader:
    """Slices of a dataset through HDF5 itself, with any filter that it has."""

    def __init__(self, images: ImageSet, dataset: h5py.Dataset, axis: int = 0) -> None:
        self.images, self.axis = images, axis
        check_dataset_header(f"'{images.images_key}' in {images.name}", dataset)

    def open(self) -> h5py.Dataset:
        return _open_images(self.images)

    def read(self, handle: h5py.Dataset, rows: slice) -> np.ndarray:
        with translate_read_errors(self.images):
            return np.moveaxis(handle[(*[slice(None)] * self.axis, rows)], self.axis, 0)


class AssembledReader:
    """Slices of a dataset in other files, which are opened when they are read."""

    def __init__(self, images: ImageSet, parts: Assembly, path: Path) -> None:
        self.images, self.parts, self.path = images, parts, path
        self.axis = find_row_axis(images.axes, len(parts.shape))

    def open(self) -> RawFile:
        return RawFile(self.path)

    def read(self, handle: RawFile, rows: slice) -> np.ndarray:
        box = [slice(0, size) for size in self.parts.shape]
        box[self.axis] = rows
        with translate_read_errors(self.images):
            return np.moveaxis(self.parts.read(tuple(box)), self.axis, 0)


def _status(handle: RawFile | EncodedPictures | h5py.Dataset) -> os.stat_result:
    """Return the status of the open file."""
    if not isinstance(handle, h5py.Dataset):
        return os.fstat(handle.descriptor)
    return os.fstat(h5py.h5i.get_file_id(handle.id).get_vfd_handle())
