"""Several labels an image, and numbers: figures against NumPy, in float64, on what is predicted."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import pytest
import torch
from task_sets import NAMES, TARGETS, draw_labelled, draw_measured, write_sets
from torch import nn
from torchmetrics.classification import MultilabelAUROC
from torchvision.transforms import v2

from signs_lightning import (
    H5DataModule,
    HappySequential,
    ImageClassifier,
    InputError,
    SignsFunctional,
    SignsResNet50,
)
from signs_lightning.models.multilabel import evaluate_multilabel
from signs_lightning.models.regression import evaluate_regression

TASKS = ("multilabel", "regression")
MODELS = [SignsFunctional, HappySequential, "own"]
MODELS.append(pytest.param(SignsResNet50, marks=pytest.mark.slow))
RUN = Path("lightning_logs/run/version_0")


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """Training and test file of each task; the test has an odd number of images."""
    folder = tmp_path_factory.mktemp("sets")
    return {task: write_sets(folder, task, (120, 37)) for task in TASKS}


def fit(cli, task: str, files: tuple[Path, Path], *options: object):
    """A run named "run" in the empty folder of `cli`."""
    done = cli(
        "fit", "--model", "SignsFunctional", "--model.task", task, "--name", "run",
        "--data.train_file", files[0], "--data.test_file", files[1], "--data.val_fraction", 0.2,
        "--model.lr", 0.01, "--data.batch_size", 16, *options,
    )  # fmt: skip
    assert (done.code, done.err) == (0, ""), done
    return done


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Sum of precision times the step in recall, at each different score; float64."""
    total, recall = 0.0, 0.0
    for limit in sorted(set(scores.tolist()), reverse=True):
        above = scores >= limit
        hits = float(truth[above].sum())
        total += hits / above.sum() * (hits / truth.sum() - recall)
        recall = hits / truth.sum()
    return total


def f1(decided: np.ndarray, truth: np.ndarray) -> float:
    """Of one class, 0 where there is nothing to be right about."""
    hits = float((decided & truth).sum())
    return 2 * hits / max(1.0, float(decided.sum() + truth.sum()))


def read_predictions(path: Path, names: list[str], prefix: str) -> np.ndarray:
    """The columns of outputs in a CSV file of `predict`, float64 (N, K)."""
    with path.open(newline="") as file:
        return np.array(
            [[float(row[f"{prefix}({n})"]) for n in names] for row in csv.DictReader(file)]
        )


def table_of(text: str, names: list[str]) -> dict[str, list[float]]:
    """The rows of the table that `test` prints."""
    rows = {}
    for line in text.splitlines():
        first, *cells = line.split() or [""]
        if first in names:
            rows[first] = [float("nan") if x == "–" else float(x.replace(",", "")) for x in cells]
    return rows


def test_figures_of_several_labels_are_numpys():
    """With ties, a class that no image has, one that every image has, and one of many decisions."""
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 12, (53, 5)) / 11
    truth = rng.random((53, 5)) < (0.5, 0.1, 0.8, 0.0, 1.0)
    thresholds = [0.5, 0.2, 0.9, 0.5, 0.0]
    found = evaluate_multilabel(
        0.25, torch.tensor(scores), torch.tensor(truth).double(), list("abcde"), thresholds
    )
    decided = scores.astype(np.float32) > np.array(thresholds, np.float32)
    expected = [
        average_precision(scores[:, k], truth[:, k]) if k != 3 else np.nan for k in range(5)
    ]
    np.testing.assert_allclose(found.average_precision, expected, rtol=2e-7)
    assert found.mean_ap == pytest.approx(np.nanmean(expected), rel=2e-7)
    np.testing.assert_allclose(found.f1, [f1(decided[:, k], truth[:, k]) for k in range(5)])
    assert found.exact == (decided == truth).all(axis=1).sum()
    assert found.figures(each=True)["f1/b"] == f1(decided[:, 1], truth[:, 1])
    assert found.images.tolist() == truth.sum(axis=0).tolist()
    assert "exact match" in found._repr_html_()


def test_figures_of_numbers_are_numpys_far_from_zero():
    """Targets whose mean is a million deviations away, and one that is the same in all images."""
    rng = np.random.default_rng(2)
    truth = np.stack([1e6 + rng.normal(size=41), rng.normal(size=41) / 1e5, np.full(41, 0.1)], 1)
    values = truth + rng.normal(size=truth.shape) * (0.5, 2e-6, 1)
    found = evaluate_regression(
        0.5, torch.tensor(values), torch.tensor(truth), ["far", "small", "constant"]
    )
    errors = values - truth
    spread = ((truth - truth.mean(0)) ** 2).sum(0)
    r2 = 1 - (errors[:, :2] ** 2).sum(0) / spread[:2]
    np.testing.assert_allclose(found.r2, [*r2, np.nan], rtol=1e-9)
    np.testing.assert_allclose(found.mae, np.abs(errors).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.rmse, np.sqrt((errors**2).mean(0)), rtol=1e-12)
    assert found.figures(each=True)["r2"] == pytest.approx(r2.mean())
    assert found.cells()[2][:2] == ["constant", "–"]
    assert truth[:, 2].std() > 0  # rounded
    assert found.deviation[2] == 0


def test_a_target_that_is_the_same_in_all_images(tmp_path):
    """Its deviation is what rounding leaves of 0, and no unit to divide by."""
    model = SignsFunctional(task="regression", image_size=(16, 16, 1))
    data = H5DataModule(train_file=(np.zeros((7, 16, 16, 1), np.uint8), np.full(7, 0.1)))
    L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(model, data)  # fmt: skip
    assert model.hparams["target_scale"] == [1.0]


@pytest.mark.slow
def test_a_run_of_several_labels(cli, sets):
    """Trains; `test`, `validate` and `predict` give NumPy's figures of the written probabilities;
    the thresholds that were given decide.
    """
    given = {"north-west": 0.5, "north-east": 0.4, "south-west": 0.3, "south-east": 0.2}
    thresholds = json.dumps(list(given.values()))
    done = fit(
        cli, "multilabel", sets["multilabel"], "--trainer.max_epochs", 12,
        "--model.thresholds", thresholds,
    )  # fmt: skip
    rows = list(csv.DictReader((RUN / "history.csv").read_text().splitlines()))
    assert list(rows[0]) == [
        "epoch", "loss", "exact_match", "val_loss", "val_mean_ap", "val_f1", "val_exact_match",
    ]  # fmt: skip
    assert float(rows[-1]["val_mean_ap"]) > 0.9
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert f"validation mean AP {float(best['val_mean_ap']):.3f}" in done.out
    again = cli("validate", "--ckpt_path", RUN)
    assert f"mean AP {float(best['val_mean_ap']):.3f}, F1 {float(best['val_f1']):.3f}" in again.out
    tested = cli("test", "--ckpt_path", RUN)
    assert tested.code == 0, tested.err
    told = cli("predict", RUN)
    assert told.code == 0, told.err
    _, truth = draw_labelled(37, 1)
    scores = read_predictions(Path("predictions.csv"), NAMES, "p")
    truth = truth == 1
    decided = scores.astype(np.float32) > np.array(list(given.values()), np.float32)
    aps = [average_precision(scores[:, k], truth[:, k]) for k in range(4)]
    scores_f1 = [f1(decided[:, k], truth[:, k]) for k in range(4)]
    for k, name in enumerate(NAMES):
        row = table_of(tested.out, NAMES)[name]
        assert row[0] == pytest.approx(aps[k], abs=5.1e-4)
        assert row[3] == pytest.approx(scores_f1[k], abs=5.1e-4)
        assert row[4] == truth[:, k].sum()
    exact = int((decided == truth).all(axis=1).sum())
    figures = f"mean AP {np.mean(aps):.3f}, F1 {np.mean(scores_f1):.3f}, exact match {exact}/37"
    assert figures in tested.out
    assert figures in told.out
    losses = -(truth * np.log(scores) + ~truth * np.log1p(-scores))
    loss = float(re.findall(r"loss ([\d.]+)", tested.out)[0])
    assert loss == pytest.approx(losses.mean(), abs=5.1e-4)
    with Path("predictions.csv").open(newline="") as file:
        for line, own, found in zip(csv.DictReader(file), truth, decided, strict=True):
            assert line["labels"] == "; ".join(n for n, y in zip(NAMES, own, strict=True) if y)
            assert line["classes"] == "; ".join(n for n, y in zip(NAMES, found, strict=True) if y)


@pytest.mark.slow
def test_a_run_of_numbers(cli, sets):
    """Trains on standardised targets of the training split; figures and values are in the file's
    units, and are NumPy's.
    """
    fit(cli, "regression", sets["regression"], "--trainer.max_epochs", 15)
    rows = list(csv.DictReader((RUN / "history.csv").read_text().splitlines()))
    assert list(rows[0])[:4] == ["epoch", "loss", "val_loss", "val_r2"]
    assert float(rows[-1]["val_r2"]) > 0.6
    checkpoint = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    data = H5DataModule(
        train_file=str(sets["regression"][0]), val_fraction=0.2, seed=1, task="regression"
    )
    data.setup("fit")
    _, numbers = draw_measured(120, 0)
    labels = data.training_labels
    assert len(labels) == 96
    assert {tuple(row) for row in labels} < {tuple(row) for row in numbers}
    given = checkpoint["hyper_parameters"]
    np.testing.assert_allclose(given["target_mean"], labels.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(given["target_scale"], labels.std(axis=0), rtol=1e-12)
    tested = cli("test", "--ckpt_path", RUN)
    told = cli("predict", RUN)
    assert (tested.code, told.code) == (0, 0), tested.err + told.err
    values = read_predictions(Path("predictions.csv"), TARGETS, "value")
    _, truth = draw_measured(37, 1)
    np.testing.assert_array_equal(
        read_predictions(Path("predictions.csv"), TARGETS, "label"), truth
    )
    errors = values - truth
    r2 = 1 - (errors**2).sum(0) / ((truth - truth.mean(0)) ** 2).sum(0)
    for k, name in enumerate(TARGETS):
        row = table_of(tested.out, TARGETS)[name]
        expected = [r2[k], np.abs(errors[:, k]).mean(), np.sqrt((errors[:, k] ** 2).mean())]
        np.testing.assert_allclose(row[:3], expected, rtol=2e-3, atol=5.1e-4)
    assert f"mean R² of 2 targets {r2.mean():.3f}" in tested.out
    assert f"mean R² of 2 targets {r2.mean():.3f}" in told.out
    standardised = errors / np.array(given["target_scale"])
    loss = float(re.findall(r"loss ([\d.]+)", tested.out)[0])
    assert loss == pytest.approx((standardised**2).mean(), abs=5.1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_resumed_to_the_last_bit(cli, sets, task):
    """Two epochs and two more are four: history and every weight; also from a checkpoint whose
    units are those of other data.
    """
    fit(cli, task, sets[task], "--trainer.max_epochs", 3)
    fit(cli, task, sets[task], "--trainer.max_epochs", 2)
    short = RUN.with_name("version_1")
    done = cli("fit", "--ckpt_path", short, "--trainer.max_epochs", 3)
    assert done.code == 0, done.err
    assert (RUN / "history.csv").read_bytes() == (short / "history.csv").read_bytes()
    whole, resumed = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (RUN, short)
    )
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    for name in ("target_mean", "target_scale", "thresholds"):
        assert whole["hyper_parameters"][name] == resumed["hyper_parameters"][name]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", MODELS)
def test_every_architecture_takes_a_task(kind, task):
    """In Python, on arrays, with a Trainer: the data ask the model for the task."""
    draw = draw_labelled if task == "multilabel" else draw_measured
    images, labels = draw(24)
    torch.manual_seed(0)
    if kind == "own":
        network = nn.Sequential(nn.Flatten(), nn.Linear(40 * 40 * 3, labels.shape[1]))
        model = ImageClassifier(network=network, task=task)
    else:
        model = kind(task=task, **({"width": 2} if kind is SignsResNet50 else {}))
    data = H5DataModule(train_file=(images, labels), test_file=(images, labels), batch_size=7)
    trainer = L.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    outputs, evaluation = model.predict(images), cast(Any, model.evaluation)
    assert outputs.shape == labels.shape
    assert evaluation.count == 24
    if task == "multilabel":
        expected = [average_precision(outputs[:, k].astype(float), labels[:, k]) for k in range(4)]
        assert evaluation.mean_ap == pytest.approx(np.mean(expected), rel=1e-6)
    else:
        errors = np.abs(outputs.astype(float) - labels).mean(axis=0)
        np.testing.assert_allclose(evaluation.mae, errors, rtol=1e-6)


def test_own_loss_metrics_and_views():
    """The loss sees standardised targets, torchmetrics see what `predict` gives, several views are
    averaged in probability.
    """
    images, labels = draw_labelled(20)
    model = SignsFunctional(
        task="multilabel", num_classes=4, image_size=(40, 40, 3),
        metrics=[MultilabelAUROC(4)], test_time_augmentation=["hflip"],
    )  # fmt: skip
    data = H5DataModule(test_file=(images, labels), batch_size=8)
    trainer = L.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    (logged,) = trainer.test(model, data, verbose=False)
    outputs = model.predict(images)
    plain = SignsFunctional(task="multilabel", num_classes=4, image_size=(40, 40, 3))
    plain.load_state_dict(model.state_dict())
    both = (plain.predict(images) + plain.predict(np.ascontiguousarray(images[:, :, ::-1]))) / 2
    np.testing.assert_allclose(outputs, both, atol=1e-6)
    expected = MultilabelAUROC(4)(torch.tensor(outputs), torch.tensor(labels).long())
    assert logged["test_MultilabelAUROC"] == pytest.approx(expected.item(), rel=1e-6)
    absolute = SignsFunctional(
        task="regression", num_classes=2, image_size=(40, 40, 3), loss=nn.L1Loss(),
        target_mean=[1000.0, 0.0], target_scale=[50.0, 0.01],
    )  # fmt: skip
    images, numbers = draw_measured(20)
    trainer = L.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    trainer.test(absolute, H5DataModule(test_file=(images, numbers)), verbose=False)
    values = absolute.predict(images)
    wrong = np.abs((values - numbers) / (50, 0.01)).mean()
    assert cast(Any, absolute.evaluation).loss == pytest.approx(wrong, rel=1e-5)


REFUSED = [
    ({"task": "multilabel", "class_weights": [1.0, 2.0]}, "class_weights is given, which the task"),
    ({"task": "regression", "label_smoothing": 0.1}, "label_smoothing is given, which the task"),
    ({"task": "regression", "thresholds": [0.5]}, "thresholds is given, which the task regression"),
    ({"thresholds": [0.5]}, "thresholds is given, which only the task multilabel has"),
    ({"task": "multilabel", "target_mean": [0.0]}, "target_mean is given, which the task multila"),
    ({"task": "multilabel", "thresholds": [1.5]}, "A threshold is 1.5, expected a probability"),
    ({"task": "regression", "target_mean": [0.0]}, "target_mean and target_scale belong together"),
    ({"task": "multilabel", "thresholds": [0.5] * 3}, "thresholds has 3 numbers, expected one for"),
    (
        {"task": "regression", "target_mean": [0.0], "target_scale": [1.0]},
        "target_mean has 1 numbers, expected one for each of 2",
    ),
    (
        {"task": "regression", "target_mean": [0.0], "target_scale": [0.0]},
        "target_scale is .*, expected numbers above 0",
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_arguments_of_another_task_are_refused(arguments, sentence):
    """In a sentence, before anything is made."""
    with pytest.raises(InputError, match=sentence):
        SignsFunctional(num_classes=2, image_size=(40, 40, 3), **arguments)


def test_images_are_not_mixed(cli, sets):
    """MixUp makes labels that belong to no image."""
    images, labels = draw_labelled(12)
    model = SignsFunctional(task="multilabel", augmentation=[v2.MixUp()])
    trainer = L.Trainer(max_epochs=1, logger=False, enable_progress_bar=False, accelerator="cpu")
    with pytest.raises(InputError, match="MixUp mixes images of one class each, and the task is"):
        trainer.fit(model, H5DataModule(train_file=(images, labels)))


@pytest.mark.slow
def test_what_knows_no_task_says_so(cli, sets):
    """And a checkpoint of a task is used for no other."""
    fit(cli, "regression", sets["regression"], "--trainer.max_epochs", 1)
    for args in (
        ["export", RUN, "--output", "model.py"],
        ["verify", RUN, "--against", RUN],
    ):
        done = cli(*args)
        assert done.code == 2
        assert "does not know the task regression" in done.err
    done = cli("test", "--ckpt_path", RUN, "--model.task", "multilabel")
    assert done.code == 2
    done = cli("test", "--ckpt_path", RUN, "--data.test_file", sets["multilabel"][1])
    assert done.code == 2
    assert "The run has 2 names" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_model_of_a_task_is_exported(cli, sets, task):
    """The file gives the model's outputs, in the same units, `test` the same figures, and the
    metadata name the task.
    """
    fit(cli, task, sets[task], "--trainer.max_epochs", 2)
    done = cli("export", RUN, "--output", "model.onnx")
    assert done.code == 0, done.err
    assert cli("predict", RUN, "--output", "ours.csv").code == 0
    predicted = cli("predict", "model.onnx", "--data.test_file", sets[task][1])
    assert predicted.code == 0, predicted.err
    names, prefix = (NAMES, "p") if task == "multilabel" else (TARGETS, "value")
    ours, theirs = (
        read_predictions(Path(name), names, prefix) for name in ("ours.csv", "predictions.csv")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    here, there = (
        cli("test", "--ckpt_path", *args).out.splitlines()[-1]
        for args in ([RUN], ["model.onnx", "--data.test_file", sets[task][1]])
    )
    assert here == there
