"""Small arrays of constants, with NumPy's own arithmetic."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from signs_lightning.translate.array_scales import OPERATIONS
from signs_lightning.translate.numpy_numbers import is_plain_type, is_typed, typed_number
from signs_lightning.translate.values import (
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

MAX_VALUES = 10_000  # of an array that is computed
METHODS = ("astype", "reshape", "tolist", "copy", "sum", "mean", "min", "max", "prod", "item",
           "flatten", "ravel", "squeeze")  # fmt: skip
FUNCTIONS = (
    *("ceil", "floor", "sqrt", "log", "log2", "log10", "exp", "round", "abs", "prod", "max", "min"),
    *("sum", "mean", "std", "power", "maximum", "minimum", "multiply", "add", "subtract", "divide"),
    *("floor_divide", "mod", "arange", "linspace", "logspace", "square", "argmax", "unique"),
    *("rint", "cos", "sin", "tanh", "sign", "cumsum", "int32", "int64", "float32"),
    *("float64", "uint8", "float16", "amax", "amin", "argmin", "deg2rad", "trunc", "clip"),
)
OTHER = {"//": np.floor_divide, "%": np.mod, "**": np.power}


class ConstantArray(Record):
    """A NumPy array of numbers that the source itself says.

    Args:
        values: at most `MAX_VALUES` of them.
        taints: what may have changed them and is not understood, of all views together.
    """

    def __init__(self, values: Any, taints: list[Unknown] | None = None) -> None:
        self._values = values
        self._taints: list[Unknown] = [] if taints is None else taints
        self.shape = tuple(int(axis) for axis in values.shape)

    @property
    def values(self) -> Any:
        """The numbers, as an array of NumPy.

        Raises:
            NotUnderstoodError: they may have been changed in a way that is not understood.
        """
        if self._taints:
            raise NotUnderstoodError(self._taints[0].reason)
        return self._values

    def taint(self, unknown: Unknown) -> None:
        self._taints.append(unknown)

    def set_item(self, index: Value, value: Value, place: Place) -> None:
        parts = index if isinstance(index, tuple) else (index,)
        number = _plain(value)
        if not all(isinstance(part, int | slice | None) for part in parts) or number is None:
            raise NotUnderstoodError(f"setting items of {self.describe()}")
        _computed(lambda: self.values.__setitem__(index, number))

    def change(self, operator: str, other: Value, place: Place) -> Value:
        """Do `self operator= other`, which all views of the array see."""
        changed = self.operate(operator, other, False, place)
        _computed(lambda: self.values.__setitem__(..., constants(changed)))
        return self

    @property
    def numbers(self) -> Any:
        """The numbers, as nested lists."""
        return self.values.tolist()

    def describe(self) -> str:
        return "an array of constants"

    def attribute(self, name: str, place: Place) -> Value:
        if name == "shape":
            return self.shape
        if name in ("size", "ndim"):
            return int(getattr(self.values, name))
        if name == "T":
            return ConstantArray(self.values.T, self._taints)
        if name == "dtype":
            return str(self.values.dtype)
        if name in METHODS:
            return Method(name, partial(_perform, self.values, name))
        raise NotUnderstoodError(f".{name} of {self.describe()}")

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        function = OTHER.get(operator, OPERATIONS.get(operator))
        if operator == "-" and other is None:
            return ConstantArray(-self.values)
        number = _plain(other)
        is_typed_twice = is_typed(other) and not is_plain_type(self.values.dtype)
        if function is None or number is None or is_typed_twice:
            raise NotUnderstoodError(f"'{operator}' of {self.describe()}")
        pair = (number, self.values) if is_reflected else (self.values, number)
        _check_size(pair)
        return _computed(lambda: function(*pair))

    def item(self, index: Value, place: Place) -> Value:
        parts = index if isinstance(index, tuple) else (index,)
        if not all(isinstance(part, int | slice | None) for part in parts):
            raise NotUnderstoodError(f"this index of {self.describe()}")
        found = _computed(lambda: self.values[index])
        return (
            ConstantArray(found.values, self._taints) if isinstance(found, ConstantArray) else found
        )

    def length(self, place: Place) -> Value:
        return len(self.values) if self.shape else Unknown("the length of a number", place)

    def iterate(self, place: Place) -> Iterator[Value]:
        if not self.shape:
            raise NotUnderstoodError("a loop over a number")
        yield from (plain_value(part) for part in self.values)


def plain_value(found: Any) -> Value:
    """Return what NumPy computed as a number, a tuple of shapes, or a `ConstantArray`."""
    if isinstance(found, np.ndarray) and found.ndim:
        return ConstantArray(found)
    if isinstance(found, np.ndarray):
        found = found[()]
    return typed_number(found) if isinstance(found, np.generic) else found


def constants(value: Value) -> Any | None:
    """Return a value as a NumPy array where all of it is numbers, and few; None otherwise."""
    if isinstance(value, ConstantArray):
        return value.values
    if isinstance(value, range):
        value = list(value) if len(value) <= MAX_VALUES else None
    if not isinstance(value, int | float | list | tuple) or not _is_small(value, [MAX_VALUES]):
        return None
    try:
        found = np.array(value)
    except (ValueError, OverflowError, TypeError):
        return None
    return found if found.dtype.kind in "iufb" else None


def with_type(values: Any, dtype: str) -> ConstantArray:
    """Return a copy of an array, with a type unless it is empty.

    Raises:
        NotUnderstoodError: it is no type of NumPy, or does not hold the numbers.
    """
    try:
        found = np.array(values, dtype=dtype or values.dtype)
        is_whole = found.dtype.kind in "iu" and values.dtype.kind in "iu"
    except (TypeError, ValueError, OverflowError) as error:
        raise NotUnderstoodError(f"NumPy: {error}") from None
    if is_whole and not np.array_equal(
        found, values
    ):  # an error, or not, as NumPy's release has it
        raise NotUnderstoodError(f"numbers that {dtype} does not hold")
    return ConstantArray(found)


def _is_small(value: Value, left: list[int], depth: int = 0) -> bool:
    """Whether there are no more values than are left, all of them numbers."""
    if isinstance(value, list | tuple):
        return depth < 8 and all(_is_small(part, left, depth + 1) for part in value)
    left[0] -= 1
    is_number = isinstance(value, int | float) and not is_typed(value)
    return left[0] >= 0 and is_number and abs(value) < 2**62


def call_numpy(name: str, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Return what a function of NumPy gives for constants; NotImplemented where not all are."""
    if name not in FUNCTIONS:
        return NotImplemented
    if any(map(is_typed, args)) and len(args) > 1:
        raise NotUnderstoodError(f"numpy.{name}() of numbers of few bits")
    plain = [arg.dtype.type(arg) if is_typed(arg) else _plain(arg) for arg in args]
    options = {key: value for key, value in kwargs.items() if isinstance(value, int | float | None)}
    if any(arg is None for arg in plain) or len(options) < len(kwargs) or not args:
        return NotImplemented
    if name in ("arange", "linspace", "logspace") and not _has_few(name, plain, options):
        return NotImplemented
    _check_size([arg for arg in plain if isinstance(arg, np.ndarray)])
    return _computed(lambda: getattr(np, name)(*plain, **options))


def _check_size(parts: Any) -> None:
    """Check that an operation of arrays gives no more than `MAX_VALUES` values.

    Raises:
        NotUnderstoodError: it does, or their shapes do not fit.
    """
    try:
        shape = np.broadcast_shapes(*(np.shape(part) for part in parts))
    except ValueError as error:
        raise NotUnderstoodError(f"NumPy: {error}") from None
    if math.prod(shape) > MAX_VALUES:
        raise NotUnderstoodError(f"an array of {math.prod(shape):,} constants")


def _has_few(name: str, args: list[Any], options: dict[str, Any]) -> bool:
    """Whether a range has at most `MAX_VALUES` values."""
    if not all(isinstance(arg, int | float) for arg in args):
        return False
    if name != "arange":
        count = args[2] if len(args) > 2 else options.get("num", 50)
        return isinstance(count, int) and 0 <= count <= MAX_VALUES
    start, stop = (0, args[0]) if len(args) == 1 else args[:2]
    step = args[2] if len(args) > 2 else 1
    return bool(step) and (stop - start) / step <= MAX_VALUES


def _plain(value: Value) -> Any | None:
    if isinstance(value, bool | int | float):
        return value if abs(value) < 2**62 else None
    return constants(value)


def _perform(
    values: Any, name: str, args: list[Value], kwargs: dict[str, Value], place: Place
) -> Value:
    if name == "astype":
        kind = getattr(args[0] if args else kwargs.get("dtype"), "name", args[0] if args else "")
        args, kwargs = [str(kind).rpartition(".")[2]], {}
    return _computed(lambda: getattr(values, name)(*args, **kwargs))


def _computed(compute: Any) -> Value:
    """Return what a computation gives.

    Raises:
        NotUnderstoodError: it fails, or gives too much.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as the mean of nothing
            found = compute()
    except (ValueError, TypeError, ArithmeticError, IndexError, MemoryError) as error:
        raise NotUnderstoodError(f"NumPy: {error}") from None
    if isinstance(found, np.ndarray) and found.size > MAX_VALUES:
        raise NotUnderstoodError(f"an array of {found.size:,} constants")
    return plain_value(found)
