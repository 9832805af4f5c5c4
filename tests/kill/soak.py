"""Trains a tiny model for many epochs, and watches from outside what grows.

    python tests/kill/soak.py --epochs 20000

Watched are memory, open files, the bytes that the run prints and logs for an epoch, the checkpoint
and an epoch's time, over ten parts of the run. The exit code is 1 where one of them grows.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

CALLBACKS = [
    "--trainer.callbacks+=LearningRateMonitor",
    "--trainer.callbacks+=EarlyStopping",
    "--trainer.callbacks.monitor=val_loss",
    "--trainer.callbacks.patience=1000000",
    "--trainer.callbacks+=EMAWeightAveraging",
    "--trainer.callbacks.decay=0.9",
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.monitor=val_loss",
    "--trainer.callbacks.save_top_k=2",
    "--trainer.callbacks+=Timer",
]
PARTS = 10
ROW = 2000  # bytes that an epoch may leave in memory: a row of the history, in three forms


@dataclass
class Sample:
    """What a run is at one moment; bytes but for seconds, epochs and files."""

    seconds: float
    cpu_seconds: float
    epochs: int
    memory: int
    files: int
    printed: int
    logged: int
    checkpoint: int


def draw_file(path: Path) -> None:
    """Twenty images of 8×8 pixels, four classes."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["train_set_x"] = random.integers(0, 256, (20, 8, 8, 3), np.uint8)
        file["train_set_y"] = np.arange(20) % 4
        file["list_classes"] = np.arange(4)


def sample(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> Sample | None:
    """Look at a run; None while it has no epoch, or when it has ended."""
    run = folder / "lightning_logs/soak/version_0"
    try:
        with (run / "history.csv").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 400))
            epochs = int(file.read().splitlines()[-1].partition(b",")[0]) + 1
        status = Path(f"/proc/{process.pid}/status").read_text()
        memory = int(status.partition("VmRSS:")[2].split()[0]) * 1024
        times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        files = len(os.listdir(f"/proc/{process.pid}/fd"))
        checkpoint = (run / "checkpoints/last.ckpt").stat().st_size
    except (OSError, ValueError, IndexError):
        return None
    logged = sum(path.stat().st_size for path in run.rglob("events.out.tfevents*"))
    printed = (folder / "said.txt").stat().st_size
    cpu_seconds = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return Sample(seconds, cpu_seconds, epochs, memory, files, printed, logged, checkpoint)


def soak(epochs: int, folder: Path) -> tuple[int, list[Sample]]:
    """Run to the end; the exit code, and a sample for each tenth of the epochs."""
    draw_file(folder / "train.h5")
    command = [
        sys.executable, "-m", "signs_lightning", "fit", "--model", "SignsFunctional",
        "--data.train_file", "train.h5", "--data.val_fraction", "0.2", "--data.batch_size", "16",
        "--trainer.max_epochs", str(epochs), "--trainer.accelerator", "cpu", "--name", "soak",
        *CALLBACKS,
    ]  # fmt: skip
    samples: list[Sample] = []
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        started = time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            found = sample(process, folder, time.monotonic() - started)
            if found is not None and found.epochs >= epochs * len(samples) / PARTS:
                samples.append(found)
    return process.returncode, samples


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=20000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak."))
    try:
        code, samples = soak(options.epochs, folder)
        if code:
            print((folder / "said.txt").read_text()[-3000:])
            return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("epochs  ms/epoch  CPU ms/epoch  MiB  files  printed/epoch  logged/epoch  checkpoint KiB")
    for one, two in itertools.pairwise(samples):
        count = two.epochs - one.epochs
        print(
            f"{two.epochs:6}  {(two.seconds - one.seconds) / count * 1000:8.2f}"
            f"  {(two.cpu_seconds - one.cpu_seconds) / count * 1000:12.2f}"
            f"  {two.memory / 2**20:3.0f}  {two.files:5}"
            f"  {(two.printed - one.printed) / count:13.0f}"
            f"  {(two.logged - one.logged) / count:12.0f}  {two.checkpoint / 1024:14.0f}"
        )
    return 1 if grows(samples) else 0


def grows(samples: list[Sample]) -> bool:
    """Say what grows from the second tenth to the last; whether anything does."""
    found = []
    first, last = samples[1], samples[-1]
    epochs = last.epochs - first.epochs
    pairs = list(itertools.pairwise(samples))
    for name in ("cpu_seconds", "printed", "logged"):
        rates = [
            (getattr(two, name) - getattr(one, name)) / (two.epochs - one.epochs)
            for one, two in (pairs[1], pairs[-1])
        ]
        if rates[1] > 1.5 * rates[0]:
            found.append(f"{name} an epoch: {rates[0]:.4g}, then {rates[1]:.4g}")
    if last.files > first.files:
        found.append(f"files: {first.files}, then {last.files}")
    if (last.memory - first.memory) / epochs > ROW:
        found.append(f"memory: {first.memory}, then {last.memory} bytes")
    for line in found:
        print(line)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
