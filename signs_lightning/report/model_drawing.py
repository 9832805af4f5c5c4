"""The picture of a network that Keras's `plot_model(show_shapes=True)` makes, without graphviz."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path as FilePath

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Line

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.layer_graph import LayerGraph, LayerNode, Path, layer_graph
from signs_lightning.report.figures import new_figure, shorten_name
from signs_lightning.report.placement import BOX, FRAME, MARGIN, Edge, Placement, Point
from signs_lightning.runtime.atomic_write import atomic_write

CORNER = 0.06  # radius, inches
DPI, MAX_PIXELS = 200, 40e6
NAME_LENGTH = 44
INK = "#444444"
KINDS = (  # of layers, what a class of theirs has in its name, and their colour: Okabe and Ito 2008
    ("input", ("inputlayer",), "#000000"),
    ("convolution", ("conv",), "#0072B2"),
    ("normalization", ("norm",), "#56B4E9"),
    (
        "activation",
        ("relu", "elu", "activation", "softmax", "sigmoid", "tanh", "silu", "swish", "softplus"),
        "#E69F00",
    ),
    ("pooling", ("pool",), "#009E73"),
    ("dense", ("dense", "linear"), "#CC79A7"),
    ("merge", (), "#D55E00"),
    ("block", (), "#666666"),
    ("other", (), "#BBBBBB"),
)
MERGING = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"}
COLORS = {name: color for name, _, color in KINDS}


def draw_model(model: ImageClassifier, path: FilePath, expand: bool = False) -> None:
    """Draws a model's network as a PNG: a box a layer with name, class and output shape, an arrow a call.

    Args:
        model: any classifier.
        path: the PNG; it appears whole or not at all.
        expand: whether blocks, and models inside a Keras model, are opened; each is one box
            otherwise.

    Raises:
        InputError: the file cannot be written.
    """
    opened = layer_graph(model)
    with atomic_write(path) as temporary:
        draw_graph(opened if expand else opened.folded(), temporary)


def kind_of(node: LayerNode, graph: LayerGraph) -> str:
    """Which of `KINDS` a layer or block is."""
    if node.path in graph.blocks:
        return "block"
    if node.kind in MERGING:
        return "merge"
    word = node.kind.lower()
    return next((name for name, parts, _ in KINDS if any(part in word for part in parts)), "other")


def draw_graph(graph: LayerGraph, path: FilePath) -> None:
    """Draws a graph as a PNG of at most 200 dpi."""
    with new_figure(path, 1, 1, layout="none") as figure:
        _Drawing(graph, figure)


class _Drawing:
    def __init__(self, graph: LayerGraph, figure: Figure) -> None:
        self.graph, self.figure = graph, figure
        self.bold, self.plain = FontProperties(size=8, weight="bold"), FontProperties(size=7)
        self.at = Placement(graph, lambda text: self._width(text, self.plain))
        self.texts = {path: self._text(node) for path, node in graph.nodes.items()}
        self.at.fit(
            0.3
            + max(
                self._width(text, font)
                for texts in self.texts.values()
                for text, font in zip(texts, (self.bold, self.plain), strict=True)
            )
        )
        legend = self._legend(self.at.width - 2 * MARGIN)
        width, height = self.at.width, self.at.bottom + 0.2 * (legend[-1][1] + 1) + MARGIN
        figure.set_size_inches(width, height)
        figure.set_dpi(
            min(DPI, math.sqrt(MAX_PIXELS / (width * height)), 60_000 / max(width, height))
        )
        self.axes: Axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        for block, corner, size in self.at.frame_places():
            self._draw_frame(block, corner, size)
        self._draw_edges()
        for node in graph.nodes.values():
            self._draw_box(node)
        for x, line, name in legend:
            y = self.at.bottom + 0.2 * line + 0.1
            self.axes.add_patch(
                FancyBboxPatch(
                    (MARGIN + x, y - 0.05), 0.1, 0.1, "square,pad=0", fc=COLORS[name], lw=0
                )
            )
            self.axes.text(
                MARGIN + x + 0.16, y, name, fontproperties=self.plain, va="center_baseline"
            )

    def _text(self, node: LayerNode) -> tuple[str, str]:
        depth = next(k for k in range(len(node.path)) if node.path[: k + 1] not in self.at.frames)
        name = shorten_name(
            self.graph.name(node.path[depth:]), NAME_LENGTH
        )  # its frame names the rest
        return name, f"{shorten_name(node.kind, NAME_LENGTH)}  {node.keras_shape}"

    def _width(self, text: str, font: FontProperties) -> float:
        renderer = self.figure.canvas.get_renderer()  # type: ignore[attr-defined]
        return renderer.get_text_width_height_descent(text, font, ismath=False)[0] / self.figure.dpi

    def _legend(self, width: float) -> list[tuple[float, int, str]]:
        """Where every kind of layer that there is gets its place: inches from the left, line, name."""
        there = {kind_of(node, self.graph) for node in self.graph.nodes.values()}
        places, x, line = [], 0.0, 0
        for name in (name for name in COLORS if name in there):
            needed = 0.16 + self._width(name, self.plain) + 0.18
            if x > 0 and x + needed > width:
                x, line = 0.0, line + 1
            places.append((x, line, name))
            x += needed
        return places

    def _draw_box(self, node: LayerNode) -> None:
        color = COLORS[kind_of(node, self.graph)]
        x, y = self.at.x(node.path) - self.at.box / 2, self.at.y(self.at.layout.rank[node.path])
        ground = tuple(0.86 + 0.14 * int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
        box = FancyBboxPatch(
            (x, y), self.at.box, BOX, "round,pad=0,rounding_size=0.05", fc=ground, ec=color, lw=0.9
        )
        self.axes.add_patch(box)
        strip = FancyBboxPatch((x, y), 0.07, BOX, "square,pad=0", fc=color, lw=0)
        self.axes.add_patch(strip)
        strip.set_clip_path(box)
        for text, font, down in zip(
            self.texts[node.path], (self.bold, self.plain), (0.14, 0.3), strict=True
        ):
            self.axes.text(
                x + self.at.box / 2 + 0.035,
                y + down,
                text,
                fontproperties=font,
                ha="center",
                va="center_baseline",
            )

    def _draw_frame(self, block: Path, corner: Point, size: Point) -> None:
        ground = "#f4f4f4" if len(block) % 2 else "#ffffff"
        style = "round,pad=0,rounding_size=0.06"
        self.axes.add_patch(FancyBboxPatch(corner, *size, style, fc=ground, ec="#999999", lw=0.7))
        whole = f"{self.graph.name(block)}  {self.graph.blocks[block].kind}"
        texts = (
            whole,
            *(shorten_name(self.graph.name(block), length) for length in range(NAME_LENGTH, 0, -1)),
        )
        label = next((text for text in texts if self._width(text, self.plain) < size[1]), "")
        self.axes.text(
            corner[0] + FRAME / 2 + 0.01,
            corner[1] + size[1] / 2,
            label,
            fontproperties=self.plain,
            rotation=90,
            ha="center",
            va="center",
            color=INK,
        )

    def _draw_edges(self) -> None:
        at, rank = self.at, self.at.layout.rank
        incoming: dict[Path, list[Edge]] = defaultdict(list)
        for edge in self.graph.edges:
            incoming[edge[1]].append(edge)
        carried: set[Path] = set()  # whose line to the next column is drawn
        for path, arriving in incoming.items():
            for edge, port in zip(arriving, at.ports(path, arriving), strict=True):
                source = edge[0]
                start, end = (at.x(source), at.y(rank[source]) + BOX), (port, at.y(rank[path]))
                if rank[path] <= rank[source]:
                    self._draw_arrow(_right_angles([start, *at.way_up(edge, port), end]))
                    continue
                if at.layout.column(rank[path]) > at.layout.column(rank[source]):
                    start = at.carry(source)[-1]
                    if source not in carried:
                        carried.add(source)
                        line = _right_angles(at.carry(source))
                        self.axes.add_patch(PathPatch(line, fc="none", ec=INK, lw=0.9, zorder=2))
                self._draw_arrow(_swings([start, *at.bends(edge), end]))

    def _draw_arrow(self, line: Line) -> None:
        arrow = FancyArrowPatch(
            path=line, arrowstyle="-|>,head_length=3.2,head_width=1.6", mutation_scale=1,
            lw=0.9, color=INK, shrinkA=0, shrinkB=0, joinstyle="miter", capstyle="butt", zorder=2,
        )  # fmt: skip
        self.axes.add_patch(arrow)


def _swings(points: list[Point]) -> Line:
    """A line through points from top to bottom, vertical at each."""
    vertices, codes = [points[0]], [Line.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x0 - x1) < 1e-6:
            vertices.append((x1, y1))
            codes.append(Line.LINETO)
        else:
            middle = (y0 + y1) / 2
            vertices += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Line.CURVE4] * 3
    return Line(vertices, codes)


def _right_angles(points: list[Point]) -> Line:
    """A line through points, with round corners."""
    vertices, codes = [points[0]], [Line.MOVETO]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        for other, code in ((before, Line.LINETO), (here, Line.CURVE3), (after, Line.CURVE3)):
            share = min(CORNER / (math.dist(here, other) or 1.0), 0.5)
            vertices.append(
                (here[0] + share * (other[0] - here[0]), here[1] + share * (other[1] - here[1]))
            )
            codes.append(code)
    return Line([*vertices, points[-1]], [*codes, Line.LINETO])
