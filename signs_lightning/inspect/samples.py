"""Labelled pictures of every class, the first thing to look at in a data set."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import printable


def draw_samples(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    path: Path,
    per_class: int = 8,
    columns: int = 1,
) -> None:
    """Draws the first pictures of each class in a row of its own, as a PNG.

    Args:
        images: uint8 (N, H, W, C) in 0..255, C of 1 or 3.
        labels: int64 (N,) in 0..K-1.
        class_names: the K names.
        path: the PNG to write; it appears whole or not at all.
        per_class: pictures in a row.
        columns: classes side by side.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(class_names) // columns)
    width = (
        0.75 * per_class * min(max(images.shape[2] / images.shape[1], 0.4), 2.5)
    )  # inches of a row
    longest = int(width / 0.075)  # characters above it
    figure = Figure(figsize=(columns * (width + 0.4), 0.95 * rows), dpi=96, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.04)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()  # the last one may be left over
    for k, axes in zip(range(len(class_names)), grid.flat, strict=False):
        chosen = images[labels == k][:per_class]
        strip = np.full((images.shape[1], per_class * images.shape[2], 3), 255, np.uint8)
        if len(chosen):
            filled = np.concatenate(list(chosen), axis=1)  # (H, n * W, C)
            strip[:, : filled.shape[1]] = filled
        axes.imshow(strip, interpolation="lanczos")
        title = printable(class_names[k])
        title = title if len(title) <= longest else f"{title[: longest - 1]}…"
        axes.set_title(title, fontsize=9, loc="left", pad=2, parse_math=False)  # names may have a $
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph"
        )  # of a script that the font lacks: a box is drawn
        figure.savefig(temporary, format="png")
