"""Every layer that is read comes back: each model of the tests of layers is exported, as Keras 3
spells it and as Keras 2 did.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
from keras_io import test_layers
from keras_io.against_keras import images_for, randomize, to_torch
from keras_io.test_spellings import rewrite

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import Format, export_keras

pytestmark = pytest.mark.slow
FORMATS: dict[Format, str] = {"keras": ".keras", "keras-h5": ".h5"}
OF_KERAS_3 = {  # with operations, or with what Keras 2 calls or does otherwise
    "test_arithmetic", "test_attention", "test_identity_at_inference",
}  # fmt: skip


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Tests of layers that compare a model, and their arguments besides the folder."""
    for name, test in vars(test_layers).items():
        if not name.startswith("test_") or "folder" not in inspect.signature(test).parameters:
            continue
        marks = [m for m in getattr(test, "pytestmark", ()) if m.name == "parametrize"]
        values = [[(mark.args[0], value) for value in mark.args[1]] for mark in marks]
        for chosen in itertools.product(*values):
            yield name, dict(chosen)


def assert_returns(ours: FromKeras, folder: Path, images: np.ndarray, expected: np.ndarray) -> None:
    for format, ending in FORMATS.items():
        export_keras(ours, folder / f"again{ending}", format)
        again = keras.models.load_model(folder / f"again{ending}", compile=False)
        given = np.asarray(jax.jit(lambda x, model=again: model(x, training=False))(images))
        np.testing.assert_allclose(given, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "arguments"), list(cases()))
def test_it_comes_back(tmp_path, monkeypatch, name, arguments):
    assert_same: Callable[..., FromKeras] = test_layers.assert_same

    def compare(
        model: keras.Model, folder: Path, channels_first: bool = False, **options: Any
    ) -> FromKeras:
        ours = assert_same(model, folder, channels_first, **options)
        images = images_for(model)
        expected = np.asarray(jax.jit(lambda x: model(x, training=False))(images))
        assert_returns(ours, folder, images, expected)
        if name not in OF_KERAS_3:
            model.save(folder / "old.h5")
            rewrite(folder / "old.h5", "2.11.0", as_bytes=False)
            old = from_keras(folder / "old.h5", scale="/255")
            assert isinstance(old, FromKeras)
            # Some layers compute otherwise in Keras 2, such as hard_sigmoid.
            predicted = old.predict(to_torch(images, channels_first)).numpy()
            assert_returns(old, folder, images, predicted[:, 1:] if old.binary else predicted)
        return ours

    monkeypatch.setattr(test_layers, "assert_same", compare)
    vars(test_layers)[name](folder=tmp_path, **arguments)


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "NASNetMobile", "DenseNet121"])
def test_applications(tmp_path, name):
    """With their own order of layers and weights."""
    size = 224 if name == "NASNetMobile" else 64
    model = getattr(keras.applications, name)(weights=None, classes=4, input_shape=(size, size, 3))
    randomize(model)
    model.save(tmp_path / "model.h5")
    images = images_for(model)
    expected = np.asarray(jax.jit(lambda x: model(x, training=False))(images))
    ours = from_keras(tmp_path / "model.h5", scale="/255")
    assert isinstance(ours, FromKeras)
    assert_returns(ours, tmp_path, images, expected)
    rewrite(tmp_path / "model.h5", "2.11.0", as_bytes=False)
    old = from_keras(tmp_path / "model.h5", scale="/255")
    assert isinstance(old, FromKeras)
    assert_returns(old, tmp_path, images, expected)
