"""Run trainings as processes of the command line, and predict with them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.checkpoints.load_model import load_model
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def read(path: Path) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    """Read a data file: images uint8 (n, H, W, C), labels int64 (n,), class names."""
    found = check_file(str(path))
    dataset = H5Images([found])
    images = dataset.read_sorted(np.arange(len(dataset)))
    return images, dataset.labels, found.class_names


def write(
    path: Path, images: np.ndarray, labels: np.ndarray, class_names: list[str] | None
) -> None:
    """Write images and labels as a training file, atomically."""
    part = path.with_suffix(".writing")
    with h5py.File(part, "w") as file:
        file["train_set_x"], file["train_set_y"] = images, labels
        if class_names:
            file["list_classes"] = np.array([name.encode() for name in class_names])
    os.replace(part, path)


def split_arguments(args: list[str]) -> tuple[list[str], list[str]]:
    """A script's own arguments, and those after `--`, which are for `fit`."""
    place = args.index("--") if "--" in args else len(args)
    return args[:place], args[place + 1 :]


def keep_settings(
    work: Path,
    configs: Sequence[Path],
    train_file: Path,
    folds: int,
    threads: int,
    more: Sequence[str],
) -> None:
    """Write down what the runs of a folder are made with; refuse to mix others in.

    Raises:
        InputError: a configuration cannot be read, or the folder has runs of other settings.
    """
    try:
        texts = {config.stem: _digest(config) for config in configs}
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error
    now = {
        "train_file": _digest(train_file),
        "folds": folds,
        "threads": threads,
        "more": list(more),
        "configs": texts,
    }
    record = work / "settings.json"
    if record.exists():
        before = json.loads(record.read_text())
        now["configs"] = before["configs"] | texts
        before["configs"] |= {name: texts[name] for name in texts.keys() - before["configs"].keys()}
        different = [name for name, value in now.items() if before[name] != value]
        if different:
            raise InputError(
                f"{work} has runs of other settings ({', '.join(different)}). Name another folder "
                "with --work."
            )
    work.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(now, indent=1))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fit(
    config: Path, train_file: Path, seed: int, work: Path, name: str, more: list[str], threads: int
) -> float:
    """Trains in a process of its own, without a look at any test file.

    A run that was interrupted resumes where it stopped.

    Returns:
        Seconds that the process took; of the last part, where it was interrupted.

    Raises:
        InputError: the process failed; its last line says why.
    """
    folder = run_folder(work, name)
    command = [sys.executable, "-m", "signs_lightning", "fit"]
    if (folder / "config.yaml").exists():
        command += [f"--ckpt_path={folder}"]
    else:
        command += [
            f"--config={config}",
            f"--name={name}",
            f"--seed_everything={seed}",
            f"--data.train_file={train_file}",
        ]
        command += [
            f"--trainer.default_root_dir={work}",
            "--trainer.enable_progress_bar=false",
            *more,
        ]
    work.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise InputError(
            f"{name} failed: {(done.stdout.strip().splitlines() or ['it printed nothing'])[-1]}"
        )
    return time.perf_counter() - began


def run_folder(work: Path, name: str) -> Path:
    """Where the run of that name lies."""
    return work / "lightning_logs" / name / "version_0"


def history(work: Path, name: str) -> list[dict[str, float]]:
    """The rows of a run's history.csv."""
    with (run_folder(work, name) / "history.csv").open(newline="") as file:
        return [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def probabilities(work: Path, name: str, images: np.ndarray) -> np.ndarray:
    """Predict images uint8 (n, H, W, C) with a run's last checkpoint: float32 (n, K)."""
    return np.asarray(_load(work, name).predict(images))


def one_view(work: Path, name: str, images: np.ndarray) -> np.ndarray | None:
    """As `probabilities`, of the images as they are; None where a run sees no other view."""
    model = _load(work, name)
    if not model.hparams.get("test_time_augmentation"):
        return None
    model.hparams["test_time_augmentation"] = []
    return np.asarray(model.predict(images))


def _load(work: Path, name: str) -> Any:
    return load_model(str(run_folder(work, name) / "checkpoints" / "last.ckpt"), "predict")[0]
