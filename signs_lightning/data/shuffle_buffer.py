"""A shuffled stream: an epoch's images out of blocks that are read ahead, each block once, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


def block_order(
    starts: np.ndarray, blocks_in_group: int, generator: torch.Generator, cuts: Iterable[int] = ()
) -> tuple[Tensor, list[int]]:
    """A shuffled order that visits blocks group by group.

    The blocks of the whole epoch are shuffled, then `blocks_in_group` at a time form a group, and
    the images of a group are shuffled. An image may come anywhere in the epoch; which images share
    a batch is limited to those of `blocks_in_group` blocks that were drawn from everywhere. One
    group that holds every block gives a uniform shuffle.

    Args:
        starts: int64 (B + 1,), first image of each of B blocks, and the number N of all images.
        blocks_in_group: number of blocks that a group takes.
        generator: of the randomness.
        cuts: positions in the order, in 1..N-1, at which a group ends in any case: where the shares
            of several processes begin.

    Returns:
        The order, int64 (N,), and where its groups end.
    """
    sizes = torch.from_numpy(np.diff(starts))
    blocks = torch.randperm(len(sizes), generator=generator)
    first = torch.from_numpy(np.asarray(starts[:-1]))[blocks]
    lengths = sizes[blocks]
    ends = lengths.cumsum(0)
    order = torch.arange(int(starts[-1])) + (first - (ends - lengths)).repeat_interleave(lengths)
    group_ends = sorted({*ends[blocks_in_group - 1 :: blocks_in_group].tolist(), *cuts, len(order)})
    for low, high in zip([0, *group_ends], group_ends, strict=False):
        order[low:high] = order[low:high][torch.randperm(high - low, generator=generator)]
    return order, group_ends


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
