"""A translated model begins with the weights that its source loads, as Keras reads their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras.src.legacy.saving import legacy_h5_format

from signs_lightning.__main__ import main
from signs_lightning.models.weights_file import load_weights

HEAD = """
import h5py, numpy as np
from tensorflow import keras
from tensorflow.keras import layers
from tensorflow.keras.applications import {name}
f = h5py.File('train.h5')
x, y = np.array(f['train_set_x'][:]) / 255., np.array(f['train_set_y'][:])
base = {name}(weights='imagenet', include_top=False, input_shape=(32, 32, 3){more})
base.trainable = False
"""
NESTED = """
model = keras.Sequential([base, layers.Flatten(), layers.Dense(6, activation='softmax')])
"""
INLINED = """
out = layers.Dense(6, activation='softmax')(layers.Flatten()(base.output))
model = keras.Model(base.input, out)
"""
FIT = """
model.compile('adam', 'sparse_categorical_crossentropy')
model.fit(x, y, epochs=1, batch_size=4)
"""
MOBILENET: dict[str, Any] = {"name": "MobileNet", "more": ", alpha=0.25"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)  # some weights sum up to more than float32 tells within 1e-5
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    with h5py.File("train.h5", "w") as file:
        file["train_set_x"], file["train_set_y"] = images, np.arange(8) % 6
    return tmp_path


def make_base(name: str, **kwargs: Any) -> Any:
    """Return Keras's model with weights that are all different."""
    keras.backend.clear_session()
    base = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(32, 32, 3), **kwargs
    )
    random = np.random.default_rng(1)
    for weight in base.weights:
        if "kernel" in weight.name:  # of a size by which the last layer tells images apart
            fan = np.prod(weight.shape[: 2 if weight.shape[-1] == 1 else 3])
            gain = 1.5 if name == "VGG16" else 2  # which has no norms
            weight.assign(random.normal(0, gain / np.sqrt(fan), weight.shape))
        else:
            start = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
            weight.assign(start + random.uniform(-0.1, 0.1, weight.shape))
    return base


def add_head(base: Any, is_nested: bool) -> Any:
    layers = keras.layers
    if is_nested:
        return keras.Sequential([base, layers.Flatten(), layers.Dense(6, activation="softmax")])
    last = layers.Dense(6, activation="softmax")(layers.Flatten()(base.output))
    return keras.Model(base.input, last)


def save(model: Any, kind: str) -> None:
    if kind == "legacy.h5":  # as the files of keras.applications are
        with h5py.File(kind, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    elif kind.endswith(".weights.h5"):
        model.save_weights(kind)
    else:
        model.save(kind)


def translate(source: str, *facts: str) -> int:
    Path("source.py").write_text(source)
    options = [part for fact in facts for part in ("--fact", fact)]
    return main(["translate", "source.py", "--output", "out", *options])


def load(weights: str = "out/model.safetensors") -> Any:
    """Return the translated model with the weights that its configuration names."""
    names: dict[str, Any] = {"__name__": "translated"}
    exec(Path("out/model.py").read_text(), names)
    model = names["Net"]()
    model.configure_model()
    load_weights(model, weights)
    return model.eval()


def predict(model: Any) -> np.ndarray:
    with h5py.File("train.h5") as file:
        images = torch.from_numpy(file["train_set_x"][()] / np.float32(255)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return model(images).softmax(1).numpy()


def expected(model: Any) -> np.ndarray:
    with h5py.File("train.h5") as file:
        values = model.predict(file["train_set_x"][()] / np.float32(255), verbose=0)
    assert values.std(axis=0).max() > 1e-3  # the images differ
    return values


def set_head(keras_model: Any, model: Any) -> None:
    """Give the last layer of Keras's model the values that were drawn for the translated one."""
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1]
    values = linear.weight.detach().numpy().T, linear.bias.detach().numpy()
    keras_model.layers[-1].set_weights(list(values))


KINDS = ("base.weights.h5", "base.h5", "base.keras")
CASES = [(MOBILENET, kind, True) for kind in KINDS] + [(MOBILENET, "legacy.h5", False)]
VGG16 = {"name": "VGG16", "more": ""}


@pytest.mark.parametrize(
    ("base", "kind", "is_nested"),
    [
        (MOBILENET, "legacy.h5", True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES),
        pytest.param(VGG16, "legacy.h5", True, marks=pytest.mark.slow),
        pytest.param(VGG16, "base.weights.h5", False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("folder")
@pytest.mark.slow
def test_base_begins_with_the_file(base: dict[str, Any], kind: str, is_nested: bool) -> None:
    made = make_base(base["name"], **({"alpha": 0.25} if base is MOBILENET else {}))
    save(made, kind)
    made.trainable = False
    whole = add_head(made, is_nested)
    source = HEAD.format(**base) + (NESTED if is_nested else INLINED) + FIT
    assert translate(source, f"weights={kind}") == 0
    assert "weights: out/model.safetensors" in Path("out/config.yaml").read_text()
    model = load()
    set_head(whole, model)
    np.testing.assert_allclose(predict(model), expected(whole), atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["legacy.h5", pytest.param("base.weights.h5", marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("folder")
@pytest.mark.slow
def test_whole_model_begins_with_the_file(kind: str) -> None:
    whole = add_head(make_base("MobileNet", alpha=0.25), True)
    save(whole, kind)
    source = HEAD.format(**MOBILENET).replace("'imagenet'", "None")
    source += f"{NESTED}model.load_weights('{kind}')\n{FIT}"
    assert translate(source, f"weights_sequential={kind}") == 0
    np.testing.assert_allclose(predict(load()), expected(whole), atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_file_that_is_loaded_last_counts() -> None:
    save(make_base("MobileNet", alpha=0.25), "base.h5")
    whole = add_head(make_base("MobileNet", alpha=0.25), True)
    for weight in whole.weights:
        weight.assign(weight.numpy() * 1.1 + 0.01)
    save(whole, "legacy.h5")
    both = ("weights_mobilenet_0_25_224=base.h5", "weights_sequential=legacy.h5")
    for source, is_whole in (
        (f"{NESTED}model.load_weights('x')\n", True),
        (f"{NESTED}model.load_weights('x')\nbase.load_weights('y')\n", False),
    ):
        facts = both if is_whole else (*both, "weights_mobilenet_0_25_224_2=base.h5")
        assert translate(HEAD.format(**MOBILENET) + source + FIT, *facts) == 0
        assert (np.abs(predict(load()) - expected(whole)).max() < 1e-5) == is_whole


@pytest.mark.usefixtures("folder")
def test_layers_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    keras.backend.clear_session()
    layers = keras.layers
    other = keras.Sequential(
        [keras.Input((32, 32, 3)), layers.Conv2D(4, 3, name="stem"), layers.Flatten(),
         layers.Dense(9, name="head")]
    )  # fmt: skip
    save(other, "other.h5")
    source = (
        HEAD.partition("base =")[0].format(name="VGG16")
        + """
model = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(4, 3, name='stem'),
    layers.Conv2D(4, 3, name='more'), layers.Flatten(), layers.Dense(6, name={head!r})])
model.load_weights('other.h5', by_name=True, skip_mismatch={skips})
model.compile('adam', keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, epochs=1, batch_size=4)
"""
    )
    for head, skips in (("new", False), ("head", True)):
        assert translate(source.format(head=head, skips=skips), "weights=other.h5") == 0
        kernel = load().state_dict()["network.stem.weight"].permute(2, 3, 1, 0).numpy()
        np.testing.assert_array_equal(kernel, other.layers[0].get_weights()[0])
    capsys.readouterr()
    assert translate(source.format(head="head", skips=False), "weights=other.h5") == 2
    said = capsys.readouterr().err
    assert all(part in said for part in ("Dense 'head'", "(3600, 9)", "(3136, 6)"))


@pytest.mark.usefixtures("folder")
@pytest.mark.slow
def test_what_does_not_fit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    save(make_base("MobileNet", alpha=0.5), "wide.h5")
    save(add_head(make_base("MobileNet", alpha=0.25), True), "whole.h5")
    source = HEAD.format(**MOBILENET) + NESTED + FIT
    for facts, messages in {
        ("weights=wide.h5",): ["kernel of Conv2D 'conv1'", "(3, 3, 3, 16)", "(3, 3, 3, 8)"],
        ("weights=whole.h5",): ["weights of 2 layers", "has 54 layers with weights", "line 8"],
        ("weights=train.h5",): ["not a Keras model"],
        ("weights=nothing.h5",): ["is no file", "--fact weights=none"],
        ("weights_vgg=wide.h5",): ["expected one of: weights, weights_mobilenet_0_25_224"],
        (): ["--fact weights=FILE", "~/.keras/models/mobilenet_2_5_224_tf_no_top.h5", "line 8"],
    }.items():
        assert translate(source, *facts) == 2
        said = capsys.readouterr().err.replace("\n", " ")
        assert all(message in said for message in messages), said
        assert not Path("out").exists()
    assert translate(source.replace("'imagenet'", "None"), "weights=wide.h5") == 2
    assert "is of no use" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_several_files_have_a_name_each(capsys: pytest.CaptureFixture[str]) -> None:
    source = HEAD.format(**MOBILENET) + NESTED + "model.load_weights('mine.h5')\n" + FIT
    assert translate(source) == 2
    asked = capsys.readouterr().err
    assert "--fact weights_mobilenet_0_25_224=FILE" in asked
    assert "--fact weights_sequential=FILE" in asked
    Path("mine.h5").touch()
    assert translate(source, "weights=mine.h5") == 2
    assert "one file for 2 models" in capsys.readouterr().err
    assert translate(source, "weights=none") == 0
    assert capsys.readouterr().out.count("starts untrained") == 2


@pytest.mark.usefixtures("folder")
@pytest.mark.slow
def test_fit_begins_with_them_and_keeps_the_base(capsys: pytest.CaptureFixture[str]) -> None:
    save(make_base("MobileNet", alpha=0.25), "legacy.h5")
    assert translate(HEAD.format(**MOBILENET) + NESTED + FIT, "weights=legacy.h5") == 0
    before = load().state_dict()
    options = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    Path("out").rename("moved")
    assert main(["fit", "--config", "moved/config.yaml", *options]) == 0
    [path] = Path().glob("lightning_logs/**/last.ckpt")
    after = torch.load(path, weights_only=False)["state_dict"]
    moved = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in moved} == {"dense"}
    assert translate(HEAD.format(**MOBILENET) + NESTED + FIT, "weights=none") == 0
    assert not Path("out/model.safetensors").exists()


TWO_FITS = """
from tensorflow.keras.callbacks import ModelCheckpoint
model = keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(6, 'softmax')])
model.compile('adam', 'sparse_categorical_crossentropy')
best = ModelCheckpoint('best.h5', monitor='val_loss', save_best_only=True)
model.fit(x, y, epochs=2, batch_size=4, validation_data=(x, y), callbacks=[best])
model.load_weights('{file}')
model.compile('sgd', 'sparse_categorical_crossentropy')
"""
SECOND = "model.fit(x, y, epochs=2, batch_size=4, validation_data=(x, y))\n"


@pytest.mark.usefixtures("folder")
def test_files_between_two_trainings(capsys: pytest.CaptureFixture[str]) -> None:
    start = HEAD.partition("base =")[0].format(name="VGG16") + TWO_FITS
    assert translate(start.format(file="other.h5")) == 0  # chooses what is evaluated
    assert translate(start.format(file="best.h5") + SECOND) == 0
    assert "checkpoints/best.ckpt" in Path("out/config_2.yaml").read_text()
    capsys.readouterr()
    assert translate(start.format(file="other.h5") + SECOND) == 3
    assert "'other.h5', between two trainings" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_layers_that_another_model_trained(capsys: pytest.CaptureFixture[str]) -> None:
    source = (
        HEAD.partition("base =")[0].format(name="VGG16")
        + """
model = keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(6, 'softmax')])
model.compile('adam', 'sparse_categorical_crossentropy')
model.fit(x, y, epochs=2, batch_size=4)
larger = keras.Sequential([model, layers.Dense(6, activation='softmax')])
larger.compile('adam', 'sparse_categorical_crossentropy')
larger.fit(x, y, epochs=2, batch_size=4)
"""
    )
    assert translate(source) == 3
    assert "'sequential' trained before" in capsys.readouterr().out
