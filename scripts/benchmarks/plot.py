"""The picture in benchmarks.md: epochs, images per second, and what time grows with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import tables
from benchmarks.tables import MODELS, NAMES, Row, distinct, latest, middle, where

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Okabe and Ito's


def draw(record: dict[str, Any], path: Path) -> bool:
    """Draw what was measured; False if nothing was."""
    training, reading, growth = (latest(record, part) for part in ("training", "reading", "growth"))
    machines = {name: where(training, machine=name) for name in distinct(training, "machine")}
    panels: list[tuple[str, dict[str, float | None], str]] = []
    if machines:  # of the least favourable processor
        rows = min(machines.values(), key=tables.advantage)
        for model in MODELS:
            of_epochs = where(rows, subject=model, precision="fp32", kind=("both", "epoch"))
            title = f"{MODELS[model]}: an epoch, s ({rows[0]['machine'].partition(',')[0]})"
            panels.append((title, _medians(of_epochs, tables.epoch), "linear"))
    if reading:
        rows = where(reading, machine=reading[-1]["machine"], subject="64×64", cache="warm")
        for layout in ("contiguous", "chunked, 64 images", "gzip, h5py's guess"):
            title = f"{layout}: 64×64 images/s, warm"
            panels.append((title, _medians(where(rows, layout=layout), tables.rate), "log"))
    panels = [panel for panel in panels if panel[1]]
    if not panels and not growth:
        return False
    rows_of_axes = -(-len(panels) // 3) + bool(growth)
    figure = Figure(figsize=(15, 3 * rows_of_axes), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, values, scale) in enumerate(panels, 1):
        _bars(figure.add_subplot(rows_of_axes, 3, place), title, values, scale)
    if growth:
        _growth(figure.add_subplot(rows_of_axes, 1, rows_of_axes), growth)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)
    return True


def _medians(rows: list[Row], figure: tables.Figure) -> dict[str, float | None]:
    found = [name for name in NAMES if where(rows, contestant=name)]
    return {name: middle(where(rows, contestant=name), figure) for name in found}


def _bars(axes: Axes, title: str, values: dict[str, Any], scale: str) -> None:
    names = [name for name in reversed(values) if values[name]]
    colours = [COLOURS[0] if name == "signs_lightning" else "#999999" for name in names]
    bars = axes.barh([NAMES[name] for name in names], [values[k] for k in names], color=colours)
    axes.bar_label(bars, [tables.number(values[name]) for name in names], padding=3, fontsize=8)
    axes.set_xscale(scale)
    axes.margins(x=0.2)
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _growth(axes: Axes, rows: list[Row]) -> None:
    rows = where(rows, machine=rows[-1]["machine"], contestant="reading")
    for k, subject in enumerate(distinct(rows, "subject")):
        mine = where(where(rows, subject=subject), layout=(None, "contiguous"))
        label = "value" if "value" in mine[0] else "images"
        found = {value: middle(where(mine, **{label: value}), tables.each)
                 for value in distinct(mine, label)}  # fmt: skip
        axes.plot(list(found), list(found.values()), "o-", color=COLOURS[k], label=subject)  # type: ignore[arg-type]
    axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("Reading: µs an image, by what grows", fontsize=10, loc="left")
