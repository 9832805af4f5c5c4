"""Two processes on the CPU: training runs, and evaluation counts every image exactly once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
ONE = ["--trainer.devices", "1", "--trainer.strategy", "auto", "--trainer.accelerator", "cpu"]
RESULT = re.compile(r"accuracy (\d+/\d+).* loss ([\d.]+)")


def command(folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "signs_lightning", *map(str, args)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def files(tmp_path_factory, small_signs):
    """Test files of 1, 33 and 121 images, from the drawn ones and their mirror images."""
    folder = tmp_path_factory.mktemp("ddp")
    with h5py.File(small_signs[0]) as file:
        images, labels = file["train_set_x"][()], file["train_set_y"][()]
    images = np.concatenate([images, images[:, :, ::-1], images[:, ::-1]])
    for count in (1, 33, 121):
        with h5py.File(folder / f"{count}.h5", "w") as file:
            file["test_set_x"], file["test_set_y"] = images[:count], np.tile(labels, 3)[:count]
            file["list_classes"] = np.arange(6)
    return folder


@pytest.mark.parametrize("model", ["SignsFunctional", pytest.param("SignsResNet50", marks=pytest.mark.slow)])
def test_fit_and_test_on_two_processes(files, small_signs, model):
    """Fit with a single validation image (one process has none), then test: the figures of one process, for sizes that two cannot share."""
    width = ["--model.width", "4", "--model.bn_momentum", "0.5"] if model == "SignsResNet50" else []
    done = command(
        files, "fit", "--model", model, *width, "--name", model, "--trainer.max_epochs", 2,
        "--data.train_file", small_signs[0], "--data.test_file", files / "1.h5", *TWO,
    )  # fmt: skip
    assert done.stderr == ""
    run = files / "lightning_logs" / model / "version_0"
    assert len((run / "history.csv").read_text().splitlines()) == 3
    for count in (121,) if model == "SignsFunctional" else (121, 33, 1):
        data = ["--data.test_file", files / f"{count}.h5"]
        two = command(files, "test", "--ckpt_path", run, *data, *TWO)
        one = command(files, "test", "--ckpt_path", run, *data, *ONE)
        assert two.stderr == ""
        assert (
            two.stdout == one.stdout
        )  # the whole table: precision, recall and F1 of each class, k/n, loss to 4 digits
        assert RESULT.search(two.stdout)[1].endswith(f"/{count}")
    command(files, "fit", "--ckpt_path", run, "--trainer.max_epochs", 3)  # resumes, on two processes as remembered
    assert len((run / "history.csv").read_text().splitlines()) == 4
