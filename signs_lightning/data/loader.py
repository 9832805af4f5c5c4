"""A DataLoader that resumes inside an epoch, and streams shuffled batches in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.sampler import PAD_INDEX, EpochSampler
from signs_lightning.errors import InputError


def identity_collate(batch: Any) -> Any:
    """Collation for data sets that give whole batches."""
    return batch


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


def stream_batches(
    read: Callable[[np.ndarray], np.ndarray],
    order: np.ndarray,
    group_ends: list[int],
    batch_size: int,
    start: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches in a given order, while the next group is read in another thread. Two groups are in memory at a time.

    Args:
        read: sorted different int64 (n,) indices → uint8 (n, H, W, C).
        order: int64 (N,), what comes one after the other.
        group_ends: where in `order` each group ends; the last end is N.
        batch_size: images of a batch; the last one may be smaller.
        start: position in `order` to begin at.

    Yields:
        indices int64 (n,) and their images uint8 (n, H, W, C).
    """
    groups = [
        (low, high) for low, high in zip([0, *group_ends], group_ends, strict=False) if high > start
    ]

    def fetch(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        indices = np.unique(order[low:high])
        return indices, read(indices)

    with ThreadPoolExecutor(1, "read-ahead") as executor:
        ahead: Future | None = executor.submit(fetch, *groups[0]) if groups else None
        waiting: list[
            tuple[np.ndarray, np.ndarray]
        ] = []  # of a batch that a group's end cuts in two
        for number, (low, high) in enumerate(groups):
            assert ahead is not None
            indices, images = ahead.result()
            ahead = (
                executor.submit(fetch, *groups[number + 1]) if number + 1 < len(groups) else None
            )
            position = max(low, start)
            while position < high:
                missing = batch_size - sum(len(part) for part, _ in waiting)
                part = order[position : min(position + missing, high)]
                waiting.append((part, images[np.searchsorted(indices, part)]))
                position += len(part)
                if len(part) == missing or (position == high and ahead is None):
                    parts = list(zip(*waiting, strict=True))
                    waiting = []
                    yield (
                        np.concatenate(parts[0]),
                        parts[1][0] if len(parts[1]) == 1 else np.concatenate(parts[1]),
                    )
            del indices, images


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
