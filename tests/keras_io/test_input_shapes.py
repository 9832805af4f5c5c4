"""Models that take images without a channel axis, or the values of an image in a row."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from signs_lightning.__main__ import main
from signs_lightning.errors import InputError
from signs_lightning.inspect.examine_file import examine
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import export_keras

from . import against_keras
from .against_keras import randomize

RNG = np.random.default_rng(0)


def saved(folder: Path, *stack: keras.layers.Layer, extension: str = "keras") -> Path:
    model = keras.Sequential([*stack, layers.Dense(5, activation="softmax")])
    randomize(model)
    path = folder / f"model.{extension}"
    model.save(path)
    return path


def assert_same(path: Path, size: tuple[int, int, int], given: bool = False) -> FromKeras:
    """Byte images (N, H, W, C), as data sets hold them, give what Keras gives for their values."""
    images = RNG.integers(0, 256, (4, *size), dtype=np.uint8)
    original = keras.models.load_model(path)
    values = (images / 255).astype("float32").reshape(4, *original.input_shape[1:])
    theirs = np.asarray(original(values))
    ours = from_keras(path, scale="/255", image_size=size if given else None)
    assert isinstance(ours, FromKeras)
    assert ours.image_size == size
    np.testing.assert_allclose(ours.predict(images), theirs, atol=1e-5, rtol=0)
    return ours


@pytest.mark.parametrize("extension", ["h5", "keras"])
@pytest.mark.parametrize("shape", [(12, 10), (144,)])
def test_one_channel(tmp_path, shape, extension, capsys):
    """The original, and what is exported from it, take the same inputs."""
    stack = [keras.Input(shape), layers.Flatten(), layers.Dense(6, activation="relu")]
    path = saved(tmp_path, *stack, layers.Dropout(0.2), extension=extension)
    size = (12, 10 if len(shape) == 2 else 12, 1)
    ours = assert_same(path, size)
    is_said = "images: 12×12×1, because the model takes 144 values" in capsys.readouterr().out
    assert is_said == (len(shape) == 1)
    assert next(iter(ours.network.layer_graph().nodes.values())).shape == shape
    export_keras(ours, tmp_path / "again.keras")
    assert_same(tmp_path / "again.keras", size)
    report = examine(str(path), {}, 1)
    assert not report.problem
    assert ("images", f"12×{size[1]} pixels, grey") in report.facts
    again = FromKeras(**ours.hparams)
    assert again.image_size == size


def test_reshaped_inside(tmp_path):
    """As for MNIST: a row or a plane becomes an image with channels in the model's first layer."""
    for shape in ((12, 12), (144,)):
        stack = [keras.Input(shape), layers.Rescaling(2.0), layers.Reshape((12, 12, 1))]
        stack += [layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D(), layers.Flatten()]
        assert_same(saved(tmp_path, *stack), (12, 12, 1))


def test_rows_that_tell_no_size(tmp_path):
    """Asked for, with an option that works; the values are in the order height, width, channels."""
    color = saved(tmp_path, keras.Input((192,)), layers.Dense(6))
    with pytest.raises(InputError, match=r"192 values in a row.*`--image_size 8 --channels 3`"):
        from_keras(color)
    assert "--image_size 8 --channels 3" in examine(str(color), {}, 1).problem
    assert_same(color, (8, 8, 3), given=True)
    with pytest.raises(InputError, match="image_size is 8×8×1"):
        from_keras(color, image_size=(8, 8, 1))
    odd = saved(tmp_path, keras.Input((96,)), layers.Dense(6))
    with pytest.raises(InputError, match="`--image_size HEIGHT WIDTH --channels CHANNELS`"):
        from_keras(odd)
    assert_same(odd, (8, 12, 1), given=True)
    few = saved(tmp_path, keras.Input((16,)), layers.Dense(6))
    with pytest.raises(InputError, match="16 values in a row"):  # hardly an image of 4×4
        from_keras(few)


def test_a_plane_has_one_channel(tmp_path):
    path = saved(tmp_path, keras.Input((12, 12)), layers.Flatten())
    with pytest.raises(InputError, match="12×12×1, image_size is 12×12×3"):
        from_keras(path, image_size=(12, 12, 3))


def permuted() -> keras.Model:
    """Images are (H, W, C), and a convolution takes them as (C, H, W)."""
    image = keras.Input((6, 8, 2))
    value = layers.Permute((3, 1, 2))(image)
    value = layers.Conv2D(4, 3, data_format="channels_first")(value)
    value = layers.GlobalAveragePooling2D(data_format="channels_first")(value)
    return keras.Model(image, layers.Dense(3, activation="softmax")(value))


def flattened_first() -> keras.Model:
    """The first layer with a data_format is a Flatten, whose own is another."""
    image = keras.Input((2, 6, 8))
    flat = layers.Dense(3)(layers.Flatten(data_format="channels_last")(image))
    value = layers.Conv2D(4, 3, data_format="channels_first")(image)
    value = layers.Flatten(data_format="channels_first")(value)
    plane = layers.Flatten(data_format="channels_first")(layers.Reshape((2, 48))(image))
    five = layers.Flatten(data_format="channels_first")(layers.Reshape((2, 6, 4, 2))(image))
    value = layers.Concatenate()([flat, value, plane, five])
    return keras.Model(image, layers.Dense(3, activation="softmax")(value))


def without_images() -> keras.Model:
    """No layer reads images, so the shape tells."""
    stack = [keras.Input((3, 6, 8)), layers.BatchNormalization(axis=1), layers.Flatten()]
    return keras.Sequential([*stack, layers.Dense(3, activation="softmax")])


@pytest.mark.parametrize(
    ("make", "channels_first"),
    [(permuted, False), (flattened_first, True), (without_images, True)],
)
def test_which_axis_is_the_channels(make, channels_first, tmp_path):
    model = make()
    randomize(model)
    ours = against_keras.assert_same(model, tmp_path, channels_first, formats=("keras",))
    assert ours.image_size == (6, 8, 3 if make is without_images else 2)


@pytest.mark.slow
@pytest.mark.usefixtures("guarded_forks")
@pytest.mark.parametrize("channels", [1, 2, 4, 5, 16])
def test_other_numbers_of_channels(channels, tmp_path, monkeypatch, capsys):
    """Import, prediction of HDF5 images, export, summary."""
    monkeypatch.chdir(tmp_path)
    stack = [keras.Input((20, 24, channels)), layers.Conv2D(4, 5, strides=3), layers.Flatten()]
    path = saved(tmp_path, *stack)
    images = RNG.integers(0, 256, (6, 20, 24, channels), dtype=np.uint8)
    with h5py.File("images.h5", "w") as file:
        file["test_set_x"], file["test_set_y"] = images, np.arange(6) % 5
    assert main(["import-keras", str(path), "--output", "model.ckpt", "--scale", "/255"]) == 0
    data = ["--ckpt_path", "model.ckpt", "--data.test_file", "images.h5"]
    assert main(["predict", *data, "--output", "predictions.csv"]) == 0
    theirs = np.asarray(keras.models.load_model(path)((images / 255).astype("float32")))
    rows = np.loadtxt("predictions.csv", delimiter=",", skiprows=1, ndmin=2, usecols=range(-5, 0))
    np.testing.assert_allclose(rows, theirs, atol=1e-5)
    for kind, name in (("onnx", "model.onnx"), ("keras", "again.keras")):
        export = ["export", "--ckpt_path", "model.ckpt", "--format", kind, "--output", name]
        assert main(export) == 0
    again = keras.models.load_model("again.keras")
    np.testing.assert_allclose(again((images / 255).astype("float32")), theirs, atol=1e-6)
    capsys.readouterr()
    assert main(["summary", "--ckpt_path", "model.ckpt"]) == 0
    assert f"{100 * channels + 4:,}" in capsys.readouterr().out
