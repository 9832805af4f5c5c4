"""The order of an epoch, in exact shares for processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

PAD_INDEX = -1  # index, and label, of an image that only fills a share and is not counted


class EpochSampler(DistributedSampler):
    """The indices of one process in one epoch, from seed and epoch alone.

    A DistributedSampler, so that Lightning leaves it in place; Lightning's own sampler pads
    validation and test shares with images that are then counted twice.

    Args:
        size: number of images.
        shuffle: a new order every epoch, else file order.
        seed: of the order.
        rank: this process, 0..world_size-1.
        world_size: number of processes.
        exact: pad shares with `PAD_INDEX` instead of repeated images, for validation and test.
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
        largest = 1 if blocks is None else int(np.diff(blocks).max())
        self.blocks_in_group = max(1, group_size // largest)
        self.start = 0  # images of this share that a resumed epoch has already seen

    def share(self) -> tuple[Tensor, list[int]]:
        """Return this process's share of the epoch, int64 (n,), and where its groups end."""
        size = len(self.dataset)  # type: ignore[arg-type]
        blocks, step = self.blocks, self.blocks_in_group
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        ends = [] if blocks is None else [*blocks[step::step].tolist(), size]
        if not self.shuffle:
            order = torch.arange(size)
        elif blocks is None:
            order = torch.randperm(size, generator=generator)
        else:
            cuts = range(self.num_samples, size, self.num_samples)
            order, ends = shuffle_blocks(blocks, step, generator, cuts)
        missing = self.total_size - size  # every process takes the same number of steps
        if missing:
            padding = torch.full((missing,), PAD_INDEX)
            if not self.exact:
                padding = order.repeat(-(-missing // size))[:missing]
            order = torch.cat([order, padding])
        if blocks is None:
            return order[self.rank :: self.num_replicas], [self.num_samples]
        low, high = self.rank * self.num_samples, (self.rank + 1) * self.num_samples
        inner_ends = {end - low for end in ends if low < end < high}
        return order[low:high], sorted(inner_ends | {self.num_samples})

    def __iter__(self) -> Iterator[int]:
        order = self.share()[0][self.start :]
        for part in order.split(4096):  # Python's integers are many times as large
            yield from part.tolist()


def shuffle_blocks(
    starts: np.ndarray, blocks_in_group: int, generator: torch.Generator, cuts: Iterable[int] = ()
) -> tuple[Tensor, list[int]]:
    """Return a shuffled order that visits blocks group by group.

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
