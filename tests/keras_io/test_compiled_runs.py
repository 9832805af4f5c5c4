"""Runs on the command line that train as a Keras file was compiled: from the file, from an imported
checkpoint and resumed; and options that win over the file.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
import yaml
from keras import layers, losses, optimizers
from torch.optim.lr_scheduler import StepLR

from signs_lightning.commands.import_keras import run_captured
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.keras_optimizers import KerasSGD

from .against_keras import randomize

pytestmark = pytest.mark.usefixtures("guarded_forks")

LINE = "training as the file was compiled: "
COMPILED = (
    "SGD(learning_rate=ExponentialDecay(initial_learning_rate=0.05, decay_steps=3, "
    "decay_rate=0.5), momentum=0.9), label smoothing 0.1"
)
PLAIN = "SGD(learning_rate=0.05, momentum=0.9)"
FIT = ("fit", "--trainer.limit_val_batches", 1, "--trainer.max_epochs", 2, "--data.batch_size", 16)


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.Conv2D(4, 8, strides=8, activation="relu"),
            layers.Flatten(),
            layers.Dense(6, activation="softmax"),
        ]
    )
    randomize(model)
    schedule = optimizers.schedules.ExponentialDecay(0.05, 3, 0.5)
    model.compile(
        optimizers.SGD(schedule, momentum=0.9), losses.CategoricalCrossentropy(label_smoothing=0.1)
    )
    path = tmp_path_factory.mktemp("compiled") / "m.keras"
    model.save(path)
    return path


def history(version: int) -> list[dict[str, str]]:
    folder = Path(f"lightning_logs/run/version_{version}")
    rows = csv.DictReader(folder.joinpath("history.csv").read_text().splitlines())
    return [{name: v for name, v in row.items() if "second" not in name} for row in rows]


def said(done) -> list[str]:
    assert done.code == 0, done.err
    return [line.removeprefix(LINE) for line in done.out.splitlines() if line.startswith(LINE)]


@pytest.mark.slow
def test_the_file_the_checkpoint_and_the_resumed_run_train_the_same(cli, keras_file, small_signs):
    """The same figures of both epochs."""
    data = ("--data.train_file", small_signs[0], "--data.test_file", small_signs[1])
    own = ("--model", "FromKeras", "--model.path", keras_file, "--name", "run")
    assert said(cli(*FIT, *own, *data)) == [f"{COMPILED}."]
    rows = history(0)
    assert len(rows) == 2
    assert cli("import-keras", keras_file, "--output", "m.ckpt").code == 0
    assert said(cli(*FIT, "--ckpt_path", "m.ckpt", *data, "--name", "run")) == [f"{COMPILED}."]
    assert history(1) == rows
    assert said(cli(*FIT, *own, *data, "--trainer.max_epochs", 1)) == [f"{COMPILED}."]
    resumed = cli("fit", "--ckpt_path", "lightning_logs/run/version_2", "--trainer.max_epochs", 2)
    assert said(resumed) == [f"{COMPILED}."]
    assert history(2) == rows


OPTIONS: list[tuple[dict[str, Any], str | None, float]] = [
    ({}, COMPILED, 0.05),
    ({"optimizer": torch.optim.Adagrad}, "label smoothing 0.1", 0.01),
    ({"optimizer": torch.optim.Adagrad, "label_smoothing": 0.0}, None, 0.01),
    ({"as_compiled": False}, None, 0.001),
    ({"lr": 0.1}, COMPILED.replace("0.5)", "0.5) scaled to 0.1"), 0.1),
    ({"lr_scheduler": partial(StepLR, step_size=1)}, PLAIN + ", label smoothing 0.1", 0.05),
    ({"loss": torch.nn.CrossEntropyLoss()}, COMPILED.replace(", label smoothing 0.1", ""), 0.05),
    ({"label_smoothing": 0.2}, COMPILED.replace(", label smoothing 0.1", ""), 0.05),
]


@pytest.mark.parametrize(("options", "expected", "rate"), OPTIONS)
def test_options_win_over_the_file(keras_file, options, expected, rate, capsys):
    """The line says what of the file is left."""
    model = FromKeras(path=str(keras_file), **options)
    capsys.readouterr()
    model.compiled.print_used("training", model.hparams["lr"])
    assert capsys.readouterr().out == ("" if expected is None else f"{LINE}{expected}.\n")
    made = model.configure_optimizers()
    optimizer = made["optimizer"] if isinstance(made, dict) else made
    assert optimizer.param_groups[0]["lr"] == rate
    is_ours = isinstance(optimizer, KerasSGD)
    assert is_ours == (expected is not None and "SGD" in expected)
    if isinstance(made, dict):
        interval = "step" if "ExponentialDecay" in str(expected) else "epoch"
        assert made["lr_scheduler"]["interval"] == interval
    with torch.no_grad():
        logits, labels = torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
        smoothing = options.get("label_smoothing", 0.1 if "smoothing" in str(expected) else 0.0)
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        for training in (True, False):
            assert model.compute_loss(logits, labels, training) == pytest.approx(loss)


@pytest.fixture(scope="module")
def uncompiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(9, activation="softmax")]
    )
    path = tmp_path_factory.mktemp("uncompiled") / "a_model_of_nine_classes.keras"
    model.save(path)
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Adam(learning_rate=0.001)"),
        ({"lr": 0.02}, "Adam(learning_rate=0.02)"),
        ({"optimizer": torch.optim.Adagrad}, None),
        ({"as_compiled": False}, None),
    ],
)
def test_what_trains_a_file_without_an_optimizer(uncompiled, options, expected, capsys):
    """The line says what a fit's optimizer is, unless the user has said it."""
    model = FromKeras(path=str(uncompiled), scale="/255", **options)
    capsys.readouterr()
    model.compiled.print_used("training", model.hparams["lr"])
    line = f"training with {expected}, as the file has no optimizer.\n"
    assert capsys.readouterr().out == ("" if expected is None else line)
    optimizer: Any = model.configure_optimizers()
    name = type(optimizer).__name__.removeprefix("Keras")
    if expected is not None:
        assert f"{name}(learning_rate={optimizer.param_groups[0]['lr']:g})" == expected


def test_no_drawn_hands_for_a_model_of_other_images(cli, uncompiled):
    done = cli("fit", "--model", "FromKeras", "--model.path", uncompiled)
    said = "There is nothing to train on. Name a file with --data.train_file.\n"
    assert (done.code, done.err) == (2, said)


def test_import_keras_fits_a_terminal(uncompiled, monkeypatch, tmp_path):
    """It is printed in another process, which is no terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "")
    monkeypatch.chdir(tmp_path)
    arguments = [str(uncompiled), "--output", "m.ckpt"]
    printed = run_captured("import-keras", arguments, None, (60, 24), True)
    commands = [line for line in printed.splitlines() if len(line) >= 60]
    assert commands == ["  python -m signs_lightning test m.ckpt --data.test_file FILE.h5"]
    assert "say another one with --scale" in " ".join(printed.split())


@pytest.mark.slow
def test_options_win_on_the_command_line(cli, keras_file, small_signs):
    """Flags, and a configuration file."""
    data = ("--data.train_file", small_signs[0], "--data.test_file", small_signs[1])
    own = ("--model", "FromKeras", "--model.path", keras_file, "--name", "run")
    once = (*FIT, "--trainer.max_epochs", 1, *own, *data)
    Path("mine.yaml").write_text("model: {init_args: {label_smoothing: 0.2}}")
    for options, expected in (
        (["--model.optimizer", "Adagrad"], ["label smoothing 0.1."]),
        (["--model.optimizer", "Adagrad", "--model.label_smoothing", 0.0], []),
        (["--model.as_compiled", "false"], []),
        (["--model.schedule", "cosine"], [f"{PLAIN}, label smoothing 0.1."]),
        (["--config", "mine.yaml"], [COMPILED.replace(", label smoothing 0.1", ".")]),
    ):
        assert said(cli(*once, *options)) == expected


@pytest.mark.slow
def test_configurations_of_runs_train_the_same(cli, keras_file, small_signs):
    """As the file was compiled; by one of an earlier release, with Adam, as that did."""
    data = ("--data.train_file", small_signs[0], "--data.test_file", small_signs[1])
    own = ("--model", "FromKeras", "--model.path", keras_file, "--name", "run")
    assert said(cli(*FIT, *own, *data)) == [f"{COMPILED}."]
    assert said(cli(*FIT, *own, *data, "--model.as_compiled", "false")) == []
    config = Path("lightning_logs/run/version_0/config.yaml")
    assert said(cli("fit", "--config", config)) == [f"{COMPILED}."]
    assert history(2) == history(0)
    # What an earlier release wrote trains as that did.
    content = yaml.safe_load(config.read_text()) | {"format_version": 3}
    for name in ("as_compiled", "compile_config"):
        del content["model"]["init_args"][name]
    Path("old.yaml").write_text(yaml.safe_dump(content))
    assert said(cli("fit", "--config", "old.yaml")) == []
    assert history(3) == history(1)
