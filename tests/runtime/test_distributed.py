"""Two processes on the CPU: training runs, and evaluation counts every image exactly once."""

from __future__ import annotations

import re
import socket

import h5py
import numpy as np
import pytest
from forks import Finished
from task_sets import write_sets

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
ONE = ["--trainer.devices", "1", "--trainer.strategy", "auto", "--trainer.accelerator", "cpu"]
RESULT = re.compile(r"accuracy (\d+/\d+).* loss ([\d.]+)")


@pytest.fixture
def run(fork, files):
    """Runs the command line in two forks that meet as processes which Lightning starts do, or in a
    single one; the first one's output.
    """

    def command(*args: object, processes: int = 2) -> Finished:
        place = (
            {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "NODE_RANK": "0"}
            if processes > 1
            else {}
        )
        ranks = [{"LOCAL_RANK": str(rank)} if processes > 1 else {} for rank in range(processes)]
        started = [fork(*args, folder=files, **place, **rank) for rank in ranks]
        done = [process.wait() for process in started]
        for each in done:
            assert each.code == 0, done
            assert each.err == ""
        return done[0]

    return command


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


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


@pytest.mark.parametrize(
    "model", ["SignsFunctional", pytest.param("SignsResNet50", marks=pytest.mark.slow)]
)
def test_fit_and_test_on_two_processes(run, files, small_signs, model):
    """Fit with a single validation image (one process has none), then test: the figures of one
    process, for sizes that two cannot share.
    """
    width = ["--model.width", "4", "--model.bn_momentum", "0.5"] if model == "SignsResNet50" else []
    run(
        "fit", "--model", model, *width, "--name", model, "--trainer.max_epochs", 2,
        "--data.train_file", small_signs[0], "--data.test_file", files / "1.h5", *TWO,
    )  # fmt: skip
    folder = files / "lightning_logs" / model / "version_0"
    assert len((folder / "history.csv").read_text().splitlines()) == 3
    for count in (121,) if model == "SignsFunctional" else (121, 33, 1):
        data = ["--data.test_file", files / f"{count}.h5"]
        two = run("test", "--ckpt_path", folder, *data, *TWO)
        one = run("test", "--ckpt_path", folder, *data, *ONE, processes=1)
        # The whole table: precision, recall and F1 of each class, k/n, loss to 4 digits.
        assert two.out == one.out
        result = RESULT.search(two.out)
        assert result is not None
        assert result[1].endswith(f"/{count}")
    # Resumes, on two processes as remembered.
    run("fit", "--ckpt_path", folder, "--trainer.max_epochs", 3)
    assert len((folder / "history.csv").read_text().splitlines()) == 4


@pytest.mark.slow
def test_common_batchnorm_is_refused_on_the_cpu(fork, tmp_path, small_smiles):
    """Each of two processes says in a sentence what PyTorch raises from deep inside."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "NODE_RANK": "0"}
    fit = ["fit", "--model", "HappySequential", "--data.train_file", small_smiles[0], *TWO]
    started = [
        fork(*fit, "--trainer.sync_batchnorm", "true", folder=tmp_path, **place, LOCAL_RANK=rank)
        for rank in "01"
    ]
    for done in [process.wait() for process in started]:
        assert done.code == 2, done
        assert "Leave out --trainer.sync_batchnorm, or train on GPUs." in done.err
        assert "Traceback" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_task_on_two_processes(run, files, task):
    """Fit on two processes, then test on an odd number of images, and on one: the figures of one
    process, whose predictions are checked elsewhere.
    """
    train, test = write_sets(files, task, (40, 31))
    run(
        "fit", "--model", "SignsFunctional", "--model.task", task, "--name", task,
        "--trainer.max_epochs", 2, "--data.train_file", train, "--data.test_file", test, *TWO,
    )  # fmt: skip
    folder = files / "lightning_logs" / task / "version_0"
    (_, single) = write_sets(files, task, (1, 1))
    for path in (write_sets(files, task, (40, 31))[1], single):
        two = run("test", "--ckpt_path", folder, "--data.test_file", path, *TWO)
        one = run("test", "--ckpt_path", folder, "--data.test_file", path, *ONE, processes=1)
        assert two.out == one.out
        assert "loss" in two.out
    whole = run("validate", "--ckpt_path", folder, "--data.test_file", test, *TWO)
    assert "validation" in whole.out
