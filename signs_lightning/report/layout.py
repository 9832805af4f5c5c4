"""Where the boxes and arrows of a drawn graph lie: ranks from top to bottom, lanes from left to right, columns of ranks.

A layered drawing (Sugiyama et al. 1981) with the longest path as a straight spine. A box never lies
    on another box or on an arrow: an
arrow that passes ranks runs beside them, in a track of its own between two lanes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Spans = list[tuple[int, int]]  # first and last rank


@dataclass(frozen=True)
class Place:
    """Where an arrow passes ranks: in the lane of a chain of boxes, or in the n-th track right of a lane."""

    lane: int
    track: int | None
    first: int
    last: int


@dataclass
class Layout(Generic[Key]):
    """A graph, laid out.

    Attributes:
        rank: of every node, 0 at the top; an edge leads to a larger one unless it closes a circle.
        lane: of every node; 0 is the spine, smaller is further left.
        passing: for an edge that passes ranks (or leads back up), where.
        columns: the first rank of every column, and the number of ranks at the end.
    """

    rank: dict[Key, int]
    lane: dict[Key, int]
    passing: dict[tuple[Key, Key], Place] = field(default_factory=dict)
    columns: list[int] = field(default_factory=list)

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return 1 + max(self.rank.values())

    def column(self, rank: int) -> int:
        """The column that a rank lies in."""
        return sum(start <= rank for start in self.columns[1:-1])


def lay_out(nodes: Sequence[Key], edges: Sequence[tuple[Key, Key]]) -> Layout[Key]:
    """Ranks, lanes and tracks, in one column.

    Args:
        nodes: each once; those without an edge to them first, the others in the order in which they
            are computed.
        edges: each once. One that leads to its own source or an earlier node (a layer that is
            called again) does not count for the ranks, and is drawn upwards where these say so.
    """
    order = {node: position for position, node in enumerate(nodes)}
    down = [(a, b) for a, b in edges if order[a] < order[b]]
    before: dict[Key, list[Key]] = defaultdict(list)
    after: dict[Key, list[Key]] = defaultdict(list)
    for a, b in down:
        before[b].append(a)
        after[a].append(b)
    rank: dict[Key, int] = {}
    for node in nodes:
        rank[node] = 1 + max((rank[a] for a in before[node]), default=-1)
    layout = Layout(rank, {})
    occupied: dict[int, Spans] = defaultdict(list)
    straight: set[tuple[Key, Key]] = set()
    for chain in _chains(nodes, rank, before, after):
        last = chain[-1]
        further = [b for b in after[last] if b in layout.lane]
        towards = min(
            further, key=rank.__getitem__, default=None
        )  # the chain keeps its lane until it joins another
        end = rank[last] if towards is None else rank[towards] - 1
        lane = next(lane for lane in _nearest() if _is_free(occupied[lane], rank[chain[0]], end))
        occupied[lane].append((rank[chain[0]], end))
        layout.lane |= dict.fromkeys(chain, lane)
        ways = list(pairwise(chain)) + ([] if towards is None else [(last, towards)])
        straight |= set(ways)
        for a, b in ways:
            if rank[b] - rank[a] > 1:
                layout.passing[a, b] = Place(lane, None, rank[a] + 1, rank[b] - 1)
    tracks: dict[tuple[int, int], Spans] = defaultdict(list)
    for a, b in sorted(
        edges, key=lambda edge: abs(rank[edge[1]] - rank[edge[0]])
    ):  # short ones lie inside
        upwards = rank[b] <= rank[a]
        first, last_rank = (rank[b], rank[a]) if upwards else (rank[a] + 1, rank[b] - 1)
        if (a, b) in straight or first > last_rank:
            continue
        lane = min(layout.lane[a], layout.lane[b])
        room = (
            first - upwards,
            last_rank + upwards,
        )  # an arrow upwards has its turns above and below
        number = next(k for k in range(len(edges)) if _is_free(tracks[lane, k], *room))
        tracks[lane, number].append(room)
        layout.passing[a, b] = Place(lane, number, first, last_rank)
    layout.columns = [0, layout.ranks]
    return layout


def _chains(
    nodes: Sequence[Key],
    rank: dict[Key, int],
    before: dict[Key, list[Key]],
    after: dict[Key, list[Key]],
) -> Iterator[list[Key]]:
    """All nodes in chains, the longest path first."""
    end = max(nodes, key=lambda node: rank[node])
    spine = [end]
    while before[spine[-1]]:
        spine.append(max(before[spine[-1]], key=rank.__getitem__))
    yield spine[::-1]
    placed = set(spine)
    for node in sorted(nodes, key=rank.__getitem__):
        if node in placed:
            continue
        chain = [node]
        while free := [b for b in after[chain[-1]] if b not in placed and b not in chain]:
            chain.append(min(free, key=rank.__getitem__))
        placed |= set(chain)
        yield chain


def _nearest() -> Iterator[int]:
    """0, 1, -1, 2, -2, …"""
    yield 0
    distance = 1
    while True:
        yield distance
        yield -distance
        distance += 1


def _is_free(spans: Spans, first: int, last: int) -> bool:
    return all(last < start or end < first for start, end in spans)


def break_into_columns(
    layout: Layout[Key], edges: Sequence[tuple[Key, Key]], together: Spans, longest: int
) -> None:
    """Cuts a tall drawing into columns of about equal height; it is cut only where all arrows come from one box right above.

    Args:
        layout: what is cut; its `columns` and the spans of its arrows change.
        edges: all edges.
        together: first and last ranks of what is not cut.
        longest: how many ranks a column should have at the most.
    """
    rank = layout.rank
    crossing: dict[int, set[Key | None]] = defaultdict(
        set
    )  # the sources of the arrows that pass the end of a rank
    for a, b in edges:
        low, high = sorted((rank[a], rank[b]))
        for passed in range(low, high):
            crossing[passed].add(
                a if passed == rank[a] < rank[b] else None
            )  # None: an arrow that cannot be cut
    whole = {passed for first, last in together for passed in range(first, last)}
    cuts = [
        k + 1
        for k in range(layout.ranks - 1)
        if k not in whole and len(crossing[k]) == 1 and None not in crossing[k]
    ]
    count = math.ceil(layout.ranks / longest)
    starts = [0]
    for k in range(1, count):
        ideal = k * layout.ranks / count
        best = min(
            (cut for cut in cuts if cut > starts[-1]),
            key=lambda cut: abs(cut - ideal),
            default=None,
        )
        if best is not None:
            starts.append(best)
    layout.columns = [*starts, layout.ranks]
