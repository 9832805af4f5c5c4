"""What Keras has and PyTorch lacks: layers with 'same' padding, initialisation.

All work on (N, C, H, W) tensors of any memory format. Keras's padding follows TensorFlow's
https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2; defaults are those of the pages
under https://keras.io/api/layers/.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def pair(value: int | tuple[int, ...]) -> Pair:
    """Return (height, width): `3` → `(3, 3)`, a pair stays."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def same_padding(size: int, kernel_size: int, stride: int = 1, dilation: int = 1) -> Pair:
    """Return how many rows (or columns) Keras's 'same' adds before and after an axis.

    The odd one goes after. The output has ceil(size / stride) rows.

    Args:
        size: rows of the input.
        kernel_size: rows of the kernel.
        stride: step between two outputs, pixels.
        dilation: distance between two kernel taps, pixels.
    """
    out = math.ceil(size / stride)
    total = max((out - 1) * stride + (kernel_size - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def sides_of_same(images: Tensor, kernel_size: Pair, stride: Pair, dilation: Pair) -> Sides:
    """Return what 'same' adds to (N, C, H, W): (top, bottom) and (left, right), pixels."""
    rows = same_padding(images.shape[-2], kernel_size[0], stride[0], dilation[0])
    return rows, same_padding(images.shape[-1], kernel_size[1], stride[1], dilation[1])


def pad_same(
    images: Tensor, kernel_size: Pair, stride: Pair, dilation: Pair, value: float = 0.0
) -> Tensor:
    """Pad (N, C, H, W) as Keras's 'same' does; no copy where that adds nothing."""
    (top, bottom), (left, right) = sides_of_same(images, kernel_size, stride, dilation)
    if top == bottom == left == right == 0:
        return images
    return F.pad(images, (left, right, top, bottom), value=value)


def window_padding(sides: Sides, kernel_size: Pair, stride: Pair) -> Pair | None:
    """Return by how much a pooling itself pads each axis, so that nothing is copied.

    A pooling with `ceil_mode` lets its last window end outside the image; with a stride of 2 and
    more that is where the odd row of 'same' lies.

    Args:
        sides: (top, bottom) and (left, right), pixels.
        kernel_size: height and width of the window, pixels; it may be padded by half of them.
        stride: step between two windows, pixels.

    Returns:
        Rows and columns that go before and after, or None where only a padded copy will do.
    """
    for (before, after), rows, step in zip(sides, kernel_size, stride, strict=True):
        if before > rows // 2 or (before != after and step == 1):
            return None
    return sides[0][0], sides[1][0]


class Conv2dSame(nn.Conv2d):
    """Conv2D(padding='same') of Keras; PyTorch's own is for stride 1 only.

    Args:
        in_channels: channels C_in of the input.
        out_channels: number of filters C_out.
        kernel_size: height and width of the kernel, pixels.
        stride: step between two outputs, pixels.
        dilation: distance between two kernel taps, pixels.
        groups: groups of channels that do not see each other; C_in for a depthwise convolution.
        bias: whether a bias is added, as Keras does by default.

    Shape:
        float (N, C_in, H, W) → float (N, C_out, ceil(H / stride), ceil(W / stride))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)

    def forward(self, input: Tensor) -> Tensor:
        sizes = (pair(self.kernel_size), pair(self.stride), pair(self.dilation))
        (top, bottom), (left, right) = sides_of_same(input, *sizes)
        if top != bottom or left != right:  # PyTorch's convolution pads both sides alike
            return super().forward(F.pad(input, (left, right, top, bottom)))
        stride, dilation = self.stride, self.dilation
        return F.conv2d(input, self.weight, self.bias, stride, (top, left), dilation, self.groups)


class MaxPool2dSame(nn.Module):
    """MaxPooling2D(padding='same') of Keras: the padding is −∞, so it never wins.

    Args:
        kernel_size: height and width of the window, pixels.
        stride: step between two windows; the window's own size when omitted, as in Keras.
        dilation: distance between two rows (columns) of the window, pixels. Keras itself has none
            here.

    Shape:
        float (N, C, H, W) → float (N, C, ceil(H / stride), ceil(W / stride))
    """

    def __init__(
        self, kernel_size: int | Pair, stride: int | Pair | None = None, dilation: int | Pair = 1
    ) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size)
        self.stride = self.kernel_size if stride is None else pair(stride)
        self.dilation = pair(dilation)

    def forward(self, images: Tensor) -> Tensor:
        size, stride, dilation = self.kernel_size, self.stride, self.dilation
        padding = window_padding(sides_of_same(images, size, stride, dilation), size, stride)
        # All taps of a dilated window can lie outside a small image, and the backward pass of
        # PyTorch's pooling then writes outside it, too.
        if padding is not None and dilation == (1, 1):
            return F.max_pool2d(images, size, stride, padding, ceil_mode=True)
        padded = pad_same(images, size, stride, dilation, value=-math.inf)
        return F.max_pool2d(padded, size, stride, dilation=dilation)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"


class AvgPool2dSame(nn.Module):
    """AveragePooling2D(padding='same') of Keras: the mean leaves the padding out.

    Args:
        kernel_size: height and width of the window, pixels.
        stride: step between two windows; the window's own size when omitted, as in Keras.

    Shape:
        float (N, C, H, W) → float (N, C, ceil(H / stride), ceil(W / stride))
    """

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size)
        self.stride = self.kernel_size if stride is None else pair(stride)

    def forward(self, images: Tensor) -> Tensor:
        size, stride = self.kernel_size, self.stride
        padding = window_padding(sides_of_same(images, size, stride, (1, 1)), size, stride)
        if padding is not None:
            return F.avg_pool2d(images, size, stride, padding, True, count_include_pad=False)
        padded = pad_same(images, size, stride, (1, 1))
        pixels = pad_same(images.new_ones(1, 1, *images.shape[-2:]), size, stride, (1, 1))
        sums = F.avg_pool2d(padded, size, stride, divisor_override=1)
        return sums / F.avg_pool2d(pixels, size, stride, divisor_override=1)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class FlattenNHWC(nn.Module):
    """Flatten of Keras, in the order height, width, channel.

    Shape:
        (N, C, H, W) → (N, H * W * C)
    """

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1)  # (N, C, H, W) -> (N, H, W, C)


class KerasBatchNorm2d(nn.BatchNorm2d):
    """BatchNormalization of Keras over the channels of images, with Keras's defaults.

    Args:
        num_features: number of channels C.
        momentum: share of the *old* moving average that a step keeps (PyTorch's momentum is 1 minus
            this).
        eps: added to the variance. Keras's default is 1e-3, PyTorch's 1e-5.
        biased_variance: feed the moving variance with the biased batch variance, as Keras 3 does;
            tf.keras 2 and PyTorch use the unbiased one. Training outputs are the same either way.

    Shape:
        float (N, C, H, W) → the same
    """

    def __init__(
        self,
        num_features: int,
        momentum: float = 0.99,
        eps: float = 1e-3,
        biased_variance: bool = False,
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=1 - momentum)
        self.biased_variance = biased_variance

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and self.biased_variance and self.running_var is not None):
            return super().forward(input)
        before = self.running_var.clone()
        output = super().forward(input)
        values = input.numel() // input.shape[1]
        # The step's share, from the unbiased to the biased variance; `.data`, because autograd
        # holds the tensor for a backward pass that does not read it in training.
        kept = before * (1 - (self.momentum or 0.0))
        self.running_var.data.copy_(kept + (self.running_var - kept) * ((values - 1) / values))
        return output


def initialize_like_keras(network: AnyModule, initializer: str = "glorot_uniform") -> AnyModule:
    """Initialize convolutions and dense layers as Keras does; biases are zero.

    Args:
        network: the module whose layers are drawn anew from PyTorch's global generator.
        initializer: "glorot_uniform" (Keras's default; Glorot and Bengio 2010) or "he_normal" (He
            et al. 2015, truncated at two standard deviations as in Keras).

    Returns:
        The network itself.

    Raises:
        ValueError: for another initializer.
    """
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if initializer == "glorot_uniform":
            nn.init.xavier_uniform_(layer.weight)
        elif initializer == "he_normal":
            # 0.8796 is the standard deviation of a unit normal cut off at ±2: Keras divides by it,
            # so that the drawn kernel has the variance 2 / fan_in in spite of the cut.
            std = math.sqrt(2 / layer.weight[0].numel()) / 0.87962566103423978
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        else:
            raise ValueError(
                f"initializer is '{initializer}', expected 'glorot_uniform' or 'he_normal'."
            )
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network
