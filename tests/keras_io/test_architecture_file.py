"""Architecture and weights in two files: the JSON of `to_json` and a file of weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from signs_lightning.commands.import_keras import run
from signs_lightning.errors import InputError
from signs_lightning.keras_io import architecture_file
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras

from .against_keras import images_for, randomize, to_torch
from .test_spellings import keras2, no_input_layer, old_arguments


def convolutional(prefix: str = "", classes: int = 3) -> keras.Model:
    stack = [
        layers.Conv2D(4, 3, activation="relu", name=f"{prefix}a"),
        layers.BatchNormalization(name=f"{prefix}b"),
        layers.MaxPooling2D(name=f"{prefix}c"),
        layers.Flatten(name=f"{prefix}d"),
        layers.Dropout(0.5, name=f"{prefix}e"),
        layers.Dense(classes, activation="softmax", name=f"{prefix}f"),
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), *stack])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's architecture, its weights in every format, and what Keras predicts."""
    folder = tmp_path_factory.mktemp("two_files")
    model = convolutional()
    randomize(model)
    (folder / "model.json").write_text(model.to_json())
    with (folder / "dumped.json").open("w") as file:  # JSON in JSON, as tutorials have it
        json.dump(model.to_json(), file)
    old = keras2(json.loads(model.to_json()))
    for change in (no_input_layer, old_arguments):
        change(old)
    (folder / "keras2.json").write_text(json.dumps(old | {"keras_version": "2.3.1"}))
    model.save_weights(folder / "w.weights.h5")
    model.save(folder / "whole.keras")
    model.save(folder / "whole.h5")
    with h5py.File(folder / "legacy.h5", "w") as legacy:
        save_weights_to_hdf5_group(legacy, model)
    images = images_for(model)
    np.savez(folder / "keras.npz", images=images, probabilities=np.asarray(model(images)))
    return folder


def assert_same(model: Any, folder: Path) -> None:
    with np.load(folder / "keras.npz") as expected:
        found = model.predict(to_torch(expected["images"])).numpy()
        np.testing.assert_allclose(found, expected["probabilities"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("weights", ["w.weights.h5", "legacy.h5", "whole.keras", "whole.h5"])
def test_every_spelling_with_every_format(folder, weights):
    for name in ("model.json", "dumped.json", "keras2.json"):
        model = from_keras(folder / weights, architecture=folder / name)
        assert isinstance(model, FromKeras)
        assert_same(model, folder)


def test_the_checkpoint_needs_neither_file(folder, tmp_path):
    for name in ("model.json", "w.weights.h5"):
        shutil.copy(folder / name, tmp_path)
    output = tmp_path / "m.ckpt"
    arguments = [str(tmp_path / "w.weights.h5"), "--architecture", str(tmp_path / "model.json")]
    with pytest.raises(InputError, match="the file that is read"):
        run("import-keras", [*arguments, "--output", arguments[-1]])
    assert run("import-keras", [*arguments, "--output", str(output)]) == 0
    for name in ("model.json", "w.weights.h5"):
        (tmp_path / name).unlink()
    assert_same(FromKeras.load_from_checkpoint(output, weights_only=True), folder)
    assert str(tmp_path) not in str(torch.load(output, weights_only=True)["hyper_parameters"])


def test_order_decides_as_in_keras(folder, tmp_path):
    """A model that was built again has other names; `load_weights` of Keras takes it, too."""
    (tmp_path / "renamed.json").write_text(convolutional("z").to_json())
    for weights in ("w.weights.h5", "legacy.h5"):
        model = from_keras(folder / weights, architecture=tmp_path / "renamed.json")
        assert_same(model, folder)


@pytest.mark.parametrize("weights", ["w.weights.h5", "legacy.h5"])
def test_weights_of_another_model(folder, tmp_path, weights):
    path = tmp_path / "other.json"
    images = keras.Input((8, 8, 3))
    fewer = keras.Sequential(
        [images, layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3, "softmax")]
    )
    for other, sentence in (
        (convolutional(classes=5), r"expected \(36, 5\) from other.json. The weights belong to an"),
        (fewer, "no layer. The weights belong|has the weights of 3 layers, other.json has 2"),
    ):
        path.write_text(other.to_json())
        with pytest.raises(InputError, match=sentence):
            from_keras(folder / weights, architecture=path)


def lambda_model() -> str:
    layer = {"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEAAA", None, None]}}
    model = json.loads(convolutional().to_json())
    model["config"]["layers"].insert(1, layer)
    return json.dumps(model)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda_model(), "Lambda 'evil'"),
        ("[" * 100_000, "is not the JSON of a Keras model"),
        ('{"class_name": 1, "config": ' + "[" * 100_000, "nested too deeply"),
        ('{"class_name": 1, "config": ' + "[" * 300 + "]" * 300 + "}", "200 levels deep"),
        ('{"a": 1}', "without class_name and config"),
        ('{"class_name": "Sequential", "config"', "is not JSON"),
        ("class_name: Sequential\nconfig: {}\n", "is not the JSON of a Keras model"),
        ('"text"', "is not the JSON of a Keras model"),
        ("\0\xff", "is not the JSON of a Keras model"),
        ("", "is not the JSON of a Keras model"),
    ],
)
def test_json_is_not_trusted(folder, tmp_path, content, sentence):
    (tmp_path / "a.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=sentence):
        from_keras(folder / "w.weights.h5", architecture=tmp_path / "a.json")


def test_what_cannot_be_an_architecture(folder, tmp_path, monkeypatch):
    weights = folder / "w.weights.h5"
    with pytest.raises(InputError, match=r"neither a JSON file nor one of ours \(happy, signs"):
        from_keras(weights, architecture="hapy")
    with pytest.raises(InputError, match="is a folder or a device"):
        from_keras(weights, architecture=tmp_path)
    with pytest.raises(InputError, match=r"import-keras w\.weights\.h5 --architecture signs"):
        FromKeras(path=str(weights), architecture="signs")
    with pytest.raises(InputError, match=r"model\.architecture model\.json"):
        FromKeras(path=str(weights))
    monkeypatch.setattr(architecture_file, "MAX_CONFIG_BYTES", 100)
    with pytest.raises(InputError, match=r"at most 100\. Do not trust"):
        from_keras(weights, architecture=folder / "model.json")
