"""What was measured on a GPU: images per second, and a line to print for each result."""

from __future__ import annotations

from statistics import median
from typing import Any


def images_per_second(found: dict[str, Any], key: str = "epoch_seconds") -> float | None:
    """Of the median epoch of a process, its first one left out; with "steps_seconds" of its steps
    alone, without what follows them.
    """
    seconds = found.get(key, [])[1:]
    return found["images"] / median(seconds) if seconds and "images" in found else None


def show(found: dict[str, Any]) -> str:
    """A result in a line."""
    if found["subject"] == "ceilings":
        return (
            f"{found['device']}: {found['bf16_tflops']:.0f} TFLOP/s bf16, "
            f"{found['tf32_tflops']:.0f} tf32, {found['copy_gbs']:.0f} GB/s"
        )
    if "text" in found:
        return f"{'holds' if found['ok'] else 'DOES NOT HOLD'}: {found['text']}"
    if "step_seconds" in found:
        return f"{found['step_seconds'] * 1e3:.2f} ms a step, profiled"
    if rate := images_per_second(found):
        steps = images_per_second(found, "steps_seconds")
        first = f"first step after {found.get('first_step_seconds', 0):.1f} s"
        alone = f"{steps:,.0f} by the steps alone, " if steps else ""
        return f"{rate:,.0f} images/s, {alone}{first}, epochs {found['epoch_seconds']}"
    return (
        f"{found.get('after_first_step_seconds', 0):.2f} s after the first step, "
        f"{found.get('process_seconds', 0):.1f} s the process"
    )
