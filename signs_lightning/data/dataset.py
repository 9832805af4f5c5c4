"""Whole batches: mapped, streamed or resident, in an order that depends on seed and epoch alone, in exact shares for many processes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.readers import ImageReader
from signs_lightning.data.shuffle_buffer import block_order, stream_batches
from signs_lightning.errors import InputError

PAD_INDEX = -1  # index, and label, of an image that only fills a share up and that nobody counts
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


def identity_collate(batch: Any) -> Any:
    """Collation for data sets that give whole batches."""
    return batch


class EpochSampler(DistributedSampler):
    """The indices of one process in one epoch, from seed and epoch alone.

    A DistributedSampler, so that Lightning leaves it in place; its own sampler pads validation and
    test shares with images that are then counted twice.

    Args:
        size: number of images.
        shuffle: a new order every epoch, else file order.
        seed: of the order.
        rank: this process, 0..world_size-1.
        world_size: number of processes.
        exact: fill shares up with `PAD_INDEX` instead of repeated images, for validation and test.
        blocks: for streams: int64 (B + 1,) first image of each block, and `size`. Shares are then
            in one piece, and what is shuffled are blocks, and images within groups of them.
        group_size: for streams: number of images that a group of blocks may have.
    """

    def __init__(
        self,
        size: int,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        exact: bool = False,
        blocks: np.ndarray | None = None,
        group_size: int = 0,
    ) -> None:
        super().__init__(range(size), world_size, rank, shuffle, seed)  # type: ignore[arg-type]
        self.exact = exact
        self.blocks = blocks
        self.blocks_in_group = (
            1 if blocks is None else max(1, group_size // int(np.diff(blocks).max()))
        )
        self.start = 0  # images of this share that a resumed epoch has already seen

    def share(self) -> tuple[Tensor, list[int]]:
        """This process's whole share of the epoch, int64 (n,), and where its groups end."""
        size = len(self.dataset)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        ends = (
            [size]
            if self.blocks is None
            else [*self.blocks[self.blocks_in_group :: self.blocks_in_group].tolist(), size]
        )
        if not self.shuffle:
            order = torch.arange(size)
        elif self.blocks is None:
            order = torch.randperm(size, generator=generator)
        else:
            cuts = range(self.num_samples, size, self.num_samples)
            order, ends = block_order(self.blocks, self.blocks_in_group, generator, cuts)
        missing = (
            self.total_size - size
        )  # shares are equal, so that every process takes the same number of steps
        if missing:
            extra = (
                torch.full((missing,), PAD_INDEX)
                if self.exact
                else order.repeat(-(-missing // size))[:missing]
            )
            order = torch.cat([order, extra])
        if self.blocks is None:
            return order[self.rank :: self.num_replicas], [self.num_samples]
        low = self.rank * self.num_samples
        ends = sorted(
            {end - low for end in ends if 0 < end - low < self.num_samples} | {self.num_samples}
        )
        return order[low : low + self.num_samples], ends

    def __iter__(self) -> Iterator[int]:
        order = self.share()[0][self.start :]
        for part in order.split(4096):  # Python's integers are many times as large
            yield from part.tolist()


class BatchLoader(DataLoader):
    """A DataLoader that knows which batch comes next, so that a checkpoint inside an epoch resumes at the image it stopped at."""

    _next = 0
    _resume_at = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._next, self._resume_at = self._resume_at, 0
        start = self._next * (self.batch_size or 1)
        if isinstance(self.sampler, EpochSampler):
            self.sampler.start = start
        streamed = isinstance(self.dataset, H5Images) and self.dataset.reading == "streamed"
        with _worker_errors():
            for batch in self._stream(start) if streamed else super().__iter__():
                self._next += 1
                yield batch

    def _stream(self, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        sampler, dataset = self.sampler, self.dataset
        assert isinstance(dataset, H5Images)
        size = self.batch_size or 1
        if isinstance(sampler, EpochSampler):
            share, group_ends = sampler.share()
            order = share.numpy()
        else:  # Lightning's own for --trainer.overfit_batches
            order = np.fromiter(sampler, np.int64)
            group_ends = [*range(16 * size, len(order), 16 * size), len(order)]
        filler = order == PAD_INDEX
        order = np.where(filler, max(order.max(), 0), order)  # an image that is read anyway
        position = start
        for indices, images in stream_batches(dataset.read_sorted, order, group_ends, size, start):
            labels = np.where(
                filler[position : position + len(indices)], PAD_INDEX, dataset.labels[indices]
            )
            position += len(indices)
            yield torch.from_numpy(images), torch.from_numpy(labels)

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps: the number of batches of this epoch that were handed out."""
        return {"batches": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next epoch begin after that many batches; an epoch that was complete is not resumed."""
        self._resume_at = state["batches"] if state["batches"] < len(self) else 0


@contextmanager
def _worker_errors() -> Iterator[None]:
    """What ends a process that reads ahead becomes a sentence, without the traceback that PyTorch puts around it."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).rpartition("InputError: ")[2].strip()) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            "A process that reads images ahead was ended from outside, as it happens when memory "
            "runs out. Go on with "
            "`fit --ckpt_path` and the run folder, or with --data.num_workers 0."
        ) from error


def stratified_split(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits 0..N-1 so that every class has its share on both sides (to within one image).

    Args:
        labels: int64 (N,).
        fraction: share of the second part, in 0..1 (exclusive).
        seed: of the choice.

    Returns:
        Sorted int64 indices of the first part and of the second.
    """
    rng = np.random.default_rng(seed)
    chosen, owed = [], 0.0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        owed += len(members) * fraction  # rounding is carried on, so that the total is right, too
        take = min(round(owed), len(members) - 1)
        owed = min(
            owed - take, 0.5
        )  # what a class too small could not give is not taken from another
        chosen.append(members[:take])
    second = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), second), second
