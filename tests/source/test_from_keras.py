"""Source of models from Keras files: it gives what they give, and ruff has nothing to say."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
from keras import layers

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.source import check, write_source
from signs_lightning.source.check import load_class
from signs_lightning.source.write_source import export_source

from .keras_models import COMPILED, read, trained_otherwise
from .ruff_complaints import complaints


def test_all_that_trains(tmp_path: Path):
    model = read(trained_otherwise(), "tf", COMPILED)
    difference = export_source(model, tmp_path / "net.py")
    text = (tmp_path / "net.py").read_text()
    assert difference <= 1e-12
    assert complaints(tmp_path / "net.py") == ""
    for part in ("KerasSGD(", "make_keras_schedule(", "clip_norms", "l1_l2(", "images * 2 - 1"):
        assert part in text
    net = load_class(str(tmp_path / "net.py"))(weights=str(tmp_path / "net.safetensors"))
    images = torch.rand(2, 3, 10, 9)
    torch.testing.assert_close(net.eval()(images), model.eval()(images), atol=0, rtol=0)
    assert "weights" not in net.hparams  # a checkpoint needs no file beside it


def test_a_difference_is_found_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = read(trained_otherwise())
    write = write_source.write_text

    def write_wrongly(*args, **kwargs):
        written = write(*args, **kwargs)
        written.text = written.text.replace("momentum=0.9", "momentum=0.9, lr=0.2", 1)
        written.text = written.text.replace("l1=0.0, l2=0.01", "l1=0.0, l2=0.011", 1)
        return written

    monkeypatch.setattr(write_source, "write_text", write_wrongly)
    with pytest.raises(InputError, match=r"gradient|loss|does not run"):
        export_source(model, tmp_path / "net.py")
    assert not list(tmp_path.glob("net*")) + list(tmp_path.glob(".net*"))


NAMES = (
    'x"""\nimport os; os.system("touch owned")  # ',
    "__class__",
    "self",
    "import",
    "forward",
    "conv\u202e\\",
    "größe/1",
    "a" * 100,
)


def test_names_of_a_file_are_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Keras refuses a slash alone; a file may hold any text where a name is expected."""
    monkeypatch.chdir(tmp_path)
    stack = [layers.Input((8, 8, 3))]
    stack += [layers.Dense(3, name=f"layer{k}") for k in range(len(NAMES))]
    stack += [layers.Flatten(), layers.Dense(2, activation="softmax")]
    model = keras.Sequential(stack, name="sequential_name")
    config = json.loads(model.to_json())
    for k, name in enumerate(NAMES):
        config["config"]["layers"][k + 1]["config"]["name"] = name
    config["config"]["name"] = NAMES[0]
    read = FromKeras(config=json.dumps(config), scale="/255", class_names=[NAMES[0], NAMES[5]])
    export_source(read, tmp_path / "net.py")
    text = (tmp_path / "net.py").read_text()
    assert complaints(tmp_path / "net.py") == ""
    nodes = list(ast.walk(ast.parse(text)))
    assert "os" not in {node.id for node in nodes if isinstance(node, ast.Name)}
    assert "os" not in {node.name for node in nodes if isinstance(node, ast.alias)}
    assert text.replace("\n", "").isprintable()
    assert not (tmp_path / "owned").exists()


def test_what_cannot_be_written_is_said(tmp_path: Path):
    from signs_lightning import ImageClassifier

    class Own(ImageClassifier):
        def build(self):
            return torch.nn.Flatten()

    with pytest.raises(InputError, match="Own is Python source already"):
        export_source(Own(), tmp_path / "net.py")


def test_compares_every_tensor():
    tensors = {"outputs": torch.ones(2), "gradient a": torch.zeros(3), "trained a": torch.ones(3)}
    assert check.compare_evidence(dict(tensors), tensors) == ("same", 0.0)
    for key in tensors:
        other = {**tensors, key: tensors[key] + 1e-6}
        kind, said = check.compare_evidence(other, tensors)
        assert kind == "different", key
        assert key.split()[-1] in said


def test_the_loss_of_averaged_probabilities(tmp_path: Path):
    """Keras bounds it; a Dropout behind the softmax makes some of them 0."""
    image = keras.Input((8, 8, 3))
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(image))
    model = read(keras.Model(image, layers.Dropout(0.5)(x)))
    assert export_source(model, tmp_path / "net.py") <= 1e-12
    assert "bounded_cross_entropy(" in (tmp_path / "net.py").read_text()


@pytest.mark.parametrize("standalone", [False, True])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SGD", {"clipnorm": 1000.0, "momentum": 0.9}),  # which the first step does not show
        ("Lion", {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 5}),
        ("Adam", {"global_clipnorm": 1000.0, "use_ema": True, "ema_momentum": 0.9}),
    ],
)
def test_settings_that_all_optimizers_share(
    name: str, settings: dict[str, Any], standalone: bool, tmp_path: Path
):
    """Clipping, decay and averaging are written like an optimizer's own settings."""
    compiled = {
        "optimizer": {"class_name": name, "config": settings},
        "loss": "categorical_crossentropy",
    }
    model = read(trained_otherwise(), "/255", compiled)
    path = tmp_path / "net.py"
    assert export_source(model, path, standalone) <= 1e-12
    for key, value in settings.items():
        assert f"{key}={value}" in path.read_text()


def test_starts_fresh_with_drawn_weights(tmp_path: Path):
    """No kernel is what lay in memory before."""
    image = keras.Input((4, 4, 3))
    x = layers.Conv2DTranspose(2, 3, strides=2, name="up")(image)
    model = read(keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(x))))
    export_source(model, tmp_path / "net.py")
    weight = load_class(str(tmp_path / "net.py"))().network.up.weight
    assert 0 < weight.abs().max() < 1
    assert weight.std() > 0.1
