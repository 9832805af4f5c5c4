"""Look for a GPU once instead of in every step."""

from __future__ import annotations

import os

import torch

VARIABLE = "PYTORCH_NVML_BASED_CUDA_CHECK"  # of PyTorch; Lightning sets it when it is imported


def look_for_cuda_once() -> None:
    """Let PyTorch keep its answer where there is no GPU.

    PyTorch's Adam asks in every step which devices there are. With this variable PyTorch loads the
    driver's library for the answer each time, so that CUDA is not begun before a fork. Where there
    is no GPU, that is a hundredth of a small model's training, and keeps nothing from happening.
    """
    if torch.cuda.device_count() == 0:
        os.environ.pop(VARIABLE, None)
