"""Shapes of arrays whose content is not known: what of them is known, and what to ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from signs_lightning.translate.keras_session import session
from signs_lightning.translate.values import NotUnderstoodError, Place, Record, Unknown, Value

MAX_AXES = 32  # as in NumPy
Shape = tuple[Any, ...]  # of int, SampleCount, or Unknown
ROUNDING = {"//": "floor", "floor": "floor", "ceil": "ceil", "int": "floor", "round": "round"}


@dataclass(frozen=True)
class SampleCount(Record):
    """How many images there are, perhaps divided by a number, which only the data know.

    Attributes:
        of: what is counted, such as "x_train".
        divisor: what the number is divided by.
        rounding: how the quotient is made a whole number: "floor", "ceil", "round"; "" for none.
        share: which share of the images is meant, in 0..1.
    """

    of: str
    divisor: float = 1
    rounding: str = ""
    share: float = 1.0

    def describe(self) -> str:
        return f"the number of images in {self.of}"

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        is_number = isinstance(other, int | float) and not isinstance(other, bool)
        if is_number and not is_reflected and not self.rounding and other > 0:
            if operator == "/":
                return SampleCount(self.of, self.divisor * other, share=self.share)
            if operator == "//":
                return SampleCount(self.of, self.divisor * other, "floor", self.share)
            if operator == "*" and other <= 1:
                return SampleCount(self.of, self.divisor, share=self.share * other)
        if is_number and operator == "+" and other == 1 and self.rounding == "floor":
            return SampleCount(self.of, self.divisor, "ceil", self.share)
        return asked(self.describe(), place, "images")

    def rounded(self, name: str) -> SampleCount:
        """Return `int`, `ceil`, `floor` or `round` of it."""
        return SampleCount(self.of, self.divisor, self.rounding or ROUNDING[name], self.share)


@dataclass(frozen=True)
class ShapeRecord(Record):
    """The `.shape` of an array of which an axis or all of it is unknown.

    Attributes:
        axes: the axes; None where not even their number is known.
        of: name of the array.
        is_labels: whether the array holds labels: its second axis is the classes then.
        is_images: whether it may be taken for images where no more is known of it.
    """

    axes: Shape | None
    of: str
    is_labels: bool = False
    is_images: bool = True

    def describe(self) -> str:
        return f"the shape of {self.of}"

    def item(self, index: Value, place: Place) -> Value:
        if isinstance(index, slice):
            return self._part(index, place)
        if not isinstance(index, int) or not -MAX_AXES <= index < MAX_AXES:
            raise NotUnderstoodError(f"this index of {self.describe()}")
        if self.axes is not None:
            if not -len(self.axes) <= index < len(self.axes):
                raise NotUnderstoodError(f"axis {index} of {len(self.axes)} of {self.of}")
            return self.axes[index]
        if index == 0:
            return SampleCount(self.of)
        if not self.is_images and not self.is_labels:
            return asked(f"{self.of}.shape[{index}]", place, f"{self.of}.shape[{index}]")
        return axis_unknown(self.of, index, place, self.is_labels)

    def _part(self, index: slice, place: Place) -> Value:
        if not all(isinstance(k, int | None) for k in (index.start, index.stop, index.step)):
            raise NotUnderstoodError(f"this slice of {self.describe()}")
        if self.axes is not None:
            part = self.axes[index]
            if all(isinstance(axis, int) for axis in part):
                return part
            facts = {axis.fact for axis in part if isinstance(axis, Unknown)}
            if facts == {"input_shape"} and len(part) == 3 and index.start == 1:
                return asked(self.describe(), place, "input_shape")
            return ShapeRecord(part, self.of, self.is_labels) if index.start == 0 else part
        if (index.start, index.stop, index.step) == (1, None, None) or (
            (index.start, index.stop, index.step) == (1, 4, None)
        ):
            return asked(self.describe(), place, "input_shape")
        if index.start in (1, -3) and index.stop in (3, -1):
            return asked(self.describe(), place, "input_shape[:2]")
        raise NotUnderstoodError(f"this slice of {self.describe()}")

    def length(self, place: Place) -> Value:
        if self.axes is None:
            return Unknown(f"the number of axes of {self.of}", place)
        return len(self.axes)

    def iterate(self, place: Place) -> Iterator[Value]:
        if self.axes is None:  # of images, (N, H, W, C)
            count = 2 if self.is_labels else 4
            axes: Shape = tuple(self.item(k, place) for k in range(count))
        else:
            axes = self.axes
        yield from axes

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        if operator == "+" and isinstance(other, tuple) and self.axes is not None:
            return other + self.axes if is_reflected else self.axes + other
        raise NotUnderstoodError(f"'{operator}' of {self.describe()}")


def axis_unknown(of: str, index: int, place: Place, is_labels: bool) -> Value:
    """Return the value of an axis that only the data know."""
    if is_labels:
        return asked(f"{of}.shape[{index}]", place, "classes")
    axis = index - 1 if index > 0 else index
    return asked(f"{of}.shape[{index}]", place, f"input_shape[{axis}]")


def asked(reason: str, place: Place, fact: str) -> Value:
    """Return what the user told of the data, or a value that asks for it."""
    value = told(fact, session().facts)
    name = fact if ".shape" in fact else fact.partition("[")[0]
    return Unknown(reason, place, name) if value is None else value


def told(fact: str, facts: dict[str, Any]) -> Any:
    """Return what facts tell for a fact such as "classes" or "input_shape[0]", or None."""
    name, bracket, index = fact.partition("[")
    if fact in facts or name not in facts:
        return facts.get(fact)
    value = facts[name]
    if not bracket or not isinstance(value, tuple | list):
        return None
    index = index.rstrip("]")
    if index == ":2":
        return tuple(value[:2])
    is_axis = index.lstrip("-").isdigit() and -len(value) <= int(index) < len(value)
    return value[int(index)] if is_axis else None


def reshaped(shape: Shape | None, wanted: Shape) -> Shape:
    """Return the shape that `reshape(wanted)` gives.

    Raises:
        NotUnderstoodError: the sizes do not fit.
    """
    if len(wanted) > MAX_AXES:
        raise NotUnderstoodError(f"reshape to {len(wanted)} axes")
    free = [k for k, axis in enumerate(wanted) if axis == -1]
    if len(free) > 1:
        raise NotUnderstoodError("reshape with two -1")
    if shape is None:
        return tuple(None if axis == -1 else axis for axis in wanted)
    # Axes that are not known are the same on both sides, or cannot be told.
    rest, left = list(shape), []
    for axis in wanted:
        if not isinstance(axis, int) and axis in rest:
            rest.remove(axis)
        elif axis != -1:
            left.append(axis)
    if not all(isinstance(axis, int) for axis in left):
        return tuple(None if axis == -1 else axis for axis in wanted)
    unknown = [axis for axis in rest if not isinstance(axis, int)]
    size = math.prod(axis for axis in rest if isinstance(axis, int))
    taken = math.prod(left)
    if not free:
        if not unknown and size != taken:
            raise NotUnderstoodError(f"reshape of {shape} to {wanted}")
        return wanted
    if not unknown:
        if taken == 0 or size % taken:
            raise NotUnderstoodError(f"reshape of {shape} to {wanted}")
        found: Any = size // taken
    else:
        found = unknown[0] if len(unknown) == 1 and size == taken else None
    return tuple(found if axis == -1 else axis for axis in wanted)


def broadcast(one: Shape | None, two: Shape | None) -> Shape | None:
    """Return the shape of an operation of two arrays, None where it is not known.

    Raises:
        NotUnderstoodError: they do not fit.
    """
    if one is None or two is None:
        return one if two == () else two if one == () else None
    length = max(len(one), len(two))
    padded = [(1,) * (length - len(shape)) + shape for shape in (one, two)]
    axes = []
    for a, b in zip(*padded, strict=True):
        if isinstance(a, int) and isinstance(b, int) and a != b and 1 not in (a, b):
            raise NotUnderstoodError(f"shapes {one} and {two} together")
        axes.append(b if a == 1 else a if b == 1 or isinstance(a, int) else b if b else a)
    return tuple(axes)
