"""Images that lie in chunks, past HDF5's own reading, and put together where chunks cut them into pieces."""

from __future__ import annotations

import math
import os
import weakref
import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.hdf5_checks import DEFLATE, SHUFFLE, filters_of
from signs_lightning.data.image_set import ImageSet, damaged_data_error, translate_read_errors

# bytes; where fewer of an image lie beside each other in a chunk, they are put together otherwise
SMALL_CHUNK_BYTES = 8
CACHED = 2**20  # bytes of images that are put together at a time
MAX_CHUNKS = 2**22  # whose places in the file are kept in memory


class ChunkedReader:
    """Slices of a dataset in chunks, past HDF5, which unpacks on one thread and is slow where chunks cut images into pieces.

    What is read is `pread` and zlib alone, and both let other threads run.
    """

    @staticmethod
    def suit(dataset: h5py.Dataset) -> bool:
        """Whether the chunks are stored plainly or by gzip (whose byte shuffle changes nothing for single bytes)."""
        if (
            dataset.chunks is None
            or dataset.file.userblock_size
            or not hasattr(dataset.id, "chunk_iter")
        ):
            return False
        chunks = math.prod(
            -(-size // step) for size, step in zip(dataset.shape, dataset.chunks, strict=True)
        )
        codes = filters_of(dataset)
        plain = codes in ([], [DEFLATE]) or (
            codes == [SHUFFLE, DEFLATE] and dataset.dtype.itemsize == 1
        )
        return plain and chunks <= MAX_CHUNKS

    def __init__(self, images: ImageSet, dataset: h5py.Dataset) -> None:
        assert images.path is not None
        self.images = images
        self.shape, self.dtype, self.chunk = dataset.shape, dataset.dtype, dataset.chunks
        self.fill = dataset.fillvalue
        self.packed = dataset.compression == "gzip"
        self.bytes = math.prod(self.chunk) * self.dtype.itemsize
        grid = [-(-size // step) for size, step in zip(self.shape, self.chunk, strict=True)]
        image, piece = self.shape[1:], self.chunk[1:]
        run = (
            piece[2] if piece[2] < image[2] else piece[1] * piece[2]
        )  # an image's values that lie beside each other
        cut = piece != image and all(step <= size for step, size in zip(piece, image, strict=True))
        self.order = (
            _order(image, piece) if cut and run * self.dtype.itemsize < SMALL_CHUNK_BYTES else None
        )
        self.places = np.full(
            (*grid, 3), -1, np.int64
        )  # of each chunk: byte offset, size, mask of filters left out

        def note(chunk: Any) -> None:
            corner = tuple(
                start // step for start, step in zip(chunk.chunk_offset, self.chunk, strict=True)
            )
            self.places[corner] = chunk.byte_offset, chunk.size, chunk.filter_mask

        with translate_read_errors(images):
            dataset.id.chunk_iter(note)
        self.file = os.open(images.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)

    def __getitem__(self, rows: slice) -> np.ndarray:
        low, high = rows.start, rows.stop
        values = np.empty((high - low, *self.shape[1:]), self.dtype)
        for k in range(low // self.chunk[0], -(-high // self.chunk[0])):
            first, last = max(low, k * self.chunk[0]), min(high, (k + 1) * self.chunk[0])
            part = slice(first - k * self.chunk[0], last - k * self.chunk[0])
            chunks = (self._unpacked(*place) for place in self.places[k].reshape(-1, 3).tolist())
            pieces = (self.fill if chunk is None else chunk[part] for chunk in chunks)
            images = values[first - low : last - low]
            if self.order is None:
                self._paste(pieces, images)
            else:
                self._join(pieces, images, self.order)
        return values

    def _paste(self, pieces: Iterator[Any], images: np.ndarray) -> None:
        """Puts pieces (n, h, w, c) of n images to their places in the images (n, H, W, C)."""
        for corner in np.ndindex(*self.places.shape[1:-1]):
            area = tuple(
                slice(c * step, min((c + 1) * step, size))
                for c, step, size in zip(corner, self.chunk[1:], self.shape[1:], strict=True)
            )
            inside = tuple(
                slice(0, a.stop - a.start) for a in area
            )  # the last chunks reach beyond the dataset
            piece = next(pieces)
            images[(slice(None), *area)] = (
                piece if np.isscalar(piece) else piece[(slice(None), *inside)]
            )

    def _join(self, pieces: Iterator[Any], images: np.ndarray, order: np.ndarray) -> None:
        """The same for splinters: first the pieces of an image come side by side, then each value to its place, in the given order.

        It is done for a few images at a time, which stay in the processor's cache; pieces that are
        put into all images one after the other reach for memory at every few bytes, which takes
        several times as long.
        """
        beside = np.empty(
            (math.prod(self.places.shape[1:-1]), len(images), math.prod(self.chunk[1:])), self.dtype
        )
        for k, piece in enumerate(pieces):
            beside[k] = piece if np.isscalar(piece) else piece.reshape(len(images), -1)
        step = max(1, CACHED // (beside.itemsize * beside.shape[0] * beside.shape[2]))
        for start in range(0, len(images), step):
            few = (
                beside[:, start : start + step]
                .swapaxes(0, 1)
                .reshape(-1, beside.shape[0] * beside.shape[2])
            )
            target = images[start : start + step].reshape(len(few), -1)
            np.take(
                few, order, axis=1, out=target, mode="clip"
            )  # mode="raise" would copy the target

    def _unpacked(self, offset: int, size: int, left_out: int) -> np.ndarray | None:
        """One chunk; None for one that was never written."""
        if offset < 0:
            return None
        packed = self.packed and not left_out
        most = (
            self.bytes + self.bytes // 100 + 1024 if packed else self.bytes
        )  # what deflate can add at worst
        content = os.pread(self.file, size, offset) if 0 < size <= most else b""
        if packed:
            try:
                content = zlib.decompressobj().decompress(content, self.bytes)
            except zlib.error as error:
                raise damaged_data_error(self.images, error) from error
        if len(content) != self.bytes:
            raise damaged_data_error(
                self.images, f"a chunk has {len(content):,} bytes instead of {self.bytes:,}"
            )
        return np.frombuffer(content, self.dtype).reshape(self.chunk)


def _order(shape: tuple[int, ...], piece: tuple[int, ...]) -> np.ndarray:
    """Where each value of an image (H, W, C) is found once its pieces (h, w, c) lie side by side: intp (H·W·C,)."""
    (height, width, channels), (h, w, c) = shape, piece
    grid = [-(-size // step) for size, step in zip(shape, piece, strict=True)]
    # (pieces down, across, deep, h, w, c) -> (down, h, across, w, deep, c): the last pieces reach
    # beyond the image
    places = (
        np.arange(math.prod(grid) * math.prod(piece))
        .reshape(*grid, h, w, c)
        .transpose(0, 3, 1, 4, 2, 5)
    )
    return places.reshape(grid[0] * h, grid[1] * w, grid[2] * c)[:height, :width, :channels].ravel()
