"""Images with labels, read by the batch: from their files, or out of memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.sampler import PAD_INDEX
from signs_lightning.runtime.cores import count_cores
from signs_lightning.runtime.value_ranges import Range

COPY_BYTES = 2**26  # of images that are copied to a device at a time
ReadingMode = Literal["mapped", "streamed", "resident"]


class H5Images(Dataset):
    """Images with labels out of one or several `ImageSet`s, read by the batch.

    Args:
        image_sets: the sets, one after the other.
        subset: int64 indices into all their images, sorted; all of them when omitted.

    Attributes:
        labels: int64 (N,), or of a task float (N, K).
        reading: "mapped": every batch is read from the file (or array), which the operating system
            keeps in memory as far as there is room; "resident": all images are in memory or on a
            device, after `load`; "streamed": in blocks, by `stream_batches`.
    """

    def __init__(self, image_sets: Sequence[ImageSet], subset: np.ndarray | None = None) -> None:
        self.readers = [ImageReader(images) for images in image_sets]
        self.starts = np.cumsum([0] + [len(images.labels) for images in image_sets])
        labels = np.concatenate([images.labels for images in image_sets])
        self.subset = np.asarray(np.arange(len(labels)) if subset is None else subset, np.int64)
        self.labels = labels[self.subset]
        self.reading: ReadingMode = "mapped"
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self.subset)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_resident": None}  # another process reads the file itself

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width (pixels) and channels in the file."""
        return self.readers[0].images.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the images, which is that of all files."""
        return self.readers[0].images.dtype

    @property
    def image_bytes(self) -> int:
        """Bytes of an image in memory."""
        return math.prod(self.image_shape) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all images in memory."""
        return len(self) * self.image_bytes

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one image (H, W, C) and its label int64 (), or of a task float (K,)."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return a batch; `PAD_INDEX` gives the first image, with a label that is none.

        Returns:
            images (N, H, W, C) of `dtype`, and their labels, as of `labels_of`.
        """
        positions = np.asarray(indices, np.int64)
        is_padding = positions == PAD_INDEX
        positions = np.where(is_padding, 0, positions)
        labels = self.labels_of(positions, is_padding)
        if self._resident is not None:
            numbers = torch.from_numpy(positions)
            if labels.ndim == 2:
                return _select(self._resident, _follow(numbers, self._resident)), labels
            numbers = _follow(torch.stack([numbers, labels]), self._resident)
            return _select(self._resident, numbers[0]), numbers[1]
        rows = self.subset[positions]
        if len(self.readers) == 1:
            return torch.from_numpy(self.readers[0].take(rows)), labels
        images = np.empty((len(rows), *self.image_shape), self.dtype)
        set_numbers = self._find_sets(rows)
        for k in np.unique(set_numbers):
            in_set = set_numbers == k
            images[in_set] = self.readers[k].take(rows[in_set] - self.starts[k])
        return torch.from_numpy(images), labels

    def labels_of(self, positions: np.ndarray, is_padding: np.ndarray) -> Tensor:
        """Return labels of images, where padding has none: -1, or rows of NaN.

        Args:
            positions: of the images, int64 (N,).
            is_padding: which of them only fill a share, bool (N,).

        Returns:
            int64 (N,), or of a task float32 or float64 (N, K).
        """
        labels = self.labels[positions]
        if labels.ndim == 1:
            return torch.from_numpy(np.where(is_padding, PAD_INDEX, labels))
        labels[is_padding] = np.nan  # a copy: `positions` are an array
        return torch.from_numpy(labels)

    def _find_sets(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of the set that each image is in."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    @cached_property
    def blocks(self) -> np.ndarray:
        """int64 (B + 1,): first image of each block that is best read at once, and N."""
        set_numbers = self._find_sets(self.subset)
        lengths = np.array([reader.layout.block for reader in self.readers])[set_numbers]
        block_numbers = (self.subset - self.starts[set_numbers]) // lengths
        is_new = (np.diff(set_numbers) != 0) | (np.diff(block_numbers) != 0)
        return np.concatenate([[0], np.flatnonzero(is_new) + 1, [len(self)]])

    def read_sorted(self, indices: np.ndarray) -> np.ndarray:
        """Read images block by block, on as many threads as there are cores.

        Images that are resident are not read again.

        Args:
            indices: sorted, different int64 (n,).

        Returns:
            (n, H, W, C) of `dtype`.
        """
        if self._resident is not None:
            selected = torch.from_numpy(indices).to(self._resident.device)
            return _select(self._resident, selected).cpu().numpy()
        images = np.empty((len(indices), *self.image_shape), self.dtype)
        edges = np.searchsorted(indices, self.blocks)  # where in `indices` each block begins

        def read_block(block: int) -> None:
            low, high = edges[block], edges[block + 1]
            rows = self.subset[indices[low:high]]
            k = int(self._find_sets(rows[:1])[0])
            rows = rows - self.starts[k]
            first, last = int(rows[0]), int(rows[-1]) + 1
            block_images = self.readers[k].read(first, last)
            is_whole = last - first == high - low
            images[low:high] = block_images if is_whole else block_images[rows - first]

        with ThreadPoolExecutor(count_cores(), "unpack") as threads:
            list(threads.map(read_block, np.flatnonzero(np.diff(edges)).tolist()))
        return images

    @property
    def resident_on(self) -> torch.device | None:
        """Where the images are held, None where they are read anew."""
        return None if self._resident is None else self._resident.device

    def load(self, device: torch.device | str = "cpu") -> None:
        """Make the images resident on a device, where a batch is an index selection."""
        device = torch.device(device)
        if self.resident_on == device:
            return
        if device.type == "cpu":
            self._resident = torch.from_numpy(self.read_sorted(np.arange(len(self))))
        else:
            shape = (len(self), *self.image_shape)
            dtype = torch.from_numpy(np.empty(0, self.dtype)).dtype
            loaded = torch.empty(shape, dtype=dtype, device=device)
            step = max(1, COPY_BYTES // self.image_bytes)
            for low in range(0, len(self), step):
                images = self.read_sorted(np.arange(low, min(low + step, len(self))))
                loaded[low : low + len(images)] = torch.from_numpy(images)
            self._resident = loaded
        self.reading = "resident"


def _follow(numbers: Tensor, images: Tensor) -> Tensor:
    """Return numbers on the device of the images.

    On a GPU they come behind the work that it still has: memory that is not pinned would make this
    process wait until that is done, at every step.
    """
    if not images.is_cuda:
        return numbers
    return numbers.pin_memory().to(images.device, non_blocking=True)


def _select(images: Tensor, numbers: Tensor) -> Tensor:
    """Return some of the images; PyTorch has no such kernel of uint16 for GPUs."""
    if images.dtype != torch.uint16:
        return images.index_select(0, numbers)
    return images.view(torch.int16).index_select(0, numbers).view(torch.uint16)


def channel_moments(images: H5Images, numbers: Range) -> list[list[float]]:
    """Return mean and deviation of each channel, of values in 0..1; 1 where all are alike.

    Args:
        images: all of which are read once, block by block.
        numbers: the numbers that are black and white.
    """
    low, high = numbers
    step = max(1, COPY_BYTES // images.image_bytes)
    sums = np.zeros((2, images.image_shape[2]))
    for start in range(0, len(images), step):
        block = images.read_sorted(np.arange(start, min(start + step, len(images))))
        for image in block:
            unit = (image.astype(np.float64) - low) / (high - low)
            sums += unit.sum((0, 1)), (unit**2).sum((0, 1))
    mean, square = sums / (len(images) * math.prod(images.image_shape[:2]))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return [mean.tolist(), np.where(deviation > 1e-9, deviation, 1.0).tolist()]
