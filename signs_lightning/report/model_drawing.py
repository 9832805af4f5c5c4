"""The picture of a network as Keras's `plot_model` draws it, without graphviz."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, pairwise, product
from pathlib import Path as FilePath
from typing import Any

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, PathPatch
from matplotlib.path import Path as Line

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.layer_graph import LayerGraph, LayerNode, Path, layer_graph
from signs_lightning.report.figures import new_figure
from signs_lightning.report.graph_layout import Layout, Slot
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import printable, shorten

Point = tuple[float, float]

BOX, GAP = 0.4, 0.27  # inches: height of a box, and from a box to the one below it
LANE_GAP, TRACK, PORT = 0.26, 0.15, 0.2  # between lanes, of a track, between two arrow heads
FRAME, PADDING = 0.2, 0.06  # what a frame adds left of its boxes, for its name, and elsewhere
COLUMN_GAP, MARGIN = 0.45, 0.15
MAX_HEIGHT = 7.5  # a taller drawing is broken into columns,
PORTRAIT = 1.1  # until its height is at most so many times its width
LEGEND = 0.93, 0.2  # width and height of an entry
DPI, MAX_PIXELS, MAX_SIDE = 200, 40e6, 60_000
NAME_LENGTH = 44
INK = "#444444"
COLORS = {  # of Okabe and Ito 2008
    "input": "#000000",
    "convolution": "#0072B2",
    "normalization": "#56B4E9",
    "activation": "#E69F00",
    "pooling": "#009E73",
    "dense": "#CC79A7",
    "merge": "#D55E00",
    "block": "#666666",
    "other": "#BBBBBB",
}
KINDS = {"inputlayer": "input", "conv": "convolution", "norm": "normalization"} | {
    **dict.fromkeys(("relu", "elu", "activation", "softmax", "sigmoid", "tanh"), "activation"),
    **dict.fromkeys(("silu", "swish", "softplus"), "activation"),
    **{"pool": "pooling", "dense": "dense", "linear": "dense"},
}
MERGING = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"}


def draw_model(model: ImageClassifier, path: FilePath, expand: bool = False) -> None:
    """Draw a model's network as a PNG: a box per layer, an arrow per call.

    Args:
        model: any classifier.
        path: the PNG; it is written completely or not at all.
        expand: whether blocks, and models inside a Keras model, are opened; each is one box
            otherwise.

    Raises:
        InputError: the file cannot be written.
    """
    graph = layer_graph(model)
    with atomic_write(path) as temporary, new_figure(temporary, 1, 1, layout="none") as figure:
        _Drawing(graph if expand else graph.folded(), figure)


class _Drawing:
    def __init__(self, graph: LayerGraph, figure: Figure) -> None:
        self.graph, self.figure = graph, figure
        self.bold, self.plain = FontProperties(size=8, weight="bold"), FontProperties(size=7)
        called = dict.fromkeys(target for _, target in graph.edges)  # by their first call
        sources = [path for path in graph.nodes if path not in called]
        self.layout = layout = Layout([*sources, *called], graph.edges)
        self.rank = layout.rank
        self.frames = self._frames()
        texts = {path: self._texts(node) for path, node in graph.nodes.items()}
        names = max(self._width(name, self.bold) for name, _ in texts.values())
        self.box = 0.3 + max(names, *(self._width(kind, self.plain) for _, kind in texts.values()))
        self._break_into_columns()
        width = self._place()
        self.top = MARGIN + (GAP if len(self.columns) > 1 else 0)
        bottom = self.top + max(end - start for start, end in layout.columns()) * (BOX + GAP)
        kinds = {self._kind(node) for node in graph.nodes.values()}
        entries = max(1, int(width / LEGEND[0]))  # per line of the legend
        height = bottom + LEGEND[1] * math.ceil(len(kinds) / entries) + MARGIN
        figure.set_size_inches(width, height)
        most = min(math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / max(width, height))
        figure.set_dpi(min(DPI, most))
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        self._draw_frames()
        self._draw_edges()
        for path, node in graph.nodes.items():
            self._draw_box(node, *texts[path])
        place: Any = {"loc": "lower left", "bbox_to_anchor": (MARGIN / width, MARGIN / height)}
        spacing: Any = {"borderpad": 0, "borderaxespad": 0, "columnspacing": 1.4, "labelspacing": 1}
        self.axes.legend(
            handles=[Patch(color=COLORS[kind], label=kind) for kind in COLORS if kind in kinds],
            **{"ncols": entries, "prop": self.plain, "frameon": False, **place, **spacing},
            **{"handlelength": 1, "handleheight": 1},
        )

    def _width(self, text: str, font: FontProperties) -> float:
        """Return the width of a text, inches."""
        renderer = self.figure.canvas.get_renderer()  # type: ignore[attr-defined]
        return renderer.get_text_width_height_descent(text, font, ismath=False)[0] / self.figure.dpi

    def _kind(self, node: LayerNode) -> str:
        """Return which of `COLORS` a layer or block has."""
        if node.path in self.graph.blocks:
            return "block"
        if node.kind in MERGING:
            return "merge"
        kinds = (kind for word, kind in KINDS.items() if word in node.kind.lower())
        return next(kinds, "other")

    def _texts(self, node: LayerNode) -> tuple[str, str]:
        depth = next(k for k in range(len(node.path)) if node.path[: k + 1] not in self.frames)
        name = self.graph.name(node.path[depth:])  # its frame has the rest
        kind = shorten(node.kind, NAME_LENGTH)
        return shorten(name, NAME_LENGTH), f"{kind}  {node.keras_shape}"

    def _frames(self) -> dict[Path, list[Path]]:
        """Return the layers of every open block that gets a frame, outer blocks first.

        None is drawn where another layer lies between the block's, or its name finds no room.
        """
        places = {path: (rank, self.layout.slot[path][0]) for path, rank in self.rank.items()}
        frames = {}
        for block in sorted(self.graph.blocks):
            own = [path for path in places if path[: len(block)] == block != path]
            if not own:
                continue
            ranks, lanes = zip(*(places[path] for path in own), strict=True)
            inside = [
                min(ranks) <= rank <= max(ranks) and min(lanes) <= lane <= max(lanes)
                for rank, lane in places.values()
            ]
            height = (max(ranks) - min(ranks) + 1) * (BOX + GAP) - GAP
            if sum(inside) == len(own) and self._width(self.graph.name(block), self.plain) < height:
                frames[block] = own
        return frames

    def _depth(self, paths: list[Path], outer: int = 0) -> int:
        """Return the largest number of frames around one of some layers, from a depth on."""
        return max(sum(path[:k] in self.frames for k in range(outer, len(path))) for path in paths)

    def _break_into_columns(self) -> None:
        width, height = self._place() - 2 * MARGIN + COLUMN_GAP, self.layout.ranks * (BOX + GAP)
        number = next(n for n in count(1) if height / n <= max(MAX_HEIGHT, PORTRAIT * n * width))
        ranks = [[self.rank[path] for path in paths] for paths in self.frames.values()]
        spans = [(min(inside), max(inside)) for inside in ranks]
        # A frame of up to half a column stays whole; a larger one continues in the next column.
        half = self.layout.ranks / number / 2
        self.layout.break_into_columns(number, [(a, b) for a, b in spans if b - a < half])

    def _place(self) -> float:
        """Find the middle of every slot in every column, and return the drawing's width."""
        layout, x = self.layout, MARGIN
        self.columns: list[dict[Slot, float]] = []
        self.ends: list[float] = []  # of the columns
        for first, end in layout.columns():
            here = [path for path, rank in self.rank.items() if first <= rank < end]
            boxes = {layout.slot[path] for path in here}
            spans = layout.spans.items()
            tracks = {layout.tracks[edge] for edge, (rank, _) in spans if first <= rank < end}
            depth = self._depth(here)
            places: dict[Slot, float] = {}
            for slot in sorted(boxes | tracks):
                half = self.box / 2 if slot in boxes else TRACK / 2
                x += LANE_GAP if places and slot[1] == 0 else 0
                x += half + (FRAME * depth if slot in boxes else 0)
                places[slot] = x
                x += half
            self.columns.append(places)
            self.ends.append(x + PADDING * (depth + 1) * (depth > 0))
            x = self.ends[-1] + COLUMN_GAP
        return x - COLUMN_GAP + MARGIN

    def _x(self, path: Path) -> float:
        """Return the middle of a box."""
        return self.columns[self.layout.column(self.rank[path])][self.layout.slot[path]]

    def _y(self, rank: int) -> float:
        """Return the upper side of a rank's boxes."""
        return self.top + (rank - self.layout.starts[self.layout.column(rank)]) * (BOX + GAP)

    def _draw_box(self, node: LayerNode, name: str, kind: str) -> None:
        color = COLORS[self._kind(node)]
        x, y = self._x(node.path), self._y(self.rank[node.path])
        light = tuple(0.86 + 0.14 * int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
        corner, style = (x - self.box / 2, y), "round,pad=0,rounding_size=0.05"
        box = FancyBboxPatch(corner, self.box, BOX, style, fc=light, ec=color, lw=0.9)
        strip = FancyBboxPatch(corner, 0.07, BOX, "square,pad=0", fc=color, lw=0)
        self.axes.add_patch(box)
        self.axes.add_patch(strip)
        strip.set_clip_path(box)
        align: Any = {"ha": "center", "va": "center_baseline"}
        self.axes.text(x + 0.035, y + 0.14, name, fontproperties=self.bold, **align)
        self.axes.text(x + 0.035, y + 0.3, kind, fontproperties=self.plain, **align)

    def _draw_frames(self) -> None:
        """Draw a frame around the layers of a block, one in each column that has some."""
        layout = self.layout
        for block, column in product(self.frames, range(len(self.columns))):
            here = [p for p in self.frames[block] if layout.column(self.rank[p]) == column]
            if not here:
                continue
            depth = self._depth(self.frames[block], len(block))
            xs, ys = [self._x(path) for path in here], [self._y(self.rank[path]) for path in here]
            beside = [slot for (_, b), slot in layout.tracks.items() if b in here and slot[1] > 0]
            left, top = min(xs) - self.box / 2 - FRAME * depth, min(ys) - PADDING * depth
            right = max(max(xs) + self.box / 2, *(self.columns[column][s] for s in beside), 0)
            width = right + PADDING * depth - left
            height = max(ys) + BOX + PADDING * depth - top
            style: Any = {"fc": "#f4f4f4" if len(block) % 2 else "#ffffff", "ec": "#999999"}
            shape = "round,pad=0,rounding_size=0.06"
            self.axes.add_patch(FancyBboxPatch((left, top), width, height, shape, lw=0.7, **style))
            name = printable(self.graph.name(block))
            names = (f"{name}  {printable(self.graph.blocks[block].kind)}", name, "")
            label = next(text for text in names if self._width(text, self.plain) < height)
            style = {"rotation": 90, "ha": "center", "va": "center", "color": INK}
            x, y = left + FRAME / 2 + 0.01, top + height / 2
            self.axes.text(x, y, label, fontproperties=self.plain, **style)

    def _draw_edges(self) -> None:
        layout, above = self.layout, self.top - GAP
        for column, (_, end) in enumerate(layout.columns()[:-1]):  # up to the next column
            x, y = self.columns[column][0, 0], self._y(end - 1) + BOX
            gutter, below = self.ends[column] + COLUMN_GAP / 2, y + GAP / 2
            corners = [(x, y), (x, below), (gutter, below), (gutter, above)]
            line = Line([*corners, (self.columns[column + 1][0, 0], above)])
            self.axes.add_patch(PathPatch(line, fc="none", ec=INK, lw=0.9, joinstyle="round"))
        routes = defaultdict(list)
        for source, target in self.graph.edges:
            routes[target].append(self._route(source, target))
        style: Any = {"arrowstyle": "-|>,head_length=3.2,head_width=1.6", "mutation_scale": 1}
        style |= {"lw": 0.9, "color": INK, "shrinkA": 0, "shrinkB": 0, "joinstyle": "miter"}
        for target, arriving in routes.items():
            y = self._y(self.rank[target])
            for route, x in zip(arriving, self._ports(target, arriving), strict=True):
                line = _curve([*route, (x, y)])
                self.axes.add_patch(FancyArrowPatch(path=line, capstyle="butt", **style))

    def _route(self, source: Path, target: Path) -> list[Point]:
        """Return where an arrow begins, and enters and leaves its track if any."""
        layout, column = self.layout, self.layout.column(self.rank[target])
        start = (self._x(source), self._y(self.rank[source]) + BOX)
        if layout.column(self.rank[source]) < column:
            start = (self.columns[column][0, 0], self.top - GAP)
        if (source, target) not in layout.spans:
            return [start]
        first, last = layout.spans[source, target]
        x = self.columns[column][layout.tracks[source, target]]
        ends = [(x, self._y(first)), (x, self._y(last) + BOX)]
        return [start, *(ends if self.rank[source] < self.rank[target] else ends[::-1])]

    def _ports(self, target: Path, routes: list[list[Point]]) -> list[float]:
        """Return where arrows reach a box: from above in the middle, else beside it."""
        middle, origins = self._x(target), [route[-1][0] for route in routes]
        order = sorted(range(len(routes)), key=origins.__getitem__)
        straight = [k for k, n in enumerate(order) if abs(origins[n] - middle) < 1e-6]
        center = straight[0] if straight else (len(routes) - 1) / 2
        step = min(PORT, 0.4 * self.box / len(routes))
        return [middle + step * (order.index(n) - center) for n in range(len(routes))]


def _curve(points: Sequence[Point]) -> Line:
    """Return a line that is vertical in each of its points."""
    vertices = [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        turn = (0.3 if len(vertices) == 1 else -0.3) if y0 == y1 else 0
        middle = (y0 + y1) / 2 + turn
        vertices += [(x0, middle), (x1, middle), (x1, y1)]
    return Line(vertices, [Line.MOVETO, *[Line.CURVE4] * (len(vertices) - 1)])
