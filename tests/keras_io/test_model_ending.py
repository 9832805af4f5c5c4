"""Models that end in logits, and those whose softmax or sigmoid is not the last layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers

from signs_lightning.errors import InputError
from signs_lightning.inspect.examine_file import examine
from signs_lightning.keras_io.compare_outputs import first_difference
from signs_lightning.keras_io.from_keras import FromKeras, from_keras
from signs_lightning.keras_io.to_keras import export_keras

from .against_keras import images_for, layer_outputs, randomize, to_torch


def build(*ending: keras.layers.Layer) -> keras.Model:
    stack = [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, strides=2, activation="relu")]
    model = keras.Sequential([*stack, *ending])
    randomize(model)
    return model


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def read(model: keras.Model, folder: Path, extension: str = "keras") -> tuple[FromKeras, Any]:
    """The model here, and what its Keras original gives for the images."""
    path = folder / f"model.{extension}"
    model.save(path)
    ours = from_keras(path, scale="/255")
    assert isinstance(ours, FromKeras)
    images = images_for(model)
    assert first_difference(ours, layer_outputs(model, images), to_torch(images)) is None
    return ours, np.asarray(model(images))


LOGITS = {
    "Dense": lambda: [layers.Flatten(), layers.Dense(5)],
    "one": lambda: [layers.Flatten(), layers.Dense(1)],
    "linear": lambda: [layers.Flatten(), layers.Dense(5), layers.Activation("linear")],
    "averaged": lambda: [layers.Conv2D(5, 1), layers.GlobalAveragePooling2D()],
    "reshaped": lambda: [layers.Conv2D(5, 3), layers.Dropout(0.1), layers.Flatten()],
}


@pytest.mark.parametrize("case", LOGITS)
def test_logits(tmp_path, case, capsys):
    """Probabilities, logits and loss are Keras's; the export gives logits again."""
    model = build(*LOGITS[case]())
    for extension in ("h5", "keras"):
        ours, logits = read(model, tmp_path, extension)
        images = to_torch(images_for(model))
        predicted = ours.predict(images).numpy()
        is_one = case == "one"
        expected = sigmoid(logits) if is_one else softmax(logits)
        found = predicted[:, 1:] if is_one else predicted
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
        function = "the sigmoid of its value." if is_one else "the softmax of its values."
        assert f"so probabilities are {function}" in capsys.readouterr().out
    labels = np.array([1, 0])
    losses = keras.losses
    of_keras = losses.BinaryCrossentropy if is_one else losses.SparseCategoricalCrossentropy
    theirs = float(of_keras(from_logits=True)(labels[:, None], logits))
    with torch.no_grad():
        loss = ours.compute_loss(ours(images), torch.from_numpy(labels))
    assert float(loss) == pytest.approx(theirs, abs=1e-5)
    export_keras(ours, tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_allclose(np.asarray(again(images_for(model))), logits, atol=1e-5, rtol=0)
    words = "2, one logit" if is_one else "5, logits"
    assert ("classes", words) in examine(str(tmp_path / "model.h5"), {}, 1).facts


RESHAPED = {
    "Flatten": lambda: [layers.Conv2D(5, 3, activation="softmax"), layers.Flatten()],
    "Reshape": lambda: [layers.Conv2D(5, 3), layers.Softmax(), layers.Reshape((5,))],
    "sigmoid": lambda: [layers.Conv2D(1, 3, activation="sigmoid"), layers.Flatten()],
    "Dropout": lambda: [layers.Flatten(), layers.Dense(5, "softmax"), layers.Dropout(0.2)],
}


@pytest.mark.parametrize("case", RESHAPED)
def test_probabilities_that_are_reshaped(tmp_path, case):
    ours, probabilities = read(build(*RESHAPED[case]()), tmp_path)
    predicted = ours.predict(to_torch(images_for(build(layers.Flatten())))).numpy()
    found = predicted[:, 1:] if ours.binary else predicted
    np.testing.assert_allclose(found, probabilities, atol=1e-5, rtol=0)
    is_named = "the dropping of probabilities of Dropout" in str(ours.omissions)
    assert is_named == (case == "Dropout")


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        ([layers.Conv2D(5, 1, activation="softmax"), layers.Flatten()], "one label each"),
        (
            [layers.Conv2D(5, 1, activation="softmax"), layers.GlobalAveragePooling2D()],
            "ends with GlobalAveragePooling2D",
        ),
        ([layers.Conv2D(5, 3), layers.Softmax(axis=1), layers.Flatten()], "one label each"),
        ([layers.Flatten(), layers.Dense(5), layers.ReLU()], "ends with ReLU"),
        ([layers.Flatten(), layers.Dense(5), layers.UnitNormalization()], "UnitNormalization"),
        ([layers.Conv2D(5, 3)], r"logits over values of shape \(1, 1, 5\)"),
        ([layers.Flatten()], "ends with Flatten.*'relu'"),
    ],
)
def test_what_gives_no_probabilities(tmp_path, ending, sentence):
    build(*ending).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=sentence):
        from_keras(tmp_path / "m.keras", scale="/255")


@pytest.mark.parametrize(
    ("units", "loss", "sentence"),
    [
        (1, "mse", "loss mse, expected binarycrossentropy"),
        (3, keras.losses.MeanAbsoluteError(), "loss meanabsoluteerror"),
        (3, keras.losses.BinaryCrossentropy(from_logits=True), "loss binarycrossentropy"),
        (3, keras.losses.SparseCategoricalCrossentropy(from_logits=True), None),
        (1, keras.losses.BinaryCrossentropy(from_logits=True), None),
    ],
)
def test_the_loss_tells_what_logits_are(tmp_path, units, loss, sentence):
    """A model for regression has no classes, and one for several labels no softmax."""
    model = build(layers.Flatten(), layers.Dense(units))
    model.compile("adam", loss)
    for extension in ("h5", "keras"):
        path = tmp_path / f"m.{extension}"
        model.save(path)
        if sentence is None:
            ours = from_keras(path, scale="/255")
            assert isinstance(ours, FromKeras)
            assert not [omission for omission in ours.omissions if "loss" in omission]
            continue
        with pytest.raises(InputError, match=sentence):
            from_keras(path, scale="/255")
        assert sentence in examine(str(path), {}, 1).problem
