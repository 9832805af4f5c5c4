"""Keras models of several labels an image, and of numbers: read, trained and written."""

from __future__ import annotations

import copy
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers, losses
from task_sets import draw_labelled, draw_measured, write_sets

from signs_lightning import H5DataModule, HappySequential, InputError, SignsFunctional
from signs_lightning.checkpoints.load_model import load_model
from signs_lightning.inspect.examine_file import examine
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import export_keras

from .against_keras import randomize


def build(units: int, activation: str | None, loss: object, size: int = 40) -> keras.Model:
    """A convolution, its mean, and a Dense layer."""
    model = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(units, activation, name="end"),
        ]
    )
    randomize(model)
    if loss is not None:
        model.compile(keras.optimizers.SGD(0.05), loss)
    return model


KINDS = [
    (4, "sigmoid", "binary_crossentropy", "multilabel"),
    (1, "sigmoid", "binary_crossentropy", "multilabel"),
    (4, None, losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1), "multilabel"),
    (2, None, "mse", None),
    (2, None, losses.MeanAbsoluteError(), None),
    (1, None, "mse", None),
    (2, None, None, "regression"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("units", "activation", "loss", "task"), KINDS)
def test_outputs_and_a_step_are_kerass(tmp_path, units, activation, loss, task):
    """Within 1e-5; the loss tells a regression, several labels must be said. One step of training
    gives Keras's loss and weights.
    """
    model = build(units, activation, loss)
    model.save(tmp_path / "m.keras")
    ours: Any = from_keras(tmp_path / "m.keras", task=task)
    assert ours.task_rules.name == (task or "regression")
    assert ours.num_classes == units
    images, labels = (draw_labelled if task == "multilabel" else draw_measured)(16)
    labels = (labels[:, :units] / (1 if task == "multilabel" else 1000)).astype(np.float32)

    def outputs_of_keras() -> np.ndarray:
        outputs = np.asarray(model(images.astype(np.float32)))
        is_logit = task == "multilabel" and activation is None
        return 1 / (1 + np.exp(-outputs)) if is_logit else outputs

    expected = outputs_of_keras()
    np.testing.assert_allclose(ours.predict(images), expected, atol=1e-5)
    again = type(ours)(**ours.hparams).eval()
    again.load_state_dict(ours.state_dict())
    np.testing.assert_array_equal(again.predict(images), ours.predict(images))
    if loss is None:
        return
    optimizer = ours.compiled.make_optimizer(ours.parameters())
    for _ in range(2):
        theirs = model.train_on_batch(images.astype(np.float32), labels)
        targets = ours.task_rules.targets(ours, torch.tensor(labels))
        found = ours.compute_loss(ours(ours.preprocess(torch.tensor(images))), targets, True)
        assert found.item() == pytest.approx(float(theirs), rel=2e-5)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    np.testing.assert_allclose(ours.predict(images), outputs_of_keras(), rtol=2e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "activation", "loss", "task"),
    [(4, "sigmoid", "binary_crossentropy", "multilabel"), (2, None, "mae", "regression")],
)
def test_an_imported_model_trains(cli, tmp_path, units, activation, loss, task):
    """By the command line, from the file and from its checkpoint; a regression keeps the units."""
    build(units, activation, loss).save(tmp_path / "m.keras")
    train, test = write_sets(tmp_path, task, (40, 9))
    data = ["--data.train_file", train, "--data.test_file", test, "--trainer.max_epochs", 2]
    given = ["--task", task] if task == "multilabel" else []
    done = cli("import-keras", "m.keras", "--output", "m.ckpt", *given)
    assert done.code == 0, done.err
    done = cli("fit", "--ckpt_path", "m.ckpt", "--name", "run", *data)
    assert (done.code, done.err) == (0, "")
    model, _ = load_model("lightning_logs/run/version_0", "test")
    given = ["--model.task", task] if task == "multilabel" else []
    done = cli("fit", "--model", "FromKeras", "--model.path", "m.keras", *given, *data)
    assert (done.code, done.err) == (0, "")
    assert model.task_rules.name == task
    if task == "regression":
        assert model.hparams["target_mean"] == [0.0, 0.0]
    assert cli("test", "--ckpt_path", "lightning_logs/run/version_0").code == 0


def test_what_ends_a_model_must_fit_the_task(tmp_path):
    """A softmax's classes exclude each other, and a sigmoid's values are no numbers of a file."""
    build(4, "softmax", None).save(tmp_path / "softmax.keras")
    with pytest.raises(InputError, match="gives softmax, expected a sigmoid or no activation"):
        from_keras(tmp_path / "softmax.keras", task="multilabel")
    build(4, "sigmoid", None).save(tmp_path / "sigmoid.keras")
    with pytest.raises(InputError, match="gives sigmoid, expected no activation for the task reg"):
        from_keras(tmp_path / "sigmoid.keras", task="regression")
    build(4, None, "huber").save(tmp_path / "huber.keras")
    with pytest.raises(InputError, match="was trained with the loss huber"):
        from_keras(tmp_path / "huber.keras")
    assert from_keras(tmp_path / "huber.keras", task="regression").task_rules.name == "regression"


def test_what_a_file_is_said_to_be(tmp_path, capsys):
    """`inspect` and the import name numbers; of sigmoids the import says what else they can be."""
    build(2, None, "mse").save(tmp_path / "m.keras")
    assert ("targets", "2, values") in examine(str(tmp_path / "m.keras"), {}, 1).facts
    from_keras(tmp_path / "m.keras")
    assert "gives numbers (task regression), as labels have them" in capsys.readouterr().out
    build(4, "sigmoid", "binary_crossentropy").save(tmp_path / "m.keras")
    from_keras(tmp_path / "m.keras")
    assert "with the task multilabel, they may have several" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "regression"])
@pytest.mark.parametrize("kind", [SignsFunctional, HappySequential])
def test_a_model_of_a_task_is_written_for_keras(tmp_path, kind, task):
    """Keras gives its probabilities, or its values in their own units."""
    torch.manual_seed(0)
    units = {}
    if task == "regression":
        units = {"target_mean": [1300.0, 0.03], "target_scale": [200.0, 0.008]}
    columns = 4 if task == "multilabel" else 2
    model = kind(task=task, num_classes=columns, image_size=(40, 40, 3), **units).eval()
    before = copy.deepcopy(model.state_dict())
    export_keras(model, tmp_path / "m.keras", check=False)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    images, _ = draw_measured(7)
    found = np.asarray(keras.models.load_model(tmp_path / "m.keras")(images / np.float32(255)))
    np.testing.assert_allclose(found, model.predict(images), rtol=1e-5, atol=1e-6)
    again = from_keras(tmp_path / "m.keras", scale="/255", task=task)
    np.testing.assert_allclose(again.predict(images), model.predict(images), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_keras_model_of_numbers_is_written_back(tmp_path):
    """And one that was given other units says that Keras has no place for them."""
    theirs = build(2, None, "mse")
    theirs.save(tmp_path / "m.keras")
    model = from_keras(tmp_path / "m.keras")
    export_keras(model, tmp_path / "again.keras", check=False)
    images, numbers = draw_measured(5)
    again = keras.models.load_model(tmp_path / "again.keras")
    pixels = images.astype(np.float32)
    np.testing.assert_allclose(np.asarray(again(pixels)), np.asarray(theirs(pixels)), atol=1e-6)
    given = {"target_mean": [1.0, 2.0], "target_scale": [2.0, 2.0]}
    model = type(model)(**{**model.hparams, **given})
    with pytest.raises(InputError, match="and a Keras file no place for them"):
        export_keras(model, tmp_path / "again.keras", check=False)
    data = H5DataModule(test_file=(images, numbers), task="regression")
    data.setup("test")
    assert data.num_classes == 2
