"""Images in chunks, read past HDF5, and put together from their pieces."""

from __future__ import annotations

import itertools
import math
import os
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from operator import floordiv
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.hdf5_dataset_checks import max_deflated
from signs_lightning.data.hdf5_filters import DEFLATE, SHUFFLE, list_filters
from signs_lightning.data.image_set import ImageSet, damaged_data_error, translate_read_errors
from signs_lightning.data.open_handles import RawFile
from signs_lightning.runtime.cores import count_cores

SMALL_RUN_BYTES = 8  # shorter runs of an image in a chunk are gathered by one index
CACHED_BYTES = 2**20  # of images that are gathered at a time
MAX_CHUNKS = 2**22  # whose places in the file are kept in memory


class ChunkedReader:
    """Slices of a dataset in chunks, past HDF5.

    HDF5 unpacks on one thread, and is slow where chunks cut images into pieces. This reads with
    `pread` and zlib alone, and both let other threads run.
    """

    @staticmethod
    def can_read(dataset: h5py.Dataset) -> bool:
        """Whether the chunks are stored plainly, shuffled or by gzip, and few enough."""
        is_listable = hasattr(dataset.id, "chunk_iter") and not dataset.file.userblock_size
        if dataset.chunks is None or not is_listable:
            return False
        has_order = list_filters(dataset) in ([], [SHUFFLE], [DEFLATE], [SHUFFLE, DEFLATE])
        return has_order and math.prod(_grid(dataset)) <= MAX_CHUNKS

    def __init__(self, images: ImageSet, dataset: h5py.Dataset, axis: int = 0) -> None:
        self.images, self.path, self.axis = images, dataset.file.filename, axis
        self.dtype = dataset.dtype
        self.filters, self.fill = list_filters(dataset), dataset.fillvalue
        self.stored_chunk = dataset.chunks
        self.bytes = math.prod(dataset.chunks) * self.dtype.itemsize
        # The axis of the images comes first from here on.
        self.chunk, self.shape = (
            (sizes[axis], *sizes[:axis], *sizes[axis + 1 :])
            for sizes in (dataset.chunks, dataset.shape)
        )
        image, piece = self.shape[1:], self.chunk[1:]
        run = 1  # values of an image that lie beside each other in a chunk
        for size, step in zip(image[::-1], piece[::-1], strict=True):
            run *= step
            if step < size:
                break
        is_cut = piece != image and all(np.less_equal(piece, image))
        is_fine = is_cut and run * self.dtype.itemsize < SMALL_RUN_BYTES
        self.order = _gather_order(image, piece) if is_fine else None
        self.ranges = [[slice(None)]]  # of images, and of the pieces along each axis
        for size, step in zip(image, piece, strict=True):
            self.ranges.append([slice(low, low + step) for low in range(0, size, step)])
        # Of each chunk: byte offset, size, mask of filters left out
        places = np.full((*_grid(dataset), 3), -1, np.int64)

        def note(chunk: Any) -> None:
            corner = tuple(map(floordiv, chunk.chunk_offset, self.stored_chunk))
            places[corner] = chunk.byte_offset, chunk.size, chunk.filter_mask

        with translate_read_errors(images):
            dataset.id.chunk_iter(note)
        self.places = np.moveaxis(places, axis, 0)

    def open(self) -> RawFile:
        return RawFile(self.path)

    def read(self, handle: RawFile, rows: slice) -> np.ndarray:
        low, high = rows.start, rows.stop
        values = np.empty((high - low, *self.shape[1:]), self.dtype)
        for k in range(low // self.chunk[0], -(-high // self.chunk[0])):
            first, last = max(low, k * self.chunk[0]), min(high, (k + 1) * self.chunk[0])
            part = slice(first - k * self.chunk[0], last - k * self.chunk[0])
            places = self.places[k].reshape(-1, 3).tolist()

            def unpack(place: list[int], part: slice = part) -> Any:
                chunk = self._unpack(handle, *place)
                return self.fill if chunk is None else chunk[part]

            images = values[first - low : last - low]
            if self.order is None:
                self._paste(places, unpack, images)
            else:
                self._gather(places, unpack, images, self.order)
        return values

    def _paste(
        self, places: list[list[int]], unpack: Callable[[list[int]], Any], images: np.ndarray
    ) -> None:
        """Put pieces (n, h, w, c) of n images to their places in the images (n, H, W, C).

        Their axes are those of the file, in any order behind that of the images.
        """

        def put(area: tuple[slice, ...], place: list[int]) -> None:
            piece, target = unpack(place), images[area]
            if target.shape[1:] != self.chunk[1:] and not np.isscalar(piece):
                # The last chunks reach beyond the dataset.
                piece = piece[(slice(None), *map(slice, target.shape[1:]))]
            target[...] = piece

        _for_each(put, itertools.product(*self.ranges), places)

    def _gather(
        self,
        places: list[list[int]],
        unpack: Callable[[list[int]], Any],
        images: np.ndarray,
        order: np.ndarray,
    ) -> None:
        """Do the same for small pieces, laid side by side and then put in order.

        It is done for a few images at a time, which stay in the processor's cache. Putting piece
        after piece into all images reaches for memory at every few bytes, which takes several times
        as long.
        """
        count, length = len(places), math.prod(self.chunk[1:])
        beside = np.empty((count, len(images), length), self.dtype)
        step = max(1, CACHED_BYTES // (beside.itemsize * count * length))

        def lay(k: int, place: list[int]) -> None:
            piece = unpack(place)
            beside[k] = piece if np.isscalar(piece) else piece.reshape(len(images), -1)

        def put_in_order(start: int) -> None:
            few = beside[:, start : start + step].swapaxes(0, 1).reshape(-1, count * length)
            target = images[start : start + step].reshape(len(few), -1)
            np.take(few, order, axis=1, out=target, mode="clip")  # "raise" would copy the target

        _for_each(lay, range(count), places)
        _for_each(put_in_order, range(0, len(images), step))

    def _unpack(
        self, handle: RawFile, offset: int, size: int, filter_mask: int
    ) -> np.ndarray | None:
        """Return a chunk, the axis of the images in front; None for one never written."""
        if size < 0:
            return None
        packed_by = [code for k, code in enumerate(self.filters) if not filter_mask >> k & 1]
        is_packed = DEFLATE in packed_by
        most = max_deflated(self.bytes) if is_packed else self.bytes
        content = handle.read(size, offset) if 0 < size <= most else b""
        if is_packed:
            try:
                content = zlib.decompressobj().decompress(content, self.bytes)
            except zlib.error as error:
                raise damaged_data_error(self.images, error) from error
        if len(content) != self.bytes:
            reason = f"a chunk has {len(content):,} bytes instead of {self.bytes:,}"
            raise damaged_data_error(self.images, reason)
        values = np.frombuffer(content, np.uint8)
        if SHUFFLE in packed_by and self.dtype.itemsize > 1:
            values = _unshuffle(values, self.dtype.itemsize)
        chunk = values.view(self.dtype).reshape(self.stored_chunk)
        return np.moveaxis(chunk, self.axis, 0) if self.axis else chunk


def _for_each(action: Callable[..., None], *arguments: Iterable[Any]) -> None:
    """Call an action with each of the arguments, on as many threads as there are cores.

    Its threads are not those that read blocks, which wait for it: a few large chunks that hold many
    images would keep one thread busy, and leave the others with nothing to do.
    """
    calls = list(zip(*arguments, strict=True))
    if len(calls) == 1:
        action(*calls[0])
    else:
        list(_piece_threads(os.getpid()).map(lambda call: action(*call), calls))


@cache
def _piece_threads(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a fork has none of its parent's."""
    return ThreadPoolExecutor(count_cores(), "pieces")


def _unshuffle(shuffled: np.ndarray, itemsize: int) -> np.ndarray:
    """Return the bytes of values, of which all first bytes lie together, then all second ones, …"""
    values = np.empty((len(shuffled) // itemsize, itemsize), np.uint8)
    for k, part in enumerate(shuffled.reshape(itemsize, -1)):
        values[:, k] = part  # several times as quick as a copy of the transposed array
    return values.reshape(-1)


def _grid(dataset: h5py.Dataset) -> list[int]:
    """Return the number of chunks along each axis."""
    return [-(-size // step) for size, step in zip(dataset.shape, dataset.chunks, strict=True)]


def _gather_order(shape: tuple[int, ...], piece: tuple[int, ...]) -> np.ndarray:
    """Return where each value of an image is among its pieces, intp (H·W·C,).

    Args:
        shape: H, W, C of the image, in any order, or fewer of them.
        piece: h, w, c of a piece, in the same order.
    """
    counts = [-(-size // step) for size, step in zip(shape, piece, strict=True)]
    places = np.arange(math.prod(counts) * math.prod(piece)).reshape(*counts, *piece)
    # (down, across, deep, h, w, c) -> (down, h, across, w, deep, c): the last pieces reach beyond
    rank = len(shape)
    places = places.transpose([axis for k in range(rank) for axis in (k, rank + k)])
    places = places.reshape([count * step for count, step in zip(counts, piece, strict=True)])
    return places[tuple(map(slice, shape))].ravel()
