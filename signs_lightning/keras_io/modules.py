"""Keras's layers that PyTorch has no module for. All work on (N, C, H, W), or (N, …) of another rank, like `Graph` says.

Tensors of rank 4 are (N, C, H, W) where Keras has (N, H, W, C); those of another rank are as in
Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.models.layers import Conv2dSame, KerasBatchNorm2d, Pair


class Apply(nn.Module):
    """A function of one or more tensors as a layer without weights."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)

    def extra_repr(self) -> str:
        return str(getattr(self.function, "__name__", self.function))


class Reordered(nn.Module):
    """A function that needs Keras's own order of axes, such as Reshape; `channels_last` says that rank 4 is kept permuted."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels_last: bool) -> None:
        super().__init__()
        self.function = function
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if not self.channels_last:
            return self.function(x)
        return from_keras_order(self.function(to_keras_order(x)))


def to_keras_order(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C); another rank stays as it is."""
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def from_keras_order(x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W); another rank stays as it is."""
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def tensor_axis(axis: int, rank: int, channels_last: bool) -> int:
    """Keras's axis, counted with the batch → where a tensor of this rank has it; `channels_last` says that rank 4 is kept permuted."""
    return (0, 2, 3, 1)[axis % rank] if rank == 4 and channels_last else axis % rank


class AxisBatchNorm(KerasBatchNorm2d):
    """BatchNormalization along any axis, with or without gamma and beta.

    A gamma or beta that Keras does not have is a constant here: no parameter, and not in the
        state_dict.
    """

    def __init__(
        self, channels: int, axis: int, momentum: float, eps: float, scale: bool, center: bool
    ) -> None:
        super().__init__(channels, momentum, eps)
        self.axis = axis
        for name, value, wanted in (("weight", torch.ones, scale), ("bias", torch.zeros, center)):
            if not wanted:
                delattr(self, name)
                self.register_buffer(name, value(channels), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() == 4 and self.axis == 1:
            return super().forward(input)
        moved = input.movedim(self.axis, 1)  # (N, …, C, …) -> (N, C, …) -> (N, C, values, 1)
        output = super().forward(moved.reshape(*moved.shape[:2], -1, 1))
        return output.reshape(moved.shape).movedim(1, self.axis)


class AxisLayerNorm(nn.Module):
    """LayerNormalization over any of Keras's axes; gamma and beta have the sizes of these, in their order. Input of any rank."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        axes: Sequence[int],
        shape: Sequence[int],
        eps: float,
        scale: bool,
        center: bool,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.axes, self.shape, self.eps, self.channels_last = (
            tuple(axes),
            tuple(shape),
            eps,
            channels_last,
        )
        self.register_parameter("weight", nn.Parameter(torch.ones(self.shape)) if scale else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(self.shape)) if center else None)

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(tensor_axis(axis, x.dim(), self.channels_last) for axis in self.axes)
        last = tuple(range(-len(axes), 0))
        return F.layer_norm(
            x.movedim(axes, last), self.shape, self.weight, self.bias, self.eps
        ).movedim(last, axes)


class AxisGroupNorm(nn.Module):
    """GroupNormalization with its channels along any axis, with or without gamma and beta."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self, groups: int, channels: int, axis: int, eps: float, scale: bool, center: bool
    ) -> None:
        super().__init__()
        self.groups, self.axis, self.eps = groups, axis, eps
        self.register_parameter("weight", nn.Parameter(torch.ones(channels)) if scale else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if center else None)

    def forward(self, x: Tensor) -> Tensor:
        # In float32 and in two passes, as Keras computes it. F.group_norm subtracts squares where
        # x is channels_last in memory, which loses the digits of a variance beside a large mean.
        values = x.movedim(self.axis, 1).to(torch.promote_types(x.dtype, torch.float32))
        groups = values.reshape(x.shape[0], self.groups, -1)  # (N, C, …) -> (N, groups, values)
        deviations = groups - groups.mean(2, keepdim=True)
        variance = deviations.square().mean(2, keepdim=True)
        output = (deviations * torch.rsqrt(variance + self.eps)).reshape(values.shape)
        shape = (-1, *(1,) * (x.dim() - 2))  # of weight and bias: (C, 1, …)
        if self.weight is not None:
            output = output * self.weight.reshape(shape)
        if self.bias is not None:
            output = output + self.bias.reshape(shape)
        return output.to(x.dtype).movedim(1, self.axis)


class AxisLinear(nn.Linear):
    """Dense of Keras, which acts along Keras's last axis, on input of any rank."""

    def __init__(
        self, in_features: int, out_features: int, bias: bool, channels_last: bool
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.channels_last = channels_last

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 4 or not self.channels_last:
            return super().forward(input)
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class SeparableConv2d(nn.Module):
    """SeparableConv2D of Keras: a depthwise convolution, then a 1×1 convolution that has the bias."""

    def __init__(self, depthwise: nn.Module, pointwise: nn.Module) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.pointwise = pointwise

    def forward(self, images: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(images))


class ConvTranspose2dKeras(nn.Module):
    """Conv2DTranspose of Keras, for any kernel, stride, padding and output padding.

    Args:
        in_channels: channels C_in of the input.
        out_channels: number of filters C_out.
        kernel_size: height and width of the kernel, pixels.
        stride: step between two inputs in the output, pixels.
        dilation: distance between two kernel taps, pixels.
        same: whether the padding is 'same'.
        output_padding: Keras's argument of this name; None lets Keras choose.
        bias: whether a bias is added.

    Shape:
        float (N, C_in, H, W) → float (N, C_out, H', W'); H' = H · stride for 'same', (H − 1) ·
        stride + max(kernel, stride) for 'valid'
    """

    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair,
        dilation: Pair,
        same: bool,
        output_padding: Pair | None,
        bias: bool,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, *kernel_size))
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_channels)) if bias else None)
        self.stride, self.dilation = stride, dilation
        pads = [
            _crop_and_pad(
                (kernel_size[k] - 1) * dilation[k] + 1,
                stride[k],
                same,
                output_padding and output_padding[k],
            )
            for k in (1, 0)
        ]
        self.padding = (
            pads[0] + pads[1]
        )  # left, right, top, bottom, negative where the full output is cropped

    def forward(self, images: Tensor) -> Tensor:
        full = F.conv_transpose2d(images, self.weight, stride=self.stride, dilation=self.dilation)
        padded = F.pad(full, self.padding) if any(self.padding) else full
        return (
            padded if self.bias is None else padded + self.bias[:, None, None]
        )  # the bias is on padded pixels, too


def _crop_and_pad(kernel: int, stride: int, same: bool, output_padding: int | None) -> Pair:
    """What to add (or, negative, to cut) before and after the (n − 1) · stride + kernel rows of a full transposed convolution."""
    if not same:
        return 0, max(stride - kernel, 0) if output_padding is None else output_padding
    if output_padding is None:  # n · stride rows, aligned as the gradient of a 'same' convolution
        before = max(kernel - stride, 0) // 2
        return -before, stride - kernel + before
    rows = (
        kernel % 2 + output_padding
    )  # (n − 1) · stride + rows, as `_convert_conv_transpose_padding_args_from_keras_to_jax`
    total = kernel + rows - 2
    left = min(total // 2 + total % 2, kernel - 1)
    return left - (kernel - 1), total - left - (kernel - 1)


class KerasPReLU(nn.Module):
    """PReLU of Keras: a slope for each value, shared along some axes."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tuple(shape)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.weight * x)


class ScaleAndShift(nn.Module):
    """Rescaling of Keras: x · scale + offset, each a number or a tensor that broadcasts."""

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.offset


class Standardize(nn.Module):
    """Normalization of Keras: (x − mean) / max(√variance, 1e-7), or back.

    Args:
        mean: values of the kept axes, in Keras's order.
        variance: the same.
        view: shape in which the two broadcast with the input in Keras's order of axes.
        channels_last: whether an input of rank 4 is kept permuted.
        invert: whether x · max(√variance, 1e-7) + mean is taken instead.
        adapted: whether they were learnt from data, so that they are weights of the file.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        mean: Tensor,
        variance: Tensor,
        view: Sequence[int],
        channels_last: bool,
        invert: bool,
        adapted: bool,
    ) -> None:
        super().__init__()
        self.view, self.channels_last, self.invert = tuple(view), channels_last, invert
        self.register_buffer("mean", mean, persistent=adapted)
        self.register_buffer("variance", variance, persistent=adapted)
        if adapted:
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.mean.reshape(self.view), self.variance.reshape(self.view)
        if self.channels_last:
            mean, variance = from_keras_order(mean), from_keras_order(variance)
        deviation = variance.sqrt().clamp(min=1e-7)
        return x * deviation + mean if self.invert else (x - mean) / deviation


class SharedDropout(nn.Module):
    """Dropout of Keras with a `noise_shape`: along the axes where that is 1, values are dropped or kept together."""

    def __init__(self, rate: float, axes: set[int]) -> None:
        super().__init__()
        self.rate, self.axes = rate, axes

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = [1 if axis in self.axes else size for axis, size in enumerate(x.shape)]
        return x * x.new_empty(shape).bernoulli_(1 - self.rate) / (1 - self.rate)


class GaussianNoise(nn.Module):
    """GaussianNoise of Keras: adds N(0, stddev²) while training."""

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * self.stddev if self.training else x


class GaussianDropout(nn.Module):
    """GaussianDropout of Keras: multiplies with N(1, rate / (1 − rate)) while training (Srivastava et al. 2014, section 10)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.stddev = math.sqrt(rate / (1 - rate))

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + torch.randn_like(x) * self.stddev) if self.training else x


def convolution(
    same: bool, channels: int, filters: int, kernel_size: Pair, **options: Any
) -> nn.Module:
    """A Conv2d with Keras's 'same' or 'valid' padding."""
    return (Conv2dSame if same else nn.Conv2d)(channels, filters, kernel_size, **options)


class WithConstants(nn.Module):
    """A function of tensors and constants, such as `1 - x`.

    Args:
        function: takes them all, in order.
        constants: by their place among the arguments.
    """

    def __init__(self, function: Callable[..., Tensor], constants: dict[int, Tensor]) -> None:
        super().__init__()
        self.function = function
        for place, value in constants.items():
            self.register_buffer(f"constant{place}", value, persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        arguments = list(inputs)
        for name, value in sorted(self.named_buffers(recurse=False)):
            arguments.insert(int(name.removeprefix("constant")), value)
        return self.function(*arguments)
