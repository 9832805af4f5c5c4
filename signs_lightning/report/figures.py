"""The report's figures: confusions, reliability, sheets of pictures.

Their colours are told apart by colour-blind readers, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.font_manager
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from signs_lightning.models.metrics import wilson_interval
from signs_lightning.runtime.display import to_grey_or_rgb
from signs_lightning.runtime.escaping import shorten

if TYPE_CHECKING:
    from torch import Tensor

    from signs_lightning.report.calibration import Calibration

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # of Okabe and Ito 2008
WIDTH = 4.6  # inches: 9 point letters can be read where it fills the screen of a telephone
MAX_NUMBERED = 20  # classes up to which the cells of a confusion matrix have room for numbers
MAX_NAMED = 120  # classes up to which its rows and columns have room for names
NAME_LENGTH = 18
FALLBACK_FONTS = ["Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "Yu Gothic"]
FALLBACK_FONTS += ["PingFang SC", "Hiragino Sans"]


@dataclass(frozen=True)
class Tile:
    """Pictures side by side, uint8 (H, W, C) of one size, with text below."""

    pictures: Sequence[np.ndarray]
    lines: Sequence[str]

    def strip(self) -> np.ndarray:
        """Return uint8 (H, W', 3): what is drawn of the pictures, with white gaps, grey as RGB."""
        drawn = [to_grey_or_rgb(picture) for picture in self.pictures]
        parts = [np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in drawn]
        gap = np.full((len(parts[0]), max(2, len(parts[0]) // 24), 3), 255, np.uint8)
        return np.concatenate([part for picture in parts for part in (gap, picture)][1:], axis=1)


@contextmanager
def new_figure(
    path: Path, width: float, height: float, layout: Any = "constrained"
) -> Iterator[Figure]:
    """Yield a figure of a size in inches, and save it as a PNG of 200 dpi.

    A `$` in a text is a dollar and starts no formula.
    """
    known = set(matplotlib.font_manager.get_font_names())
    style: Any = {
        "text.parse_math": False,
        "font.family": ["DejaVu Sans", *(font for font in FALLBACK_FONTS if font in known)],
        "font.size": 9,
        "axes.titlesize": 10,
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure = Figure(figsize=(width, height), dpi=200, layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        box: Any = {} if layout == "none" else {"bbox_inches": "tight", "pad_inches": 0.06}
        figure.savefig(path, format="png", pil_kwargs={"compress_level": 4}, **box)


def draw_confusion(confusion: Tensor, class_names: list[str], path: Path) -> None:
    """Draw a confusion matrix: colours are shares of a class, numbers images.

    A cell without an image is white.

    Args:
        confusion: int64 (K, K), row = label, column = prediction.
        class_names: the K names.
        path: the PNG to write.
    """
    counts = confusion.numpy()
    classes = len(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(WIDTH, classes * (0.32 if classes <= MAX_NUMBERED else 0.115)), 14)
    names = [shorten(name, NAME_LENGTH) for name in class_names]
    cell = 0.75 * 72 * side / classes  # points; a letter is some 0.6 of its size wide
    with new_figure(path, side, side * 0.95) as figure:
        axes = figure.subplots()
        colors = LinearSegmentedColormap.from_list("share", ["#eaf4fb", BLUE, "#002b45"])
        filled = np.ma.masked_equal(shares, 0)
        shown = axes.imshow(filled, cmap=colors, vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="predicted class", ylabel="true class")
        if classes <= MAX_NAMED:
            size = float(np.clip(0.9 * cell, 5, 9))
            rotation = 90 if 0.6 * size * max(map(len, names)) > cell else 0
            axes.set_xticks(range(classes), names, fontsize=size, rotation=rotation)
            axes.set_yticks(range(classes), names, fontsize=size)
            axes.tick_params(length=0)
            for border in np.arange(classes - 1) + 0.5:
                axes.axhline(border, color="#dddddd", linewidth=0.4)
                axes.axvline(border, color="#dddddd", linewidth=0.4)
        if classes <= MAX_NUMBERED:
            size = float(np.clip(0.8 * cell / (0.6 * len(f"{counts.max():,}")), 4, 10))
            for row, column in np.argwhere(counts):
                color = "white" if shares[row, column] > 0.4 else "black"
                number = f"{counts[row, column]:,}"
                axes.text(column, row, number, ha="center", va="center", color=color, fontsize=size)
        bar = figure.colorbar(shown, cax=axes.inset_axes((1.03, 0, 0.04, 1)))
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)


def draw_reliability(bins: Calibration, path: Path) -> None:
    """Draw accuracy over confidence, with 95% Wilson intervals and bin sizes."""
    number = len(bins.counts)
    filled = np.flatnonzero(bins.counts)
    counts, correct = bins.counts[filled], bins.correct[filled]
    accuracy, confidence = correct / counts, bins.confidence[filled]
    bounds = [wilson_interval(int(k), int(n)) for k, n in zip(correct, counts, strict=True)]
    whiskers = np.abs(np.array(bounds).T - accuracy)  # (2, n): down and up
    centers = (filled + 0.5) / number
    bar: Any = {"width": 1 / number, "edgecolor": "white", "linewidth": 0.6}
    line: Any = {"fmt": "o", "color": BLUE, "markersize": 4, "linewidth": 1.2}
    with new_figure(path, WIDTH, 4.4) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        top.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="perfectly calibrated")
        top.bar(centers, accuracy, color=BLUE, alpha=0.25, **bar)
        top.errorbar(confidence, accuracy, whiskers, label="accuracy, 95% interval", **line)
        top.set(ylabel="accuracy", ylim=(0, 1.03))
        top.legend(frameon=False, fontsize=8, loc="upper left")
        bottom.bar(centers, counts, color=ORANGE, alpha=0.7, **bar)
        for x, count in zip(centers, counts, strict=True):
            bottom.text(x, count, f"{count:,}", ha="center", va="bottom", fontsize=7)
        bottom.set(xlim=(0, 1), ylim=(0, 1.3 * counts.max()), yticks=[], ylabel="images")
        bottom.set_xlabel("confidence: probability of the predicted class")
        for axes in (top, bottom):
            axes.spines[["top", "right"]].set_visible(False)


def draw_sheet(tiles: Sequence[Tile], columns: int, path: Path) -> None:
    """Draw pictures in rows of so many columns, each with its text below."""
    strips = [tile.strip() for tile in tiles]
    pixels_high, pixels_wide = len(strips[0]), max(strip.shape[1] for strip in strips)
    wide = min(
        pixels_wide / pixels_high, 3.2
    )  # inches of the widest; its height is an inch or less
    high = wide * pixels_high / pixels_wide
    text = 0.13 * max(len(tile.lines) for tile in tiles) + 0.06
    cell_width, cell_height = max(wide, 1.15) + 0.15, high + text + 0.1
    rows = -(-len(tiles) // columns)
    width, height = columns * cell_width + 0.1, rows * cell_height + 0.1
    with new_figure(path, width, height, layout="none") as figure:
        axes = figure.add_axes((0, 0, 1, 1))  # one for all: one for each would take seconds
        axes.set_axis_off()
        for k, (tile, strip) in enumerate(zip(tiles, strips, strict=True)):
            row, column = divmod(k, columns)
            left, top = 0.1 + column * cell_width, height - 0.1 - row * cell_height
            right, bottom = left + wide * strip.shape[1] / pixels_wide, top - high
            extent = (left, right, bottom, top)
            axes.imshow(strip, interpolation="lanczos", extent=extent, aspect="auto")
            lines = "\n".join(tile.lines)
            axes.text(left, bottom - 0.04, lines, fontsize=7, va="top", linespacing=1.3)
        axes.set(xlim=(0, width), ylim=(0, height))
