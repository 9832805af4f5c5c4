"""A history as tensors: what is unpacked is what was packed, to the last bit and type."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch

from signs_lightning.models.epoch_history import History
from signs_lightning.models.packed_history import (
    KEPT,
    HistoryPacker,
    is_history,
    unpack_history,
)


def exact(rows: list[dict]) -> list[list[tuple[str, str]]]:
    """Rows as text, which tells int from float, and -0.0 from 0.0."""
    return [sorted((name, repr(figure)) for name, figure in row.items()) for row in rows]


def test_packed_rows_come_back() -> None:
    """Whole numbers, missing figures, signs of zero, NaN; again and again as the history grows,
    shrinks, gets a column, and has rows replaced and changed.
    """
    draw = random.Random(0)
    rows = History()

    def grow(count: int, *names: str) -> None:
        for _ in range(count):
            some = [name for name in names if draw.random() < 0.9]
            rows.append({"epoch": len(rows), **{name: draw.random() for name in some}})

    def check() -> None:
        assert exact(unpack_history(rows.packer.pack(rows))) == exact(rows)

    check()
    rows.append({})
    rows.append({"epoch": 1, "loss": -0.0, "a": math.inf, "b": 0.1 + 0.2, "c": -(2**53)})
    rows.append({"loss": math.nan, "b": 0.0, "c": 5e-324})
    for _ in range(12):
        grow(draw.randrange(KEPT), "loss", "accuracy")
        check()
        rows[-1]["loss"] = 2.0  # as a callback does that comes later
    grow(3, "loss", "val_f1")
    check()
    rows[0] = {"epoch": 7}
    check()
    del rows[3 : KEPT + 5]
    check()
    before = exact(rows)
    packed = rows.packer.pack(rows)
    grow(3 * KEPT, "loss")
    check()
    assert exact(unpack_history(packed)) == before, "what was packed changed later"


@pytest.mark.parametrize("figure", [True, None, "0.5", 2**53 + 1, torch.tensor(0.5)])
def test_other_values_stay_rows(figure: Any) -> None:
    """A bool, a text, a whole number that float64 lacks: as they are."""
    rows = [{"epoch": 0, "loss": figure}]
    packed = HistoryPacker().pack(rows)
    assert packed == rows
    assert packed[0] is not rows[0]


def test_damaged_histories_are_told() -> None:
    """Columns that do not fit, numbers that are none, tensors of more bytes than the file has."""
    good = HistoryPacker().pack([{"epoch": 0, "loss": 0.5}, {"epoch": 1}])
    assert is_history(good, 36)
    values, kinds = good["values"], good["kinds"]
    for damage in (
        {"columns": ["epoch"]},
        {"columns": ["epoch", "epoch"]},
        {"columns": ["epoch", 1]},
        {"values": values.float()},
        {"values": values[:1]},
        {"values": values.flatten()},
        {"values": [[0.0, 0.5], [1.0, 0.0]]},
        {"values": torch.full((2, 2), math.nan, dtype=torch.float64)},
        {"kinds": kinds + 2},
        {"kinds": kinds.int()},
        {"columns": [], "values": values[:, :0], "kinds": kinds[:, :0], "more": 1},
    ):
        assert not is_history({**good, **damage}, 36), damage
    assert not is_history(good, 35)
    huge = {"values": values[:1].expand(2**40, 2), "kinds": kinds[:1].expand(2**40, 2)}
    assert not is_history({**good, **huge}, 2**20)
    none = {"values": values[:1, :0].expand(2**40, 0), "kinds": kinds[:1, :0].expand(2**40, 0)}
    assert not is_history({"columns": [], **none}, 2**20)
