"""The tables of benchmarks.md, from the rows of benchmarks.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

Row = dict[str, Any]
Figure = Callable[[Row], float | None]
NAMES = {
    "signs_lightning": "signs_lightning",
    "keras_tensorflow": "Keras on TensorFlow",
    "keras_tensorflow_no_jit": "Keras on TensorFlow, jit_compile=False",
    "keras_jax": "Keras on JAX",
    "keras_torch": "Keras on torch",
    "lightning_port": "plain Lightning port",
    "hand_written": "hand-written loop",
    "per_sample_0": "h5py by the sample, 0 workers",
    "per_sample_2": "h5py by the sample, 2 workers",
    "sorted_batches_0": "h5py by sorted batches, 0 workers",
    "sorted_batches_2": "h5py by sorted batches, 2 workers",
    "memory_first": "everything in memory first",
    "memory_loaded": "everything in memory already",
    "blocks": "h5py by blocks, in file order",
    "inflate_1": "decompression alone, 1 thread",
    "inflate_all": "decompression alone, all threads",
}
MODELS = {"functional": "Functional", "sequential": "Sequential", "resnet50": "ResNet50"}
LABELS = (
    *("machine", "subject", "precision", "contestant", "kind", "layout", "images", "cache"),
    "value",
)


def latest(record: dict[str, Any], part: str) -> list[Row]:
    """A part's measurements: of those with the same labels the ones of the latest run.

    Each is given its `machine`: the card, or the processor and its instructions.
    """
    machines = {}
    for run in record["runs"]:
        about = run.get("machine", {"processor": "", "instructions": []})
        machines[run["run"]] = f"{about['processor']}, {' '.join(about['instructions'])}"
        if part == "gpu":
            machines[run["run"]] = about.get("gpu")
    rows = [
        {**row, "machine": machines[row["run"]]}
        for row in record["measurements"]
        if row["part"] == part and "failed" not in row
    ]
    last = {tuple(row.get(label) for label in LABELS): row["run"] for row in rows}
    return [row for row in rows if row["run"] == last[tuple(row.get(name) for name in LABELS)]]


def where(rows: Iterable[Row], **labels: Any) -> list[Row]:
    """The rows that have these labels; a tuple stands for any of its values."""
    return [
        row
        for row in rows
        if all(
            row.get(k) in v if isinstance(v, tuple) else row.get(k) == v for k, v in labels.items()
        )
    ]


def distinct(rows: Iterable[Row], label: str) -> list[Any]:
    """The values of a label, in the order in which they come."""
    return list(dict.fromkeys(row[label] for row in rows if label in row))


def entry(name: str) -> Figure:
    """The figure of this name."""
    return lambda row: row.get(name)


def epoch(row: Row) -> float | None:
    """Return the median epoch of a process (s) without the first, which is slower."""
    seconds = row.get("epoch_seconds", [])
    return median(seconds[1:] or seconds) if seconds else None


def rate(row: Row) -> float | None:
    """Images per second of a reader, or of the epochs of a fit."""
    seconds = row["seconds"] if "images_read" in row else epoch(row)
    images = row.get("images_read", row.get("images"))
    return images / seconds if images and seconds else None


def mebibytes(row: Row) -> float | None:
    """Memory of its own at most."""
    return row["peak_bytes"] / 2**20 if row.get("peak_bytes") else None


def middle(rows: Iterable[Row], figure: Figure) -> float | None:
    """Return the median over repeats of a figure; None without any."""
    found = [number for number in map(figure, rows) if number is not None]
    return median(found) if found else None


def cell(rows: Iterable[Row], figure: Figure) -> str:
    """Format a figure's median over repeats, with its range where there are several."""
    found = sorted(number for number in map(figure, rows) if number is not None)
    text = number(median(found) if found else None)
    return f"{text} ({number(found[0])}–{number(found[-1])})" if len(found) > 1 else text


def number(value: float | None) -> str:
    """Format a figure with three significant digits; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def times(a: float | None, b: float | None) -> str:
    """Format the ratio a / b; a dash where one is missing."""
    return f"{a / b:.2f}×" if a and b else "–"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, figures to the right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    if len({len(row) for row in (head, *rows)}) > 1:
        raise ValueError(f"a row does not fit the head {head}")
    return "\n".join(lines)


def by_contestant(
    title: str, rows: list[Row], columns: Mapping[str, Callable[[list[Row]], str]]
) -> list[str]:
    """A table with a line for each contestant, if there is any."""
    names = [name for name in NAMES if where(rows, contestant=name)]
    lines = {name: where(rows, contestant=name) for name in names}
    body = [[NAMES[name], *(show(lines[name]) for show in columns.values())] for name in names]
    return [table([title, *columns], body)] if body else []


def best(rows: list[Row], names: str, figure: Figure, take: Callable[..., Any] = min) -> Any:
    """The best median among the contestants whose names begin so, of any kind; None without any."""
    mine = dict.fromkeys((row["contestant"], row.get("kind")) for row in rows)
    found = [
        middle(where(rows, contestant=name, kind=kind), figure)
        for name, kind in mine
        if name.startswith(names)
    ]
    return take((value for value in found if value is not None), default=None)


def advantage(rows: list[Row]) -> float:
    """How many times as long as ours the best Keras's epoch takes, where that is least."""
    found = []
    for model in MODELS:
        mine = where(rows, subject=model, precision="fp32")
        keras, ours = (best(mine, name, epoch) for name in ("keras", "signs_lightning"))
        found += [keras / ours] if keras and ours else []
    return min(found, default=math.inf)


def training(record: dict[str, Any]) -> list[str]:
    """Epochs and processes, of the least favourable processor first."""
    rows, text = latest(record, "training"), []
    machines = {name: where(rows, machine=name) for name in distinct(rows, "machine")}
    for machine in sorted(machines, key=lambda name: advantage(machines[name])):
        text.append(f"### {machine}")
        for model, precision in ((m, p) for m in MODELS for p in ("fp32", "bf16")):
            here = where(machines[machine], subject=model, precision=precision)
            title = f"{MODELS[model]}, {precision}"
            text += by_contestant(title, here, training_columns(here))
    return text


def training_columns(rows: list[Row]) -> dict[str, Callable[[list[Row]], str]]:
    """The figures of a model's contestants, of Keras's two kinds of process the quicker epochs."""

    def quickest(mine: list[Row]) -> list[Row]:
        kinds = [where(mine, kind=kind) for kind in distinct(mine, "kind")]
        return min(kinds, key=lambda some: middle(some, epoch) or math.inf)

    def process(row: Row, name: str = "process_seconds") -> float | None:
        return row.get(name) if row["kind"] in ("both", "process") else None

    def memory(row: Row) -> float | None:
        return mebibytes(row) if row["kind"] in ("both", "process") else None

    def start(row: Row) -> float | None:
        return process(row, "training_starts_seconds")

    keras, loop = best(rows, "keras", epoch), best(rows, "hand_written", epoch)
    whole = best(rows, "keras", process)
    return {
        "epoch, s": lambda mine: cell(quickest(mine), epoch),
        "faster than the best Keras": lambda mine: times(keras, middle(quickest(mine), epoch)),
        "of the loop's time": lambda mine: times(middle(quickest(mine), epoch), loop),
        "process, s": lambda mine: cell(mine, process),
        "faster than its process": lambda mine: times(whole, middle(mine, process)),
        "training begins after, s": lambda mine: number(middle(mine, start)),
        "own memory, MiB": lambda mine: number(middle(mine, memory)),
    }


def reading(record: dict[str, Any]) -> list[str]:
    """Images per second of each layout, and what bounds them; the last processor first."""
    rows, text = latest(record, "reading"), []
    for machine in reversed(distinct(rows, "machine")):
        text += [f"### {machine}", *reading_tables(where(rows, machine=machine))]
    return text


def reading_tables(rows: list[Row]) -> list[str]:
    """A processor's tables: a column for each layout."""
    text = []
    for size, cache in ((s, c) for s in distinct(rows, "subject") for c in ("warm", "cold")):
        of_size = where(rows, subject=size, cache=cache)
        here = where(of_size, images=max((row["images"] for row in of_size), default=0))
        layouts = distinct(here, "layout")
        columns = [where(here, layout=layout) for layout in layouts]
        names = [name for name in NAMES if where(here, contestant=name)]
        body = [
            [NAMES[name], *(cell(where(column, contestant=name), rate) for column in columns)]
            for name in names
        ]
        body += [
            [words, *(times(best(c, "signs", rate), best(c, name, rate, max)) for c in columns)]
            for words, name in (
                ("**ours to the best by the sample**", "per_sample"),
                ("**ours to the best by sorted batches**", "sorted"),
                ("**ours to decompression on all threads**", "inflate_all"),
            )
            if any(best(column, name, rate, max) for column in columns)
        ]
        if cache == "warm":
            for count in sorted(distinct(of_size, "images")):
                mine = where(of_size, contestant="signs_lightning", images=count)
                memory = [cell(where(mine, layout=layout), mebibytes) for layout in layouts]
                body.append([f"own memory, MiB, of {count:,} images", *memory])
        shares = [c[0]["stored"] if c[0].get("stored") else 1 for c in columns]
        titles = [
            f"{layout} ({share:.0%} of the bytes)" if "gzip" in layout else layout
            for layout, share in zip(layouts, shares, strict=True)
        ]
        if here:
            text.append(table([f"{size}, {here[0]['images']:,} images, {cache}", *titles], body))
    return text


def growth(record: dict[str, Any]) -> list[str]:
    """One table of how time and memory grow with each cause, and the slopes of the last step."""
    rows, body = latest(record, "growth"), []
    rows = where(rows, machine=rows[-1]["machine"]) if rows else []
    for row in rows:
        row.setdefault("value", row["contestant"])
    columns = [(kind, figure) for kind in ("reading", "fit") for figure in (total, each, mebibytes)]
    for cause in distinct(rows, "subject"):
        series: list[list[tuple[float, float]]] = [[] for _ in columns]
        for value in distinct(where(rows, subject=cause), "value"):
            here, line = where(rows, subject=cause, value=value), []
            for (kind, figure), points in zip(columns, series, strict=True):
                # a number of processes is a contestant of its own
                mine = where(here, contestant=kind if kind == "reading" else ("fit", value))
                line.append(cell(mine, figure))
                if (found := middle(mine, figure)) and isinstance(value, int):
                    points.append((value**2 if cause == "image size" else value, found))
            text = f"{value:,}" if isinstance(value, int) else value
            body.append([f"{cause}: {text}", *line])
        slopes = [slope(*points[-2:]) if len(points) > 1 else "–" for points in series]
        if set(slopes) != {"–"}:
            body.append([f"**{cause}: slope**", *slopes])
    head = [f"{words}{unit}" for words in ("read", "trained") for unit in (", s", ", µs an image")]
    head = [*head[:2], "own memory, MiB", *head[2:], "own memory, MiB"]
    return [table(["what grows", *head], body)] if body else []


def total(row: Row) -> float | None:
    """Seconds of a reader, or of an epoch."""
    return row.get("seconds", epoch(row))


def each(row: Row) -> float | None:
    """Microseconds of an image."""
    images = rate(row)
    return 1e6 / images if images else None


def slope(before: tuple[float, float], last: tuple[float, float]) -> str:
    """By what power of its cause a figure grew at the last step."""
    return f"**{math.log(last[1] / before[1]) / math.log(last[0] / before[0]):.2f}**"
