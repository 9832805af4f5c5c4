"""Builders of operations along axes: means, sums, softmax, matrix products."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations
from signs_lightning.keras_io.axis_order import in_keras_order
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, is_integer
from signs_lightning.keras_io.modules import Apply
from signs_lightning.keras_io.stateless_layers import l2_normalize, softmax_over_axes

REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "Mean": torch.mean,
    "Sum": torch.sum,
    "Max": torch.amax,
    "Amax": torch.amax,
    "Min": torch.amin,
    "Amin": torch.amin,
    "Var": partial(torch.var, correction=0),
    "Std": partial(torch.std, correction=0),
    "Logsumexp": torch.logsumexp,
}
GREY = (0.2989, 0.5870, 0.1140)  # shares of red, green and blue, as TensorFlow and Keras have them


def read_axes(layer: LayerContext, key: str = "axis") -> list[int]:
    """Return one axis or several, counted in Keras's order from 0, none of them the batch."""
    value: Any = layer.config.get(key)
    axes = value if isinstance(value, list) else [value]
    rank = layer.rank
    if not axes or not all(is_integer(v) and -rank <= v < rank and v % rank for v in axes):
        layer.fail(key, value, f"one or more of the axes 1 to {rank - 1}, for the batch stays")
    return [v % rank for v in axes]


def reduction(layer: LayerContext) -> BuiltLayer:
    """Build `ops.mean`, `ops.sum`, `ops.max`, … over any axes but the batch."""
    keepdim = layer.flag("keepdims", False)
    function = partial(REDUCTIONS[layer.class_name], dim=read_axes(layer), keepdim=keepdim)
    return Apply(partial(in_keras_order, function=function, channels_last=layer.channels_last)), []


def along_axis(layer: LayerContext) -> BuiltLayer:
    """Build `ops.softmax` or `ops.log_softmax`."""
    axes = [layer.tensor_axis(axis) for axis in layer.axes()]
    name = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[layer.class_name]
    if len(axes) == 1:
        return Apply(partial(activations.ALONG_AXIS[name], dim=axes[0])), []
    if name != "softmax":
        layer.fail("axis", layer.config.get("axis"), "one axis")
    return Apply(partial(softmax_over_axes, axes=axes)), []


def normalize(layer: LayerContext) -> BuiltLayer:
    """Build `ops.normalize` by the L2 norm: x / max(√(sum x²), epsilon)."""
    layer.check_option("order", 2)
    epsilon = 1e-7 if layer.config.get("epsilon") is None else layer.number("epsilon")
    axes = [layer.tensor_axis(axis) for axis in layer.axes()]
    return Apply(partial(l2_normalize, axes=axes, bound=1 / epsilon)), []


def rgb_to_grayscale(layer: LayerContext) -> BuiltLayer:
    """Build `ops.image.rgb_to_grayscale`: a weighted sum of three channels."""
    axis = layer.tensor_axis(-3 if layer.config.get("data_format") == "channels_first" else -1)
    return Apply(partial(_grey, axis=axis)), []


def _grey(x: Tensor, axis: int) -> Tensor:
    red, green, blue = x.split(1, dim=axis)
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


def matmul(layer: LayerContext) -> BuiltLayer:
    """Build `ops.matmul`: of two tensors for each image, or of one and a constant matrix."""
    shapes = [shape for shape in layer.shapes if shape is not None]
    function = partial(in_keras_order, function=torch.matmul, channels_last=layer.channels_last)
    if len(layer.shapes) == 2 and layer.constants.keys() == {1}:
        try:
            matrix = torch.tensor(layer.constants[1], dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            layer.fail("a constant", repr(layer.constants[1]), "a matrix")
        if matrix.dim() == 2:
            return Apply(function, {1: matrix}), []
    if len(shapes) != 2 or len(shapes[0]) != len(shapes[1]) or len(shapes[0]) < 2:
        found = ", ".join(map(str, layer.shapes))
        raise InputError(
            f"{layer} multiplies values of shapes {found}, expected two of the same rank, of at "
            "least two axes beside the batch, or one and a constant matrix."
        )
    return Apply(function), []


def einsum(layer: LayerContext) -> BuiltLayer:
    """Build `ops.einsum` of tensors, whose first letter is the batch everywhere."""
    subscripts = layer.config.get("subscripts")
    text = subscripts.replace(" ", "") if isinstance(subscripts, str) else ""
    terms = re.split(",|->", text)
    is_explicit = re.fullmatch(r"[A-Za-z]+(,[A-Za-z]+)*->[A-Za-z]+", text) is not None
    has_batch = len({term[:1] for term in terms}) == 1
    is_once = all(term.count(term[:1]) == 1 for term in terms)
    if not (is_explicit and has_batch and is_once) or len(terms) != len(layer.shapes) + 1:
        layer.fail("subscripts", subscripts, "a term for each tensor, the batch first, and `->`")
    if None in layer.shapes:
        layer.fail("a constant", "in it", "tensors alone")
    function = partial(torch.einsum, text)
    return Apply(partial(in_keras_order, function=function, channels_last=layer.channels_last)), []
