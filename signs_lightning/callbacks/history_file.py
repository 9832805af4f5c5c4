"""history.csv: one line per epoch."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Sequence
from pathlib import Path

KERAS_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
Row = dict[str, float | int]
Rows = Sequence[Row]


class HistoryFile:
    """history.csv of a run that goes on: an epoch costs a line, however many are before it.

    Keras's columns come first, further metrics after them; a cell is empty where not measured. A
    task without an accuracy has its own columns alone.

    Args:
        path: of the CSV file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []
        self._count = 0  # rows that were written
        self._last: Row = {}  # the last one of them
        self._size = -1  # bytes

    def add(self, rows: Rows) -> None:
        """Add the last rows to the file; write all where it is not that of the rows before them.

        Args:
            rows: the whole history.
        """
        if not self._goes_on_with(rows) or not self._append(rows[self._count :]):
            self.write(rows)
        self._count, self._last = len(rows), dict(rows[-1])
        self._size = self.path.stat().st_size

    def _goes_on_with(self, rows: Rows) -> bool:
        if self._count == 0 or len(rows) < self._count or rows[self._count - 1] != self._last:
            return False
        return all(row.keys() <= set(self._columns) for row in rows[self._count :])

    def _append(self, rows: Rows) -> bool:
        """Add rows in one piece; return whether the file was as it was left."""
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return False
        try:
            if os.fstat(file).st_size != self._size:
                return False
            lines = _lines(rows, self._columns).encode()
            if os.write(file, lines) < len(lines):  # no room for the rest
                os.ftruncate(file, self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        finally:
            os.close(file)
        return True

    def write(self, rows: Rows) -> None:
        """Write all rows, atomically."""
        found = dict.fromkeys(key for row in rows for key in row)
        is_task = "accuracy" not in found  # whose columns are its own
        self._columns = list(found if is_task else dict.fromkeys([*KERAS_COLUMNS, *found]))
        temporary = self.path.with_suffix(".writing")
        with temporary.open("w", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writeheader()
            file.write(_lines(rows, self._columns))
        os.replace(temporary, self.path)


def _lines(rows: Rows, columns: list[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()
