"""Builders of the layers with weights: convolutions, Dense, normalizations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.keras_io import modules, norm_modules
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, Shape, WeightSpec
from signs_lightning.models.layers import Pair

KERNEL = (3, 2, 0, 1)  # (H, W, in, out) -> (out, in, H, W)
DEPTHWISE = (2, 3, 0, 1)  # (H, W, C, M) -> (C, M, H, W), then (C · M, 1, H, W)

WITH_KERNEL = {"Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Dense"}


def _bias(layer: LayerContext, channels: int, name: str = "bias") -> list[WeightSpec]:
    return [WeightSpec("bias", name, (channels,), (0,))] if layer.flag("use_bias", True) else []


def _window(layer: LayerContext) -> tuple[Pair, Pair, Pair]:
    """Return kernel size, stride and dilation of a convolution."""
    return layer.pair("kernel_size"), layer.pair("strides", 1), layer.pair("dilation_rate", 1)


def conv2d(layer: LayerContext) -> BuiltLayer:
    """Build a Conv2D, with groups where it has some."""
    (_, _, channels), filters = layer.image, layer.integer("filters")
    groups = layer.integer("groups", 1)
    kernel, stride, dilation = _window(layer)
    if channels % groups or filters % groups:
        expected = f"a divisor of its {channels} channels and {filters} filters"
        layer.fail("groups", groups, expected)
    module = modules.convolution(
        layer.is_same_padded(), channels, filters, kernel,
        stride=stride, dilation=dilation, groups=groups, bias=layer.flag("use_bias", True),
    )  # fmt: skip
    shape = (*kernel, channels // groups, filters)
    return module, [WeightSpec("kernel", "weight", shape, KERNEL), *_bias(layer, filters)]


def depthwise_conv2d(layer: LayerContext, bias: bool | None = None) -> BuiltLayer:
    """Build a DepthwiseConv2D; `bias` overrides its own."""
    (_, _, channels), multiplier = layer.image, layer.integer("depth_multiplier", 1)
    kernel, stride, dilation = _window(layer)
    bias = layer.flag("use_bias", True) if bias is None else bias
    module = modules.convolution(
        layer.is_same_padded(), channels, channels * multiplier, kernel,
        stride=stride, dilation=dilation, groups=channels, bias=bias,
    )  # fmt: skip
    weights = [WeightSpec("depthwise_kernel", "weight", (*kernel, channels, multiplier), DEPTHWISE)]
    return module, weights + (_bias(layer, channels * multiplier) if bias else [])


def separable_conv2d(layer: LayerContext) -> BuiltLayer:
    """Build a SeparableConv2D."""
    depthwise, (kernel,) = depthwise_conv2d(layer, bias=False)
    inner, filters = kernel.shape[2] * kernel.shape[3], layer.integer("filters")
    pointwise = nn.Conv2d(inner, filters, 1, bias=layer.flag("use_bias", True))
    return modules.SeparableConv2d(depthwise, pointwise), [
        WeightSpec("depthwise_kernel", "depthwise.weight", kernel.shape, DEPTHWISE),
        WeightSpec("pointwise_kernel", "pointwise.weight", (1, 1, inner, filters), KERNEL),
        *_bias(layer, filters, "pointwise.bias"),
    ]


def conv2d_transpose(layer: LayerContext) -> BuiltLayer:
    """Build a Conv2DTranspose."""
    (_, _, channels), filters = layer.image, layer.integer("filters")
    kernel, stride, dilation = _window(layer)
    is_given = layer.config.get("output_padding") is not None
    output_padding = layer.pair("output_padding", least=0) if is_given else None
    module = modules.ConvTranspose2dKeras(
        channels, filters, kernel, stride, dilation,
        layer.is_same_padded(), output_padding, layer.flag("use_bias", True),
    )  # fmt: skip
    # (H, W, out, in) -> (in, out, H, W)
    weight = WeightSpec("kernel", "weight", (*kernel, filters, channels), KERNEL)
    return module, [weight, *_bias(layer, filters)]


def dense(layer: LayerContext) -> BuiltLayer:
    """Build a Dense layer."""
    layer.check_option("quantization_config", None)
    features, units = layer.shape[-1], layer.integer("units")
    bias = layer.flag("use_bias", True)
    module = modules.AxisLinear(features, units, bias, layer.channels_last)
    kernel = WeightSpec("kernel", "weight", (features, units), (1, 0))
    return module, [kernel, *_bias(layer, units)]


def spectral_normalization(module: nn.Module, weights: list[WeightSpec]) -> BuiltLayer:
    """Return the layer inside a SpectralNormalization, and the weights of both.

    The kernel in a file is normalized already: Keras divides it in training, which is not done
    here. A `.weights.h5` has it twice, in the group of the layer inside and in the wrapper's own.
    """
    kernel, *others = weights
    module.register_buffer("vector_u", torch.zeros(1, kernel.shape[-1]))
    return module, [
        replace(kernel, groups=("layer", "")),
        *(replace(weight, groups=("layer",)) for weight in others),
        WeightSpec("vector_u", "vector_u", (1, kernel.shape[-1]), (0, 1), trainable=False),
    ]


def _gamma_beta(layer: LayerContext, shape: Shape) -> list[WeightSpec]:
    axes = tuple(range(len(shape)))
    gamma = [WeightSpec("gamma", "weight", shape, axes)] if layer.flag("scale", True) else []
    return gamma + ([WeightSpec("beta", "bias", shape, axes)] if layer.flag("center", True) else [])


def _scale_and_center(layer: LayerContext) -> tuple[bool, bool]:
    return layer.flag("scale", True), layer.flag("center", True)


def batch_normalization(layer: LayerContext) -> BuiltLayer:
    """Build a BatchNormalization of any version."""
    layer.check_option("renorm", False)
    layer.check_option("virtual_batch_size", None)
    axis = layer.single_axis()
    tensor_axis = layer.tensor_axis(axis)
    channels = layer.shape[axis % layer.rank - 1]
    momentum, epsilon = layer.number("momentum", 0.99), layer.number("epsilon", 1e-3)
    module = norm_modules.AxisBatchNorm(
        channels, tensor_axis, momentum, epsilon, *_scale_and_center(layer),
        biased_variance=_has_biased_variance(layer, axis % layer.rank),
    )  # fmt: skip
    averages = [
        WeightSpec("moving_mean", "running_mean", (channels,), (0,), trainable=False),
        WeightSpec("moving_variance", "running_var", (channels,), (0,), trainable=False),
    ]
    return module, [*_gamma_beta(layer, (channels,)), *averages]


def _has_biased_variance(layer: LayerContext, axis: int) -> bool:
    """Return whether the moving variance is fed with the biased variance of a batch.

    Keras 3 does so. TensorFlow's fused kernel gives tf.keras the unbiased one, for images with
    their channels first or last, in 32 bits or less and not synchronized; see `_fused_can_be_used`
    of its BatchNormalization. Keras before it corrected the variance itself.
    """
    if layer.layer.keras >= 3:
        return True
    if layer.layer.is_before_tf_keras:
        return False
    is_synchronized = layer.class_name == "SyncBatchNormalization" or layer.flag(
        "synchronized", False
    )
    is_fused = layer.rank in (4, 5) and axis in (1, layer.rank - 1) and not is_synchronized
    return not is_fused or layer.config.get("dtype") == "float64"


def layer_normalization(layer: LayerContext) -> BuiltLayer:
    """Build a LayerNormalization."""
    layer.check_option("rms_scaling", False)
    axes = layer.axes()
    for axis in axes:
        layer.tensor_axis(axis)  # checks it
    shape = tuple(layer.shape[axis % layer.rank - 1] for axis in axes)
    epsilon, (scale, center) = layer.number("epsilon", 1e-3), _scale_and_center(layer)
    module = norm_modules.AxisLayerNorm(axes, shape, epsilon, scale, center, layer.channels_last)
    return module, _gamma_beta(layer, shape)


def group_normalization(layer: LayerContext) -> BuiltLayer:
    """Build a GroupNormalization; -1 groups are one for each channel."""
    axis = layer.single_axis()
    tensor_axis = layer.tensor_axis(axis)
    channels = layer.shape[axis % layer.rank - 1]
    groups = layer.integer("groups", 32, least=-1)
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        layer.fail("groups", groups, f"a divisor of its {channels} channels")
    scale, center = _scale_and_center(layer)
    module = norm_modules.AxisGroupNorm(
        groups, channels, tensor_axis, layer.number("epsilon", 1e-3), scale, center
    )
    return module, _gamma_beta(layer, (channels,))


def rms_normalization(layer: LayerContext) -> BuiltLayer:
    """Build an RMSNormalization."""
    axes = sorted(layer.axes())
    for axis in axes:
        layer.tensor_axis(axis)  # checks it
    shape = tuple(layer.shape[axis % layer.rank - 1] for axis in axes)
    module = norm_modules.RMSNorm(axes, shape, layer.number("epsilon", 1e-6), layer.channels_last)
    return module, [WeightSpec("scale", "weight", shape, tuple(range(len(shape))))]


def normalization(layer: LayerContext) -> BuiltLayer:
    """Build a Normalization, whose statistics are in the config or in the weights."""
    axes = [] if layer.config.get("axis", -1) in (None, []) else layer.axes()
    kept = sorted(axis % layer.rank for axis in axes)
    view = [layer.shape[k - 1] if k in kept else 1 for k in range(layer.rank)]
    shape = tuple(layer.shape[k - 1] for k in kept)
    mean, variance = layer.config.get("mean"), layer.config.get("variance")
    try:
        statistics = _expand(mean, shape), _expand(variance, shape)
    except (TypeError, ValueError, RuntimeError):
        layer.fail("mean", mean, f"{math.prod(shape)} numbers")
    invert, adapted = layer.flag("invert", False), mean is None
    module = norm_modules.Standardize(*statistics, view, layer.channels_last, invert, adapted)
    axes_order = tuple(range(len(shape)))
    weights = [
        WeightSpec("mean", "mean", shape, axes_order, trainable=False),
        WeightSpec("variance", "variance", shape, axes_order, trainable=False),
        WeightSpec("count", "count", (), (), trainable=False),
    ]
    return module, weights if adapted else []


def _expand(value: Any, shape: Shape) -> Tensor:
    """Return a number or a list in this shape; zeros for None."""
    if value is None:
        return torch.zeros(shape)
    numbers = torch.tensor(value, dtype=torch.float32).reshape(-1)
    return numbers.expand(math.prod(shape)).reshape(shape)


def prelu(layer: LayerContext) -> BuiltLayer:
    """Build a PReLU."""
    shared = layer.config.get("shared_axes") or []
    shared = shared if isinstance(shared, list) else [shared]
    if not all(isinstance(axis, int) and axis % layer.rank > 0 for axis in shared):
        layer.fail("shared_axes", shared, f"axes from 1 to {layer.rank - 1}")
    axes = {axis % layer.rank for axis in shared}
    shape = tuple(1 if k in axes else size for k, size in enumerate(layer.shape, start=1))
    # (H, W, C) -> (C, H, W)
    order = (2, 0, 1) if len(shape) == 3 and layer.channels_last else tuple(range(len(shape)))
    module = modules.KerasPReLU([shape[k] for k in order])
    return module, [WeightSpec("alpha", "weight", shape, order)]
