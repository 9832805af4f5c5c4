"""The picture in benchmarks.md: epochs, processes, images per second, memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.results import (
    MODELS,
    NAMES,
    Row,
    distinct,
    latest,
    middle,
    rate,
    training_times,
    where,
)

COLOURS = {  # Okabe and Ito's, which the colour-blind tell apart, too
    "signs_lightning": "#0072B2",
    "keras_tensorflow": "#D55E00",
    "keras_torch": "#E69F00",
    "lightning_port": "#CC79A7",
    "hand_written": "#999999",
    "per_sample_0": "#CC79A7",
    "per_sample_2": "#E69F00",
    "blocks": "#999999",
    "inflate_1": "#56B4E9",
    "inflate_all": "#009E73",
}
LINES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"))


def draw(record: dict[str, Any], path: Path) -> bool:
    """Draw what was measured of training, reading and growth; False if nothing was."""
    training, reading, growth = (latest(record, part) for part in ("training", "reading", "growth"))
    growth = [row for row in growth if row["subject"] != "processes"]
    models = [model for model in MODELS if where(training, subject=model)]
    rows: list[Any] = []
    if models:
        rows += [[f"epoch {model}" for model in models], [f"process {model}" for model in models]]
    columns = max(len(models), 1) * 2
    rows = [[name for name in row for _ in range(2)] for row in rows]
    below = [name for name, found in (("reading", reading), ("growth", growth)) if found]
    if below:
        rows.append([below[k * len(below) // columns] for k in range(columns)])
    if not rows:
        return False
    heights = [1.0] * (2 if models else 0) + ([1.6] if below else [])
    figure = Figure(figsize=(12, 2.3 * sum(heights)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic(rows, height_ratios=heights)
    for model in models:
        for kind, words in (("epoch", "an epoch"), ("process", "the whole process")):
            _bars(axes[f"{kind} {model}"], training, model, kind, f"{MODELS[model]}: {words}, s")
    if reading:
        _reading(axes["reading"], reading)
    if growth:
        _growth(axes["growth"], growth)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)
    return True


def _clean(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)


def _bars(axes: Axes, rows: list[Row], model: str, kind: str, title: str) -> None:
    bars = []
    for precision in ("fp32", "bf16"):
        for contestant, times in training_times(rows, model, precision).items():
            if times[kind]:
                name = NAMES[contestant] + (", bf16" if precision == "bf16" else "")
                bars.append((name, times[kind], COLOURS[contestant], precision))
    names, values, colours, precisions = zip(*reversed(bars), strict=True)
    drawn = axes.barh(range(len(bars)), values, color=colours, height=0.72)
    for bar, precision in zip(drawn, precisions, strict=True):
        if precision == "bf16":
            bar.set_hatch("///")
            bar.set_edgecolor("white")
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=8.5)
    axes.set_yticks(range(len(bars)), names)
    axes.set_xlim(0, 1.15 * max(values))
    _clean(axes, title)


def _reading(axes: Axes, rows: list[Row]) -> None:
    size = distinct(rows, "subject")[0]
    rows = where(
        rows,
        subject=size,
        cache="warm",
        images=max(row["images"] for row in where(rows, subject=size)),
    )
    layouts, contestants = (
        distinct(rows, "layout"),
        [name for name in COLOURS if where(rows, contestant=name)],
    )
    height = 0.82 / len(contestants)
    for k, contestant in enumerate(contestants):
        rates = [
            middle(where(rows, layout=layout, contestant=contestant), rate) for layout in layouts
        ]
        found = [(place, value) for place, value in enumerate(rates) if value]
        places = [place + (k - (len(contestants) - 1) / 2) * height for place, _ in found]
        axes.barh(
            places,
            [value for _, value in found],
            height,
            color=COLOURS[contestant],
            label=NAMES[contestant],
        )
        if contestant == "signs_lightning":
            for place, (_, value) in zip(places, found, strict=True):
                axes.text(value, place, f" {value:,.0f}", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(layouts)), layouts)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.07), ncols=2)
    _clean(axes, f"Images per second from HDF5, {size}, {rows[0]['images']:,} images, warm")


def _growth(axes: Axes, rows: list[Row]) -> None:
    size = distinct(rows, "subject")[0]
    rows = where(rows, subject=size, contestant="reading")
    for layout, (colour, marker) in zip(distinct(rows, "layout"), LINES, strict=False):
        counts = distinct(where(rows, layout=layout), "images")
        memory = [
            middle(where(rows, layout=layout, images=count), "peak_bytes") or 0 for count in counts
        ]
        axes.plot(
            counts, [value / 2**20 for value in memory], color=colour, marker=marker, label=layout
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("images", fontsize=8.5)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2)
    _clean(axes, f"Own memory while reading {size} images, MiB")
