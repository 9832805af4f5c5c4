"""Models of several inputs: an image and a vector, two images; real Keras gives what we give."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers
from PIL import Image

from signs_lightning.checkpoints.files import load_classifier
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.errors import InputError
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import export_keras

from .against_keras import FORMATS, network_of, randomize, to_torch

SIZE = (8, 8, 3)
COUNT = 3


def image_and_vector() -> keras.Model:
    """The vector comes first; the model takes pictures in 0..255."""
    meta, image = keras.Input((4,), name="meta"), keras.Input(SIZE, name="photo")
    value = layers.Conv2D(2, 3, activation="relu")(layers.Rescaling(1 / 255)(image))
    joined = layers.Concatenate()([layers.Flatten()(value), layers.Dense(3)(meta)])
    model = keras.Model([meta, image], layers.Dense(3, activation="softmax", name="digits")(joined))
    randomize(model)
    return model


def two_images() -> keras.Model:
    """One network for both images, as of a model that compares them."""
    inner_image = keras.Input(SIZE, name="inner_image")
    inner = layers.Dense(4)(layers.Flatten()(layers.Conv2D(2, 3)(inner_image)))
    network = keras.Model(inner_image, inner, name="network")
    left, right = keras.Input(SIZE, name="left"), keras.Input(SIZE, name="right")
    apart = layers.Subtract()([network(left), network(right)])
    model = keras.Model([left, right], layers.Dense(1, activation="sigmoid", name="same")(apart))
    randomize(model)
    return model


def values_for(model: keras.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers in 0..1 for each input, by its name."""
    rng = np.random.default_rng(seed)
    return {
        given.name: rng.random((COUNT, *given.shape[1:]), dtype=np.float32)
        for given in model.inputs
    }


def keras_output(model: keras.Model, values: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(model([values[given.name] for given in model.inputs]))


def ours(model: Any, values: dict[str, np.ndarray]) -> np.ndarray:
    image = to_torch(values[model.image_input])
    predicted = model.predict(values | {model.image_input: image}, batch_size=2).numpy()
    return predicted[:, 1:] if model.binary else predicted


@pytest.mark.parametrize("build", [image_and_vector, two_images])
def test_both_inputs_as_in_keras(tmp_path, capsys, build):
    """From each format, from a checkpoint, and back in Keras; a line names the inputs."""
    model = build()
    values = values_for(model)
    name = "photo" if build is image_and_vector else "left"
    scaled = values | {name: values[name] * 255} if build is image_and_vector else values
    expected = keras_output(model, scaled)
    for extension in FORMATS:
        model.save(tmp_path / f"model.{extension}")
        read = from_keras(tmp_path / f"model.{extension}")
        np.testing.assert_allclose(ours(read, values), expected, atol=1e-5, rtol=0)
    shown = "'meta' (4)" if build is image_and_vector else "'right' (8, 8, 3)"
    line = f"inputs: '{name}' takes the images; beside it there is {shown}."
    assert line in capsys.readouterr().out
    save_checkpoint(read, tmp_path / "model.ckpt")
    again, _ = load_classifier(tmp_path / "model.ckpt")
    np.testing.assert_array_equal(ours(again, values), ours(read, values))
    export_keras(again, tmp_path / "again.keras")
    written = keras.models.load_model(tmp_path / "again.keras", compile=False)
    np.testing.assert_allclose(keras_output(written, scaled), expected, atol=1e-5, rtol=0)


def test_what_is_given_is_checked(tmp_path):
    """A missing, unknown or misshapen input is named; one value may serve for all images."""
    model = image_and_vector()
    model.save(tmp_path / "model.keras")
    read = from_keras(tmp_path / "model.keras")
    values = values_for(model)
    images = to_torch(values["photo"])
    with pytest.raises(
        InputError, match=r"got 'photo', and takes a dict of 'photo', .* 'meta' \(4\)"
    ):
        read.predict(images)
    with pytest.raises(InputError, match="got 'photo', 'met'"):
        read.predict({"photo": images, "met": values["meta"]})
    with pytest.raises(InputError, match=r"'meta' has shape \(2, 4\), expected \(3, 4\)"):
        read.predict({"photo": images, "meta": values["meta"][:2]})
    with pytest.raises(InputError, match="'meta' holds <U1, expected numbers"):
        read.predict({"photo": images, "meta": np.array(["a"])})
    with pytest.raises(InputError, match=r"takes 'meta' \(4\) beside the image"):
        read(images)
    one = read.predict({"photo": images, "meta": values["meta"][0]})
    every = read.predict({"photo": images, "meta": np.repeat(values["meta"][:1], COUNT, 0)})
    assert torch.equal(one, every)


def test_an_input_that_no_layer_takes_is_left_out(tmp_path, capsys):
    """Keras allows one; here the model takes images alone, and so does what is written back."""
    image, meta = keras.Input(SIZE, name="image"), keras.Input((4,), name="meta")
    digits = layers.Dense(3, activation="softmax", name="digits")(layers.Flatten()(image))
    odd = layers.Dense(1, activation="sigmoid", name="odd")(layers.Concatenate()([digits, meta]))
    model = keras.Model([image, meta], [digits, odd])
    randomize(model)
    values = values_for(model)
    model.save(tmp_path / "model.h5")
    read = from_keras(tmp_path / "model.h5", scale="/255", output_layer="digits")
    assert "not needed for the output 'digits': input 'meta' and 2 more" in capsys.readouterr().out
    expected = np.asarray(model(list(values.values()))[0])
    predicted = read.predict(to_torch(values["image"])).numpy()
    np.testing.assert_allclose(predicted, expected, atol=1e-5, rtol=0)
    export_keras(read, tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras", compile=False)
    np.testing.assert_allclose(np.asarray(again(values["image"])), expected, atol=1e-5, rtol=0)
    whole = from_keras(tmp_path / "model.h5", scale="/255", output_layer="odd")
    both = np.asarray(model(list(values.values()))[1])
    np.testing.assert_allclose(ours(whole, values), both, atol=1e-5, rtol=0)


def test_which_input_is_the_image(tmp_path):
    """The first of height, width and channels, else what could be an image."""
    for shapes, expected in (
        [((4,), (8, 8, 1), (8, 8, 3)), "b"],
        [((4,), (8, 8)), "b"],
        [((5,), (64,), (100,)), "b"],
    ):
        inputs = [keras.Input(shape, name=name) for shape, name in zip(shapes, "abc", strict=False)]
        flat = layers.Concatenate()([layers.Flatten()(given) for given in inputs])
        keras.Model(inputs, layers.Dense(2, activation="softmax")(flat)).save(tmp_path / "m.keras")
        assert from_keras(tmp_path / "m.keras").image_input == expected
    varying = keras.Input((None,), name="varying")
    sums = layers.Lambda(lambda x: x)(varying)
    image = keras.Input(SIZE, name="image")
    outputs = [layers.Dense(2, activation="softmax", name="out")(layers.Flatten()(image)), sums]
    keras.Model([image, varying], outputs).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=r"takes 'varying' of shape \(None,\) beside the image"):
        from_keras(tmp_path / "m.keras", output_layer="out")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_the_commands(cli, suffix, small_signs):
    """`import-keras`, `summary`, `predict` from Keras file, checkpoint and ONNX file, and `export`
    in every format; what feeds images alone refuses the model in one sentence.
    """
    model = image_and_vector()
    model.save("model.keras")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (COUNT, *SIZE), dtype=np.uint8)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(f"picture_{k}.png")
    meta = rng.normal(size=(COUNT, 4)).astype(np.float32)
    if suffix == ".npz":
        np.savez("inputs.npz", meta=meta, other=np.zeros(2))
    else:
        with h5py.File("inputs.h5", "w") as file:
            file["meta"] = meta
    expected = keras_output(model, {"photo": pictures.astype(np.float32), "meta": meta})
    assert cli("import-keras", "model.keras", "--output", "model.ckpt").code == 0
    assert network_of(load_classifier(Path("model.ckpt"))[0]).plan.graph.image == "photo"
    done = cli("summary", "--ckpt_path", "model.ckpt", "--plot", "model.png")
    assert (done.code, Path("model.png").is_file()) == (0, True), done.err
    rows = [line.split() for line in done.out.splitlines()]
    shown = [" ".join(row) for row in rows if "InputLayer" in row]
    assert len(shown) == 2
    assert "(None, 4)" in shown[1] or "(None, 4)" in shown[0]
    for format, output in (("onnx", "m.onnx"), ("torch", "m.pt2"), ("keras", "m.keras")):
        done = cli("export", "--ckpt_path", "model.ckpt", "--format", format, "--output", output)
        assert done.code == 0, done.err
    images = ("--images", *(f"picture_{k}.png" for k in range(COUNT)))
    for source in ("model.keras", "model.ckpt", "m.onnx", "m.keras"):
        done = cli("predict", "--ckpt_path", source, *images)
        assert (done.code, "`--inputs FILE`" in done.err) == (2, True)
        done = cli("predict", "--ckpt_path", source, *images, "--inputs", f"inputs{suffix}")
        assert done.code == 0, done.err
        with open("predictions.csv") as csv_file:
            ours = [[float(row[f"p({k})"]) for k in range(3)] for row in csv.DictReader(csv_file)]
        np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0, err_msg=source)
    train, test = small_signs
    with h5py.File("data.h5", "w") as file:
        file["test_set_x"], file["test_set_y"] = pictures, [[0, 1, 2]]
    file_of_images = ("--data.test_file", "data.h5", "--inputs", f"inputs{suffix}")
    done = cli("predict", "--ckpt_path", "m.onnx", *file_of_images)
    assert done.code == 0, done.err
    for command in (
        ("fit", "--ckpt_path", "model.ckpt", "--data.train_file", train, "--data.test_file", test),
        ("test", "--ckpt_path", "model.ckpt", "--data.test_file", "data.h5"),
        ("test", "--ckpt_path", "m.onnx", "--data.test_file", "data.h5"),
        ("report", "model.ckpt", "--data.test_file", "data.h5"),
    ):
        before = sorted(Path().rglob("*"))
        done = cli(*command)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert f"takes 'meta' (4) beside the image, and {command[0]} feeds images alone" in done.err
        assert sorted(Path().rglob("*")) == before


@pytest.mark.slow
def test_a_file_of_inputs_that_does_not_fit(cli):
    """Missing, damaged, of another kind, or without the input: one sentence, exit code 2."""
    image_and_vector().save("model.keras")
    Image.fromarray(np.zeros(SIZE, np.uint8)).save("picture.png")
    Path("text.npz").write_text("not an archive")
    np.savez("other.npz", other=np.zeros(2))
    np.savez("long.npz", meta=np.zeros((2, 4)))
    np.savez("objects.npz", meta=np.array([None, {}]))
    with h5py.File("linked.h5", "w") as file:
        file["meta"] = h5py.ExternalLink("elsewhere.h5", "meta")
    for name, message in {
        "none.npz": "No such file",
        "text.npz": "text",
        "other.npz": "takes 'meta' (4) beside the image, and there is nothing",
        "long.npz": "'meta' has shape (2, 4), expected (1, 4)",
        "objects.npz": "Python objects",
        "linked.h5": "there is nothing",
    }.items():
        done = cli(
            "predict", "--ckpt_path", "model.keras", "--images", "picture.png", "--inputs", name
        )
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert message in done.err
        assert not Path("predictions.csv").exists()
    one = keras.Sequential([keras.Input(SIZE), layers.Flatten(), layers.Dense(2)])
    one.save("one.keras")
    done = cli(
        "predict", "--ckpt_path", "one.keras", "--images", "picture.png", "--inputs", "long.npz"
    )
    assert (done.code, "takes images alone" in done.err) == (2, True)
