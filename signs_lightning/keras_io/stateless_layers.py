"""Builders of the layers without weights: pooling, padding, reshaping, arithmetic, activations, noise."""

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
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext
from signs_lightning.keras_io.modules import Apply
from signs_lightning.models.layers import AvgPool2dSame, FlattenNHWC, MaxPool2dSame, Pair


def identity(site: LayerContext) -> BuiltLayer:
    return nn.Identity(), []


def activation(site: LayerContext) -> BuiltLayer:
    return Apply(
        activations.function_of(
            site.layer.config.get("activation"), site.axis(-1), site.layer.keras
        )
    ), []


def rectifier(site: LayerContext) -> BuiltLayer:
    axes = site.axes() if site.layer.class_name == "Softmax" else [-1]
    if len(axes) != 1:
        site.refuse("axis", axes, "one axis")
    try:
        return Apply(
            activations.rectifier(site.layer.class_name, site.layer.config, site.axis(axes[0]))
        ), []
    except (TypeError, ValueError) as error:
        raise InputError(f"{site.layer} has an argument that cannot be used: {error}.") from error


def dropout(site: LayerContext) -> BuiltLayer:
    rate = site.number("rate", site.layer.config.get("p"))
    if not 0 <= rate < 1:
        site.refuse("rate", rate, "a share from 0 to below 1")
    if (noise := site.layer.config.get("noise_shape")) is not None:
        if (
            site.layer.class_name != "Dropout"
            or not isinstance(noise, list)
            or len(noise) != len(site.shape) + 1
        ):
            site.refuse("noise_shape", noise, f"null or {len(site.shape) + 1} sizes")
        axes = {site.axis(k) for k in range(1, len(noise)) if noise[k] == 1}
        return modules.SharedDropout(rate, axes | ({0} if noise[0] == 1 else set())), []
    kinds: dict[str, Callable[[float], nn.Module]] = {
        "Dropout": nn.Dropout,
        "SpatialDropout2D": nn.Dropout2d,
        "AlphaDropout": nn.AlphaDropout,
        "GaussianDropout": modules.GaussianDropout,
    }
    return kinds[site.layer.class_name](rate), []


def gaussian_noise(site: LayerContext) -> BuiltLayer:
    return modules.GaussianNoise(site.number("stddev")), []


def rescaling(site: LayerContext) -> BuiltLayer:
    values = []
    for key, default in (("scale", 1.0), ("offset", 0.0)):
        value = site.layer.config.get(key, default)
        values.append(
            constant(
                site, value["value"] if isinstance(value, dict) and "value" in value else value, key
            )
        )
    return modules.ScaleAndShift(*values), []


def constant(site: LayerContext, value: Any, key: str) -> Tensor:
    """A number or nested list that broadcasts with the input, in the order of axes of the graph."""
    try:
        tensor = torch.tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        site.refuse(key, repr(value), "a number or a list of numbers")
    rank = max((len(shape) + 1 for shape in site.shapes if shape is not None), default=0)
    if tensor.dim() == 0 or rank != 4 or not site.channels_last:
        return tensor
    return modules.from_keras_order(tensor.reshape((1,) * (rank - tensor.dim()) + tensor.shape))


def pooling(site: LayerContext) -> BuiltLayer:
    _ = site.image
    size = site.pair("pool_size", 2)
    stride = size if site.layer.config.get("strides") is None else site.pair("strides")
    kinds = {
        ("MaxPooling2D", True): MaxPool2dSame,
        ("MaxPooling2D", False): nn.MaxPool2d,
        ("AveragePooling2D", True): AvgPool2dSame,
        ("AveragePooling2D", False): nn.AvgPool2d,
    }
    return kinds[site.layer.class_name, site.same()](size, stride), []


def global_pooling(site: LayerContext) -> BuiltLayer:
    _ = site.image
    function = torch.amax if site.layer.class_name == "GlobalMaxPooling2D" else torch.mean
    return Apply(partial(function, dim=(2, 3), keepdim=site.flag("keepdims", False))), []


def _borders(site: LayerContext, key: str) -> tuple[int, int, int, int]:
    """`3`, `[2, 3]` or `[[1, 2], [3, 4]]` → left, right, top, bottom, as F.pad orders them."""
    value = site.layer.config.get(key, 1)
    if isinstance(value, list) and all(isinstance(v, list) for v in value):
        flat = [v for pair in value for v in pair]
    else:
        flat = [v for v in site.pair(key, 1, least=0) for _ in range(2)]
    if len(flat) != 4 or not all(isinstance(v, int) and 0 <= v <= 2**31 for v in flat):
        site.refuse(key, repr(value), "one, two or two pairs of integers")
    top, bottom, left, right = flat
    return left, right, top, bottom


def zero_padding2d(site: LayerContext) -> BuiltLayer:
    _ = site.image
    return Apply(partial(F.pad, pad=_borders(site, "padding"))), []


def cropping2d(site: LayerContext) -> BuiltLayer:
    height, width, _ = site.image
    left, right, top, bottom = _borders(site, "cropping")
    if left + right >= width or top + bottom >= height:
        site.refuse(
            "cropping", site.layer.config.get("cropping"), f"less than its {height}×{width} pixels"
        )
    return Apply(partial(F.pad, pad=(-left, -right, -top, -bottom))), []


def _resize(site: LayerContext, size: Pair, default: str) -> BuiltLayer:
    modes = {
        "bilinear": {"mode": "bilinear", "align_corners": False},
        "nearest": {"mode": "nearest-exact"},
    }
    site.layer.config.setdefault("interpolation", default)
    site.only("interpolation", *modes)  # the cubic kernels of Keras and PyTorch differ
    return Apply(partial(F.interpolate, size=size, **modes[site.layer.config["interpolation"]])), []  # type: ignore[arg-type]


def up_sampling2d(site: LayerContext) -> BuiltLayer:
    (height, width, _), (rows, columns) = site.image, site.pair("size", 2)
    return _resize(site, (height * rows, width * columns), "nearest")


def resizing(site: LayerContext) -> BuiltLayer:
    for option in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"):
        site.only(option, False)
    _ = site.image
    return _resize(site, (site.integer("height"), site.integer("width")), "bilinear")


def flatten(site: LayerContext) -> BuiltLayer:
    return (FlattenNHWC() if len(site.shape) == 3 else nn.Flatten()), []


def reshape(site: LayerContext) -> BuiltLayer:
    target = site.layer.config.get("target_shape")
    if (
        not isinstance(target, list)
        or not all(isinstance(v, int) and v >= -1 for v in target)
        or target.count(-1) > 1
    ):
        site.refuse("target_shape", target, "a list of integers")
    size, known = math.prod(site.shape), math.prod(v for v in target if v != -1)
    if (size % known if known and -1 in target else size - known) or not known:
        site.refuse("target_shape", target, f"{size} values in all")
    return modules.Reordered(
        partial(_reshape, shape=[size // known if v == -1 else v for v in target]),
        site.channels_last,
    ), []


def _reshape(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape(x.shape[0], *shape)


def permute(site: LayerContext) -> BuiltLayer:
    dims = site.layer.config.get("dims")
    if not isinstance(dims, list) or sorted(map(str, dims)) != [
        str(k + 1) for k in range(len(site.shape))
    ]:
        site.refuse("dims", dims, f"the axes 1 to {len(site.shape)} in some order")
    return modules.Reordered(partial(torch.permute, dims=(0, *dims)), site.channels_last), []


def _average(*inputs: Tensor) -> Tensor:
    return sum(inputs[1:], start=inputs[0]) / len(inputs)


def _fold(function: Callable[[Tensor, Tensor], Tensor], *inputs: Tensor) -> Tensor:
    total = inputs[0]
    for value in inputs[1:]:
        total = function(total, value)
    return total


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


def arithmetic(site: LayerContext, name: str | None = None) -> BuiltLayer:
    name = name or site.layer.class_name
    shapes = [shape for shape in site.shapes if shape is not None]
    if len(site.shapes) < 2 or not shapes or len({len(shape) for shape in shapes}) > 1:
        raise InputError(
            f"{site.layer} joins shapes {', '.join(map(str, shapes))}, expected two or more of "
            "the same rank."
        )
    constants = {k: constant(site, value, "a constant") for k, value in site.constants.items()}
    return (
        modules.WithConstants(ARITHMETIC[name], constants) if constants else Apply(ARITHMETIC[name])
    ), []


def tf_op_lambda(site: LayerContext) -> BuiltLayer:
    name = TF_OPERATIONS[site.layer.config["function"]]
    return (
        arithmetic(site, name) if name in ARITHMETIC else (Apply(activations.ELEMENTWISE[name]), [])
    )


def concatenate(site: LayerContext) -> BuiltLayer:
    if None in site.shapes or len({len(shape) for shape in site.shapes if shape is not None}) != 1:
        raise InputError(
            f"{site.layer} joins values of different rank, expected the same. Save the model "
            "again with Keras."
        )
    axes = site.axes()
    if len(axes) != 1:
        site.refuse("axis", axes, "one axis")
    rank = len(site.shapes[0] or ()) + 1
    return Apply(partial(_concatenate, axis=site.axis(axes[0], rank))), []


def _concatenate(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, dim=axis)
