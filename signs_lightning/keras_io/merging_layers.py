"""Builders of the layers that join several values: arithmetic, concatenation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io.axis_order import from_keras_order, to_keras_order
from signs_lightning.keras_io.file_errors import inconsistent_model
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, is_integer
from signs_lightning.keras_io.modules import Apply
from signs_lightning.keras_io.stateless_layers import l2_normalize, to_constant


def _average(*inputs: Tensor) -> Tensor:
    return _fold(torch.add, *inputs) / len(inputs)


def _fold(function: Callable[[Tensor, Tensor], Tensor], *inputs: Tensor) -> Tensor:
    return reduce(function, inputs)


ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "Add": partial(_fold, torch.add),
    "Subtract": partial(_fold, torch.sub),
    "Multiply": partial(_fold, torch.mul),
    "Average": _average,
    "Maximum": partial(_fold, torch.maximum),
    "Minimum": partial(_fold, torch.minimum),
}


def arithmetic(layer: LayerContext) -> BuiltLayer:
    """Build an Add, Subtract, … of tensors; those of a lower rank get axes after the batch."""
    function = ARITHMETIC[layer.class_name]
    ranks = {len(shape) for shape in layer.shapes if shape is not None}
    if len(layer.shapes) < 2 or not ranks or (len(ranks) > 1 and layer.constants):
        joined = ", ".join(str(shape) for shape in layer.shapes if shape is not None)
        raise InputError(f"{layer} joins shapes {joined}, expected two tensors or more.")
    if len(ranks) == 1:
        constants = {k: to_constant(layer, v, "a constant") for k, v in layer.constants.items()}
        return Apply(function, constants), []
    order = partial(_of_unequal_ranks, function=function, channels_last=layer.channels_last)
    return Apply(order), []


def _of_unequal_ranks(
    *inputs: Tensor, function: Callable[..., Tensor], channels_last: bool
) -> Tensor:
    values = [to_keras_order(x) if channels_last else x for x in inputs]
    rank = max(x.dim() for x in values)
    shapes = [(x.shape[0], *(1,) * (rank - x.dim()), *x.shape[1:]) for x in values]
    output = function(*(x.reshape(shape) for x, shape in zip(values, shapes, strict=True)))
    return from_keras_order(output) if channels_last else output


def dot(layer: LayerContext) -> BuiltLayer:
    """Build a Dot: sums over one axis of each of two tensors."""
    axes: Any = layer.config.get("axes")
    pair = axes if isinstance(axes, list) else [axes, axes]
    if len(layer.shapes) != 2 or None in layer.shapes:
        raise inconsistent_model(f"{layer} has {len(layer.shapes)} inputs, expected two tensors")
    ranks = [len(shape) + 1 for shape in layer.shapes if shape is not None]
    if len(pair) != 2 or not all(map(is_integer, pair)):
        layer.fail("axes", axes, "one or two axes")
    for axis, rank in zip(pair, ranks, strict=True):
        layer.tensor_axis(axis, rank)  # checks it
    left, right = (axis % rank for axis, rank in zip(pair, ranks, strict=True))
    function = partial(
        _dot,
        axes=(left, right),
        bound=(1e6 if layer.layer.keras < 3 else 1e7) if layer.flag("normalize", False) else None,
        channels_last=layer.channels_last,
    )
    return Apply(function), []


def _dot(
    x: Tensor, y: Tensor, axes: tuple[int, int], bound: float | None, channels_last: bool
) -> Tensor:
    x, y = (to_keras_order(value) if channels_last else value for value in (x, y))
    if bound is not None:
        x, y = l2_normalize(x, [axes[0]], bound), l2_normalize(y, [axes[1]], bound)
    x, y = x.movedim(axes[0], -1), y.movedim(axes[1], 1)
    sums = x.flatten(1, -2) if x.dim() > 2 else x[:, None]  # (N, rows, K)
    output = sums @ (y.flatten(2) if y.dim() > 2 else y[:, :, None])  # (N, rows, columns)
    output = output.reshape(x.shape[0], *x.shape[1:-1], *y.shape[2:])
    output = output[:, None] if output.dim() == 1 else output
    return from_keras_order(output) if channels_last else output


def concatenate(layer: LayerContext) -> BuiltLayer:
    """Build a Concatenate."""
    ranks = {shape if shape is None else len(shape) + 1 for shape in layer.shapes}
    if len(ranks) != 1 or (rank := ranks.pop()) is None:
        raise inconsistent_model(f"{layer} joins values of different rank, expected the same")
    axis = layer.tensor_axis(layer.single_axis(), rank)
    return Apply(partial(_concatenate, axis=axis)), []


def _concatenate(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, dim=axis)
