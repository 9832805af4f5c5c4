"""Models that end in n sigmoids: n probabilities that do not add up to 1, everywhere the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from keras import layers, losses

from signs_lightning.commands.evaluate_onnx import evaluate_onnx
from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.errors import InputError
from signs_lightning.inspect.examine_file import examine
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import export_keras

from .against_keras import assert_same, images_for, randomize, to_torch

LINE = "gives each class a probability of its own (sigmoid), and they need not add up to 1."


def build(*ending: keras.layers.Layer, size: int = 8) -> keras.Model:
    stack = [keras.Input((size, size, 3)), layers.Conv2D(4, 3, strides=2, activation="relu")]
    model = keras.Sequential([*stack, *ending])
    randomize(model)
    return model


def sigmoids() -> keras.Model:
    return build(layers.Flatten(), layers.Dense(5, activation="sigmoid", name="end"))


def test_probabilities_are_those_of_keras(tmp_path, capsys):
    """In both formats; with test-time augmentation the mean of the views' probabilities."""
    model = sigmoids()
    ours = assert_same(model, tmp_path)
    assert capsys.readouterr().out.count(f"output: Dense 'end' {LINE}") == 2
    images = images_for(model)
    expected = np.asarray(model(images))
    assert np.abs(expected.sum(1) - 1).max() > 0.1
    classes = ours.predicted_classes(ours(to_torch(images)))
    np.testing.assert_array_equal(classes, expected.argmax(1))
    views = [expected, np.asarray(model(images[:, :, ::-1]))]
    ours.hparams["test_time_augmentation"] = ["hflip"]
    predicted = ours.predict(to_torch(images))
    np.testing.assert_allclose(predicted, np.mean(views, axis=0), atol=1e-5)
    assert ("classes", "5, sigmoids") in examine(str(tmp_path / "model.h5"), {}, 1).facts
    export_keras(ours, tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_allclose(np.asarray(again(images)), expected, atol=1e-5)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_logits_that_were_trained_as_sigmoids(tmp_path, is_compiled):
    """Their loss tells; a checkpoint, which remembers it, gives the same."""
    model = build(layers.Flatten(), layers.Dense(5))
    if is_compiled:
        model.compile("adam", losses.BinaryCrossentropy(from_logits=True))
    model.save(tmp_path / "m.keras")
    ours = from_keras(tmp_path / "m.keras", scale="/255")
    images = images_for(model)
    logits = np.asarray(model(images))
    powers = np.exp(logits)
    expected = 1 / (1 + 1 / powers) if is_compiled else powers / powers.sum(1, keepdims=True)
    again = FromKeras(**ours.hparams).eval()
    again.load_state_dict(ours.state_dict())
    for one in (ours, again):
        np.testing.assert_allclose(one.predict(to_torch(images)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("ending", "loss", "sentence"),
    [
        ([layers.Flatten(), layers.Dense(4, "sigmoid")], "mse", "and sigmoids.*the loss mse"),
        ([layers.Conv2D(5, 1, activation="sigmoid"), layers.Flatten()], None, "one label each"),
        ([layers.Flatten(), layers.Dense(192, "sigmoid")], None, "it gives images, not classes"),
    ],
)
def test_sigmoids_that_are_no_classes(tmp_path, ending, loss, sentence):
    """Regression, a value for every place of the image, and an autoencoder."""
    model = build(*ending)
    if loss is not None:
        model.compile("adam", loss)
    model.save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=sentence):
        from_keras(tmp_path / "m.keras", scale="/255")


@pytest.mark.slow
def test_an_onnx_file_agrees(tmp_path, small_signs):
    """Probabilities, accuracy and loss on a test file are the checkpoint's."""
    from signs_lightning.export.artefacts import export_artefact
    from signs_lightning.export.compared_images import random_images
    from signs_lightning.export.onnx_classifier import OnnxClassifier

    model = build(layers.Flatten(), layers.Dense(6, "sigmoid"), size=64)
    model.save(tmp_path / "m.keras")
    ours = from_keras(tmp_path / "m.keras", scale="/255")
    export_artefact(ours, tmp_path / "m.onnx", "onnx", random_images(4, (64, 64, 3)))
    exported = OnnxClassifier(tmp_path / "m.onnx")
    found = evaluate_onnx(exported, H5DataModule(test_file=str(small_signs[1])))
    data = H5DataModule(test_file=str(small_signs[1]))
    data.prepare_data()
    data.setup("test")
    ((images, labels),) = list(data.test_dataloader())
    probabilities = ours.predict(images)
    np.testing.assert_allclose(exported.predict(images), probabilities, atol=1e-5)
    theirs = losses.BinaryCrossentropy()(np.eye(6)[labels], probabilities.numpy())
    assert found.loss == pytest.approx(float(theirs), abs=1e-5)
    with torch.no_grad():
        loss = ours.compute_loss(ours(ours.preprocess(images)), labels)
    assert float(loss) == pytest.approx(float(theirs), abs=1e-5)
    assert found.correct == int((probabilities.argmax(1) == labels).sum())
