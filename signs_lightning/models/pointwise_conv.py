"""Train 1×1 convolutions of few pixels as the matrix products that they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PointwiseConv2d(nn.Conv2d):
    """A 1×1 convolution that is a matrix product where the kernel outweighs the images.

    oneDNN's convolution lays the kernel out anew in each call, forward and backward: for the last
    stages of a ResNet50 at 64×64 (2×2 pixels, 2,048 channels) that takes longer than to multiply. A
    product of matrices has the same outputs and gradients up to the order of summation. It is left
    to the convolution where nothing is trained, on other devices, when compiled, traced or
    exported, and for images that do not lie channels_last.

    Shape:
        as the plain Conv2d
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self._is_product(input):
            return super()._conv_forward(input, weight, bias)
        rows, columns = self.stride
        # (N, C, H, W) -> (N, H, W, C)
        pixels = input[:, :, ::rows, ::columns].permute(0, 2, 3, 1)
        # (N, H, W, C) -> (N, C, H, W): channels_last in memory
        return F.linear(pixels, weight.flatten(1), bias).permute(0, 3, 1, 2)

    def _is_product(self, input: Tensor) -> bool:
        if not (
            isinstance(input, Tensor)  # and not what torch.fx traces with
            and torch.is_grad_enabled()
            and input.ndim == 4
            and input.device.type == "cpu"
            and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
            and input.is_contiguous(memory_format=torch.channels_last)
        ):
            return False
        (rows, columns), (count, _, height, width) = self.stride, input.shape
        pixels = count * -(-height // rows) * -(-width // columns)
        # Measured on Zen 4, where bf16 multiplies twice as fast: laying out weighs more then.
        is_fast = torch.is_autocast_enabled("cpu") or self.weight.dtype == torch.bfloat16
        return pixels * (2 if is_fast else 4) <= max(self.in_channels, self.out_channels)


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a layer is a plain 1×1 convolution of all channels, without padding."""
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size == (1, 1)
        and layer.padding in ((0, 0), "valid", "same")
        and layer.groups == 1
    )
