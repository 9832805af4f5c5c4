"""Keras's normalizations, along any axis and with or without gamma and beta."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.keras_io.axis_order import from_keras_order, tensor_axis, to_keras_order
from signs_lightning.models.layers import KerasBatchNorm2d


class AxisBatchNorm(KerasBatchNorm2d):
    """BatchNormalization along any axis of a tensor.

    A gamma or beta that Keras does not have is a constant: no parameter, and not in the state_dict.
    """

    def __init__(
        self, channels: int, axis: int, momentum: float, eps: float, scale: bool, center: bool,
        biased_variance: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(channels, momentum, eps, biased_variance)
        self.axis = axis
        if not scale:
            del self.weight
            self.register_buffer("weight", torch.ones(channels), persistent=False)
        if not center:
            del self.bias
            self.register_buffer("bias", torch.zeros(channels), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() == 4 and self.axis == 1:
            return super().forward(input)
        moved = input.movedim(self.axis, 1)  # (N, …, C, …) -> (N, C, …) -> (N, C, values, 1)
        output = super().forward(moved.reshape(*moved.shape[:2], -1, 1))
        return output.reshape(moved.shape).movedim(1, self.axis)


class _GammaBeta(nn.Module):
    """A module with gamma as its `weight` and beta as its `bias`, or None."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, shape: Sequence[int], eps: float, scale: bool, center: bool) -> None:
        super().__init__()
        self.eps = eps
        self.register_parameter("weight", nn.Parameter(torch.ones(shape)) if scale else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape)) if center else None)


class AxisLayerNorm(_GammaBeta):
    """LayerNormalization of a tensor of any rank.

    Args:
        axes: Keras's axes; gamma and beta have their sizes, in their order.
        shape: these sizes.
        eps: added to the variance.
        scale: whether there is a gamma.
        center: whether there is a beta.
        channels_last: whether a tensor of rank 4 is permuted.
    """

    def __init__(
        self, axes: Sequence[int], shape: Sequence[int], eps: float, scale: bool, center: bool,
        channels_last: bool,
    ) -> None:  # fmt: skip
        super().__init__(shape, eps, scale, center)
        self.axes, self.shape, self.channels_last = tuple(axes), tuple(shape), channels_last

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(tensor_axis(axis, x.dim(), self.channels_last) for axis in self.axes)
        last = tuple(range(-len(axes), 0))
        moved = x.movedim(axes, last)
        # F.layer_norm rounds x / σ and mean / σ before it subtracts them; Keras subtracts first.
        deviations = moved - moved.mean(last, keepdim=True)
        output = F.layer_norm(deviations, self.shape, self.weight, self.bias, self.eps)
        return output.movedim(last, axes)


class AxisGroupNorm(_GammaBeta):
    """GroupNormalization with its channels along any axis of a tensor."""

    def __init__(
        self, groups: int, channels: int, axis: int, eps: float, scale: bool, center: bool
    ) -> None:
        super().__init__((channels,), eps, scale, center)
        self.groups, self.channels, self.axis = groups, channels, axis

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


class RMSNorm(nn.Module):
    """RMSNormalization of Keras: x / √(mean x² + eps) · weight.

    Args:
        axes: Keras's axes.
        shape: their sizes; the weight has them, and broadcasts from the last axis on.
        eps: added to the mean of the squares.
        channels_last: whether a tensor of rank 4 is permuted.
    """

    def __init__(
        self, axes: Sequence[int], shape: Sequence[int], eps: float, channels_last: bool
    ) -> None:
        super().__init__()
        self.axes, self.eps, self.channels_last = tuple(axes), eps, channels_last
        self.weight = nn.Parameter(torch.ones(tuple(shape)))

    def forward(self, x: Tensor) -> Tensor:
        values = to_keras_order(x) if self.channels_last else x
        squares = values.square().mean(self.axes, keepdim=True)
        output = values * torch.rsqrt(squares + self.eps) * self.weight
        return from_keras_order(output) if self.channels_last else output


class Standardize(nn.Module):
    """Normalization of Keras: (x − mean) / max(√variance, 1e-7), or its inverse.

    Args:
        mean: values along the kept axes, in Keras's order.
        variance: the same.
        view: shape in which both broadcast with the input in Keras's order of axes.
        channels_last: whether a tensor of rank 4 is permuted.
        invert: whether to return x · max(√variance, 1e-7) + mean.
        adapted: whether both were learnt from data, so that they are weights of the file.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, mean: Tensor, variance: Tensor, view: Sequence[int], channels_last: bool,
        invert: bool, adapted: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.view, self.channels_last, self.invert = tuple(view), channels_last, invert
        self.adapted = adapted
        self.register_buffer("mean", mean, persistent=adapted)
        self.register_buffer("variance", variance, persistent=adapted)
        if adapted:
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance in the shape in which they broadcast with the input."""
        mean, variance = self.mean.reshape(self.view), self.variance.reshape(self.view)
        if self.channels_last:
            mean, variance = from_keras_order(mean), from_keras_order(variance)
        return mean, variance

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.statistics()
        deviation = variance.sqrt().clamp(min=1e-7)
        return x * deviation + mean if self.invert else (x - mean) / deviation
