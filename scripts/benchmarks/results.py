"""Take figures from the record: medians over repeats of the latest run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from benchmarks.training import epoch_seconds

Row = dict[str, Any]
NAMES = {
    "signs_lightning": "signs_lightning",
    "keras_tensorflow": "Keras on TensorFlow",
    "keras_torch": "Keras on torch",
    "lightning_port": "plain Lightning port",
    "hand_written": "hand-written loop",
    "per_sample_0": "h5py by the sample, 0 workers",
    "per_sample_2": "h5py by the sample, 2 workers",
    "blocks": "h5py by blocks, in file order",
    "inflate_1": "decompression alone, 1 thread",
    "inflate_all": "decompression alone, all threads",
}
MODELS = {"functional": "Functional", "sequential": "Sequential", "resnet50": "ResNet50"}


def latest(record: dict[str, Any], part: str) -> list[Row]:
    """A part's measurements: of each subject those of the latest run that has it.

    On a GPU, where one run may have no time for all, that is of each card, subject and precision; a
    row is given its `card`.
    """
    rows = [row for row in record["measurements"] if row["part"] == part and "failed" not in row]
    labels: tuple[str, ...] = ("subject",)
    if part == "gpu":
        labels = ("card", "subject", "precision")
        cards = {run["run"]: run.get("machine", {}).get("gpu") for run in record["runs"]}
        rows = [{**row, "card": cards[row["run"]]} for row in rows]

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row.get(label) for label in labels)

    last = {key(row): row["run"] for row in rows}  # runs stand in the order of time
    return [row for row in rows if row["run"] == last[key(row)]]


def where(rows: Iterable[Row], **labels: Any) -> list[Row]:
    """The rows that have these labels; a tuple stands for any of its values."""
    return [
        row
        for row in rows
        if all(
            row.get(key) in value if isinstance(value, tuple) else row.get(key) == value
            for key, value in labels.items()
        )
    ]


def middle(rows: Iterable[Row], value: Callable[[Row], float | None] | str) -> float | None:
    """Return the median over repeats of a figure or an entry; None without any."""
    found = [row.get(value) if isinstance(value, str) else value(row) for row in rows]
    numbers = [number for number in found if number is not None]
    return median(numbers) if numbers else None


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b, where there are both."""
    return a / b if a and b else None


def distinct(rows: Iterable[Row], label: str) -> list[Any]:
    """The values of a label, in the order in which they come."""
    return list(dict.fromkeys(row[label] for row in rows if label in row))


def training_times(
    rows: list[Row], model: str, precision: str
) -> dict[str, dict[str, float | None]]:
    """Return epoch, process and start (s) and memory (MiB) of each contestant."""
    found = {}
    for contestant in NAMES:
        mine = where(rows, subject=model, precision=precision, contestant=contestant)
        if mine:
            process = where(mine, kind=("both", "process"))
            memory = middle(process or mine, "peak_bytes")
            found[contestant] = {
                "epoch": middle(where(mine, kind=("both", "epoch")), epoch_seconds),
                "process": middle(process, "process_seconds"),
                "start": middle(process, "training_starts_seconds"),
                "memory": memory / 2**20 if memory else None,
            }
    return found


def rate(row: Row) -> float | None:
    """Images per second of a reader."""
    return row["images_read"] / row["seconds"] if "images_read" in row else None
