"""Measure how time and memory grow with the number of images, and with what else may grow."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from benchmarks import files, reading, training
from benchmarks.process import ROOT, THREADS, Bench, Task

# Cause: its values. Each file is contiguous and sparse, and takes no room on the disk.
CAUSES = {
    "images": (10**3, 10**4, 10**5, 10**6, 10**7),  # of 16×16
    "classes": (2, 20, 200, 2_000, 20_000),  # of 40,000 images of 16×16
    "image size": (32, 64, 128, 256, 512),  # of 500 images
    "shards": (1, 10, 100, 1_000, 2_000),  # files with 40,000 images of 16×16
}
MOST_TRAINED = 10**6  # images; an epoch of more takes minutes
QUICK = {"images": (100, 400), "classes": (2, 20), "image size": (32, 64), "shards": (1, 3)}


def write(folder: Path, cause: str, value: int, count: int) -> tuple[int, str]:
    """Write the files of a cause's value; return the number of images, and what names the files."""
    sizes = {"images": value, "image size": min(count, 500)}
    number, size = sizes.get(cause, count), value if cause == "image size" else 16
    shards, classes = value if cause == "shards" else 1, value if cause == "classes" else 6
    for k in range(shards):
        path = folder / f"shard_{k:05}.h5"
        files.write_sparse(path, number // shards, size, min(classes, number // shards))
    return number // shards * shards, str(folder / "shard_*.h5" if shards > 1 else path)


def measure(bench: Bench) -> None:
    """Measure every cause, each value once more in every repeat."""
    for cause, values in (QUICK if bench.quick else CAUSES).items():
        if not bench.is_chosen(cause):
            continue
        for value in values:
            folder = bench.scratch / "growth"
            folder.mkdir()
            number, name = write(folder, cause, value, 400 if bench.quick else 40_000)
            labels = {"part": "growth", "subject": cause, "value": value, "images": number}
            fit = training.ours("functional", 2, (name, None), "--data.batch_size=256")
            tasks = [
                Task({**labels, "contestant": "reading"}, reading.reader("signs_lightning", name))
            ]
            if number <= MOST_TRAINED:
                tasks.append(Task({**labels, "contestant": "fit"}, fit))
            bench.in_turn(tasks)
            shutil.rmtree(folder)
    if bench.is_chosen("processes") and "resnet50" in bench.models:
        bench.in_turn(processes(bench))


def processes(bench: Bench) -> Iterable[Task]:
    """ResNet50 with one process on all cores, and with two that share them."""
    signs, ddp = training.data(bench)["resnet50"], [f"--config={ROOT}/configs/ddp.yaml"]
    ddp += ["--trainer.accelerator=cpu", "--trainer.devices=2"]
    for number, batch_size in ((1, 32), (2, 16), (2, 32)):
        name = f"{number} process{'es' if number > 1 else ''} of {batch_size}"
        more = [*(ddp if number > 1 else []), f"--data.batch_size={batch_size}"]
        threads = dict.fromkeys(THREADS, str(max(1, bench.threads // number)))
        labels = {"part": "growth", "subject": "processes", "contestant": name}
        yield Task(labels, training.ours("resnet50", 2, signs, *more), threads)
