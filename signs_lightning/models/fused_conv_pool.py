"""Convolution and max pooling in one step, at the bottom of a network: the same numbers in half the time on a CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from signs_lightning.models.layers import Conv2dSame, MaxPool2dSame, pad_same, pair


class ConvMaxPoolFunction(torch.autograd.Function):
    """Convolution with stride 1, then pooling of windows that do not overlap; no gradient of the images.

    Behind a max pooling all gradients but one a window are zero. The usual backward pass writes
    those zeros and multiplies with them; this one picks the patch under each window's largest
    value, and the kernel's gradient is one product of these patches.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, pool: tuple[int, int]
    ) -> Tensor:
        """float (N, C, H, W), padded, and kernel (K, C, R, S) → float (N, K, (H - R + 1) / pool, (W - S + 1) / pool)."""
        responses = F.conv2d(images, weight, bias)
        largest, places = F.max_pool2d(responses, pool, return_indices=True)
        ctx.save_for_backward(images, weight, places)
        ctx.width = responses.shape[-1]
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, places = ctx.saved_tensors
        gradient = gradients[0]  # (N, K, h, w)
        filters, channels, rows, columns = weight.shape
        count, _, height, width = images.shape
        row = places // ctx.width
        # First number of each patch in images that lie in memory as (N, H, W, C); images are
        # `height * width * channels` long.
        start = (row * width + places - row * ctx.width) * channels
        start += torch.arange(count).view(-1, 1, 1, 1) * (height * width * channels)
        start = start.permute(1, 0, 2, 3).reshape(filters, -1, 1) + torch.arange(rows) * (
            width * channels
        )
        numbers = images.permute(0, 2, 3, 1).reshape(
            -1
        )  # (N, C, H, W) -> (N, H, W, C): no copy of channels_last images
        length = columns * channels  # a patch's row lies in one piece
        pieces = numbers.as_strided((numbers.numel() - length + 1, length), (1, 1))
        patches = pieces.index_select(0, start.reshape(-1)).view(filters, -1, rows * length)
        kernel = torch.bmm(gradient.permute(1, 0, 2, 3).reshape(filters, 1, -1), patches)
        kernel = kernel.view(filters, rows, columns, channels).permute(
            0, 3, 1, 2
        )  # (K, R, S, C) -> (K, C, R, S)
        return None, kernel, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None


class FusedConvPool(nn.Sequential):
    """A Sequential that begins with `Conv2dSame` and `MaxPool2dSame`; in training on a CPU the two run as one.

    Its layers, their names and its numbers are those of the plain Sequential (gradients up to the
    order of summation). Wherever the short way does not hold (another device, autocast, frozen or
    hooked layers, gradients of the images, windows that need padding) it is the plain Sequential.
    """

    def forward(self, input: Tensor) -> Tensor:
        conv, pool, *rest = self
        if not (
            isinstance(conv, Conv2dSame)
            and isinstance(pool, MaxPool2dSame)
            and self._short_way(conv, pool, input)
        ):
            return super().forward(input)
        padded = pad_same(input, pair(conv.kernel_size), (1, 1), (1, 1))
        output = ConvMaxPoolFunction.apply(padded, conv.weight, conv.bias, pool.kernel_size)
        for layer in rest:
            output = layer(output)
        return output

    @staticmethod
    def _short_way(conv: Conv2dSame, pool: MaxPool2dSame, images: Tensor) -> bool:
        return (
            torch.is_grad_enabled()
            and images.device.type == "cpu"
            and not images.requires_grad
            and conv.weight.requires_grad
            and conv.stride == conv.dilation == (1, 1)
            and conv.groups == 1
            and pool.kernel_size == pool.stride
            and pool.dilation == (1, 1)
            and images.shape[-2] % pool.kernel_size[0]
            == images.shape[-1] % pool.kernel_size[1]
            == 0
            and images.dtype == conv.weight.dtype
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in (conv, pool))
            and not any(
                layer._backward_hooks or layer._backward_pre_hooks for layer in (conv, pool)
            )
        )
