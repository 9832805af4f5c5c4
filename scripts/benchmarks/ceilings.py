"""Measure what a device can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.marks import hand_over
from benchmarks.rivals.resnet import resnet50


def seconds_each(action: Callable[[], object], device: str, times: int = 20) -> float:
    """Seconds that an action takes on a device, after it has been done a few times."""
    for _ in range(3):
        action()
    _wait(device)
    began = time.perf_counter()
    for _ in range(times):
        action()
    _wait(device)
    return (time.perf_counter() - began) / times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def tflops(device: str, dtype: torch.dtype, size: int) -> float:
    """10¹² operations a second in a product of two (size, size) matrices."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds_each(lambda: a @ b, device) / 1e12


def copy_rate(device: str, megabytes: int) -> float:
    """10⁹ bytes a second read and written by a copy within the device's memory."""
    source = torch.ones(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_each(lambda: target.copy_(source), device) / 1e9


def training_flops(pixels: int) -> int:
    """Operations of forward and backward of ResNet50 for one image."""
    network = resnet50(6, pixels)
    with FlopCounterMode(display=False) as counter:
        network(torch.ones(2, 3, pixels, pixels)).sum().backward()
    return counter.get_total_flops() // 2


def measure(device: str, size: int = 8192) -> None:
    """Hand over the ceilings of "cuda" or "cpu", with products of (size, size) matrices."""
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
    hand_over(
        {
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "bf16_tflops": tflops(device, torch.bfloat16, size),
            "tf32_tflops": tflops(device, torch.float32, size),
            "copy_gbs": copy_rate(device, size // 4),
            "flops": {f"{pixels}×{pixels}": training_flops(pixels) for pixels in (64, 224)},
        }
    )
