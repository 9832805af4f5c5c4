"""Loss and accuracy over the epochs, as a figure; imports matplotlib, which takes its time."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE = "#0072B2", "#D55E00"
FIGURES = ("accuracy", "mean_ap", "exact_match", "r2")  # of which a run has the first that it has
PARTS = 1500  # of a line, more than a figure is wide in pixels
Rows = Sequence[dict[str, float | int]]


class CurvesFigure(Figure):
    """A figure that a notebook shows, whatever matplotlib's backend is."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def curve_names(rows: Rows) -> list[str]:
    """Return the loss, and the figure that tells most of a run's epochs: accuracy, or a task's."""
    known = {key.removeprefix("val_") for row in rows for key in row}
    return ["loss", *[name for name in FIGURES if name in known][:1]]


def plot_curves(
    rows: Rows, title: str = "", names: Sequence[str] = ("loss", "accuracy"), dpi: int = 150
) -> CurvesFigure:
    """Return a figure of metrics of training and validation over the epochs.

    Args:
        rows: the history, one row per epoch.
        title: above the curves; "" for none.
        names: loss, accuracy or both, side by side.
        dpi: pixels per inch.
    """
    size = (4.5 * len(names), 3.4 if title else 3.1)
    figure = CurvesFigure(figsize=size, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw(axes, rows, name)
    return figure


def draw_curves(
    rows: Rows,
    path: Path,
    title: str,
    names: Sequence[str] = ("loss", "accuracy"),
    dpi: int = 150,
) -> None:
    """Draw metrics of training and validation over the epochs as a PNG, atomically.

    Args:
        rows: the history, one row per epoch.
        path: of the PNG.
        title: above the curves; "" for none.
        names: loss, accuracy or both, side by side.
        dpi: pixels per inch.
    """
    temporary = path.with_name(f".{path.name}")
    plot_curves(rows, title, names, dpi).savefig(temporary, format="png")
    os.replace(temporary, path)


def thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return the points to draw a line through: of very many the lowest and the highest of each of
    `PARTS` parts, which look like all of them.
    """
    if len(points) <= 4 * PARTS:
        return points
    chosen = [points[0]]
    for k in range(PARTS):
        part = points[len(points) * k // PARTS : len(points) * (k + 1) // PARTS]
        part = [point for point in part if not math.isnan(point[1])] or part[:1]
        chosen += sorted({min(part, key=itemgetter(1)), max(part, key=itemgetter(1))})
    return [*chosen, points[-1]]


def _draw(axes: Any, rows: Rows, name: str) -> None:
    """One metric, of training and of validation."""
    is_point = len(rows) == 1
    # The wider one is seen on both sides of the other where they are equal.
    lines = ((name, "training", BLUE, 2.8), (f"val_{name}", "validation", ORANGE, 1.3))
    for key, label, color, width in lines:
        points = [(row["epoch"] + 1, row[key]) for row in rows if key in row]
        if points:
            x, y = zip(*thin(points), strict=True)
            style = {"marker": "o", "markersize": 3 * width} if is_point else {"linewidth": width}
            axes.plot(x, y, label=label, color=color, **style)
    axes.set_xlabel("epoch")
    axes.set_title(name, fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False, fontsize=9)
    if name == "accuracy":
        axes.set_ylim(0, 1.05)
    elif all(row[key] >= 0 for row in rows for key, *_ in lines if key in row):
        axes.set_ylim(bottom=0, top=1.05 * axes.dataLim.ymax or None)
