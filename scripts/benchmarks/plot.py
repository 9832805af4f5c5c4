"""The picture in benchmarks.md: epochs of each model, images per second of some layouts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import tables
from benchmarks.tables import MODELS, NAMES, Row, best, distinct, latest, where


def draw(record: dict[str, Any], path: Path) -> bool:
    """Draw what was measured; False if nothing was."""
    training, reading = latest(record, "training"), latest(record, "reading")
    machines = [where(training, machine=name) for name in distinct(training, "machine")]
    machines.sort(key=tables.advantage)
    panels: list[tuple[str, str, list[Row], tables.Figure]] = []
    for model in MODELS:  # on the least favourable processor
        rows = where(machines[0], subject=model) if machines else []
        rows = where(rows, precision="fp32")
        panels.append((f"{MODELS[model]}: an epoch, s", "linear", rows, tables.epoch))
    for layout in ("contiguous", "chunked, 64 images", "gzip, h5py's guess"):
        rows = where(reading, machine=reading[-1]["machine"], layout=layout) if reading else []
        rows = where(rows, subject="64×64", cache="warm")
        rows = where(rows, images=max((row["images"] for row in rows), default=0))
        panels.append((f"{layout}, 64×64, warm: images/s", "log", rows, tables.rate))
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return False
    down = -(-len(panels) // 3)
    figure = Figure(figsize=(15, 3 * down), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(down, 3, squeeze=False).flat
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, scale, rows, value) in zip(places, panels, strict=False):
        found = {name: best(where(rows, contestant=name), "", value) for name in reversed(NAMES)}
        shown = {name: number for name, number in found.items() if number}
        colours = ["#0072B2" if name == "signs_lightning" else "#999999" for name in shown]
        bars = axes.barh([NAMES[name] for name in shown], list(shown.values()), color=colours)
        axes.bar_label(bars, list(map(tables.number, shown.values())), padding=3, fontsize=8)
        axes.set_xscale(scale)
        axes.margins(x=0.2)
        axes.set_title(title, fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)
    return True
