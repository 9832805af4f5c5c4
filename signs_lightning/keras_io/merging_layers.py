"""Builders of the layers that join several values: arithmetic, concatenation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations
from signs_lightning.keras_io.file_errors import inconsistent_model
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext
from signs_lightning.keras_io.modules import Apply
from signs_lightning.keras_io.stateless_layers import to_constant


def _average(*inputs: Tensor) -> Tensor:
    return _fold(torch.add, *inputs) / len(inputs)


def _fold(function: Callable[[Tensor, Tensor], Tensor], *inputs: Tensor) -> Tensor:
    return reduce(function, inputs)


ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "Add": partial(_fold, torch.add),
    "Subtract": partial(_fold, torch.sub),
    "Multiply": partial(_fold, torch.mul),
    "TrueDivide": partial(_fold, torch.div),
    "Divide": partial(_fold, torch.div),
    "Average": _average,
    "Maximum": partial(_fold, torch.maximum),
    "Minimum": partial(_fold, torch.minimum),
}
# `x * 2` in tf.keras 2: a layer TFOpLambda with this `function`.
TF_OPERATIONS = {
    "math.add": "Add",
    "__operators__.add": "Add",
    "math.subtract": "Subtract",
    "math.multiply": "Multiply",
    "math.truediv": "TrueDivide",
    "math.divide": "TrueDivide",
    "math.maximum": "Maximum",
    "math.minimum": "Minimum",
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "math.sigmoid": "sigmoid",
    "math.tanh": "tanh",
}


def arithmetic(layer: LayerContext, name: str | None = None) -> BuiltLayer:
    """Build an Add, Subtract, … of tensors and constants."""
    function = ARITHMETIC[name or layer.class_name]
    shapes = [shape for shape in layer.shapes if shape is not None]
    if len(layer.shapes) < 2 or not shapes or len({len(shape) for shape in shapes}) > 1:
        joined = ", ".join(map(str, shapes))
        raise InputError(f"{layer} joins shapes {joined}, expected two or more of the same rank.")
    constants = {k: to_constant(layer, v, "a constant") for k, v in layer.constants.items()}
    return Apply(function, constants), []


def tf_op_lambda(layer: LayerContext) -> BuiltLayer:
    """Build a TFOpLambda: arithmetic or an activation."""
    name = TF_OPERATIONS[layer.config["function"]]
    if name in ARITHMETIC:
        return arithmetic(layer, name)
    return Apply(activations.ELEMENTWISE[name]), []


def concatenate(layer: LayerContext) -> BuiltLayer:
    """Build a Concatenate."""
    ranks = {shape if shape is None else len(shape) + 1 for shape in layer.shapes}
    if len(ranks) != 1 or (rank := ranks.pop()) is None:
        raise inconsistent_model(f"{layer} joins values of different rank, expected the same")
    axis = layer.tensor_axis(layer.single_axis(), rank)
    return Apply(partial(_concatenate, axis=axis)), []


def _concatenate(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, dim=axis)
