"""Measure training on a GPU, and what the card can do at most.

The functional model's 100 epochs; ResNet50's images per second at two sizes, with and without
torch.compile, and a profile of its steps.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import files, training
from benchmarks.marks import PROFILE, hand_over
from benchmarks.process import ROOT, Bench, Task
from benchmarks.rivals.resnet import resnet50

SIZES = {64: (20_480, 256), 224: (5_120, 128)}  # pixels: images, batch size
QUICK_SIZES = {64: (96, 16), 224: (8, 4)}
EPOCHS = 4  # the first one is left out; the median leaves out one that compiles once more
KINDS = ("bf16", "bf16-compiled", "tf32", "tf32-compiled")
RESNET50 = tuple(f"{pixels}-{kind}" for pixels in SIZES for kind in KINDS)
WAYS = ("ceilings", "functional", "64-bf16-profile", *RESNET50)


def seconds_each(action: Callable[[], object], times: int = 20) -> float:
    """Seconds that an action takes, after it has been done a few times."""
    for _ in range(3):
        action()
    wait = torch.cuda.synchronize if torch.cuda.is_available() else bool
    wait()
    began = time.perf_counter()
    for _ in range(times):
        action()
    wait()
    return (time.perf_counter() - began) / times


def ceilings(device: str, size: int) -> None:
    """Hand over products of large matrices, a copy, and ResNet50's operations for an image."""
    torch.set_float32_matmul_precision("high")  # TF32
    found: dict[str, object] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"
    }
    for name, dtype in (("bf16", torch.bfloat16), ("tf32", torch.float32)):
        product = partial(torch.matmul, *torch.randn(2, size, size, device=device, dtype=dtype))
        found[f"{name}_tflops"] = 2 * size**3 / seconds_each(product) / 1e12
    source = torch.ones(size * 2**18, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    found["copy_gbs"] = 2 * source.nbytes / seconds_each(partial(target.copy_, source)) / 1e9
    flops = {}
    for pixels in SIZES:
        with FlopCounterMode(display=False) as counter:
            resnet50(6, pixels)(torch.ones(2, 3, pixels, pixels)).sum().backward()
        flops[f"{pixels}×{pixels}"] = counter.get_total_flops() // 2
    hand_over({**found, "flops": flops})


def tasks(bench: Bench, device: str, way: str) -> list[Task]:
    """What is measured of one way, ours first and then the loop."""
    labels: dict[str, object] = {"part": "gpu", "subject": way, "precision": "fp32"}
    environment = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0")}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if way == "ceilings":
        size = 8192 if device == "cuda" else 256
        code = f"from benchmarks import gpu; gpu.ceilings({device!r}, {size})"
        return [Task({**labels, "contestant": "card"}, [sys.executable, "-c", code], environment)]
    mine = [
        f"--config={ROOT}/configs/gpu.yaml" if device == "cuda" else "--trainer.accelerator=cpu"
    ]
    loop, model, epochs = [f"--device={device}"], "functional", 100
    data: tuple[Path, Path | None]
    if way == "functional":
        data, epochs = training.data(bench)["functional"], 3 if bench.quick else 100
    else:
        pixels, precision, *kind = way.split("-")
        images, batch_size = (QUICK_SIZES if bench.quick else SIZES)[int(pixels)]
        model, epochs, data = "resnet50", EPOCHS, (bench.scratch / f"gpu_{pixels}.h5", None)
        if not data[0].exists():
            files.write(data[0], images, int(pixels), "contiguous")
        subject = f"resnet50 {pixels}×{pixels}"
        labels |= {"subject": subject, "images": images, "precision": precision}
        mine, loop = (
            [*mine, f"--data.batch_size={batch_size}"],
            [*loop, f"--batch_size={batch_size}"],
        )
        if precision == "bf16":
            mine, loop = [*mine, f"--config={ROOT}/configs/bf16.yaml"], [*loop, "--bf16"]
        if kind == ["compiled"]:
            labels["precision"] = f"{precision}, compiled"
            mine, loop = [*mine, "--model.compile=true"], [*loop, "--compile"]
        if kind == ["profile"]:
            labels["subject"], epochs = f"profile of {subject}", 1
            environment[PROFILE] = "2:1" if bench.quick else "20:20"
    commands = {
        "signs_lightning": training.ours(model, epochs, data, *mine),
        "hand_written": training.rival("hand_written", model, epochs, data, *loop),
    }
    return [
        Task({**labels, "contestant": name}, command, environment)
        for name, command in commands.items()
        if bench.is_chosen(name)
    ]


def measure(bench: Bench, device: str, ways: tuple[str, ...]) -> None:
    """Measure these ways; say so where there is no GPU."""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    if device == "cuda" and subprocess.run([sys.executable, "-c", code]).returncode:
        print("gpu: PyTorch sees no GPU here; nothing is measured", flush=True)
        return
    for way in ways:
        model = "functional" if way == "functional" else "resnet50"
        if way == "ceilings" or model in bench.models:
            bench.in_turn(tasks(bench, device, way))
