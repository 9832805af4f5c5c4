"""Indexing of arrays: rows, axes, datasets that are read whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from signs_lightning.translate.array_origins import Rows
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_shapes import SampleCount, ShapeRecord, asked
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.values import (
    LibraryName,
    NeedsFactError,
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

WHOLE = slice(None)
ELLIPSIS = LibraryName("builtins.Ellipsis")


def names_of(array: ArrayRecord, place: Place) -> Iterator[Value]:
    """Return an iterator over the names of classes, of which only the number matters.

    Raises:
        NeedsFactError: it is not known.
    """
    count = session().facts.get("classes")
    if not isinstance(count, int):
        raise NeedsFactError("classes")
    return iter([NoEffect(f"a name of {array.name}", place)] * count)


def item_of(array: ArrayRecord, index: Value, place: Place) -> Value:
    """Return `array[index]`.

    Raises:
        NotUnderstoodError: the index is none of the known kinds.
    """
    if array.origin.kind == "csv" and array.shape is None and not array.origin.content:
        return _part_of_table(array, index, place)
    if isinstance(index, str):  # a dataset in a group
        key = f"{array.origin.key}/{index}"
        return array.with_(name=key, origin=replace(array.origin, key=key))
    parts = list(index) if isinstance(index, tuple) else [index]
    if ELLIPSIS in parts:
        parts = _without_ellipsis(array, parts)
    if not parts:
        return array.view()
    made, shape = array, list(array.shape) if array.shape is not None else None
    axes: list[Any] = []
    for part in parts:
        if part is None:
            axes.append(1)
            continue
        axis = shape.pop(0) if shape else None
        is_first = not axes and part is parts[0]
        if isinstance(part, slice):
            if part != WHOLE and is_first:
                made = made.view(rows=(*made.rows, _rows(part, axis, place)))
            elif part != WHOLE and not (_is_whole(part)):
                made = made.lost(f"a part of {array.name}", place)
            axes.append(_slice_length(part, axis))
        elif isinstance(part, ArrayRecord) and is_first:
            made = made.with_(rows=(*made.rows, _chosen(part, place)))
            axes.append(part.shape[0] if part.shape else None)
        elif isinstance(part, int | Unknown | SampleCount) and not isinstance(part, bool):
            if not is_first and axis != 1 and not array.is_labels:
                made = made.lost(f"a part of {array.name}", place)
            continue  # one of them
        elif isinstance(part, list | Record):
            made = made.lost(f"this part of {array.name}", place)
            axes.append(len(part) if isinstance(part, list) else None)
        else:
            raise NotUnderstoodError(f"this index of {array.name}")
    if array.origin.content == "names" and not axes:
        return Unknown(f"a name of {array.name}", place)
    if shape is None and not axes:
        return made.view(shape=None)
    rest = shape or []
    if array.shape is None and len(axes) < 4:
        return made.view(shape=None)
    return made.view(shape=(*axes, *rest))


def _part_of_table(table: ArrayRecord, index: Value, place: Place) -> ArrayRecord:
    """Return a column of labels, or the columns of pixels that follow it."""
    parts = index if isinstance(index, tuple) else (index,)
    if isinstance(index, str) or parts == (WHOLE, 0):
        key, content = index if isinstance(index, str) else "", "labels"
        origin = replace(table.origin, key=key, content=content)
        return table.with_(origin=origin, name=key or "the labels", shape=(None,))
    if parts == (WHOLE, slice(1, None, None)):
        return pixels_of(table)
    return table.lost("this part of a table", place)


def pixels_of(table: ArrayRecord) -> ArrayRecord:
    """Return the columns of pixels of a table: an image a row."""
    origin = replace(table.origin, content="images")
    return table.with_(origin=origin, name="the pixels", shape=(None, None))


def _without_ellipsis(array: ArrayRecord, parts: list[Value]) -> list[Value]:
    place = parts.index(ELLIPSIS)
    taken = sum(part is not None and part != ELLIPSIS for part in parts)
    if array.shape is None:
        if parts == [ELLIPSIS]:
            return []
        if place == 0 and len(parts) == 2 and parts[1] is None:
            return [WHOLE, WHOLE, WHOLE, None]
        raise NotUnderstoodError(f"'...' of {array.name}")
    return [*parts[:place], *[WHOLE] * (len(array.shape) - taken), *parts[place + 1 :]]


def _is_whole(part: slice) -> bool:
    return part.start in (None, 0) and part.stop is None and part.step in (None, 1)


def _slice_length(part: slice, axis: Any) -> Any:
    if _is_whole(part):
        return axis
    plain = all(isinstance(k, int | None) for k in (part.start, part.stop, part.step))
    if plain and isinstance(axis, int):
        return len(range(*part.indices(axis)))
    return None


def _rows(part: slice, axis: Any, place: Place) -> Rows:
    """Return which rows a slice takes, as a share where the number of all is known."""
    start, stop = part.start or 0, part.stop
    if part.step not in (None, 1):
        return Rows("some", None, place)
    if isinstance(start, SampleCount) and stop is None:
        return Rows("last", 1 - start.share, place)
    if isinstance(stop, SampleCount) and start == 0:
        return Rows("first", stop.share, place)
    if isinstance(start, int) and isinstance(stop, int | None):
        length = _slice_length(part, axis)
        share = length / axis if isinstance(length, int) and axis else None
        if start == 0:
            return Rows("first", share, place)
        if stop is None:
            return Rows("last", share, place)
    return Rows("some", None, place)


def _chosen(index: ArrayRecord, place: Place) -> Rows:
    """Return which rows an array of indices takes: all of them where it is a permutation."""
    is_order = index.origin.kind == "random" and index.origin.key == "permutation"
    if is_order and not index.rows:
        return Rows("order", 1.0, place)
    return Rows("random" if is_order else "some", None, place)


def one_hot(labels: ArrayRecord, classes: Value, place: Place) -> ArrayRecord:
    """Return the one-hot rows of labels.

    Args:
        labels: numbers, of any shape.
        classes: their number, an Unknown, or None where the labels tell.
        place: the statement.
    """
    if classes is None:
        classes = asked(f"the number of classes of {labels.name}", place, "classes")
    if labels.classes is not None:
        return labels.lost(f"one-hot labels of {labels.name} made one-hot again", place)
    shape = labels.shape
    if shape is not None and len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    shape = None if shape is None else (*shape, classes)
    origin = replace(labels.origin, content="labels")
    return labels.with_(classes=classes, shape=shape, dtype="float64", origin=origin)


class Identity(Record):
    """`np.eye(n)`, of which rows are taken by labels.

    Args:
        size: n, perhaps an Unknown.
    """

    def __init__(self, size: Value) -> None:
        self.size = size
        self.shape = (size, size)

    def describe(self) -> str:
        return "np.eye(…)"

    def attribute(self, name: str, place: Place) -> Value:
        if name == "shape":
            return (
                ShapeRecord(self.shape, "np.eye(…)")
                if isinstance(self.size, Unknown)
                else (self.shape)
            )
        raise NotUnderstoodError(f".{name} of np.eye(…)")

    def item(self, index: Value, place: Place) -> Value:
        if isinstance(index, ArrayRecord):
            return one_hot(index, self.size, place)
        if isinstance(index, Unknown):
            return index
        raise NotUnderstoodError("this index of np.eye(…)")

    def length(self, place: Place) -> Value:
        return self.size
