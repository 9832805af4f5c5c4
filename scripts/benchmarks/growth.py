"""Measure how time and memory grow with the images, and two processes."""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks import files, reading, training
from benchmarks.measure import ROOT, THREADS, Bench, Task

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
QUICK_COUNTS = (100, 400)
LAYOUTS = ("contiguous", "chunked, 64 images", "gzip, 64 images")
# A million images of 64×64 take 12 GB; of 16×16, 0.8 GB, and numbers are what grows here.
PIXELS = 16


def images(bench: Bench, pixels: int = PIXELS) -> None:
    """Read a thousand to a million images, and train one epoch over them."""
    for layout in LAYOUTS[:1] if bench.quick else LAYOUTS:
        for count in QUICK_COUNTS if bench.quick else COUNTS:
            path = bench.scratch / "growth.h5"
            needed = 1.2 * count * pixels**2 * 3
            if shutil.disk_usage(bench.scratch).free < needed:
                print(
                    f"{count:,} images need {needed / 2**30:.1f} GiB in {bench.scratch}: left out",
                    flush=True,
                )
                continue
            try:
                files.write(path, count, pixels, layout)
                labels = {
                    "part": "growth",
                    "subject": f"{pixels}×{pixels}",
                    "layout": layout,
                    "images": count,
                }
                command = training.ours("functional", 1, (path, None), "--data.batch_size=256")
                read = reading.command("signs_lightning", path, bench)
                found = [
                    Task({**labels, "contestant": "reading"}, read),
                    Task({**labels, "contestant": "fit"}, command),
                ]
                bench.interleaved(found, show)
            finally:
                path.unlink(missing_ok=True)


def processes(bench: Bench) -> None:
    """ResNet50 with one process and with two on the same cores."""
    signs = training.data(bench)["resnet50"]
    half = max(1, bench.threads // 2)
    epochs = 2 if bench.quick else 3
    ddp = [f"--config={ROOT}/configs/ddp.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2"]

    def task(contestant: str, threads: int, *more: str) -> Task:
        labels = {"part": "growth", "subject": "processes", "contestant": contestant}
        return Task(
            labels,
            training.ours("resnet50", epochs, signs, *more),
            {name: str(threads) for name in THREADS},
        )

    found = [
        task("1 process of 32", bench.threads, "--data.batch_size=32"),
        task("2 processes of 16", half, *ddp, "--data.batch_size=16"),
        task("2 processes of 32", half, *ddp, "--data.batch_size=32"),
    ]
    bench.interleaved(found, training.show)


def measure(bench: Bench, pixels: int = PIXELS) -> None:
    """Both."""
    if "functional" in bench.models:
        images(bench, pixels)
    if "resnet50" in bench.models:
        processes(bench)


def show(found: dict[str, Any]) -> str:
    """A result in a line."""
    if "images_read" in found:
        return reading.show(found)
    return (
        f"{found['epoch_seconds'][0]:.2f} s the epoch, "
        f"{found['peak_bytes'] / 2**20:.0f} MiB of its own"
    )
