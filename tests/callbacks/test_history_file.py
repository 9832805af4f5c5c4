"""history.csv of a run that goes on: what is added is what writing all rows gives."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from signs_lightning.callbacks import history_file
from signs_lightning.callbacks.history_file import HistoryFile


def whole(rows: list[dict], folder: Path) -> bytes:
    path = folder / "whole.csv"
    HistoryFile(path).write(rows)
    return path.read_bytes()


def test_added_rows_are_those_of_the_whole_file(tmp_path: Path) -> None:
    """One by one, several at once, without validation, with a new column, the last row changed
    afterwards, the file edited or deleted in between.
    """
    rows: list[dict] = []
    path = tmp_path / "history.csv"
    file = HistoryFile(path)

    def add(*more: dict) -> None:
        rows.extend({"epoch": len(rows) + k, **row} for k, row in enumerate(more))
        file.add(rows)
        assert path.read_bytes() == whole(rows, tmp_path)

    add({"loss": 1 / 3, "accuracy": 0.5})
    add({"loss": 0.1, "accuracy": 0.5, "val_loss": float("inf")})
    node = path.stat().st_ino
    add({"loss": 1e-9, "accuracy": 1.0}, {"val_accuracy": 0.25, "accuracy": 0.5, "loss": 2})
    assert path.stat().st_ino == node, "added to, not written again"
    add({"loss": 1, "accuracy": 1, "val_auroc": 0.5})
    rows[-1]["val_f1"] = 0.75
    add({"loss": 1, "accuracy": 1})
    rows[-1]["loss"] = 3.0
    add({"loss": 1, "accuracy": 1})
    path.write_bytes(b"epoch\n")
    add({"loss": 1, "accuracy": 1})
    path.unlink()
    add({"loss": 1, "accuracy": 1})
    del rows[2:]
    file.add(rows)
    assert path.read_bytes() == whole(rows, tmp_path)


def test_a_disk_that_fills_up_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system takes a part of a line, the file is left as it was; it goes on later."""
    rows: list[dict] = [{"epoch": 0, "loss": 1 / 3, "accuracy": 0.5}]
    file = HistoryFile(tmp_path / "history.csv")
    file.add(rows)
    before = file.path.read_bytes()
    rows.append({"epoch": 1, "loss": 2 / 3, "accuracy": 0.5})
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(history_file.os, "write", lambda to, lines: write(to, lines[:9]))
        with pytest.raises(OSError, match="No space left") as caught:
            file.add(rows)
    assert caught.value.errno == errno.ENOSPC
    assert file.path.read_bytes() == before
    file.add(rows)
    assert file.path.read_bytes() == whole(rows, tmp_path)
