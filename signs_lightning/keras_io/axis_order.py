"""Keras's order of axes, and that of the tensors here.

A channels_last model keeps (N, H, W, C) as (N, C, H, W). Only tensors of rank 4 are permuted;
those of another rank have Keras's order.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def to_keras_order(x: Tensor) -> Tensor:
    """Permute (N, C, H, W) to (N, H, W, C); leave another rank unchanged."""
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def from_keras_order(x: Tensor) -> Tensor:
    """Permute (N, H, W, C) to (N, C, H, W); leave another rank unchanged."""
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def in_keras_order(*inputs: Tensor, function: Callable[..., Tensor], channels_last: bool) -> Tensor:
    """Call a function that takes and gives tensors in Keras's order."""
    if not channels_last:
        return function(*inputs)
    return from_keras_order(function(*map(to_keras_order, inputs)))


def tensor_axis(axis: int, rank: int, channels_last: bool) -> int:
    """Return where a tensor of this rank has Keras's axis, counted with the batch."""
    return (0, 2, 3, 1)[axis % rank] if rank == 4 and channels_last else axis % rank


def keras_shape(x: Tensor, channels_last: bool) -> tuple[int, ...]:
    """Return Keras's shape of a tensor, without the batch."""
    return tuple((to_keras_order(x) if channels_last else x).shape[1:])


def call_module(
    module: nn.Module, inputs: list[Tensor], other_format: bool, channels_last: bool
) -> Tensor:
    """Call a module, in its own data_format if that is not the graph's."""
    if not other_format:
        return module(*inputs)
    if channels_last:  # the layer reads Keras's (N, H, W, C) as (N, C, H, W)
        return from_keras_order(module(*map(to_keras_order, inputs)))
    return to_keras_order(module(*map(from_keras_order, inputs)))
