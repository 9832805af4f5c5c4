"""A run's history as tensors, as checkpoints hold it.

A run of many epochs writes it with every one of them, and as dicts that takes longer than an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Row = dict[str, float | int]
KEYS = {"columns", "values", "kinds"}
KINDS: dict[type, int] = {int: 1, float: 2}  # of a cell; 0 where the row has none
MAX_INTEGER = 2**53  # up to which float64 has every whole number
KEPT = 100  # rows at the end of a history that may still change


class HistoryPacker:
    """Packs a history again and again as it grows, the last rows of it only.

    Rows that `KEPT` others follow are not looked at again, unless another dict is in their place.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._rows: list[Row] = []  # those that are packed for good
        self._columns: list[str] = []
        self._values: list[Tensor] = []  # blocks float64 (n, C)
        self._kinds: list[Tensor] = []  # blocks uint8 (n, C)

    def pack(self, rows: Sequence[Row]) -> Any:
        """Return a history as a checkpoint holds it, see `unpack_history`.

        Rows of other values than int and float are returned as they are.
        """
        done = len(self._rows)
        last = rows[done:]
        known = dict.fromkeys(self._columns)
        if list(rows[:done]) != self._rows or any(row.keys() - known.keys() for row in last):
            self._forget()
            done, last = 0, rows
            self._columns = list(dict.fromkeys(key for row in rows for key in row))
        block = _pack_block(last, self._columns)
        if block is None:
            self._forget()
            return [dict(row) for row in rows]
        values, kinds = block
        packed: dict[str, Any] = {
            "columns": list(self._columns),
            "values": torch.cat([*self._values, values]),
            "kinds": torch.cat([*self._kinds, kinds]),
        }
        if len(last) >= 2 * KEPT:
            done = len(rows) - KEPT
            self._rows = list(rows[:done])
            self._values, self._kinds = [packed["values"][:done]], [packed["kinds"][:done]]
        return packed


def _pack_block(rows: Sequence[Row], columns: list[str]) -> tuple[Tensor, Tensor] | None:
    """Return the values and kinds (n, C) of rows; None where some are no numbers to be packed."""
    if not all(_is_number(figure) for row in rows for figure in row.values()):
        return None
    values = [[row.get(name, 0) for name in columns] for row in rows]
    kinds = [[KINDS[type(row[name])] if name in row else 0 for name in columns] for row in rows]
    shape = (len(rows), len(columns))
    return (
        torch.tensor(values, dtype=torch.float64).reshape(shape),
        torch.tensor(kinds, dtype=torch.uint8).reshape(shape),
    )


def _is_number(figure: object) -> bool:
    """Return whether a float64 holds it, and `KINDS` tells what it was."""
    return type(figure) is float or (type(figure) is int and abs(figure) <= MAX_INTEGER)


def unpack_history(packed: Any) -> list[Row]:
    """Return the rows of a checkpoint's history.

    Args:
        packed: `columns`, the C names in their order; `values` float64 and `kinds` uint8, see
            `KINDS`, (epochs, C). Formats up to 5 had the rows themselves.
    """
    if isinstance(packed, list):
        return packed
    columns = packed["columns"]
    return [
        {
            name: int(value) if kind == 1 else value
            for name, value, kind in zip(columns, values, kinds, strict=True)
            if kind
        }
        for values, kinds in zip(packed["values"].tolist(), packed["kinds"].tolist(), strict=True)
    ]


def is_history(value: Any, size: int) -> bool:
    """Return whether a checkpoint's history is one, whose figures so many bytes can hold."""
    if isinstance(value, list):
        return all(
            isinstance(row, dict)
            and all(isinstance(figure, int | float) for figure in row.values())
            for row in value
        )
    if not isinstance(value, dict) or value.keys() != KEYS:
        return False
    columns, tensors = value["columns"], (value["values"], value["kinds"])
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        return False
    if not all(isinstance(t, Tensor) and t.layout == torch.strided for t in tensors):
        return False
    values, kinds = tensors
    return (
        (values.dtype, kinds.dtype) == (torch.float64, torch.uint8)
        and values.ndim == 2
        and values.shape == kinds.shape
        and values.shape[1] == len(columns) == len(set(columns))
        and max(values.numel() * 9, len(values)) <= size
        and not bool((kinds > 2).any())
        and not bool((~values.isfinite() & (kinds == 1)).any())
    )
