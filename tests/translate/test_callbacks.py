"""Callbacks do what Keras's own do with the same figures."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import ReduceLROnPlateau
from reading_data import fit_of, fits_of, problems_of

from signs_lightning.models.epoch_rates import EpochRates

EPOCHS = 40


@pytest.fixture(scope="module")
def keras_model() -> keras.Model:
    """A compiled model, whose optimizer a callback changes."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def figures(seed: int) -> list[float]:
    """A loss that falls, with setbacks and plateaus."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(-0.01, 0.05, EPOCHS) * rng.integers(0, 2, EPOCHS)
    return [float(value) for value in 2 + np.cumsum(steps)]


def random_arguments(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "patience": int(rng.integers(0, 4)),
        "min_delta": float(rng.choice([0.0, 0.02])),
        "mode": str(rng.choice(["min", "max"])),
    }


def call(name: str, given: dict[str, Any]) -> str:
    """Return a fit with one callback."""
    arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
    made = f"callbacks.{name}(monitor='loss', {arguments})"
    return f"model.fit(x, y, epochs={EPOCHS}, callbacks=[{made}])"


@pytest.mark.parametrize("seed", range(20))
def test_the_rate_falls_where_it_does_in_keras(seed: int, keras_model: keras.Model) -> None:
    rng = np.random.default_rng(seed + 100)
    given = random_arguments(seed)
    given |= {"factor": float(rng.choice([0.1, 0.5])), "cooldown": int(rng.integers(0, 4))}
    given["min_lr"] = float(rng.choice([0.0, 0.02]))
    theirs = keras.callbacks.ReduceLROnPlateau(monitor="loss", **given)
    keras_model.optimizer.learning_rate = 0.1
    theirs.set_model(keras_model)
    theirs.on_train_begin()
    scheduler = fit_of(call("ReduceLROnPlateau", given)).callbacks.lr_scheduler
    assert scheduler is not None
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    ours = ReduceLROnPlateau(optimizer, **scheduler[1]["init_args"])
    rates = []
    for epoch, value in enumerate(figures(seed)):
        theirs.on_epoch_end(epoch, {"loss": value})
        ours.step(value)
        rates.append((float(keras_model.optimizer.learning_rate), optimizer.param_groups[0]["lr"]))
    assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in rates)


@pytest.mark.parametrize("seed", range(20))
def test_training_stops_where_it_does_in_keras(seed: int, keras_model: keras.Model) -> None:
    given = random_arguments(seed)
    theirs = keras.callbacks.EarlyStopping(monitor="loss", **given)
    theirs.set_model(keras_model)
    theirs.on_train_begin()
    keras_model.stop_training = False
    ((_, entry),) = fit_of(call("EarlyStopping", given)).callbacks.callbacks
    ours = EarlyStopping(**entry["init_args"])
    stops = []
    for epoch, value in enumerate(figures(seed)):
        theirs.on_epoch_end(epoch, {"loss": value})
        should_stop, _ = ours._evaluate_stopping_criteria(torch.tensor(value, dtype=torch.double))
        stops.append((keras_model.stop_training, should_stop))
        if any(stops[-1]):
            break
    assert all(a == b for a, b in stops)


SCHEDULES = {
    "lambda epoch: 0.01 * 0.9 ** epoch": lambda epoch: 0.01 * 0.9**epoch,
    "lambda epoch, lr: lr * 0.5": lambda epoch, lr: lr * 0.5,
    "decay": lambda epoch: 0.1 if epoch < 3 else 0.1 * math.exp(0.1 * (3 - epoch)),
}
DECAY = """
import math
def decay(epoch):
    if epoch < 3:
        return 0.1
    return 0.1 * math.exp(0.1 * (3 - epoch))
"""


@pytest.mark.parametrize("text", SCHEDULES)
def test_schedules_are_evaluated_for_each_epoch(text: str, keras_model: keras.Model) -> None:
    theirs = keras.callbacks.LearningRateScheduler(SCHEDULES[text])
    keras_model.optimizer.learning_rate = 0.001  # Adam's, as the model of the source is compiled
    theirs.set_model(keras_model)
    source = f"{DECAY}model.fit(x, y, epochs=6, callbacks=callbacks.LearningRateScheduler({text}))"
    scheduler = fit_of(source).callbacks.lr_scheduler
    assert scheduler is not None
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    ours = EpochRates(optimizer, **scheduler[1]["init_args"])
    for epoch in range(6):
        theirs.on_epoch_begin(epoch)
        wanted = float(keras_model.optimizer.learning_rate)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted)
        optimizer.step()
        ours.step()


@pytest.mark.parametrize(
    ("callback", "problem"),
    [
        ("EarlyStopping(baseline=0.5, monitor='loss')", "baseline"),
        ("EarlyStopping(monitor='loss', start_from_epoch=3)", "start_from_epoch"),
        ("EarlyStopping(monitor='auc')", "auc"),
        ("ReduceLROnPlateau(monitor='loss', factor=2)", "factor"),
        ("LearningRateScheduler(np.random.rand)", "schedule"),
        ("LearningRateScheduler(lambda epoch: undefined * epoch)", "undefined"),
        ("LambdaCallback(on_epoch_end=print)", "LambdaCallback"),
        ("Mystery()", "Mystery"),
    ],
)
def test_what_has_no_counterpart_reaches_the_training(callback: str, problem: str) -> None:
    assert problem in problems_of(f"model.fit(x, y, callbacks=[callbacks.{callback}])")


def test_a_callback_of_the_source_is_named_where_it_is_used() -> None:
    source = """
class Stop(callbacks.Callback):
    def on_epoch_end(self, epoch, logs={}):
        if logs.get("acc") > 0.999:
            self.model.stop_training = True
model.fit(x / 255, y, callbacks=[Stop()])
"""
    (fit,) = fits_of(source)
    (problem,) = fit.callbacks.problems
    assert "Stop" in problem.reason
    assert problem.place == fit.place


def test_two_schedules_exclude_each_other() -> None:
    parts = "callbacks.ReduceLROnPlateau('loss'), callbacks.LearningRateScheduler(lambda epoch: 1)"
    assert "beside another" in problems_of(f"model.fit(x, y, callbacks=[{parts}])")


def test_names_of_figures_are_ours() -> None:
    part = "callbacks.ModelCheckpoint('best.h5', monitor='val_acc', save_best_only=True)"
    fit = fit_of(f"model.fit(x, y, validation_split=0.1, callbacks=[{part}])")
    assert fit.callbacks.checkpoint is not None
    assert fit.callbacks.checkpoint[1] == {"monitor": "val_accuracy", "mode": "max"}
    assert any("without effect in some versions" in note for _, note in fit.all_notes)


def test_nothing_watches_a_validation_that_is_not_there() -> None:
    (fit,) = fits_of("model.fit(x, y, callbacks=[callbacks.ReduceLROnPlateau()])")
    assert fit.callbacks.lr_scheduler is None
    assert fit.all_problems == []
    assert any("nothing is validated" in note for _, note in fit.all_notes)


def test_writers_are_without_effect() -> None:
    parts = (
        "callbacks.TensorBoard('logs'), callbacks.CSVLogger('a.csv'), callbacks.TerminateOnNaN()"
    )
    fit = fit_of(f"model.fit(x, y, callbacks=[{parts}])")
    assert fit.callbacks.callbacks == []
    assert len(fit.callbacks.notes) == 3


@pytest.mark.parametrize(
    "bar",
    [
        "from keras_tqdm import TQDMNotebookCallback as Bar",
        "from tqdm.keras import TqdmCallback as Bar",
        "from tensorflow_addons.callbacks import TQDMProgressBar as Bar",
    ],
)
def test_progress_bars_are_without_effect(bar: str) -> None:
    fit = fit_of(f"{bar}\nmodel.fit(x, y, callbacks=[Bar(metric_format='{{}}')])")
    assert fit.all_problems == []
    assert fit.callbacks.callbacks == []


def test_restoring_the_best_weights_is_best_ckpt() -> None:
    part = "callbacks.EarlyStopping(patience=2, restore_best_weights=True)"
    fit = fit_of(f"model.fit(x, y, validation_split=0.1, callbacks=[{part}])")
    assert fit.callbacks.restores_best
    assert fit.callbacks.checkpoint is not None
    assert fit.callbacks.checkpoint[1] == {"monitor": "val_loss", "mode": "min"}
