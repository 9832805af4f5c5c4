"""Functions of NumPy, TensorFlow and Keras's backend that take arrays of unknown content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from signs_lightning.translate.array_changes import cast, clipped
from signs_lightning.translate.array_items import Identity
from signs_lightning.translate.array_origins import Origin, Rows
from signs_lightning.translate.array_records import ArrayRecord, statistic
from signs_lightning.translate.array_scales import type_name
from signs_lightning.translate.array_shapes import SampleCount, ShapeRecord, asked
from signs_lightning.translate.constant_arrays import (
    ConstantArray,
    call_numpy,
    constants,
    with_type,
)
from signs_lightning.translate.values import (
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

Call = Callable[[list[Value], dict[str, Value], Place], Value]
TYPES = ("float32", "float64", "float16", "uint8", "int8", "int32", "int64", "bool", "bool_")
STATISTICS = ("mean", "std", "var", "median", "min", "max", "sum", "amin", "amax", "unique",
              "bincount", "count_nonzero", "percentile", "argmax", "argmin", "isnan", "allclose",
              "array_equal", "where", "nonzero", "sort", "argsort", "histogram")  # fmt: skip
SAME = ("copy", "ascontiguousarray", "nan_to_num", "asfarray")
BOUNDS = (("a_min", "min", "x_min"), ("a_max", "max", "x_max"))  # of clip


def argument(
    args: list[Value], kwargs: dict[str, Value], place: int, *names: str, default: Any = None
) -> Value:
    """Return an argument by its place or one of its names."""
    if len(args) > place:
        return args[place]
    return next((kwargs[name] for name in names if name in kwargs), default)


def call(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return what a function of NumPy gives; NotImplemented for what is not known here.

    Args:
        name: without "numpy.", such as "expand_dims" or "random.permutation".
        args: of the call.
        kwargs: of the call.
        place: the statement.
    """
    if name.startswith("random."):
        return _random(name.removeprefix("random."), args, kwargs, place)
    first = args[0] if args else None
    if name in ("ceil", "floor", "round", "rint", "int32", "int64") and isinstance(
        first, SampleCount
    ):
        return first.rounded("round" if name == "rint" else name.removesuffix("32"))
    if kwargs.get("out") is not None:
        raise NotUnderstoodError(f"out= of {name}")
    if name in FUNCTIONS:
        return FUNCTIONS[name](args, kwargs, place)
    if isinstance(first, ArrayRecord):
        if name in TYPES:
            return cast(first, name.rstrip("_"), place)
        if name == "clip":
            low, high = (argument(args, kwargs, k, *names) for k, names in enumerate(BOUNDS, 1))
            return clipped(first, low, high, place)
        if name in SAME:
            return first.with_()
        if name in STATISTICS:
            return statistic(first, name, place)
    if any(isinstance(arg, Unknown) for arg in args):
        return next(arg for arg in args if isinstance(arg, Unknown))
    return call_numpy(name, args, kwargs)


def _random(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return random arrays, and None for what sets a seed or shuffles."""
    if name in ("seed", "shuffle", "set_state"):
        if name == "shuffle" and args and isinstance(args[0], ArrayRecord):
            args[0].rows = (*args[0].rows, Rows("order", 1.0, place))
        return None
    if name == "permutation":
        count = args[0] if args else None
        if isinstance(count, ArrayRecord):
            return count.with_(rows=(*count.rows, Rows("order", 1.0, place)))
        origin = Origin("random", place, key="permutation")
        return ArrayRecord(origin, (count if isinstance(count, int) else None,), "an order")
    sizes = {"rand": args, "randn": args, "random": args[:1], "random_sample": args[:1]}
    size = argument(args, kwargs, 2, "size") if name not in sizes else sizes[name]
    if len(args) == 1 and isinstance(args[0], tuple) and name in sizes:
        size = args[0]
    size = kwargs.get("size", size)
    if not size and name in ("rand", "randn", "random", "randint", "uniform", "normal", "choice"):
        return Unknown(f"np.random.{name}()", place)
    if isinstance(size, int):
        size = [size]
    if not isinstance(size, list | tuple):
        return NotImplemented
    return ArrayRecord(Origin("random", place), tuple(size), "random numbers", "float64")


def _array(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `np.array(…)`: of constants, of data, or of what a loop has read."""
    value = argument(args, kwargs, 0, "object", "a")
    dtype = type_name(argument(args, kwargs, 1, "dtype") or "")
    if isinstance(value, ArrayRecord):
        return cast(value, dtype, place) if dtype else value.with_()
    if isinstance(value, Identity | SampleCount | NoEffect):
        return value
    if isinstance(value, Unknown):  # such as a list that a loop has filled
        return value if value.fact else from_code(value.reason, value.place)
    if (found := constants(value)) is not None:
        return with_type(found, dtype)
    if isinstance(value, list | tuple) and value:
        arrays = [part for part in value if isinstance(part, ArrayRecord)]
        if len(arrays) == len(value):
            shape = arrays[0].shape
            shape = None if shape is None else (len(value), *shape)
            return arrays[0].with_(shape=shape, dtype=dtype or arrays[0].dtype)
    unknown = next((part for part in value if isinstance(part, Unknown)), None) if isinstance(
        value, list | tuple
    ) else None  # fmt: skip
    return unknown or Unknown("np.array of what is not numbers", place)


def _as_array(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `np.asarray(…)`: the same array where it need not be another one."""
    is_same = len(args) == 1 and not kwargs and isinstance(args[0], ConstantArray)
    return args[0] if is_same else _array(args, kwargs, place)


def from_code(what: str, place: Place) -> ArrayRecord:
    """Return the data that code reads which is not understood, or not at hand.

    Args:
        what: the code, in words.
        place: the statement.
    """
    return ArrayRecord(Origin("code", place, what), None, "data")


def _filled(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `np.zeros(shape)` and its siblings."""
    size = argument(args, kwargs, 0, "shape")
    shape = (size,) if isinstance(size, int | SampleCount) else size
    if isinstance(shape, Unknown):
        return shape
    if isinstance(shape, ShapeRecord):
        shape = shape.axes
    if not isinstance(shape, list | tuple):
        raise NotUnderstoodError("this shape")
    dtype = type_name(kwargs.get("dtype") or "float64")
    return ArrayRecord(Origin("", place), tuple(shape), "an array of zeros", dtype)


def _expand_dims(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    array, axis = argument(args, kwargs, 0, "a", "input"), argument(args, kwargs, 1, "axis")
    if isinstance(array, ConstantArray):
        return call_constant("expand_dims", array, axis)
    if not isinstance(array, ArrayRecord):
        return of_unknown(array, "np.expand_dims")
    if array.shape is None or not isinstance(axis, int):
        return array.view()
    shape = list(array.shape)
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, 1)
    return array.view(shape=tuple(shape))


def call_constant(name: str, array: ConstantArray, *args: Any) -> Value:
    """Return a function of NumPy of constants."""
    import numpy as np

    try:
        return ConstantArray(getattr(np, name)(array.values, *args))
    except (ValueError, TypeError) as error:
        raise NotUnderstoodError(f"NumPy: {error}") from None


def of_unknown(value: Value, name: str) -> Value:
    """Return an unknown value, of which a function gives an unknown one.

    Raises:
        NotUnderstoodError: it is another value.
    """
    if isinstance(value, Unknown):
        return value
    raise NotUnderstoodError(f"{name} of this")


def _method(name: str) -> Call:
    """Return the function that is a method of its first argument."""

    def perform(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        array = argument(args, kwargs, 0, "a", "x", "tensor", "input")
        if isinstance(array, ConstantArray | ArrayRecord):
            others = {k: v for k, v in kwargs.items() if k not in ("a", "x", "tensor", "input")}
            return array.attribute(name, place).call(args[1:], others, place)
        return of_unknown(array, f"np.{name}")

    return perform


def _operation(sign: str) -> Call:
    """Return the function that is an operator."""

    def perform(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        one, two = argument(args, kwargs, 0, "x1", "x"), argument(args, kwargs, 1, "x2", "y")
        if isinstance(one, Record):
            return one.operate(sign, two, False, place)
        if isinstance(two, Record):
            return two.operate(sign, one, True, place)
        return NotImplemented

    return perform


def _joined(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return several arrays behind each other, or channels beside each other."""
    parts = argument(args, kwargs, 0, "arrays", "tup", "values")
    axis = argument(args, kwargs, 1, "axis", default=0)
    if not isinstance(parts, list | tuple) or not parts:
        return of_unknown(parts, "np.concatenate")
    arrays = [part for part in parts if isinstance(part, ArrayRecord)]
    if len(arrays) < len(parts):
        unknown = next((part for part in parts if isinstance(part, Unknown)), None)
        return unknown or Unknown("np.concatenate of these", place)
    first = arrays[0]
    same = first.shape is not None and all(a.shape == first.shape for a in arrays)
    if axis in (-1, 3) and same and all(a.origin == first.origin for a in arrays):
        shape = (*(first.shape or ())[:-1], len(arrays) * (first.shape or (1,))[-1])
        return first.with_(shape=shape)  # a grey picture as three channels
    rest = None if first.shape is None else (None, *first.shape[1:])
    return first.lost("several arrays joined", place, shape=rest)


def _eye(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    return Identity(argument(args, kwargs, 0, "N", "n"))


def _shape_of(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    array = argument(args, kwargs, 0, "a", "x", "input")
    if isinstance(array, ArrayRecord | ConstantArray):
        return array.attribute("shape", place)
    return of_unknown(array, "np.shape") if isinstance(array, Unknown) else NotImplemented


def _cast(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `tf.cast(x, dtype)`."""
    array, dtype = argument(args, kwargs, 0, "x"), argument(args, kwargs, 1, "dtype")
    if isinstance(array, ArrayRecord):
        return cast(array, dtype, place)
    return array if isinstance(array, int | float | SampleCount) else NotImplemented


def convert_dtype(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `tf.image.convert_image_dtype(x, tf.float32)`, which divides bytes by 255."""
    array = argument(args, kwargs, 0, "image")
    if isinstance(array, ArrayRecord) and not array.dtype.startswith("float"):
        return array.operate("/", 255.0, False, place).with_(dtype="float32")
    return array if isinstance(array, ArrayRecord) else NotImplemented


def num_classes(array: ArrayRecord, place: Place) -> Value:
    """Return how many classes labels have."""
    return asked(f"the classes of {array.name}", place, "classes")


def as_labels(array: ArrayRecord) -> ArrayRecord:
    """Return an array that is known to hold labels."""
    return array.with_(origin=replace(array.origin, content="labels"))


FUNCTIONS: dict[str, Call] = {
    "array": _array,
    **dict.fromkeys(("asarray", "asanyarray"), _as_array),
    **dict.fromkeys(("zeros", "ones", "empty", "full"), _filled),
    **dict.fromkeys(("concatenate", "vstack", "hstack", "append", "r_", "concat"), _joined),
    **dict.fromkeys(("eye", "identity"), _eye),
    **{name: _method(name) for name in ("reshape", "transpose", "squeeze", "ravel", "astype")},
    **{name: _operation(sign) for name, sign in (("divide", "/"), ("true_divide", "/"))},
    **{name: _operation(sign) for name, sign in (("multiply", "*"), ("subtract", "-"))},
    "add": _operation("+"),
    "expand_dims": _expand_dims,
    "shape": _shape_of,
    "cast": _cast,
}
