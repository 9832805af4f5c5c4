"""Changes of arrays that keep their pixels apart or do not: in place, types, axes, bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signs_lightning.translate.array_scales import plain_numbers, type_name
from signs_lightning.translate.array_shapes import Shape
from signs_lightning.translate.values import Place, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.array_records import ArrayRecord

_WHOLE_TYPES = ("int", "uint", "bool")
_CHANGING = ("factor", "offset", "mode", "dtype", "unknown")
_ENDS = {"first", "last"}


def change_in_place(array: ArrayRecord, operator: str, other: Value, place: Place) -> Value:
    """Do `array operator= other`, which its views see, and return the array."""
    for view in list(array.memory):
        if view is array or _covers(array, view):
            changed: Any = view.operate(operator, other, False, place)
            for name in _CHANGING:
                setattr(view, name, getattr(changed, name))
        elif not _are_apart(array, view):
            view.taint(Unknown(f"a part of {view.name}, which is changed in place", place))
    return array


def _covers(array: ArrayRecord, view: ArrayRecord) -> bool:
    """Return whether an array has all the rows of a view of the same memory."""
    return view.rows[: len(array.rows)] == array.rows


def _are_apart(array: ArrayRecord, view: ArrayRecord) -> bool:
    """Return whether two views have no row in common: the first ones, and the last ones."""
    ends = zip(array.rows, view.rows, strict=False)
    one, two = next(((a, b) for a, b in ends if a != b), (None, None))
    if one is None or two is None or {one.how, two.how} != _ENDS:
        return False
    return one.share is None or two.share is None or one.share + two.share <= 1 + 1e-9


def cast(array: ArrayRecord, kind: Value, place: Place) -> ArrayRecord:
    """Return an array of another type, which whole numbers are cut off for."""
    dtype = type_name(kind)
    is_whole = dtype.startswith(_WHOLE_TYPES)
    is_cut = array.mode or array.factor != 1 or array.offset != 0 or dtype.startswith("bool")
    if is_whole and is_cut and not array.is_labels:
        return array.lost(f"{array.name} as {dtype}", place, dtype=dtype)
    return array.with_(dtype=dtype)


def clipped(array: ArrayRecord, low: Value, high: Value, place: Place) -> ArrayRecord:
    """Return an array within bounds, which cut nothing off where they are those of its pixels."""
    limits = [bound if bound is None else plain_numbers(bound) for bound in (low, high)]
    least, most = array.offset, _add(array.offset, array.factor)
    is_known = not array.mode and isinstance(least, int | float) and isinstance(most, int | float)
    numbers = [bound for bound in limits if isinstance(bound, int | float)]
    is_given = len(numbers) == 2 or (len(numbers) == 1 and None in (low, high))
    if is_known and is_given and _are_within(sorted((least, most)), limits):
        return array.with_()
    return array.lost(f"{array.name} clipped", place)


def _add(offset: Any, factor: Any) -> Any:
    is_one = isinstance(offset, int | float) and isinstance(factor, int | float)
    return offset + 255 * factor if is_one else None


def _are_within(values: list[float], limits: list[Any]) -> bool:
    low, high = limits
    return (low is None or low <= values[0] + 1e-6) and (high is None or high >= values[1] - 1e-6)


def is_move(order: tuple[int, ...]) -> bool:
    """Return whether an order of axes moves channels or rows as a whole, and turns no picture.

    One axis may move past two others or more; two axes are those of flat rows.
    """
    count = len(order)
    if order == tuple(range(count)) or count < 3:
        return True
    for axis in range(count):
        rest = [k for k in order if k != axis]
        if rest == sorted(rest) and abs(order.index(axis) - axis) > 1:
            return True
    return False


def keeps_pixels(old: Shape | None, new: Shape) -> bool:
    """Return whether pixels are where they were after a reshape, as far as the shapes tell."""
    if old is None or len(old) < 2 or len(new) < 2:
        return True
    before = [axis for axis in old[1:] if axis != 1]
    after = [axis for axis in new[1:] if axis != 1]
    is_known = all(isinstance(axis, int) for axis in (*before, *after))
    return not is_known or before == after or len(before) < 2 or len(after) < 2
