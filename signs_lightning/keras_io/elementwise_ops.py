"""Builders of operations on each value: `-x`, `x ** 2`, `ops.clip`, `keras.activations.gelu(x)`.

They are those of `keras.ops` in a functional graph; what tf.keras 2 wrote is translated into them
(`tf_operations`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext
from signs_lightning.keras_io.modules import Apply
from signs_lightning.keras_io.stateless_layers import to_constant

FLOATS = ("float32", "float64", "float16", "bfloat16", None)


def _floor_of_quotient(x: Tensor, y: Tensor) -> Tensor:
    return torch.floor(x / y)


def _divide_no_nan(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(y == 0, 0.0, x / torch.where(y == 0, 1.0, y))


UNARY: dict[str, activations.Function] = {
    "Absolute": torch.abs,
    "Abs": torch.abs,
    "Negative": torch.neg,
    "Square": torch.square,
    "Sqrt": torch.sqrt,
    "Rsqrt": torch.rsqrt,
    "Reciprocal": torch.reciprocal,
    "Exp": torch.exp,
    "Expm1": torch.expm1,
    "Log": torch.log,
    "Log1p": torch.log1p,
    "Log2": torch.log2,
    "Log10": torch.log10,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Erf": torch.erf,
    "Sign": torch.sign,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "StopGradient": Tensor.detach,
    "Identity": activations.linear,
    # `keras.ops.leaky_relu(x)` is of the class LeakyRelu; those with arguments are below.
    **{
        name.title().replace("_", ""): function
        for name, function in activations.ELEMENTWISE.items()
        if name not in ("leaky_relu", "elu", "celu", "gelu", "hard_shrink", "soft_shrink")
    },
}
BINARY: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "Subtract": torch.sub,
    "Multiply": torch.mul,
    "Divide": torch.div,
    "TrueDivide": torch.div,
    "DivideNoNan": _divide_no_nan,
    "FloorDivide": partial(torch.div, rounding_mode="floor"),
    "Mod": torch.remainder,
    "Power": torch.pow,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Greater": torch.gt,
    "GreaterEqual": torch.ge,
    "Less": torch.lt,
    "LessEqual": torch.le,
}


def unary(layer: LayerContext) -> BuiltLayer:
    """Build a function of each value, without arguments."""
    _ = layer.shape  # checks it
    return Apply(UNARY[layer.class_name]), []


def binary(layer: LayerContext) -> BuiltLayer:
    """Build an operation on two tensors of one rank, or on a tensor and a constant.

    `ops.where` takes a condition and two such.
    """
    shapes = [shape for shape in layer.shapes if shape is not None]
    ranks = {len(shape) for shape in shapes}
    if len(layer.shapes) != (3 if layer.class_name == "Where" else 2) or len(ranks) != 1:
        joined = ", ".join(map(str, shapes))
        raise InputError(f"{layer} joins shapes {joined}, expected those of the same rank.")
    function = BINARY.get(layer.class_name, torch.where)
    if layer.class_name == "FloorDivide" and layer.layer.keras < 3:
        function = _floor_of_quotient  # as TensorFlow; Keras 3 on JAX is like NumPy
    constants = {}
    for position, value in layer.constants.items():
        constants[position] = to_constant(layer, value, "a constant")
        size, rank = constants[position].shape, ranks.copy().pop() + 1
        if len(size) > rank or (len(size) == rank and size[0] != 1):
            layer.fail("a constant of shape", tuple(size), f"at most {rank} axes, 1 for the batch")
    return Apply(function, constants), []


def clip(layer: LayerContext) -> BuiltLayer:
    """Build `ops.clip` between two numbers."""
    _ = layer.shape
    limits = {"min": layer.number("x_min"), "max": layer.number("x_max")}
    return Apply(partial(torch.clamp, **limits)), []


def cast(layer: LayerContext) -> BuiltLayer:
    """Build `ops.cast` to a floating dtype; all values but conditions are float32 here."""
    _ = layer.shape
    layer.check_option("dtype", *FLOATS)
    return Apply(_as_float), []


def _as_float(x: Tensor) -> Tensor:
    return torch.where(x, 1.0, 0.0) if x.dtype == torch.bool else x


def round_to_decimals(layer: LayerContext) -> BuiltLayer:
    """Build `ops.round`, half to even."""
    _ = layer.shape
    return Apply(partial(torch.round, decimals=layer.integer("decimals", 0, least=-9))), []


def relu(layer: LayerContext) -> BuiltLayer:
    """Build `keras.activations.relu(x, …)` with its arguments."""
    _ = layer.shape
    return Apply(activations.rectifier("ReLU", layer.config, axis=-1)), []


def gelu(layer: LayerContext) -> BuiltLayer:
    """Build `ops.gelu`, exact or approximate."""
    _ = layer.shape
    mode = "tanh" if layer.flag("approximate", True) else "none"
    return Apply(partial(F.gelu, approximate=mode)), []


# Class → function, and the names of its arguments: Keras's, PyTorch's, its default.
WITH_NUMBERS: dict[str, tuple[Callable[..., Tensor], list[tuple[str, str, float]]]] = {
    "LeakyRelu": (F.leaky_relu, [("negative_slope", "negative_slope", 0.2)]),
    "Elu": (activations.elu, [("alpha", "alpha", 1.0)]),
    "Celu": (F.celu, [("alpha", "alpha", 1.0)]),
    "HardShrink": (F.hardshrink, [("threshold", "lambd", 0.5)]),
    "SoftShrink": (F.softshrink, [("threshold", "lambd", 0.5)]),
    "Squareplus": (activations.squareplus, [("b", "b", 4.0)]),
    "Threshold": (
        activations.threshold,
        [("threshold", "threshold", 0.0), ("default_value", "default_value", 0.0)],
    ),
}


def with_numbers(layer: LayerContext) -> BuiltLayer:
    """Build an activation that takes numbers, such as `ops.leaky_relu`."""
    _ = layer.shape
    function, arguments = WITH_NUMBERS[layer.class_name]
    numbers: dict[str, Any] = {name: layer.number(key, default) for key, name, default in arguments}
    return Apply(partial(function, **numbers)), []
