"""Models that end in logits, and those whose softmax or sigmoid is not the last layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers, ops

from signs_lightning.errors import InputError
from signs_lightning.inspect.examine_file import examine
from signs_lightning.keras_io.average_endings import to_logits
from signs_lightning.keras_io.compare_outputs import first_difference
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.models.losses import bounded_cross_entropy

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
}


@pytest.mark.parametrize("case", RESHAPED)
def test_probabilities_that_are_reshaped(tmp_path, case):
    ours, probabilities = read(build(*RESHAPED[case]()), tmp_path)
    predicted = ours.predict(to_torch(images_for(build(layers.Flatten())))).numpy()
    found = predicted[:, 1:] if ours.binary else predicted
    np.testing.assert_allclose(found, probabilities, atol=1e-5, rtol=0)


def of_two_heads(join: Callable[[list[Any]], Any], units: int = 4) -> keras.Model:
    image = keras.Input((8, 8, 3))
    value = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3, activation="relu")(image))
    activation = "sigmoid" if units == 1 else "softmax"
    model = keras.Model(
        image, join([layers.Dense(units, activation, name=f"head_{k}")(value) for k in range(2)])
    )
    randomize(model)
    return model


def maps() -> keras.Model:
    return build(layers.Conv2D(4, 1, activation="softmax"), layers.GlobalAveragePooling2D())


AVERAGES: dict[str, Callable[[], keras.Model]] = {
    "Average": lambda: of_two_heads(lambda heads: layers.Average()(heads)),
    "of sigmoids": lambda: of_two_heads(lambda heads: layers.Average()(heads), units=1),
    "weighted": lambda: of_two_heads(lambda heads: 0.3 * heads[0] + heads[1] * 0.7),
    "sum": lambda: of_two_heads(lambda heads: (heads[0] + heads[1]) / 2.0),
    "Rescaling": lambda: of_two_heads(lambda heads: layers.Rescaling(0.5)(layers.Add()(heads))),
    "stacked": lambda: of_two_heads(lambda heads: ops.mean(ops.stack(heads, 1), 1)),
    "concatenated": lambda: of_two_heads(
        lambda heads: ops.mean(
            layers.Concatenate(1)([layers.Reshape((1, 4))(head) for head in heads]), axis=1
        )
    ),
    "Dropout": lambda: build(layers.Flatten(), layers.Dense(4, "softmax"), layers.Dropout(0.2)),
    "pixels": maps,
}


@pytest.mark.parametrize("case", AVERAGES)
def test_averages_of_probabilities(tmp_path, case):
    """Probabilities and loss are Keras's, and so are those of an export."""
    model = AVERAGES[case]()
    ours, probabilities = read(model, tmp_path)
    images = to_torch(images_for(model))
    predicted = ours.predict(images).numpy()
    is_one = case == "of sigmoids"
    found = predicted[:, 1:] if is_one else predicted
    np.testing.assert_allclose(found, probabilities, atol=1e-5, rtol=0)
    labels = np.array([1, 0])
    losses = keras.losses
    of_keras = losses.BinaryCrossentropy if is_one else losses.SparseCategoricalCrossentropy
    theirs = float(of_keras()(labels[:, None], probabilities))
    with torch.no_grad():
        loss = ours.compute_loss(ours(images), torch.from_numpy(labels))
    assert float(loss) == pytest.approx(theirs, abs=1e-5)
    export_keras(ours, tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_array_equal(np.asarray(again(images_for(model))), probabilities)


@pytest.mark.parametrize("function", [ops.softmax, keras.activations.softmax, ops.sigmoid])
def test_a_function_at_the_end(tmp_path, function):
    """It is taken off as a layer's activation is."""
    image = keras.Input((8, 8, 3))
    units = 1 if function is ops.sigmoid else 5
    model = keras.Model(image, function(layers.Dense(units)(layers.Flatten()(image))))
    randomize(model)
    ours, probabilities = read(model, tmp_path)
    predicted = ours.predict(to_torch(images_for(model))).numpy()
    found = predicted[:, 1:] if units == 1 else predicted
    np.testing.assert_allclose(found, probabilities, atol=1e-5, rtol=0)
    assert ours.plan.ending.kind == ("sigmoid" if units == 1 else "softmax")


def test_the_loss_of_probabilities_is_bounded():
    """As Keras's: a probability counts as 1e-7 at least, and as a share of its row."""
    values = np.array([[1, 0, 0], [0.5, 0.5, 1], [0, 0, 1]], dtype="float32")
    for labels in ([0, 2, 2], [1, 0, 0]):
        theirs = keras.losses.SparseCategoricalCrossentropy(reduction=None)(
            np.array(labels), values
        )
        logits = to_logits(torch.from_numpy(values))
        for row, label, expected in zip(logits, labels, theirs, strict=True):
            ours = bounded_cross_entropy(row[None], torch.tensor([label]), None, 0.0)
            np.testing.assert_allclose(ours, expected, atol=1e-5)
    values = np.array([[0], [0.25], [1]], dtype="float32")
    theirs = keras.losses.BinaryCrossentropy(reduction=None)(np.array([[1], [0], [0]]), values)
    ours = torch.nn.functional.binary_cross_entropy_with_logits(
        to_logits(torch.from_numpy(values))[:, 0], torch.tensor([1.0, 0, 0]), reduction="none"
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_a_dropout_of_probabilities_is_active_in_training(tmp_path):
    ours, _ = read(AVERAGES["Dropout"](), tmp_path)
    images = torch.rand(50, 3, 8, 8)
    with torch.no_grad():
        assert ours.train()(images).min() < -60  # log 1e-30, where one was dropped
        assert ours.eval()(images).min() > -60


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        ([layers.Conv2D(5, 1, activation="softmax"), layers.Flatten()], "one label each"),
        (
            [layers.Conv2D(5, 1, activation="softmax"), layers.GlobalMaxPooling2D()],
            "ends with GlobalMaxPooling2D",
        ),
        ([layers.Flatten(), layers.Dense(5, "softmax"), layers.Rescaling(0.5)], "Rescaling"),
        ([layers.Conv2D(5, 3), layers.Softmax(1), layers.GlobalAveragePooling2D()], "Global"),
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
        (1, "huber", "loss huber, expected binarycrossentropy"),
        (3, keras.losses.LogCosh(), "loss logcosh"),
        (3, keras.losses.BinaryCrossentropy(from_logits=True), None),
        (3, keras.losses.SparseCategoricalCrossentropy(from_logits=True), None),
        (1, keras.losses.BinaryCrossentropy(from_logits=True), None),
    ],
)
def test_the_loss_tells_what_logits_are(tmp_path, units, loss, sentence):
    """A model for regression has no classes, and is one where its error can be trained on."""
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
