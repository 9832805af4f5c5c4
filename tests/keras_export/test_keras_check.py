"""What is written for Keras is loaded by Keras before it gets its name."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers
from keras_io.against_keras import randomize

from signs_lightning.__main__ import main
from signs_lightning.errors import InputError
from signs_lightning.keras_io import keras_check, to_keras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import Format, export_keras
from signs_lightning.models.happy_sequential import HappySequential
from signs_lightning.models.signs_functional import SignsFunctional

FIND_KERAS = keras_check.find_keras  # before the tests replace it
ENDINGS: dict[Format, str] = {"keras": ".keras", "keras-weights": ".weights.h5", "keras-h5": ".h5"}


@pytest.fixture
def keras_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras is asked, and in this process."""

    def run(function: str, *args: Any, **options: Any) -> Any:
        assert function.endswith(":predict_with_keras")
        return keras_check.predict_with_keras(*args)

    monkeypatch.setattr(keras_check, "find_keras", lambda: (keras.__version__, "jax"))
    monkeypatch.setattr(keras_check, "run_sandboxed", run)


@pytest.mark.parametrize(
    ("format", "backend"),
    [
        ("keras", "jax"),
        *(
            pytest.param(format, backend, marks=pytest.mark.slow)
            for format, backend in itertools.product(ENDINGS, ["jax", "torch"])
            if (format, backend) != ("keras", "jax")
        ),
    ],
)
def test_a_process_of_its_own(tmp_path, monkeypatch, capsys, format, backend):
    """As the verb does it, on each backend that is installed."""
    monkeypatch.setattr(keras_check, "find_keras", FIND_KERAS)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    export_keras(SignsFunctional(), tmp_path / "model.keras", check=False)
    output = str(tmp_path / f"again{ENDINGS[format]}")
    source = ["--ckpt_path", str(tmp_path / "model.keras"), "--scale", "/255"]
    assert main(["export", *source, "--format", format, "--output", output]) == 0
    line = f"again{ENDINGS[format]}: checked with Keras {keras.__version__} on {backend}: largest"
    assert line in capsys.readouterr().out


def test_all_formats_are_checked(tmp_path, keras_here):
    """Probabilities, logits, one value, inputs that are bytes, and several inputs."""
    models = (HappySequential(image_size=(16, 16, 3)), logits(tmp_path), two_inputs(tmp_path))
    for format, ending in ENDINGS.items():
        for model in models:
            check = export_keras(model, tmp_path / f"model{ending}", format)
            assert check is not None
            assert check.difference < 1e-6


def logits(folder: Path) -> Any:
    image = keras.Input((8, 8, 3), dtype="uint8")
    values = layers.Flatten()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))
    model = keras.Model(image, layers.Dense(3)(values))
    randomize(model)
    model.save(folder / "logits.keras")
    return from_keras(folder / "logits.keras")


def two_inputs(folder: Path) -> Any:
    vector, image = keras.Input((4,), name="vector"), keras.Input((8, 8, 3), name="picture")
    values = layers.Concatenate()([layers.Flatten()(image), layers.Dense(5)(vector)])
    model = keras.Model([vector, image], layers.Dense(3, activation="softmax")(values))
    randomize(model)
    model.save(folder / "two.keras")
    return from_keras(folder / "two.keras", scale="/255")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_layers_of_16_bits(tmp_path, keras_here, policy):
    """Keras computes in float32 for the comparison; weights of 16 bits it rounds."""
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu", dtype=policy),
         layers.Flatten(), layers.Dense(3, activation="softmax", dtype="float32")]
    )  # fmt: skip
    randomize(model)
    model.save(tmp_path / "model.keras")
    check = export_keras(from_keras(tmp_path / "model.keras"), tmp_path / "again.keras")
    assert check is not None
    assert check.difference < (1e-6 if policy.startswith("mixed") else 0.01)


def damage(change: Callable[[h5py.File], None]) -> Any:
    write = to_keras._write

    def wrong(path: Path, *args: Any) -> None:
        write(path, *args)
        with h5py.File(path, "r+") as file:
            change(file)

    return wrong


def other_weights(file: h5py.File) -> None:
    kernel = file["model_weights/fc/fc/kernel"]
    kernel[...] = kernel[...] + 1


def other_class(file: h5py.File) -> None:
    config = json.loads(file.attrs["model_config"])
    config["config"]["layers"][1]["class_name"] = "NoSuchLayer"
    file.attrs["model_config"] = json.dumps(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_weights, r"gives probabilities that differ by up to .*expected at most 1e-05"),
        (other_class, r"Keras 3.* on jax refuses the file: .*NoSuchLayer"),
    ],
)
def test_what_keras_does_not_take_is_not_written(
    tmp_path, monkeypatch, keras_here, change, message
):
    model, path = HappySequential(image_size=(16, 16, 3)), tmp_path / "model.h5"
    monkeypatch.setattr(to_keras, "_write", damage(change))
    with pytest.raises(InputError, match=f"{message}.*--skip_keras_check"):
        export_keras(model, path, "keras-h5")
    assert list(tmp_path.iterdir()) == []
    assert export_keras(model, path, "keras-h5", check=False) is None
    assert path.is_file()


def test_where_keras_is_not_installed(tmp_path, monkeypatch, capsys):
    """Also where it is Keras 2, or has no backend."""
    find_spec, version = keras_check.util.find_spec, keras_check.metadata.version
    assert FIND_KERAS() == (keras.__version__, "jax")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert FIND_KERAS() == (keras.__version__, "torch")
    monkeypatch.setenv("KERAS_BACKEND", "nowhere")
    assert FIND_KERAS() == (keras.__version__, "jax")
    monkeypatch.setattr(keras_check.metadata, "version", lambda name: "2.15.0")
    assert FIND_KERAS() is None
    monkeypatch.setattr(keras_check.metadata, "version", version)
    for hidden in (("keras",), keras_check.BACKENDS):
        monkeypatch.setattr(
            keras_check.util,
            "find_spec",
            lambda name, hidden=hidden: None if name in hidden else find_spec(name),
        )
        assert FIND_KERAS() is None
    export_keras(SignsFunctional(), tmp_path / "model.keras")
    output = ["--format", "keras-h5", "--output", str(tmp_path / "again.h5")]
    assert main(["export", "--ckpt_path", str(tmp_path / "model.keras"), *output]) == 0
    assert "again.h5: not checked with Keras\n" in capsys.readouterr().out


def test_a_model_in_training_stays_so(tmp_path, keras_here):
    model = HappySequential(image_size=(16, 16, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_keras(model, tmp_path / "model.keras")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    np.testing.assert_array_equal(model.network.training, True)
