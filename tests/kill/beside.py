"""Runs commands beside each other at random moments: eight runs in one folder, two commands on one
run, and readers beside a writer.

    python tests/kill/beside.py --count 200 --seed 0

Every run ends as one that was alone, to the last bit; whatever is read meanwhile is whole. The exit
code is 1 when a single time is otherwise.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import h5py
import numpy as np
import torch
from forks import Fork
from PIL import Image

from kill.runs import differences, halves, run_folder

EPOCHS = 12
KINDS = ("eight runs", "two commands", "report", "predict", "inspect", "test")


@dataclass
class Stage:
    """Files, and a run that was alone."""

    scratch: Path
    fit: list[str]
    whole: Path

    def read(self, kind: str, run: Path, output: Path) -> list[str]:
        """Return the command of a reader."""
        return {
            "report": ["report", "--ckpt_path", str(run), "--output", str(output)],
            "predict": ["predict", "--ckpt_path", str(run), str(self.scratch / "one.png")],
            "inspect": ["inspect", str(run / "checkpoints/last.ckpt")],
            "test": ["test", "--ckpt_path", str(run)],
        }[kind]


def set_stage(scratch: Path) -> Stage:
    """Draw small files and train once."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 8)):
        with h5py.File(scratch / f"{part}.h5", "w") as file:
            file[f"{part}_set_x"] = draw.integers(0, 256, (count, 8, 8, 3), np.uint8)
            file[f"{part}_set_y"], file["list_classes"] = np.arange(count) % 4, np.arange(4)
    Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(scratch / "one.png")
    fit = [
        "fit", "--model", "SignsFunctional", "--data.train_file", str(scratch / "train.h5"),
        "--data.val_fraction", "0.2", "--data.batch_size", "4", "--checkpoint.every_n_steps", "2",
        "--data.test_file", str(scratch / "test.h5"),
        "--trainer.max_epochs", str(EPOCHS), "--trainer.accelerator", "cpu", "--name", "run",
    ]  # fmt: skip
    folder = scratch / "whole"
    folder.mkdir()
    done = Fork(fit, folder).wait()
    run = run_folder(folder)
    if done.code or run is None:
        raise SystemExit(done.err)
    return Stage(scratch, fit, run)


def half_read(run: Path) -> list[str]:
    """What in a run's folder is not whole at this moment."""
    found = halves(run) if run.is_dir() else []
    try:
        with (run / "history.csv").open(newline="") as file:
            text = file.read()
    except FileNotFoundError:
        return found
    rows = list(csv.DictReader(text.splitlines()))
    if not text.endswith("\n") or [row["epoch"] for row in rows] != [*map(str, range(len(rows)))]:
        found.append(f"history.csv is half: {text[-200:]!r}")
    return found


def eight_runs(stage: Stage, folder: Path, rng: random.Random) -> list[str]:
    """Begun at almost the same time: each in a folder of its own, none lost."""
    runs = []
    for _ in range(8):
        runs.append(Fork(stage.fit, folder))
        time.sleep(rng.choice([0.0, rng.uniform(0, 0.2)]))
    found = [str(done) for done in [run.wait() for run in runs] if done.code]
    folders = sorted((folder / "lightning_logs/run").iterdir())
    if len(folders) != len(runs):
        found.append(f"{len(folders)} folders")
    return found + [line for run in folders for line in differences(run, stage.whole)]


def two_commands(stage: Stage, folder: Path, rng: random.Random) -> list[str]:
    """A run that is resumed while it is trained: refused, and the run undisturbed; or it had ended
    by then, and there is nothing more to train.
    """
    first, run = begin(stage, folder, rng)
    second = Fork(["fit", "--ckpt_path", str(run)], folder).wait()
    found = [] if first.wait().code == 0 else [str(first.printed)]
    refused = second.code == 2 and "is in use by another fit" in second.err
    if not refused and (second.code or "Give more to train on" not in second.out):
        found.append(str(second))
    return found + differences(run, stage.whole)


def reader(stage: Stage, folder: Path, rng: random.Random, kind: str) -> list[str]:
    """A command that reads a run while it is written; so does this process."""
    writer, run = begin(stage, folder, rng)
    other, found = Fork(stage.read(kind, run, folder / "output"), folder), []
    while writer.poll() is None or other.poll() is None:
        found += half_read(run)
        time.sleep(rng.uniform(0, 0.02))
    for done in (writer.wait(), other.wait()):
        if done.code or "Traceback" in done.err:
            found.append(str(done))
    return found + differences(run, stage.whole)


def begin(stage: Stage, folder: Path, rng: random.Random) -> tuple[Fork, Path]:
    """Begin a run and wait for its first checkpoint, and some time more."""
    writer, run = Fork(stage.fit, folder), folder / "lightning_logs/run/version_0"
    while writer.poll() is None and not (run / "checkpoints/best.ckpt").exists():
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.5))
    return writer, run


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, counts, bad = random.Random(options.seed), Counter[str](), 0
    scratch, owner = Path(tempfile.mkdtemp(prefix="beside.")), os.getpid()
    try:
        stage, kinds = set_stage(scratch), options.kinds.split(",")
        for number in range(options.count):
            kind = kinds[number % len(kinds)]
            folder = scratch / str(number)
            folder.mkdir()
            if kind == "eight runs":
                found = eight_runs(stage, folder, rng)
            elif kind == "two commands":
                found = two_commands(stage, folder, rng)
            else:
                found = reader(stage, folder, rng, kind)
            counts[kind] += 1
            bad += bool(found)
            for line in dict.fromkeys(found):
                print(f"{number} ({kind}): {line}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        if os.getpid() == owner:
            shutil.rmtree(scratch, ignore_errors=True)
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{options.count} interleavings: {said}; {bad} otherwise than promised")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
