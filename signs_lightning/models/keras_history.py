"""The file of Keras's CSVLogger, as the beginning of a run's history."""

from __future__ import annotations

import csv
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import translate_os_errors

Row = dict[str, float | int]
MAX_BYTES = 64 << 20
NAMES = {  # Keras's names of what is called otherwise here
    "acc": "accuracy",
    "binary_accuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "lr": "learning_rate",
}


def read_keras_history(path: str | Path, epochs: int) -> list[Row]:
    """Return one row for each of a run's first epochs, as far as the file has them.

    Where an interrupted run was resumed with `append=True`, the epochs that it repeated count.

    Args:
        path: what `keras.callbacks.CSVLogger` wrote, with any separator.
        epochs: how many are done.

    Raises:
        InputError: the file cannot be read, is another one, or has two runs in it.
    """
    path = Path(path)
    with translate_os_errors(path):
        if path.stat().st_size > MAX_BYTES:
            raise _no_history(path, f"has {path.stat().st_size:,} bytes")
        text = path.read_bytes().decode("utf-8", errors="replace")
    lines = text.splitlines()
    if not lines or not lines[0].startswith("epoch") or len(lines[0]) < 7 or lines[0][5].isalnum():
        raise _no_history(path, f"begins with '{shorten(lines[0] if lines else '', 40)}'")
    rows: dict[int, Row] = {}
    for number, cells in enumerate(csv.DictReader(lines, delimiter=lines[0][5]), start=2):
        epoch = cells.pop("epoch", None)
        if epoch is None or not epoch.isdecimal() or len(epoch) > 9:
            raise _no_history(path, f"has no epoch in line {number}")
        later = [k for k in rows if k >= int(epoch)]
        if later and int(epoch) == 0:
            raise InputError(
                f"{path} holds two runs: epoch 0 stands in line {number} once more. Take the lines "
                "out that are not of this run, or number its epochs on."
            )
        for k in later:  # a resumed run repeats them
            del rows[k]
        rows[int(epoch)] = {"epoch": int(epoch)} | _figures(cells)
    return [row for epoch, row in rows.items() if epoch < epochs]


def _figures(cells: dict[str, str | None]) -> Row:
    """Return the numbers of a line, under the names of the history here."""
    figures: Row = {}
    for name, text in cells.items():
        try:
            value = float(text or "")
        except (TypeError, ValueError):  # NA, or a list of numbers
            continue
        start = "val_" if name.startswith("val_") else ""
        name = name.removeprefix("val_")
        figures[start + NAMES.get(name, name)] = value
    return figures


def _no_history(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} is no file of Keras's CSVLogger: it {why}, expected the columns epoch, loss, … "
        "Name another file, or leave --history out."
    )
