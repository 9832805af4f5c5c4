"""Builders of the layers with weights: convolutions, dense layers, normalisations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.keras_io import modules
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, Shape, WeightSpec

KERNEL = (3, 2, 0, 1)  # (H, W, in, out) -> (out, in, H, W)
DEPTHWISE = (2, 3, 0, 1)  # (H, W, C, M) -> (C, M, H, W), then (C · M, 1, H, W)


def _bias(site: LayerContext, channels: int, name: str = "bias") -> list[WeightSpec]:
    return [WeightSpec("bias", name, (channels,), (0,))] if site.flag("use_bias", True) else []


def conv2d(site: LayerContext) -> BuiltLayer:
    (_, _, channels), filters, groups = (
        site.image,
        site.integer("filters"),
        site.integer("groups", 1),
    )
    kernel, stride, dilation = (
        site.pair("kernel_size"),
        site.pair("strides", 1),
        site.pair("dilation_rate", 1),
    )
    if channels % groups or filters % groups:
        site.refuse("groups", groups, f"a divisor of its {channels} channels and {filters} filters")
    module = modules.convolution(
        site.same(), channels, filters, kernel,
        stride=stride, dilation=dilation, groups=groups, bias=site.flag("use_bias", True),
    )  # fmt: skip
    return module, [
        WeightSpec("kernel", "weight", (*kernel, channels // groups, filters), KERNEL),
        *_bias(site, filters),
    ]


def depthwise_conv2d(site: LayerContext, bias: bool | None = None) -> BuiltLayer:
    (_, _, channels), multiplier = site.image, site.integer("depth_multiplier", 1)
    kernel, stride, dilation = (
        site.pair("kernel_size"),
        site.pair("strides", 1),
        site.pair("dilation_rate", 1),
    )
    bias = site.flag("use_bias", True) if bias is None else bias
    module = modules.convolution(
        site.same(), channels, channels * multiplier, kernel,
        stride=stride, dilation=dilation, groups=channels, bias=bias,
    )  # fmt: skip
    weights = [WeightSpec("depthwise_kernel", "weight", (*kernel, channels, multiplier), DEPTHWISE)]
    return module, weights + (_bias(site, channels * multiplier) if bias else [])


def separable_conv2d(site: LayerContext) -> BuiltLayer:
    depthwise, (kernel,) = depthwise_conv2d(site, bias=False)
    inner, filters = kernel.shape[2] * kernel.shape[3], site.integer("filters")
    pointwise = nn.Conv2d(inner, filters, 1, bias=site.flag("use_bias", True))
    return modules.SeparableConv2d(depthwise, pointwise), [
        WeightSpec("depthwise_kernel", "depthwise.weight", kernel.shape, DEPTHWISE),
        WeightSpec("pointwise_kernel", "pointwise.weight", (1, 1, inner, filters), KERNEL),
        *_bias(site, filters, "pointwise.bias"),
    ]


def conv2d_transpose(site: LayerContext) -> BuiltLayer:
    (_, _, channels), filters = site.image, site.integer("filters")
    kernel, stride, dilation = (
        site.pair("kernel_size"),
        site.pair("strides", 1),
        site.pair("dilation_rate", 1),
    )
    output_padding = (
        None
        if site.layer.config.get("output_padding") is None
        else site.pair("output_padding", least=0)
    )
    module = modules.ConvTranspose2dKeras(
        channels,
        filters,
        kernel,
        stride,
        dilation,
        site.same(),
        output_padding,
        site.flag("use_bias", True),
    )
    # (H, W, out, in) -> (in, out, H, W)
    return module, [
        WeightSpec("kernel", "weight", (*kernel, filters, channels), KERNEL),
        *_bias(site, filters),
    ]


def dense(site: LayerContext) -> BuiltLayer:
    if "quantization_config" in site.layer.config:
        site.only("quantization_config", None)
    features, units, bias = site.shape[-1], site.integer("units"), site.flag("use_bias", True)
    module = modules.AxisLinear(features, units, bias, site.channels_last)
    return module, [WeightSpec("kernel", "weight", (features, units), (1, 0)), *_bias(site, units)]


def _gamma_beta(site: LayerContext, shape: Shape) -> list[WeightSpec]:
    axes = tuple(range(len(shape)))
    gamma = [WeightSpec("gamma", "weight", shape, axes)] if site.flag("scale", True) else []
    return gamma + ([WeightSpec("beta", "bias", shape, axes)] if site.flag("center", True) else [])


def batch_normalization(site: LayerContext) -> BuiltLayer:
    site.only("renorm", False)
    site.only("virtual_batch_size", None)
    axes = site.axes()
    if len(axes) != 1:
        site.refuse("axis", axes, "one axis")
    axis = site.axis(axes[0])
    channels = site.shape[axes[0] % (len(site.shape) + 1) - 1]
    module = modules.AxisBatchNorm(
        channels, axis, site.number("momentum", 0.99), site.number("epsilon", 1e-3),
        site.flag("scale", True), site.flag("center", True),
    )  # fmt: skip
    moving = [("moving_mean", "running_mean"), ("moving_variance", "running_var")]
    return module, _gamma_beta(site, (channels,)) + [
        WeightSpec(k, t, (channels,), (0,), False) for k, t in moving
    ]


def layer_normalization(site: LayerContext) -> BuiltLayer:
    site.only("rms_scaling", False)
    rank = len(site.shape) + 1
    axes = site.axes()
    for axis in axes:
        site.axis(axis)  # refuses the batch's
    shape = tuple(site.shape[axis % rank - 1] for axis in axes)
    module = modules.AxisLayerNorm(
        axes,
        shape,
        site.number("epsilon", 1e-3),
        site.flag("scale", True),
        site.flag("center", True),
        site.channels_last,
    )
    return module, _gamma_beta(site, shape)


def group_normalization(site: LayerContext) -> BuiltLayer:
    axes = site.axes()
    if len(axes) != 1:
        site.refuse("axis", axes, "one axis")
    axis = site.axis(axes[0])
    channels = site.shape[axes[0] % (len(site.shape) + 1) - 1]
    groups = site.integer("groups", 32, least=-1)
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        site.refuse("groups", groups, f"a divisor of its {channels} channels")
    scale, center = site.flag("scale", True), site.flag("center", True)
    module = modules.AxisGroupNorm(
        groups, channels, axis, site.number("epsilon", 1e-3), scale, center
    )
    return module, _gamma_beta(site, (channels,))


def normalization(site: LayerContext) -> BuiltLayer:
    rank = len(site.shape) + 1
    axes = [] if site.layer.config.get("axis", -1) in (None, []) else site.axes()
    kept = sorted(axis % rank for axis in axes)
    view = [site.shape[k - 1] if k in kept else 1 for k in range(rank)]
    shape = tuple(site.shape[k - 1] for k in kept)
    mean, variance = site.layer.config.get("mean"), site.layer.config.get("variance")
    adapted = mean is None
    try:
        means, variances = (_expanded(value, shape) for value in (mean, variance))
    except (TypeError, ValueError, RuntimeError):
        site.refuse("mean", mean, f"{math.prod(shape)} numbers")
    module = modules.Standardize(
        means, variances, view, site.channels_last, site.flag("invert", False), adapted
    )
    axes_of = tuple(range(len(shape)))
    weights = [
        WeightSpec(name, name, shape, axes_of, trainable=False) for name in ("mean", "variance")
    ]
    return module, [
        *weights,
        WeightSpec("count", "count", (), (), trainable=False),
    ] if adapted else []


def _expanded(value: Any, shape: Shape) -> Tensor:
    """A number, or as many as there are, or None for those of the file."""
    if value is None:
        return torch.zeros(shape)
    return (
        torch.tensor(value, dtype=torch.float32).reshape(-1).expand(math.prod(shape)).reshape(shape)
    )


def prelu(site: LayerContext) -> BuiltLayer:
    shared = site.layer.config.get("shared_axes") or []
    shared = shared if isinstance(shared, list) else [shared]
    rank = len(site.shape) + 1
    if not all(isinstance(axis, int) and axis % rank > 0 for axis in shared):
        site.refuse("shared_axes", shared, f"axes from 1 to {rank - 1}")
    shape = tuple(
        1 if k + 1 in {axis % rank for axis in shared} else size
        for k, size in enumerate(site.shape)
    )
    # (H, W, C) -> (C, H, W)
    order = (2, 0, 1) if len(shape) == 3 and site.channels_last else tuple(range(len(shape)))
    return modules.KerasPReLU([shape[k] for k in order]), [
        WeightSpec("alpha", "weight", shape, order)
    ]
