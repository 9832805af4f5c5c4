"""Which weights an optimizer updates at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

PART = 2**16  # values of small weights that are updated together
PIECE = 2**19  # values of a large one that are updated at a time
Tensors = list[Tensor]


def parts(weights: Tensors) -> Iterator[Tensors]:
    """Yield weights that are updated together: on a GPU all, on a CPU as many as are small."""
    if weights and all(weight.device.type != "cpu" for weight in weights):
        yield weights
        return
    part: Tensors = []
    values = 0
    for weight in weights:
        values += weight.numel()
        if part and values > PART:
            yield part
            part, values = [], weight.numel()
        part.append(weight)
    if part:
        yield part


def pieces(lists: list[Tensors]) -> Iterable[list[Tensors]]:
    """Return what is updated at a time, so that what is computed on the way stays in the caches.

    Args:
        lists: weights, their gradients and the slots of each name.

    Returns:
        They, or of a single large weight on a CPU all in flat pieces, views of memory.
    """
    weight = lists[0][0]
    if weight.device.type != "cpu" or weight.numel() <= PIECE:
        return [lists]
    is_dense = weight.is_contiguous() or (
        weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    )
    if not is_dense or any(tensor.stride() != weight.stride() for (tensor,) in lists):
        return [lists]
    flat = [tensor.as_strided((tensor.numel(),), (1,)).split(PIECE) for (tensor,) in lists]
    return ([[piece] for piece in group] for group in zip(*flat, strict=True))
