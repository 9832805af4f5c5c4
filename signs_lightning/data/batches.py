"""Whole batches: from mapped or read files, in an order that depends on seed and epoch alone, in exact shares for many processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from signs_lightning.data.h5 import ImageSet
from signs_lightning.errors import InputError

IN_MEMORY_BYTES = (
    256 * 2**20
)  # a compressed or chunked file up to this size is unpacked once instead of for every batch
FILLER = -1  # index, and label, of an image that only fills a share up and that nobody counts


class ImageReader:
    """Random access to the images of one `ImageSet`, as bytes.

    A contiguous dataset is memory-mapped: full random access without a copy, a lock or memory of our own. Others are read through
    h5py, small ones once. Files are opened at the first read of each process, so that no handle crosses a fork or a pickle.
    """

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self._source: np.ndarray | h5py.Dataset | None = None
        self._process: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"images": self.images, "_source": None, "_process": None}

    def read(self, indices: np.ndarray) -> np.ndarray:
        """int64 (n,) indices in any order → uint8 (n, H, W, C)."""
        if self._process != os.getpid():
            self._source, self._process = _open(self.images), os.getpid()
        source = self._source
        assert source is not None  # for the type checker
        if not isinstance(source, h5py.Dataset):
            return self._as_bytes(source[indices])
        wanted, place = np.unique(indices, return_inverse=True)  # h5py wants them sorted and different
        with _readable(self.images):
            return self._as_bytes(source[wanted])[place]

    def _as_bytes(self, values: np.ndarray) -> np.ndarray:
        if self.images.unit:
            values = values * 255
        return values if values.dtype == np.uint8 else np.rint(values).astype(np.uint8)


def _open(images: ImageSet) -> np.ndarray | h5py.Dataset:
    if images.array is not None:
        return images.array
    assert images.path is not None  # for the type checker: an ImageSet has an array or a path
    dataset = h5py.File(images.path, "r")[images.images_key]
    offset = dataset.id.get_offset()
    # An unwritten dataset reports an offset, too, but stores fewer bytes than it has.
    if dataset.chunks is None and offset is not None and dataset.id.get_storage_size() == dataset.nbytes:
        return np.memmap(images.path, dataset.dtype, "r", offset, dataset.shape)
    with _readable(images):
        return dataset[()] if dataset.nbytes <= IN_MEMORY_BYTES else dataset


@contextmanager
def _readable(images: ImageSet) -> Iterator[None]:
    """Bytes that cannot be read or unpacked become a sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"'{images.images_key}' in {images.name} is damaged: {error}. Fetch or write it again."
        ) from error


class H5Images(Dataset):
    """Images with labels out of one or several `ImageSet`s, read by the batch.

    Args:
        shards: the sets, one after the other.
        subset: int64 indices into all their images; all of them when omitted.

    Attributes:
        labels: int64 (N,).
    """

    def __init__(self, shards: Sequence[ImageSet], subset: np.ndarray | None = None) -> None:
        self.readers = [ImageReader(shard) for shard in shards]
        self.starts = np.cumsum([0] + [len(shard.labels) for shard in shards])
        labels = np.concatenate([shard.labels for shard in shards])
        self.subset = np.arange(len(labels)) if subset is None else np.asarray(subset, dtype=np.int64)
        self.labels = labels[self.subset]

    def __len__(self) -> int:
        return len(self.subset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One image uint8 (H, W, C) and its label int64 ()."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch: images uint8 (N, H, W, C), labels int64 (N,); a filler is the first image with label -1."""
        wanted = np.asarray(indices, dtype=np.int64)
        filler = wanted == FILLER
        wanted = np.where(filler, 0, wanted)
        labels = np.where(filler, FILLER, self.labels[wanted])
        wanted = self.subset[wanted]
        if len(self.readers) == 1:
            images = self.readers[0].read(wanted)
        else:
            images = np.empty((len(wanted), *self.readers[0].images.shape[1:]), np.uint8)
            shard = np.searchsorted(self.starts, wanted, side="right") - 1
            for k in np.unique(shard):
                here = shard == k
                images[here] = self.readers[k].read(wanted[here] - self.starts[k])
        return torch.from_numpy(images), torch.from_numpy(labels)


def as_it_is(batch: Any) -> Any:
    """Collation for data sets that give whole batches."""
    return batch


class EpochSampler(DistributedSampler):
    """The indices of one process in one epoch, from seed and epoch alone.

    A DistributedSampler, so that Lightning leaves it in place; its own sampler pads validation and test shares with images that
    are then counted twice.

    Args:
        size: number of images.
        shuffle: a new order every epoch, else file order.
        seed: of the order.
        rank: this process, 0..world_size-1.
        world_size: number of processes.
        exact: fill shares up with `FILLER` instead of repeated images, for validation and test.
    """

    def __init__(
        self, size: int, shuffle: bool, seed: int, rank: int = 0, world_size: int = 1, exact: bool = False
    ) -> None:
        super().__init__(range(size), world_size, rank, shuffle, seed)  # type: ignore[arg-type]
        self.exact = exact
        self.start = 0  # images of this share that a resumed epoch has already seen

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)  # type: ignore[arg-type]
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(size, generator=generator)
        else:
            order = torch.arange(size)
        missing = self.total_size - size  # shares are equal, so that every process takes the same number of steps
        if missing:
            extra = torch.full((missing,), FILLER) if self.exact else order.repeat(-(-missing // size))[:missing]
            order = torch.cat([order, extra])
        return iter(order[self.rank :: self.num_replicas][self.start :].tolist())


class BatchLoader(DataLoader):
    """A DataLoader that knows which batch comes next, so that a checkpoint inside an epoch resumes at the image it stopped at."""

    _next = 0
    _resume_at = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._next, self._resume_at = self._resume_at, 0
        if isinstance(self.sampler, EpochSampler):
            self.sampler.start = self._next * (self.batch_size or 1)
        for batch in super().__iter__():
            self._next += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps: the number of batches of this epoch that were handed out."""
        return {"batches": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next epoch begin after that many batches; an epoch that was complete is not resumed."""
        self._resume_at = state["batches"] if state["batches"] < len(self) else 0


def stratified_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
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
        owed = min(owed - take, 0.5)  # what a class too small could not give is not taken from another
        chosen.append(members[:take])
    second = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), second), second
