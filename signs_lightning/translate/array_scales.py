"""What the values of images were multiplied by, and its name in `FromKeras`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from signs_lightning.keras_io.input_scales import TORCH_DEVIATIONS, TORCH_MEANS
from signs_lightning.translate.values import NotUnderstoodError, Value

Number = Any  # a float, or a tuple of one for each channel
MAX_CHANNELS = 16
OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
SCALES: tuple[tuple[str, Number, Number], ...] = (  # name, factor of bytes, offset
    ("/255", 1 / 255, 0.0),
    ("raw", 1.0, 0.0),
    ("tf", 1 / 127.5, -1.0),
    (
        "torch",
        tuple(1 / 255 / deviation for deviation in TORCH_DEVIATIONS),
        tuple(-a / b for a, b in zip(TORCH_MEANS, TORCH_DEVIATIONS, strict=True)),
    ),
)
# Of `preprocess_input` of these modules of keras.applications.
MODES = {
    **dict.fromkeys(("vgg16", "vgg19", "resnet", "resnet50", "imagenet_utils"), "caffe"),
    **dict.fromkeys(("resnet_v2", "inception_v3", "inception_resnet_v2", "xception"), "tf"),
    **dict.fromkeys(("mobilenet", "mobilenet_v2", "nasnet"), "tf"),
    "densenet": "torch",
    **dict.fromkeys(("efficientnet", "efficientnet_v2", "mobilenet_v3", "convnext"), "raw"),
}


def scale_name(factor: Number, offset: Number) -> str | None:
    """Return the name of a scale; None where it has none."""
    for name, its_factor, its_offset in SCALES:
        if _is_close(factor, its_factor) and _is_close(offset, its_offset):
            return name
    return None


def plain_numbers(value: Value) -> Number | None:
    """Return a number, or numbers for each channel as a tuple; None where a value is neither."""
    value = getattr(value, "numbers", value)
    if isinstance(value, list | tuple) and 0 < len(value) <= MAX_CHANNELS:
        return tuple(value) if all(map(_is_number, value)) else None
    return value if _is_number(value) else None


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def combine(sign: str, one: Number, two: Number) -> Number:
    """Return an operation of numbers, or of one for each channel.

    Raises:
        NotUnderstoodError: they are of different channels, or it has no result.
    """
    ones, twos = _same_length(one, two)
    try:
        found = tuple(OPERATIONS[sign](a, b) for a, b in zip(ones, twos, strict=True))
    except (ArithmeticError, ValueError):
        raise NotUnderstoodError(f"'{sign}' of numbers of another size") from None
    return found if isinstance(one, tuple) or isinstance(two, tuple) else found[0]


def _same_length(one: Number, two: Number) -> tuple[tuple[float, ...], tuple[float, ...]]:
    ones, twos = (k if isinstance(k, tuple) else (k,) for k in (one, two))
    length = max(len(ones), len(twos))
    return ones * (length if len(ones) == 1 else 1), twos * (length if len(twos) == 1 else 1)


def _is_close(one: Number, two: Number) -> bool:
    ones, twos = _same_length(one, two)
    is_each = (math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) for a, b in zip(ones, twos))  # noqa: B905
    return len(ones) == len(twos) and all(is_each)


def type_name(kind: Any) -> str:
    """Return the name of a type of values: "float32" for "float32", np.float32, tf.float32."""
    name = getattr(kind, "name", kind)
    if not isinstance(name, str):
        return ""
    name = name.rpartition(".")[2]
    return {"float": "float64", "int": "int64", "double": "float64", "single": "float32"}.get(
        name, name
    )
