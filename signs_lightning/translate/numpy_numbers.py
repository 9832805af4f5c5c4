"""Numbers of NumPy whose type has few bits: a result is refused where it is not Python's."""

from __future__ import annotations

from typing import Any

import numpy as np

from signs_lightning.translate.values import NotUnderstoodError, Value

_PLAIN = (np.dtype("int64"), np.dtype("float64"), np.dtype("bool"))


class NumpyInteger(int):
    """A whole number of NumPy, such as `np.uint8(200)`.

    Attributes:
        dtype: its type, other than int64.
    """

    dtype: np.dtype[Any]


class NumpyFloat(float):
    """A fraction of NumPy, such as `np.float32(0.1)`.

    Attributes:
        dtype: its type, other than float64.
    """

    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return str(self.dtype.type(self))


def typed_number(found: np.generic) -> Value:
    """Return a number of NumPy as one of Python, which keeps its type if it has few bits."""
    plain = found.item()
    if is_plain_type(found.dtype) or not isinstance(plain, int | float):
        return plain
    return _typed(plain, found.dtype)


def _typed(value: int | float, dtype: np.dtype[Any]) -> Value:
    made: Any = NumpyInteger(value) if isinstance(value, int) else NumpyFloat(value)
    made.dtype = dtype
    return made


def is_plain_type(dtype: np.dtype[Any]) -> bool:
    """Return whether numbers of a type of NumPy are those of Python."""
    return dtype in _PLAIN


def is_typed(value: Value) -> bool:
    """Return whether a number is one of NumPy's with few bits."""
    return isinstance(value, NumpyInteger | NumpyFloat)


def untyped(value: Value) -> Value:
    """Return a value with Python's numbers in place of NumPy's."""
    if isinstance(value, list | tuple):
        return type(value)(untyped(item) for item in value)
    if isinstance(value, NumpyInteger):
        return int(value)
    return float(value) if isinstance(value, NumpyFloat) else value


def computed(result: Value, *operands: Value) -> Value:
    """Return what Python's operator gives for numbers, of which some may be NumPy's.

    Releases of NumPy differ in the type of the result; its value is the same where it fits in each.

    Raises:
        NotUnderstoodError: it does not.
    """
    types = [operand.dtype for operand in operands if is_typed(operand)]
    if not types or isinstance(result, bool) or not isinstance(result, int | float):
        return result
    dtype = np.result_type(*types)
    if isinstance(result, float) and dtype.kind in "iu":  # a quotient, of float64
        return result
    if not _holds(dtype, result):
        raise NotUnderstoodError(f"{result}, computed of NumPy's {dtype}")
    return _typed(result, dtype)


def check_comparison(left: Value, right: Value) -> None:
    """Check that all releases of NumPy compare two numbers alike.

    Raises:
        NotUnderstoodError: some compare them as numbers of fewer bits.
    """
    for one, other in ((left, right), (right, left)):
        is_narrow = isinstance(one, NumpyFloat) and isinstance(other, int | float)
        if is_narrow and not _holds(one.dtype, float(other)):
            raise NotUnderstoodError(f"NumPy's {one.dtype} compared with {other}")


def _holds(dtype: np.dtype[Any], value: int | float) -> bool:
    if isinstance(value, int):
        bounds = np.iinfo(dtype) if dtype.kind in "iu" else None
        return bounds is not None and bool(bounds.min <= value <= bounds.max)
    with np.errstate(all="ignore"):
        return float(dtype.type(value)) == value
