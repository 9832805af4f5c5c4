"""Where everything in the picture of a network lies, in inches from its upper left corner."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from signs_lightning.models.layer_graph import LayerGraph, Path
from signs_lightning.report.layout import Layout, break_into_columns, lay_out

BOX, GAP = 0.4, 0.27  # height of a box, and from a box to the one below it
LANES, TRACK, PORT = (
    0.26,
    0.15,
    0.2,
)  # between lanes, of an arrow that runs beside them, between two arrow heads
FRAME, EDGE = 0.2, 0.06  # what a frame adds left of its boxes, for its name, and on its other sides
COLUMNS, MARGIN = 0.45, 0.15
TALLEST = 7.5  # a taller picture is broken into columns …
PORTRAIT = 1.1  # … until it is so much higher than wide
Point = tuple[float, float]
Edge = tuple[Path, Path]


@dataclass
class Column:
    """The middles of a column's lanes, and of the tracks right of them, from the column's left."""

    lanes: dict[int, float]
    tracks: dict[tuple[int, int], float]
    width: float
    left: float = 0.0


class Placement:
    """Boxes, frames and arrows of a graph.

    Args:
        graph: what is drawn.
        text_width: the width of a small text, inches.

    Attributes:
        layout: the graph's ranks, lanes and columns.
        frames: the layers of every open block that gets a frame; it does where nothing else lies
            between them.
        box: width of a box.
    """

    box = 0.0

    def __init__(self, graph: LayerGraph, text_width: Callable[[str], float]) -> None:
        called = dict.fromkeys(
            target for _, target in graph.edges
        )  # in the order of their first call
        self.graph = graph
        self.layout: Layout[Path] = lay_out(
            [*(p for p in graph.nodes if p not in called), *called], graph.edges
        )
        self.frames = self._framed(text_width)

    def fit(self, box: float) -> None:
        """Places everything for boxes of a width, in as many columns as give a handy picture."""
        self.box = box
        self._break()
        columns = [self._column(number) for number in range(len(self.layout.columns) - 1)]
        left = MARGIN
        for column in columns:
            column.left = left
            left += column.width + COLUMNS
        longest = max(end - start for start, end in pairwise(self.layout.columns))
        self.columns, self.width = columns, left - COLUMNS + MARGIN
        self.top = MARGIN + (GAP if len(columns) > 1 else 0)
        self.bottom = self.top + longest * (BOX + GAP)

    def _framed(self, text_width: Callable[[str], float]) -> dict[Path, list[Path]]:
        """The layers of every block that is open; a block gets no frame where something else lies between its layers."""
        layout, members = self.layout, defaultdict(list)
        for path in self.graph.nodes:
            for depth in range(1, len(path)):
                if path[:depth] in self.graph.blocks:
                    members[path[:depth]].append(path)
        framed: dict[Path, list[Path]] = {}
        for block, paths in sorted(members.items()):
            ranks, lanes = (
                {layout.rank[path] for path in paths},
                {layout.lane[path] for path in paths},
            )
            strangers = layout.rank.keys() - set(paths)
            alone = not any(
                min(ranks) <= layout.rank[path] <= max(ranks)
                and min(lanes) <= layout.lane[path] <= max(lanes)
                for path in strangers
            )
            height = (max(ranks) - min(ranks) + 1) * (BOX + GAP) - GAP
            if alone and text_width(self.graph.name(block)) < height:
                framed[block] = paths
        return framed

    def _break(self) -> None:
        """Decides into how many columns the drawing is broken."""
        layout = self.layout
        ranks, pitch = layout.ranks, BOX + GAP
        width = self._column(0).width + COLUMNS
        count = 1
        while ranks * pitch / count > max(TALLEST, PORTRAIT * count * width):
            count += 1
        if count > 1:
            longest = math.ceil(ranks / count)
            spans = [sorted(layout.rank[path] for path in paths) for paths in self.frames.values()]
            # A frame of half a column stays whole; a larger one goes on in the next.
            together = [(span[0], span[-1]) for span in spans if span[-1] - span[0] < longest / 2]
            break_into_columns(layout, self.graph.edges, together, longest)

    def _column(self, number: int) -> Column:
        layout = self.layout
        first, end = layout.columns[number : number + 2]
        boxed = {layout.lane[path] for path, rank in layout.rank.items() if first <= rank < end}
        places = [place for place in layout.passing.values() if first <= place.first < end]
        used = boxed | {place.lane for place in places}
        if first > 0:
            used |= {layout.lane[path] for path, rank in layout.rank.items() if rank == first - 1}
        lanes: dict[int, float] = {}
        tracks: dict[tuple[int, int], float] = {}
        deepest = max(
            (len(path) - 1 for path, rank in layout.rank.items() if first <= rank < end), default=0
        )
        x = 0.0
        for lane in range(min(used), max(used) + 1):
            x += FRAME * deepest if lane in boxed else 0
            half = self.box / 2 if lane in boxed else 0.05
            lanes[lane] = x + half
            x += 2 * half
            numbers = {
                place.track for place in places if place.lane == lane and place.track is not None
            }
            for k, track in enumerate(sorted(numbers)):
                tracks[lane, track] = x + TRACK * (k + 1)
            x += TRACK * len(numbers) + LANES
        return Column(lanes, tracks, x - LANES + (EDGE * (deepest + 1) if deepest else 0))

    def y(self, rank: int) -> float:
        """The upper side of a rank's boxes."""
        return self.top + (rank - self.layout.columns[self.layout.column(rank)]) * (BOX + GAP)

    def x(self, path: Path, rank: int | None = None) -> float:
        """The middle of a box, or of its lane in the column of another rank."""
        column = self.columns[self.layout.column(self.layout.rank[path] if rank is None else rank)]
        return column.left + column.lanes[self.layout.lane[path]]

    def frame_places(self) -> Iterator[tuple[Path, Point, Point]]:
        """The block, the upper left corner, and width and height of every frame, outer ones first; one for each column it is in."""
        layout = self.layout
        for block, paths in self.frames.items():
            depth = max(len(path) for path in paths) - len(block)
            for number, column in enumerate(self.columns):
                here = {path for path in paths if layout.column(layout.rank[path]) == number}
                if not here:
                    continue
                ranks, lanes = (
                    {layout.rank[path] for path in here},
                    {layout.lane[path] for path in here},
                )
                right = column.lanes[max(lanes)] + self.box / 2
                for (_, target), place in layout.passing.items():
                    if target in here and place.track is not None:
                        right = max(right, column.tracks[place.lane, place.track])
                left = column.lanes[min(lanes)] - self.box / 2 - FRAME * depth
                top, bottom = (
                    self.y(min(ranks)) - EDGE * depth,
                    self.y(max(ranks)) + BOX + EDGE * depth,
                )
                yield block, (column.left + left, top), (right + EDGE * depth - left, bottom - top)

    def bends(self, edge: Edge) -> list[Point]:
        """Where an arrow enters and leaves the lane or track in which it passes ranks; nothing for one that passes none."""
        place = self.layout.passing.get(edge)
        if place is None:
            return []
        column = self.columns[self.layout.column(place.first)]
        x = column.left + (
            column.lanes[place.lane]
            if place.track is None
            else column.tracks[place.lane, place.track]
        )
        return [(x, self.y(place.first)), (x, self.y(place.last) + BOX)]

    def way_up(self, edge: Edge, port: float) -> list[Point]:
        """The corners of an arrow to a layer that is called again: out below its source, up in its track, in from above."""
        (x, top), (_, bottom) = self.bends(edge)
        level = GAP * min(
            0.45 + 0.15 * (self.layout.passing[edge].track or 0), 0.9
        )  # each its own, as far as there is room
        out, into = bottom + level, top - level
        return [(self.x(edge[0]), out), (x, out), (x, into), (port, into)]

    def carry(self, source: Path) -> list[Point]:
        """The line from the last box of a column up to the first of the next."""
        rank = self.layout.rank[source]
        column = self.columns[self.layout.column(rank)]
        x, y = self.x(source), self.y(rank) + BOX
        gutter, top = column.left + column.width + COLUMNS / 2, self.top - GAP
        return [
            (x, y),
            (x, y + GAP / 2),
            (gutter, y + GAP / 2),
            (gutter, top),
            (self.x(source, rank + 1), top),
        ]

    def ports(self, path: Path, arriving: list[Edge]) -> list[float]:
        """Where on its upper side a box is entered: an arrow from straight above in the middle, others on their own side."""
        middle, rank = self.x(path), self.layout.rank[path]
        bends = [self.bends(edge) for edge in arriving]
        origins = [
            b[-1][0] if b else self.x(edge[0], rank)
            for b, edge in zip(bends, arriving, strict=True)
        ]
        ports = [middle] * len(arriving)
        step = min(PORT, 0.8 * self.box / len(arriving))
        for side in (1, -1):
            there = [k for k, x in enumerate(origins) if side * (x - middle) > 1e-6]
            there.sort(
                key=lambda k: -abs(origins[k] - middle)
            )  # from afar to the inside: so they do not cross
            for number, k in enumerate(there, start=1):
                ports[k] = middle + side * number * step * (len(arriving) > 1)
        return ports
