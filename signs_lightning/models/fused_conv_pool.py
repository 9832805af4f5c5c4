"""Pool before ReLU, and train the first convolution and its pooling in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from signs_lightning.models.layers import Conv2dSame, MaxPool2dSame, pad_same, pair
from signs_lightning.models.pointwise_conv import PointwiseConv2d, is_pointwise


def fuse_layers(network: nn.Module) -> None:
    """Turn every Sequential that can pool earlier into a `FusedConvPool`, in place.

    That is one with a ReLU in front of a max pooling, or with a convolution and a max pooling at
    its beginning. A 1×1 convolution becomes a `PointwiseConv2d`. Names, weights and hooks stay.

    Args:
        network: any module; Sequentials inside it are changed as well.
    """
    for module in network.modules():
        if type(module) is nn.Sequential:
            layers = list(module)
            if _pool_first(layers) != layers or _starts_with_conv_pool(layers):
                module.__class__ = FusedConvPool
        elif is_pointwise(module):
            module.__class__ = PointwiseConv2d


@contextmanager
def unfused(network: nn.Module) -> Iterator[None]:
    """Let a network have the layers that are written, and run them in their order."""
    fused = [(layer, type(layer)) for layer in network.modules() if type(layer) in PLAIN]
    for layer, kind in fused:
        layer.__class__ = PLAIN[kind]
    try:
        yield
    finally:
        for layer, kind in fused:
            layer.__class__ = kind


class FusedConvPool(nn.Sequential):
    """A Sequential that pools before ReLU and trains its first two layers as one.

    ReLU and max pooling commute exactly, and a ReLU behind the pooling has fewer values to work
    on. The fused step gives the same outputs, and gradients up to the order of summation, in half
    the time on a CPU. It is left out on other devices, under autocast, for frozen or hooked layers,
    where gradients of the images are needed, and for windows that need padding. A hook on the ReLU
    or the pooling sees values in the order in which they run; `unfused` is for those who compare.

    Shape:
        as the plain Sequential
    """

    def forward(self, input: Tensor) -> Tensor:
        layers = _pool_first(list(self))
        if _can_fuse(layers, input):
            conv, pool, *layers = layers
            padded = pad_same(input, pair(conv.kernel_size), (1, 1), (1, 1))
            input = ConvMaxPoolFunction.apply(padded, conv.weight, conv.bias, pool.kernel_size)
        for layer in layers:
            input = layer(input)
        return input


# What a layer is turned into, and what it was.
PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    FusedConvPool: nn.Sequential,
    PointwiseConv2d: nn.Conv2d,
}


def _pool_first(layers: Sequence[Any]) -> list[Any]:
    """The layers, every ReLU that precedes a max pooling moved behind it."""
    order = list(layers)
    for k, (layer, following) in enumerate(pairwise(layers)):
        is_pool = isinstance(following, MaxPool2dSame | nn.MaxPool2d)
        if type(layer) is nn.ReLU and is_pool and not getattr(following, "return_indices", False):
            order[k : k + 2] = following, layer
    return order


def _starts_with_conv_pool(layers: Sequence[Any]) -> bool:
    first = [type(layer) for layer in layers[:2]]
    return first == [Conv2dSame, MaxPool2dSame]


def _can_fuse(layers: Sequence[Any], images: Tensor) -> bool:
    """Whether the fused step holds for the first two layers and these images."""
    if not _starts_with_conv_pool(layers):
        return False
    conv, pool = layers[:2]
    (height, width), (rows, columns) = images.shape[-2:], pool.kernel_size
    return (
        torch.is_grad_enabled()
        and images.device.type == "cpu"
        and not images.requires_grad
        and conv.weight.requires_grad
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and pool.kernel_size == pool.stride
        and pool.dilation == (1, 1)
        and height % rows == width % columns == 0
        and images.dtype == conv.weight.dtype
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in (conv, pool))
        and not any(layer._backward_hooks or layer._backward_pre_hooks for layer in (conv, pool))
    )


class ConvMaxPoolFunction(torch.autograd.Function):
    """Convolution with stride 1, then max pooling in windows that do not overlap.

    Behind a max pooling all gradients but one a window are zero. The usual backward pass writes
    those zeros and multiplies with them; this one picks the patch under each window's largest
    value, and the kernel's gradient is one product of these patches. The images get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, pool: tuple[int, int]
    ) -> Tensor:
        """Pad-free convolution and pooling.

        Args:
            ctx: keeps what the backward pass needs.
            images: float (N, C, H, W), padded.
            weight: float (K, C, R, S).
            bias: float (K,).
            pool: height and width of a window, pixels.

        Returns:
            float (N, K, (H - R + 1) / pool height, (W - S + 1) / pool width)
        """
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
        row = (places.double() / ctx.width).long()  # exact, in half the time of `//`
        # Offset of each patch in images that lie in memory as (N, H, W, C).
        start = (row * width + places - row * ctx.width) * channels
        start += torch.arange(count).view(-1, 1, 1, 1) * (height * width * channels)
        start = start.permute(1, 0, 2, 3).reshape(filters, -1, 1)
        start = start + torch.arange(rows) * (width * channels)
        # (N, C, H, W) -> (N, H, W, C): no copy of channels_last images
        numbers = images.permute(0, 2, 3, 1).reshape(-1)
        length = columns * channels  # a row of a patch lies in one piece
        pieces = numbers.as_strided((numbers.numel() - length + 1, length), (1, 1))
        patches = pieces.index_select(0, start.reshape(-1)).view(filters, -1, rows * length)
        kernel = torch.bmm(gradient.permute(1, 0, 2, 3).reshape(filters, 1, -1), patches)
        # (K, R, S, C) -> (K, C, R, S)
        kernel = kernel.view(filters, rows, columns, channels).permute(0, 3, 1, 2)
        return None, kernel, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None
