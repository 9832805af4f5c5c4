"""A DataLoader that resumes inside an epoch, and streams shuffled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.layouts import Role
from signs_lightning.data.reading_mode import choose_reading
from signs_lightning.data.sampler import PAD_INDEX, EpochSampler
from signs_lightning.errors import InputError
from signs_lightning.runtime.rank_zero_print import rank_zero_print

if TYPE_CHECKING:
    from signs_lightning.data.datamodule import H5DataModule


def identity_collate(batch: Any) -> Any:
    """Return the batch of a data set that gives whole batches."""
    return batch


class BatchLoader(DataLoader):
    """A DataLoader that knows which batch comes next.

    So a checkpoint inside an epoch resumes at the image it stopped at.
    """

    _next = 0
    _resume_at = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._next, self._resume_at = self._resume_at, 0
        start = self._next * self._size
        if isinstance(self.sampler, EpochSampler):
            self.sampler.start = start
        is_streamed = isinstance(self.dataset, H5Images) and self.dataset.reading == "streamed"
        with _translate_worker_errors():
            for batch in self._stream(start) if is_streamed else super().__iter__():
                self._next += 1
                yield batch

    @property
    def _size(self) -> int:
        """Images in a batch, also of a loader that Lightning has given a batch sampler."""
        size = self.batch_size or getattr(self.batch_sampler, "batch_size", None)
        return size or 1

    def _stream(self, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches in the sampler's order, from a position in it."""
        sampler, dataset = self.sampler, self.dataset
        assert isinstance(dataset, H5Images)
        size = self._size
        if isinstance(sampler, EpochSampler):
            share, group_ends = sampler.share()
            order = share.numpy()
        else:  # Lightning's own for --trainer.overfit_batches
            order = np.fromiter(sampler, np.int64)
            group_ends = [*range(16 * size, len(order), 16 * size), len(order)]
        is_padding = order == PAD_INDEX
        order = np.where(is_padding, max(order.max(), 0), order)  # an image that is read anyway
        position = start
        for indices, images in stream_batches(dataset.read_sorted, order, group_ends, size, start):
            padding = is_padding[position : position + len(indices)]
            labels = dataset.labels_of(indices, padding)
            position += len(indices)
            yield torch.from_numpy(images), labels

    def state_dict(self) -> dict[str, int]:
        """Return what a checkpoint keeps: how many batches of this epoch were handed out."""
        return {"batches": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next epoch after that many batches, or anew if these are all."""
        self._resume_at = state["batches"] if state["batches"] < len(self) else 0


def make_loader(
    data: H5DataModule, role: Role, dataset: H5Images, shuffle: bool, exact: bool
) -> BatchLoader:
    """Return the loader of a role; print once how the images to train on are read.

    Args:
        data: whose options say how.
        role: of the images.
        dataset: the images.
        shuffle: see `build_sampler`, as `exact`.
        exact: see there.

    Raises:
        InputError: the images cannot be read as the options say.
    """
    trainer: Any = data.trainer
    device = trainer.strategy.root_device if trainer else torch.device("cpu")
    buffer = int(data.shuffle_buffer * 2**20)
    message = choose_reading(dataset, data.reading, device, buffer)
    sampler = build_sampler(dataset, shuffle, exact, data.seed, trainer, buffer)
    if role == "train" and trainer is not None and message != data.reading_message:
        rank_zero_print(f"Training images: {message}.")
        data.reading_message = message
    return build_loader(dataset, sampler, data.batch_size, data.num_workers, device)


def build_sampler(
    dataset: H5Images, shuffle: bool, exact: bool, seed: int, trainer: Any, buffer: int
) -> EpochSampler:
    """Build the sampler of a data set whose way of reading is chosen.

    Args:
        dataset: the images.
        shuffle: a new order every epoch, else file order.
        exact: see `EpochSampler`, as the seed.
        seed: of the order.
        trainer: tells process and epoch; None where there is one process.
        buffer: bytes of the shuffle buffer.
    """
    rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
    blocks = dataset.blocks if dataset.reading == "streamed" else None
    group_size = buffer // 2 // dataset.image_bytes  # the other half is being read
    sampler = EpochSampler(len(dataset), shuffle, seed, rank, world_size, exact, blocks, group_size)
    if trainer is not None:
        sampler.set_epoch(trainer.current_epoch)
    return sampler


def build_loader(
    dataset: H5Images, sampler: EpochSampler, batch_size: int, workers: int, device: torch.device
) -> BatchLoader:
    """Build the loader of a data set whose way of reading is chosen.

    Args:
        dataset: the images.
        sampler: their order, and the seed of workers.
        batch_size: images in a batch; the smaller last one is kept.
        workers: processes that read ahead of a mapped file; streamed images have threads of their
            own, and resident ones are not read.
        device: where the batches are used.
    """
    workers = workers if dataset.reading == "mapped" else 0
    return BatchLoader(
        dataset,
        batch_size=batch_size,  # by name: to predict, Lightning makes the loader anew
        sampler=sampler,
        num_workers=workers,
        collate_fn=identity_collate,
        pin_memory=device.type == "cuda" and dataset.reading != "resident",
        persistent_workers=workers > 0,
        # Without a generator of its own each epoch would draw from the global one.
        generator=torch.Generator().manual_seed(sampler.seed),
    )


def stream_batches(
    read: Callable[[np.ndarray], np.ndarray],
    order: np.ndarray,
    group_ends: list[int],
    batch_size: int,
    start: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches in a given order, while another thread reads the next group.

    Two groups are in memory at a time, and each is read once.

    Args:
        read: sorted, different int64 (n,) indices → (n, H, W, C).
        order: int64 (N,), indices in the order of the epoch.
        group_ends: where in `order` each group ends; the last end is N.
        batch_size: images of a batch; the last one may be smaller.
        start: position in `order` to begin at.

    Yields:
        indices int64 (n,) and their images (n, H, W, C).
    """
    groups = [
        group for group in zip([0, *group_ends], group_ends, strict=False) if group[1] > start
    ]

    def fetch(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        indices = np.unique(order[low:high])
        return indices, read(indices)

    with ThreadPoolExecutor(1, "read-ahead") as executor:
        ahead: Future | None = executor.submit(fetch, *groups[0]) if groups else None
        parts: list[tuple[np.ndarray, np.ndarray]] = []  # of a batch that lies in several groups
        for number, (low, high) in enumerate(groups, 1):
            assert ahead is not None
            indices, images = ahead.result()
            ahead = executor.submit(fetch, *groups[number]) if number < len(groups) else None
            position = max(low, start)
            while position < high:
                missing = batch_size - sum(len(part) for part, _ in parts)
                chosen = order[position : min(position + missing, high)]
                parts.append((chosen, images[np.searchsorted(indices, chosen)]))
                position += len(chosen)
                if len(chosen) < missing and (position < high or ahead is not None):
                    continue
                batch_indices, batch_images = zip(*parts, strict=True)
                parts = []
                is_whole = len(batch_images) == 1
                yield (
                    np.concatenate(batch_indices),
                    batch_images[0] if is_whole else np.concatenate(batch_images),
                )
            del indices, images


@contextmanager
def _translate_worker_errors() -> Iterator[None]:
    """Raise an `InputError` for what ends a worker, without PyTorch's traceback."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).rpartition("InputError: ")[2].strip()) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            "A process that reads images ahead was ended from outside, as when memory runs out. "
            "Resume with `fit --ckpt_path` and the run folder, or use --data.num_workers 0."
        ) from error
