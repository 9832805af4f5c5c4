"""Measure training on a GPU.

The functional model's 100 epochs, ResNet50's images per second, the card's ceilings, and where
the time goes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import files, training
from benchmarks.measure import ROOT, SCRIPTS, Bench, Task

SIZES = {64: (20_480, 256), 224: (5_120, 128)}  # pixels: images, batch size
QUICK_SIZES = {64: (512, 64), 224: (128, 32)}
EPOCHS = 4  # the first one is left out
CEILINGS = SCRIPTS / "benchmarks" / "ceilings.py"
PROFILE_STEPS = 20


def available() -> bool:
    """Return whether PyTorch, in another process, sees a GPU."""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def tasks(bench: Bench, folder: Path, device: str = "cuda") -> list[Task]:
    """List what is measured in one repeat. The tests pass "cpu" as the `device`."""
    gpu = (
        {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0")}
        if device == "cuda"
        else {}
    )
    overlay = [f"--config={ROOT}/configs/gpu.yaml"] if device == "cuda" else []
    found: list[Task] = []

    def add(subject: str, contestant: str, precision: str, command: list[str], **more: Any) -> None:
        if bench.is_chosen(contestant):
            labels = {
                "part": "gpu",
                "subject": subject,
                "contestant": contestant,
                "precision": precision,
            }
            found.append(Task({**labels, **more}, command, gpu))

    signs = training.data(bench)["functional"]
    epochs = 3 if bench.quick else 100
    add(
        "functional",
        "signs_lightning",
        "fp32",
        training.ours("functional", epochs, signs, *overlay),
    )
    add(
        "functional",
        "hand_written",
        "fp32",
        training.rival("hand_written", "functional", epochs, signs, f"--device={device}"),
    )
    bf16 = f"--config={ROOT}/configs/bf16.yaml"
    # what signs_lightning is given, what the loop is given; convolutions are TF32 by PyTorch's
    # default
    variants = {
        "tf32": ([], []),
        "bf16": ([bf16], ["--bf16"]),
        "bf16, compiled": ([bf16, "--model.compile=true"], ["--bf16", "--compile"]),
    }
    for pixels, (images, batch_size) in (QUICK_SIZES if bench.quick else SIZES).items():
        path = folder / f"gpu_{pixels}.h5"
        for precision, (mine, theirs) in variants.items():
            size = {"images": images, "batch_size": batch_size}
            command = training.ours(
                "resnet50", EPOCHS, (path, None), *overlay, *mine, f"--data.batch_size={batch_size}"
            )
            add(f"resnet50 {pixels}×{pixels}", "signs_lightning", precision, command, **size)
            options = [*theirs, f"--device={device}", f"--batch_size={batch_size}"]
            command = training.rival("hand_written", "resnet50", EPOCHS, (path, None), *options)
            add(f"resnet50 {pixels}×{pixels}", "hand_written", precision, command, **size)
    small = ["--size=256"] if device == "cpu" else []
    add("ceilings", "card", "", [sys.executable, str(CEILINGS), f"--device={device}", *small])
    for subject, model, train_file in (
        ("functional", "functional", signs[0]),
        ("resnet50", "resnet50", folder / "gpu_64.h5"),
    ):
        add(
            f"profile of {subject}",
            "signs_lightning",
            "fp32" if model == "functional" else "bf16",
            profiled(
                training.ours(
                    model, 1, (train_file, None), *overlay, *([bf16] if model == "resnet50" else [])
                )
            ),
        )
    return found


def profiled(command: list[str]) -> list[str]:
    """Return the command under PyTorch's profiler: `ceilings.py --profile` runs it."""
    profiler = [
        "--trainer.profiler=lightning.pytorch.profilers.PyTorchProfiler",
        "--trainer.profiler.dirpath=.",
        "--trainer.profiler.filename=profile",
        f"--trainer.limit_train_batches={PROFILE_STEPS}",
    ]
    return [sys.executable, str(CEILINGS), "--profile", *command, *profiler]


def measure(bench: Bench) -> None:
    """Measures everything, interleaved; says so where there is no GPU."""
    if not available():
        print("gpu: PyTorch sees no GPU here; nothing is measured", flush=True)
        return
    for pixels, (images, _) in (QUICK_SIZES if bench.quick else SIZES).items():
        files.write(bench.scratch / f"gpu_{pixels}.h5", images, pixels, "contiguous")
    bench.interleaved(tasks(bench, bench.scratch), show)


def images_per_second(found: dict[str, Any]) -> float | None:
    """Of the median epoch of a process, its first one left out."""
    seconds = training.epoch_seconds(found)
    return found["images"] / seconds if seconds and "images" in found else None


def show(found: dict[str, Any]) -> str:
    """A result in a line."""
    if found["subject"] == "ceilings":
        return (
            f"{found['bf16_tflops']:.0f} TFLOP/s bf16, {found['tf32_tflops']:.0f} tf32, "
            f"{found['copy_gbs']:.0f} GB/s"
        )
    if "profile" in found:
        return f"{len(found['profile'].splitlines())} lines"
    if rate := images_per_second(found):
        return f"{rate:,.0f} images/s"
    return (
        f"{found['after_first_step_seconds']:.2f} s after the first step, "
        f"{found['process_seconds']:.1f} s the process"
    )
