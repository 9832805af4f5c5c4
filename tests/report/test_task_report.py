"""The report of a task: its own figures, tables and pictures, and none that make no sense."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from task_sets import NAMES, TARGETS, write_sets

from signs_lightning.report.task_report import TaskPredictions

RUN = Path("lightning_logs/run/version_0")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_report_of_a_task(cli, tmp_path, task):
    """The page has the table that `test` prints, and figures of this task only."""
    train, test = write_sets(tmp_path, task, (60, 23))
    done = cli(
        "fit", "--model", "SignsFunctional", "--model.task", task, "--name", "run",
        "--data.train_file", train, "--data.test_file", test, "--data.val_fraction", 0.2,
        "--trainer.max_epochs", 2,
    )  # fmt: skip
    assert done.code == 0, done.err
    tested = cli("test", "--ckpt_path", RUN)
    done = cli("report", RUN)
    assert done.code == 0, done.err
    figures = tested.out.splitlines()[-1].removeprefix("test ")
    assert f"test {figures}" in done.out
    page = (RUN / "report/report.html").read_text()
    assert figures in page
    assert "Confusion" not in page
    assert "Calibration" not in page
    names = NAMES if task == "multilabel" else TARGETS
    for line in tested.out.splitlines():
        first, *cells = line.split() or [""]
        if first in names:
            assert f"<tr><td>{first}</td><td>" + "</td><td>".join(cells) + "</td></tr>" in page
    written = {path.name for path in (RUN / "report").iterdir()}
    own = {"mean_ap.png"} if task == "multilabel" else {"r2.png", "scatter.png"}
    expected = {"loss.png", "worst.png", "report.html", "events.out.tfevents.report"}
    assert written == expected | own
    assert cli("report", RUN).code == 0  # replaces them
    assert {path.name for path in (RUN / "report").iterdir()} == written


def test_which_images_are_farthest_off():
    """By the cross-entropy of their labels, in float64; probabilities of 0 count as 1e-7."""
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    outputs = np.array([[0.9, 0.1], [1.0, 0.2], [0.0, 0.5]], np.float32)
    found = TaskPredictions(None, labels, outputs, object(), "test", []).errors  # type: ignore[arg-type]
    right = [[0.9, 0.9], [1e-7, 0.2], [1e-7, 0.5]]
    np.testing.assert_allclose(found, -np.log(right).mean(axis=1), rtol=1e-6)


@pytest.mark.slow
def test_tasks_of_other_numbers_than_bytes(cli):
    """Labels that 16-bit values tell: by `test` and an ONNX file alike, and drawn as bytes."""
    generator = np.random.default_rng(0)
    labels = (generator.uniform(size=(200, 3)) < 0.5).astype(np.uint8)
    images = 40_000 + 500 * labels.astype(np.uint16)[:, None, None, :]
    images = images + 100 * generator.integers(0, 3, (200, 16, 16, 3), np.uint16)
    for name, part in (("wide.h5", slice(150)), ("test.h5", slice(150, None))):
        with h5py.File(name, "w") as file:
            file["images"], file["labels"] = images[part], labels[part]
    done = cli(
        "fit", "--model.task", "multilabel", "--data.value_range", "minmax", "--name", "run",
        "--data.train_file", "wide.h5", "--data.val_fraction", 0.2, "--trainer.max_epochs", 40,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert cli("export", RUN, "--format", "onnx", "--output", "wide.onnx").code == 0
    tests = [cli("test", model, "--data.test_file", "test.h5") for model in (RUN, "wide.onnx")]
    assert tests[0].out.splitlines()[-1] == tests[1].out.splitlines()[-1]
    assert "mean AP 1.000" in tests[0].out
    assert cli("report", RUN, "--data.test_file", "test.h5").code == 0
    assert (RUN / "report/worst.png").is_file()
