"""Evaluates in float32 on GPUs that round the inputs of convolutions to 10 bits by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Compute convolutions in float32 on an NVIDIA GPU, for the time of a block.

    PyTorch's default there is TF32 (https://pytorch.org/docs/stable/notes/cuda.html), which moves
    a probability by up to 1e-3 from the CPU's and Keras's. Training keeps that default.

    Args:
        device: that the convolutions run on.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
