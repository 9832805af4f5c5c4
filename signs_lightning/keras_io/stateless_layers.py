"""Builders of the layers without weights that take one tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations, modules
from signs_lightning.keras_io.axis_order import from_keras_order
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, is_integer
from signs_lightning.keras_io.modules import Apply
from signs_lightning.models.layers import AvgPool2dSame, FlattenNHWC, MaxPool2dSame

DROPOUTS: dict[str, Callable[[float], nn.Module]] = {
    "Dropout": nn.Dropout,
    "SpatialDropout2D": nn.Dropout2d,
    "AlphaDropout": nn.AlphaDropout,
    "GaussianDropout": modules.GaussianDropout,
}
SHARED_DROPOUTS = {"Dropout": modules.SharedDropout, "AlphaDropout": modules.SharedAlphaDropout}
POOLINGS: dict[tuple[str, bool], Callable[..., nn.Module]] = {  # by class and 'same' padding
    ("MaxPooling2D", True): MaxPool2dSame,
    ("MaxPooling2D", False): nn.MaxPool2d,
    ("AveragePooling2D", True): AvgPool2dSame,
    ("AveragePooling2D", False): nn.AvgPool2d,
}

ADAPTIVE_POOLINGS: dict[str, Callable[..., Tensor]] = {
    "AdaptiveAveragePooling1D": F.adaptive_avg_pool1d,
    "AdaptiveAveragePooling2D": F.adaptive_avg_pool2d,
    "AdaptiveMaxPooling1D": F.adaptive_max_pool1d,
    "AdaptiveMaxPooling2D": F.adaptive_max_pool2d,
}


def identity(layer: LayerContext) -> BuiltLayer:
    """Build a layer that does nothing."""
    return nn.Identity(), []


def activation(layer: LayerContext) -> BuiltLayer:
    """Build an Activation."""
    spec, axis = layer.config.get("activation"), layer.tensor_axis(-1)
    return Apply(activations.function_of(spec, axis, layer.layer.keras)), []


def rectifier(layer: LayerContext) -> BuiltLayer:
    """Build a ReLU, LeakyReLU, ELU, ThresholdedReLU or Softmax."""
    is_softmax = layer.class_name == "Softmax"
    axes = [layer.tensor_axis(axis) for axis in (layer.axes() if is_softmax else [-1])]
    if len(axes) > 1:
        return Apply(partial(softmax_over_axes, axes=axes)), []
    try:
        return Apply(activations.rectifier(layer.class_name, layer.config, axes[0])), []
    except (TypeError, ValueError) as error:
        raise InputError(f"{layer} has an argument that cannot be used: {error}.") from error


def softmax_over_axes(x: Tensor, axes: list[int]) -> Tensor:
    """Return the softmax over several axes together."""
    return torch.exp(x - torch.logsumexp(x, axes, keepdim=True))


def unit_normalization(layer: LayerContext) -> BuiltLayer:
    """Build a UnitNormalization: x / √(sum x²), bounded otherwise in Keras 2 than in 3."""
    axes = [layer.tensor_axis(axis) for axis in layer.axes()]
    bound = 1e6 if layer.layer.keras < 3 else 1e12
    return Apply(partial(l2_normalize, axes=axes, bound=bound)), []


def l2_normalize(x: Tensor, axes: list[int], bound: float) -> Tensor:
    """Return x / √(sum x²), its factor no larger than a bound."""
    squares = x.square().sum(axes, keepdim=True)
    # Bounded before the root, whose gradient at 0 is infinite, and NaN once it is bounded.
    return x * torch.rsqrt(squares.clamp(min=bound**-2))


def dropout(layer: LayerContext) -> BuiltLayer:
    """Build one of Keras's dropout layers."""
    rate = layer.number("rate", layer.config.get("p"))
    if not 0 <= rate < 1:
        layer.fail("rate", rate, "a share from 0 to below 1")
    shape = layer.config.get("noise_shape")
    if shape is None:
        return DROPOUTS[layer.class_name](rate), []
    is_shape = isinstance(shape, list) and len(shape) == layer.rank
    if layer.class_name not in SHARED_DROPOUTS or not is_shape:
        layer.fail("noise_shape", shape, f"null or {layer.rank} sizes")
    axes = {layer.tensor_axis(k) for k in range(1, len(shape)) if shape[k] == 1}
    axes |= {0} if shape[0] == 1 else set()
    return SHARED_DROPOUTS[layer.class_name](rate, axes), []


def gaussian_noise(layer: LayerContext) -> BuiltLayer:
    """Build a GaussianNoise."""
    return modules.GaussianNoise(layer.number("stddev")), []


def rescaling(layer: LayerContext) -> BuiltLayer:
    """Build a Rescaling; Keras writes an array as {"value": [...]}."""
    values = []
    for key, default in (("scale", 1.0), ("offset", 0.0)):
        value = layer.config.get(key, default)
        is_array = isinstance(value, dict) and "value" in value
        values.append(to_constant(layer, value["value"] if is_array else value, key))
    return modules.ScaleAndShift(*values), []


def to_constant(layer: LayerContext, value: Any, key: str) -> Tensor:
    """Return a number or nested list as a tensor that broadcasts with the input."""
    try:
        tensor = torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        layer.fail(key, repr(value), "a number or a list of numbers")
    rank = max((len(shape) + 1 for shape in layer.shapes if shape is not None), default=0)
    if tensor.dim() == 0 or rank != 4 or not layer.channels_last:
        return tensor
    return from_keras_order(tensor.reshape((1,) * (rank - tensor.dim()) + tensor.shape))


def pooling(layer: LayerContext) -> BuiltLayer:
    """Build a MaxPooling2D or AveragePooling2D."""
    _ = layer.image
    size = layer.pair("pool_size", 2)
    stride = size if layer.config.get("strides") is None else layer.pair("strides")
    return POOLINGS[layer.class_name, layer.is_same_padded()](size, stride), []


def global_pooling(layer: LayerContext) -> BuiltLayer:
    """Build a GlobalMaxPooling2D or GlobalAveragePooling2D."""
    _ = layer.image
    function = torch.amax if layer.class_name == "GlobalMaxPooling2D" else torch.mean
    return Apply(partial(function, dim=(2, 3), keepdim=layer.flag("keepdims", False))), []


def adaptive_pooling(layer: LayerContext) -> BuiltLayer:
    """Build an AdaptiveAveragePooling or AdaptiveMaxPooling of images or of sequences."""
    pool = ADAPTIVE_POOLINGS[layer.class_name]
    if layer.class_name.endswith("2D"):
        _ = layer.image
        return Apply(partial(pool, output_size=layer.pair("output_size"))), []
    size: Any = layer.config.get("output_size")
    size = size[0] if isinstance(size, list) and len(size) == 1 else size
    if not is_integer(size) or size < 1:
        layer.fail("output_size", size, "an integer of at least 1")
    if len(layer.shape) != 2:
        raise InputError(f"{layer} is applied to values of shape {layer.shape}, expected two axes.")
    if layer.config.get("data_format") == "channels_first":
        return Apply(partial(pool, output_size=size)), []
    return Apply(partial(_pool_sequences, pool=pool, size=size)), []


def _pool_sequences(x: Tensor, pool: Callable[..., Tensor], size: int) -> Tensor:
    return pool(x.mT, output_size=size).mT  # (N, L, C) -> (N, C, L), and back


def _borders(layer: LayerContext, key: str) -> tuple[int, int, int, int]:
    """Return `3`, `[2, 3]` or `[[1, 2], [3, 4]]` as left, right, top, bottom."""
    value = layer.config.get(key, 1)
    if isinstance(value, list) and all(isinstance(v, list) for v in value):
        sizes = [v for pair in value for v in pair]
    else:
        sizes = [v for v in layer.pair(key, 1, least=0) for _ in range(2)]
    if len(sizes) != 4 or not all(isinstance(v, int) and 0 <= v <= 2**31 for v in sizes):
        layer.fail(key, repr(value), "one, two or two pairs of integers")
    top, bottom, left, right = sizes
    return left, right, top, bottom


def zero_padding2d(layer: LayerContext) -> BuiltLayer:
    """Build a ZeroPadding2D."""
    _ = layer.image
    return Apply(partial(F.pad, pad=_borders(layer, "padding"))), []


def cropping2d(layer: LayerContext) -> BuiltLayer:
    """Build a Cropping2D."""
    height, width, _ = layer.image
    left, right, top, bottom = _borders(layer, "cropping")
    if left + right >= width or top + bottom >= height:
        cropping = layer.config.get("cropping")
        layer.fail("cropping", cropping, f"less than its {height}×{width} pixels")
    return Apply(partial(F.pad, pad=(-left, -right, -top, -bottom))), []


def flatten(layer: LayerContext) -> BuiltLayer:
    """Build a Flatten, in Keras's order of values.

    One of channels_first moves the first axis to the end, whatever the rank.
    """
    if len(layer.shape) == 3:
        return FlattenNHWC(), []
    is_first = layer.config.get("data_format") == "channels_first" and len(layer.shape) > 1
    return (Apply(_flatten_channels_first) if is_first else nn.Flatten()), []


def _flatten_channels_first(x: Tensor) -> Tensor:
    return x.movedim(1, -1).flatten(1)  # (N, C, …) -> (N, …, C)


def reshape(layer: LayerContext) -> BuiltLayer:
    """Build a Reshape; one size may be -1."""
    target: Any = layer.config.get("target_shape")
    is_shape = isinstance(target, list) and all(isinstance(v, int) and v >= -1 for v in target)
    if not is_shape or target.count(-1) > 1:
        layer.fail("target_shape", target, "a list of integers")
    size, given = math.prod(layer.shape), math.prod(v for v in target if v != -1)
    if (size % given if given and -1 in target else size - given) or not given:
        layer.fail("target_shape", target, f"{size} values in all")
    function = partial(_reshape, shape=[size // given if v == -1 else v for v in target])
    return modules.Reordered(function, layer.channels_last), []


def _reshape(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape(x.shape[0], *shape)


def permute(layer: LayerContext) -> BuiltLayer:
    """Build a Permute."""
    dims, axes = layer.config.get("dims"), [str(k) for k in range(1, layer.rank)]
    if not isinstance(dims, list) or sorted(map(str, dims)) != axes:
        layer.fail("dims", dims, f"the axes 1 to {len(layer.shape)} in some order")
    return modules.Reordered(partial(torch.permute, dims=(0, *dims)), layer.channels_last), []
