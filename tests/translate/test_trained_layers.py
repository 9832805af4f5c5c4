"""Which layers a fit trains, where `trainable` is set after `compile`."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from signs_lightning.translate.read_source import read_source

SOURCE = """
{keras}
(x, y), _ = keras.datasets.cifar10.load_data()
first = keras.layers.Dense(3, activation='relu')
model = keras.Sequential([
    keras.layers.Flatten(input_shape=(32, 32, 3)), first, keras.layers.Dense(10, 'softmax')])
first.trainable = {before}
model.compile('sgd', 'sparse_categorical_crossentropy')
first.trainable = {after}
model.fit(x / 255., y, epochs=1)
"""
KERAS2, KERAS3 = "from tensorflow import keras", "import keras\nfrom keras import ops"


def _trained_in_keras3(before: bool, after: bool) -> bool:
    first = keras.layers.Dense(3)
    model = keras.Sequential(
        [keras.Input((4,)), first, keras.layers.Dense(2, activation="softmax")]
    )
    first.trainable = before
    model.compile("sgd", "sparse_categorical_crossentropy")
    first.trainable = after
    kernel = first.get_weights()[0]
    model.fit(np.ones((8, 4), "float32"), np.arange(8) % 2, verbose=0)
    return bool(np.abs(first.get_weights()[0] - kernel).max() > 0)


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (False, False)])
def test_flags(before: bool, after: bool, tmp_path: Path) -> None:
    """Keras 2 trains what was trainable in compile; tf_keras 2.21 was seen to do so."""
    path = tmp_path / "source.py"
    for library, expected in ((KERAS2, before), (KERAS3, _trained_in_keras3(before, after))):
        path.write_text(SOURCE.format(keras=library, before=before, after=after))
        [model] = read_source(path, {}).models
        [fit] = model.fits
        assert fit.model_config is not None
        layers = {layer["config"]["name"]: layer for layer in fit.model_config["config"]["layers"]}
        assert layers["dense"]["config"]["trainable"] == expected
        assert model.record is not None
        assert model.record.layers[1].trainable == after
        is_said = any("trainable was set since" in note for _, note in fit.all_notes)
        assert is_said == (library == KERAS2 and before != after)


@pytest.mark.parametrize(
    ("keras_of", "change", "problem"),
    [
        (KERAS2, "first.trainable = False", ""),
        (KERAS3, "first.trainable = False", "trainable set between two fits"),
        (KERAS3, "first.trainable = False\nmodel.compile('sgd', LOSS)", ""),
        (KERAS2, "model.optimizer.momentum = 0.9", "momentum of the optimizer"),
        (KERAS3, "model.optimizer.learning_rate = 0.5", ""),
    ],
)
def test_what_is_set_between_two_fits(
    keras_of: str, change: str, problem: str, tmp_path: Path
) -> None:
    """tf_keras 2.21 trains as it began; Keras 3.15 on TensorFlow too, on PyTorch it freezes."""
    path = tmp_path / "source.py"
    change = change.replace("LOSS", "'sparse_categorical_crossentropy'")
    again = f"{change}\nmodel.fit(x / 255., y, epochs=1)\n"
    path.write_text(SOURCE.format(keras=keras_of, before=True, after=True) + again)
    [model] = read_source(path, {}).models
    reasons = "; ".join(unknown.reason for unknown in model.fits[-1].all_problems)
    assert problem in reasons
    assert bool(problem) == bool(reasons)
