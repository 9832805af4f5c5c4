"""Whole batches: mapped, streamed or resident, in an order that depends on seed and epoch alone, in exact shares for many processes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.readers import ImageReader
from signs_lightning.data.sampler import PAD_INDEX

ReadingMode = Literal["mapped", "streamed", "resident"]


class H5Images(Dataset):
    """Images with labels out of one or several `ImageSet`s, read by the batch.

    Args:
        shards: the sets, one after the other.
        subset: int64 indices into all their images, sorted; all of them when omitted.

    Attributes:
        labels: int64 (N,).
        reading: "mapped": every batch comes out of the file (or array), which the operating system
            keeps in memory as far as there is room; "resident": all images lie in memory or on a
            device, after `load`; "streamed": in blocks, by `stream_batches`.
    """

    def __init__(self, shards: Sequence[ImageSet], subset: np.ndarray | None = None) -> None:
        self.readers = [ImageReader(shard) for shard in shards]
        self.starts = np.cumsum([0] + [len(shard.labels) for shard in shards])
        labels = np.concatenate([shard.labels for shard in shards])
        self.subset = (
            np.arange(len(labels)) if subset is None else np.asarray(subset, dtype=np.int64)
        )
        self.labels = labels[self.subset]
        self.reading: ReadingMode = "mapped"
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self.subset)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_resident": None,
        }  # a copy in another process reads the file itself

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width (pixels) and channels in the file."""
        return self.readers[0].images.shape[1:]

    @property
    def nbytes(self) -> int:
        """Bytes of all images as uint8."""
        return len(self) * math.prod(self.image_shape)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One image uint8 (H, W, C) and its label int64 ()."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch: images uint8 (N, H, W, C), labels int64 (N,); a filler is the first image with label -1."""
        wanted = np.asarray(indices, dtype=np.int64)
        filler = wanted == PAD_INDEX
        wanted = np.where(filler, 0, wanted)
        labels = torch.from_numpy(np.where(filler, PAD_INDEX, self.labels[wanted]))
        if self._resident is not None:
            device = self._resident.device
            return self._resident.index_select(0, torch.from_numpy(wanted).to(device)), labels.to(
                device
            )
        wanted = self.subset[wanted]
        if len(self.readers) == 1:
            images = self.readers[0].take(wanted)
        else:
            images = np.empty((len(wanted), *self.image_shape), np.uint8)
            shard = np.searchsorted(self.starts, wanted, side="right") - 1
            for k in np.unique(shard):
                here = shard == k
                images[here] = self.readers[k].take(wanted[here] - self.starts[k])
        return torch.from_numpy(images), labels

    @cached_property
    def blocks(self) -> np.ndarray:
        """int64 (B + 1,): first image of each block that is best read at once, and N."""
        shard = np.searchsorted(self.starts, self.subset, side="right") - 1
        length = np.array([reader.layout.block for reader in self.readers])[shard]
        block = (self.subset - self.starts[shard]) // length
        new = (np.diff(shard) != 0) | (np.diff(block) != 0)
        return np.concatenate([[0], np.flatnonzero(new) + 1, [len(self)]])

    def read_sorted(self, indices: np.ndarray) -> np.ndarray:
        """Sorted, different int64 (n,) indices → uint8 (n, H, W, C), each block once, on as many threads as there are cores."""
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        edges = np.searchsorted(indices, self.blocks)  # where in `indices` each block begins

        def read(block: int) -> None:
            low, high = edges[block], edges[block + 1]
            rows = self.subset[indices[low:high]]
            shard = int(np.searchsorted(self.starts, rows[0], side="right")) - 1
            rows = rows - self.starts[shard]
            first, last = int(rows[0]), int(rows[-1]) + 1
            part = self.readers[shard].read(first, last)
            images[low:high] = part if last - first == high - low else part[rows - first]

        wanted = np.flatnonzero(np.diff(edges)).tolist()
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        if min(cores, len(wanted)) == 1:
            for block in wanted:
                read(block)
        else:
            with ThreadPoolExecutor(cores, "unpack") as threads:
                list(threads.map(read, wanted))
        return images

    @property
    def resident_on(self) -> torch.device | None:
        """Where the images are held, None where they are read anew."""
        return None if self._resident is None else self._resident.device

    def load(self, device: torch.device | str = "cpu") -> None:
        """Makes the images resident: uint8, in memory or on a device, where a batch is an index selection."""
        device = torch.device(device)
        if self.resident_on == device:
            return
        if device.type == "cpu":
            self._resident = torch.from_numpy(self.read_sorted(np.arange(len(self))))
        else:
            self._resident = torch.empty(
                (len(self), *self.image_shape), dtype=torch.uint8, device=device
            )
            step = max(1, 2**26 // math.prod(self.image_shape))
            for low in range(0, len(self), step):
                part = self.read_sorted(np.arange(low, min(low + step, len(self))))
                self._resident[low : low + len(part)] = torch.from_numpy(part)
        self.reading = "resident"
