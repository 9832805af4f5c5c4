"""The report's figures: confusion matrix, reliability diagram, sheets of pictures; in colours that colour-blind readers tell apart."""

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
from PIL import Image

from signs_lightning.models.metrics import wilson_interval
from signs_lightning.runtime.escaping import printable

if TYPE_CHECKING:
    from torch import Tensor

    from signs_lightning.report.calibration import Calibration

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # of Okabe and Ito 2008
WIDTH = (
    4.6  # inches, so that 9 point letters can be read where the figure fills a telephone's screen
)
MAX_NUMBERED = 20  # classes up to which the cells of a confusion matrix have room for numbers
MAX_NAMED = 120
NAME_LENGTH = 18
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "Yu Gothic",
    "PingFang SC",
    "Hiragino Sans",
)


@dataclass(frozen=True)
class Tile:
    """Pictures side by side, uint8 (H, W, C) of one size, and the lines of text below them."""

    pictures: Sequence[np.ndarray]
    lines: Sequence[str]

    def strip(self) -> np.ndarray:
        """uint8 (H, W', 3): the pictures with a white gap between them, greyscale as RGB."""
        parts = [np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in self.pictures]
        gap = np.full((len(parts[0]), max(2, len(parts[0]) // 24), 3), 255, np.uint8)
        return np.concatenate([part for picture in parts for part in (gap, picture)][1:], axis=1)


def shorten_name(name: str, length: int = NAME_LENGTH) -> str:
    """A name out of a file, printable and cut to a length."""
    name = printable(name)
    return name if len(name) <= length else f"{name[: length - 1]}…"


@contextmanager
def new_figure(
    path: Path, width: float, height: float, layout: Any = "constrained"
) -> Iterator[Figure]:
    """A figure of so many inches, which is a PNG of 200 dpi at the end. A `$` in a text is a dollar and starts no formula."""
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
    """Draws a confusion matrix: colour is the share of a true class, the numbers are images, no image is white.

    Args:
        confusion: int64 (K, K), row = label, column = prediction.
        class_names: the K names.
        path: the PNG to write.
    """
    counts = confusion.numpy()
    classes = len(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(WIDTH, 0.32 * classes if classes <= MAX_NUMBERED else 0.115 * classes), 14)
    names = [shorten_name(name) for name in class_names]
    cell = 0.75 * 72 * side / classes  # points; a letter is some 0.6 of its size wide
    named, numbered = classes <= MAX_NAMED, classes <= MAX_NUMBERED
    with new_figure(path, side, side * 0.95) as figure:
        axes = figure.subplots()
        colors = LinearSegmentedColormap.from_list("share", ["#eaf4fb", BLUE, "#002b45"])
        shown = axes.imshow(
            np.ma.masked_equal(shares, 0), cmap=colors, vmin=0, vmax=1, interpolation="nearest"
        )
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        if named:
            size = float(np.clip(0.9 * cell, 5, 9))
            turned = 0.6 * size * max(map(len, names)) > cell
            axes.set_xticks(range(classes), names, fontsize=size, rotation=90 if turned else 0)
            axes.set_yticks(range(classes), names, fontsize=size)
            axes.tick_params(length=0)
            for border in np.arange(classes - 1) + 0.5:
                axes.axhline(border, color="#dddddd", linewidth=0.4)
                axes.axvline(border, color="#dddddd", linewidth=0.4)
        if numbered:
            size = float(np.clip(0.8 * cell / (0.6 * len(f"{counts.max():,}")), 4, 10))
            for row, column in np.argwhere(counts):
                color = "white" if shares[row, column] > 0.4 else "black"
                number = f"{counts[row, column]:,}"
                axes.text(column, row, number, ha="center", va="center", color=color, fontsize=size)
        bar = figure.colorbar(shown, cax=axes.inset_axes((1.03, 0, 0.04, 1)))
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)


def draw_reliability(bins: Calibration, path: Path) -> None:
    """Draws accuracy over confidence with 95% Wilson intervals, and below it how many images each bin holds."""
    number = len(bins.counts)
    filled = np.flatnonzero(bins.counts)
    accuracy = bins.correct[filled] / bins.counts[filled]
    bounds = [wilson_interval(int(bins.correct[k]), int(bins.counts[k])) for k in filled]
    whiskers = np.abs(np.array(bounds).T - accuracy)  # (2, n): down and up
    centers = (np.arange(number) + 0.5) / number
    with new_figure(path, WIDTH, 4.4) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        top.plot(
            [0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfectly calibrated"
        )
        top.bar(
            centers[filled],
            accuracy,
            1 / number,
            color=BLUE,
            alpha=0.25,
            edgecolor="white",
            linewidth=0.6,
        )
        points = bins.confidence[filled]
        top.errorbar(
            points,
            accuracy,
            whiskers,
            fmt="o",
            color=BLUE,
            markersize=4,
            linewidth=1.2,
            label="accuracy, 95% interval",
        )
        top.set_ylabel("accuracy")
        top.set_ylim(0, 1.03)
        top.legend(frameon=False, fontsize=8, loc="upper left")
        bottom.bar(
            centers,
            bins.counts,
            1 / number,
            color=ORANGE,
            alpha=0.7,
            edgecolor="white",
            linewidth=0.6,
        )
        for k in filled:
            bottom.text(
                centers[k],
                bins.counts[k],
                f"{bins.counts[k]:,}",
                ha="center",
                va="bottom",
                fontsize=7,
            )
        bottom.set_ylim(0, 1.3 * bins.counts.max())
        bottom.set_yticks([])
        bottom.set_ylabel("images")
        bottom.set_xlabel("confidence: probability of the predicted class")
        bottom.set_xlim(0, 1)
        for axes in (top, bottom):
            axes.spines[["top", "right"]].set_visible(False)


def draw_sheet(tiles: Sequence[Tile], columns: int, path: Path) -> None:
    """Draws pictures in rows of so many, each with its text below."""
    strips = [tile.strip() for tile in tiles]
    shape = strips[0].shape
    widest = max(strip.shape[1] for strip in strips)
    high = 1.0  # inches of a picture; a wide one gets lower
    wide = min(high * widest / shape[0], 3.2)
    high = wide * shape[0] / widest
    text = 0.13 * max(len(tile.lines) for tile in tiles) + 0.06
    cell_width, cell_height = max(wide, 1.15) + 0.15, high + text + 0.1
    rows = -(-len(tiles) // columns)
    width, height = columns * cell_width + 0.1, rows * cell_height + 0.1
    with new_figure(path, width, height, layout="none") as figure:
        axes = figure.add_axes(
            (0, 0, 1, 1)
        )  # one for all, in inches; each of its own would take seconds
        axes.set_axis_off()
        for k, (tile, strip) in enumerate(zip(tiles, strips, strict=True)):
            row, column = divmod(k, columns)
            left, top = 0.1 + column * cell_width, height - 0.1 - row * cell_height
            right = left + wide * strip.shape[1] / widest
            axes.imshow(
                strip, interpolation="lanczos", extent=(left, right, top - high, top), aspect="auto"
            )
            axes.text(
                left,
                top - high - 0.04,
                "\n".join(tile.lines),
                fontsize=7,
                va="top",
                linespacing=1.3,
            )
        axes.set(xlim=(0, width), ylim=(0, height))


def small_picture(picture: np.ndarray, side: int = 320) -> Image.Image:
    """A picture for the page: RGB, its longer side at most `side` pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
