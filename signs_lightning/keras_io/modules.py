"""Modules for the Keras layers that PyTorch has none for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.keras_io.axis_order import from_keras_order, to_keras_order
from signs_lightning.models.layers import Conv2dSame, Pair


class Apply(nn.Module):
    """A layer without weights: a function of tensors and constants, such as `1 - x`.

    Args:
        function: takes them all, in order.
        constants: by their position among the arguments.
    """

    def __init__(
        self, function: Callable[..., Tensor], constants: dict[int, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.function = function
        for position, value in (constants or {}).items():
            self.register_buffer(f"constant{position}", value, persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        arguments = list(inputs)
        buffers = self.named_buffers(recurse=False)
        constants = {int(name.removeprefix("constant")): value for name, value in buffers}
        for position in sorted(constants):
            arguments.insert(position, constants[position])
        return self.function(*arguments)

    def extra_repr(self) -> str:
        return str(getattr(self.function, "__name__", self.function))


class Reordered(nn.Module):
    """A function that needs Keras's order of axes, such as Reshape.

    Args:
        function: takes and gives a tensor in Keras's order.
        channels_last: whether a tensor of rank 4 is permuted.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], channels_last: bool) -> None:
        super().__init__()
        self.function = function
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if not self.channels_last:
            return self.function(x)
        return from_keras_order(self.function(to_keras_order(x)))


class AxisLinear(nn.Linear):
    """Dense of Keras: acts along Keras's last axis of an input of any rank."""

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
    """SeparableConv2D of Keras: a depthwise, then a 1×1 convolution with the bias."""

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
        self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair, dilation: Pair,
        same: bool, output_padding: Pair | None, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, *kernel_size))
        nn.init.xavier_uniform_(self.weight)
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_channels)) if bias else None)
        self.in_channels, self.out_channels, self.kernel_size = (
            in_channels,
            out_channels,
            kernel_size,
        )
        self.stride, self.dilation, self.same = stride, dilation, same
        self.output_padding = output_padding
        pads: list[int] = []
        for k in (1, 0):
            reach = (kernel_size[k] - 1) * dilation[k] + 1
            pads += _crop_and_pad(reach, stride[k], same, output_padding and output_padding[k])
        self.padding = pads  # left, right, top, bottom; negative where the output is cropped

    def forward(self, images: Tensor) -> Tensor:
        full = F.conv_transpose2d(images, self.weight, stride=self.stride, dilation=self.dilation)
        padded = F.pad(full, self.padding) if any(self.padding) else full
        # Keras adds the bias to padded pixels, too.
        return padded if self.bias is None else padded + self.bias[:, None, None]


def _crop_and_pad(kernel: int, stride: int, same: bool, output_padding: int | None) -> Pair:
    """Return what to add before and after the rows of a full transposed convolution.

    These are (n − 1) · stride + kernel rows; a negative number is cropped.
    """
    if not same:
        return 0, max(stride - kernel, 0) if output_padding is None else output_padding
    if output_padding is None:  # n · stride rows, aligned as the gradient of a 'same' convolution
        before = max(kernel - stride, 0) // 2
        return -before, stride - kernel + before
    # (n − 1) · stride + rows, as `_convert_conv_transpose_padding_args_from_keras_to_jax` has it
    rows = kernel % 2 + output_padding
    total = kernel + rows - 2
    left = min(total // 2 + total % 2, kernel - 1)
    return left - (kernel - 1), total - left - (kernel - 1)


class KerasPReLU(nn.Module):
    """PReLU of Keras: a slope for each value, or shared along some axes."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tuple(shape)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.weight * x)


class ScaleAndShift(nn.Module):
    """Rescaling of Keras: x · scale + offset, numbers or tensors that broadcast."""

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.offset


class SharedDropout(nn.Module):
    """Dropout of Keras with a `noise_shape`: drops all values along `axes` together."""

    def __init__(self, rate: float, axes: set[int]) -> None:
        super().__init__()
        self.rate, self.axes = rate, axes

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * self._kept(x) / (1 - self.rate)

    def _kept(self, x: Tensor) -> Tensor:
        """Draw 1 for what is kept and 0 for what is dropped, in a shape that broadcasts with x."""
        shape = [1 if axis in self.axes else size for axis, size in enumerate(x.shape)]
        return x.new_empty(shape).bernoulli_(1 - self.rate)


class SharedAlphaDropout(SharedDropout):
    """AlphaDropout of Keras with a `noise_shape`; Klambauer et al. 2017, section 2."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept, low = self._kept(x), -1.7580993408473766  # SELU's value far below 0
        scale = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        return scale * (torch.where(kept > 0, x, low) - low * self.rate)


class GaussianNoise(nn.Module):
    """GaussianNoise of Keras: adds N(0, stddev²) in training mode."""

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * self.stddev if self.training else x


class GaussianDropout(nn.Module):
    """GaussianDropout of Keras: multiplies by N(1, rate / (1 − rate)) in training.

    Srivastava et al. 2014, section 10.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.stddev = rate, math.sqrt(rate / (1 - rate))

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + torch.randn_like(x) * self.stddev) if self.training else x


def convolution(
    same: bool, channels: int, filters: int, kernel_size: Pair, **options: Any
) -> nn.Module:
    """Return a Conv2d with Keras's 'same' or 'valid' padding."""
    return (Conv2dSame if same else nn.Conv2d)(channels, filters, kernel_size, **options)
