"""Which images a Keras file takes: told by its first layers, asked for where they do not; on bytes,
all as Keras predicts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

from signs_lightning import ImageClassifier
from signs_lightning.checkpoints.load_model import load_model
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras

from .against_keras import randomize

PREPROCESS = {"tf": "mobilenet_v2", "torch": "densenet", "caffe": "vgg16"}
TAKES: dict[str, Callable] = {
    "raw": lambda x: x,
    "/255": lambda x: x / 255,
    "tf": lambda x: x / 127.5 - 1,
}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "variance": [0.229**2, 0.224**2, 0.225**2]}

pytestmark = pytest.mark.usefixtures("guarded_forks")  # for import-keras and inspect


def pictures(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, 12, 12, 3) and labels: dark, medium and bright ones."""
    labels = np.arange(count) % 3
    noise = np.random.default_rng(0).integers(0, 80, (count, 12, 12, 3))
    return (noise + (labels * 80)[:, None, None, None]).astype(np.uint8), labels


def model_of(stem: Callable, name: str | None = None, head: list | None = None) -> keras.Model:
    image = keras.Input((12, 12, 3))
    value = stem(image)
    for layer in head or [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D()]:
        value = layer(value)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(value), name=name)
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(0, 0.5, weight.shape))
    return model


def chain(*stack: layers.Layer) -> Callable:
    def apply(value):
        for layer in stack:
            value = layer(value)
        return value

    return apply


def adapted(take: Callable) -> Callable:
    """A Normalization that has seen such images."""
    layer = layers.Normalization()
    layer.adapt(take(pictures()[0].astype("float32")))
    return layer


STEMS: dict[str, tuple[str, Callable[[], Callable]]] = {
    "Rescaling": ("raw", lambda: layers.Rescaling(1 / 255)),
    "augmented": (
        "raw",
        lambda: chain(layers.RandomFlip(), layers.Resizing(10, 9), layers.Rescaling(1 / 127.5, -1)),
    ),
    "padded": (
        "raw",
        lambda: chain(
            layers.ZeroPadding2D(4), layers.GaussianNoise(0.1), layers.Rescaling(1 / 255)
        ),
    ),
    "nested": (
        "raw",
        lambda: keras.Sequential(
            [keras.Sequential([layers.RandomRotation(0.1)]), layers.Rescaling(1 / 255)]
        ),
    ),
    "efficientnet": (
        "raw",
        lambda: chain(
            layers.Rescaling(1 / 255), layers.Normalization(**IMAGENET), layers.Rescaling(0.9)
        ),
    ),
    "efficientnet of 0..1": (
        "/255",
        lambda: chain(layers.Rescaling(255.0), layers.Rescaling(1 / 255), layers.Normalization()),
    ),
    "trained on images divided twice": (
        "raw",
        lambda: chain(layers.Rescaling(1 / 255), layers.Rescaling(1 / 255)),
    ),
    "adapted to bytes": ("raw", lambda: adapted(lambda x: x)),
    "adapted to 0..1": ("/255", lambda: adapted(lambda x: x / 255)),
    "means of bytes": (
        "raw",
        lambda: layers.Normalization(mean=[123.7, 116.8, 103.9], variance=[1.0, 1.0, 1.0]),
    ),
    "x / 255": ("raw", lambda: lambda x: ops.cast(x, "float32") / 255),
    "x / 127.5 - 1": ("raw", lambda: lambda x: x / 127.5 - 1.0),
    "255 - x": ("raw", lambda: lambda x: (255 - x) * (1 / 255)),
    "x * 2 - 1": ("/255", lambda: lambda x: x * 2 - 1),
    "Rescaling(2, -1)": ("/255", lambda: layers.Rescaling(2.0, offset=-1.0)),
    "1 - x": ("/255", lambda: lambda x: 1 - x),
    "x - 0.5": ("/255", lambda: lambda x: x - 0.5),
    "(x + 1) / 2": ("tf", lambda: lambda x: (x + 1) / 2),
    "blue first": (
        "raw",
        lambda: lambda x: x[..., ::-1] - np.array([103.9, 116.8, 123.7], "float32"),
    ),
    "flipped": ("raw", lambda: lambda x: ops.flip(x[:, 1:-1, 2:], axis=[1, -1]) / 255),
    "batch norm of bytes": ("raw", lambda: layers.BatchNormalization(name="first")),
    **{
        mode: ("raw", partial(getattr, getattr(keras.applications, module), "preprocess_input"))
        for mode, module in PREPROCESS.items()
    },
}


@pytest.mark.parametrize("stem", STEMS)
def test_the_first_layers_tell(stem, tmp_path, capsys):
    """Bytes in, Keras's probabilities out, and a line that says what was read; the formats take
    turns.
    """
    scale, make = STEMS[stem]
    model = model_of(make())
    if stem == "batch norm of bytes":
        layer = model.get_layer("first")
        layer.moving_mean.assign([90.0, 100.0, 110.0])
        layer.moving_variance.assign([4000.0, 5000.0, 6000.0])
    images = pictures(6)[0]
    expected = np.asarray(model(TAKES[scale](images.astype("float32")), training=False))
    assert expected.std(axis=0).max() > 1e-3 or "twice" in stem
    path = tmp_path / ("model.h5" if list(STEMS).index(stem) % 2 else "model.keras")
    model.save(path)
    ours = from_keras(path)
    assert ours.hparams["scale"] == scale
    assert f"scale: {scale} (" in (line := capsys.readouterr().out)
    assert "because the model begins with " in line
    np.testing.assert_allclose(ours.predict(images), expected, atol=1e-5, rtol=0)


def test_keras_2_wrote_division_otherwise(tmp_path):
    """`x / 127.5 - 1` of tf.keras 2 is a layer TFOpLambda."""
    model = model_of(
        chain(layers.Rescaling(1 / 127.5, name="a"), layers.Rescaling(1.0, offset=-1.0, name="b"))
    )
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        before = config["config"]["layers"][0]["config"]["name"]
        for entry, function, number in zip(
            config["config"]["layers"][1:3], ("truediv", "subtract"), (127.5, 1.0), strict=True
        ):
            name = entry["config"]["name"]
            entry |= {
                "class_name": "TFOpLambda",
                "config": {"name": name, "function": f"math.{function}"},
            }
            entry["inbound_nodes"] = [[before, 0, 0, {"y": number, "name": None}]]
            before = name
        file.attrs["model_config"] = json.dumps(config)
    images = pictures(6)[0]
    ours = from_keras(tmp_path / "model.h5")
    assert ours.hparams["scale"] == "raw"
    np.testing.assert_allclose(
        ours.predict(images), np.asarray(model(images.astype("float32"))), atol=1e-5
    )


def teachable_machine() -> keras.Model:
    """As its keras_model.h5: a MobileNetV2, cut short, in a Sequential in a Sequential."""
    image = keras.Input((12, 12, 3))
    value = layers.Conv2D(4, 3, strides=2, name="Conv1", use_bias=False)(
        layers.ZeroPadding2D(1, name="Conv1_pad")(image)
    )
    value = layers.ReLU(6.0, name="Conv1_relu")(layers.BatchNormalization(name="bn_Conv1")(value))
    value = layers.DepthwiseConv2D(3, name="expanded_conv_depthwise")(value)
    inner = keras.Sequential(
        [keras.Model(image, value, name="model1"), layers.GlobalAveragePooling2D()],
        name="sequential_1",
    )
    return keras.Sequential(
        [keras.Input((12, 12, 3)), inner, keras.Sequential([layers.Dense(3, activation="softmax")])]
    )


def first_batch_norm(mean: float, variance: float) -> keras.Model:
    model = model_of(layers.BatchNormalization(name="first"))
    model.get_layer("first").moving_mean.assign([mean] * 3)
    model.get_layer("first").moving_variance.assign([variance] * 3)
    return model


def standardised() -> Callable:
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(0.1, 1, (40, 12, 12, 3)).astype("float32"))
    return layer


ASKED: dict[str, tuple[Any, Callable[[], keras.Model]]] = {
    "teachable machine": ("tf", teachable_machine),
    "nested": (
        "caffe",
        lambda: model_of(
            keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(3, 1)], name="vgg16")
        ),
    ),
    "by its own name": ("torch", lambda: model_of(layers.Activation("linear"), "densenet121")),
    "doubled": ("raw", lambda: model_of(layers.Rescaling(2.0))),
    "16 bits": ("raw", lambda: model_of(layers.Rescaling(1 / 65535))),
    "clipped": ("raw", lambda: model_of(lambda x: ops.minimum(x, 1.0))),
    "adapted to standardised images": ("tf", lambda: model_of(standardised())),
    "two minds": ("/255", lambda: model_of(lambda x: layers.Concatenate()([x / 255, x * 2 - 1]))),
    "batch norm of blue first": ("caffe", lambda: first_batch_norm(-3.0, 4000.0)),
    "batch norm of -1..1": ("tf", lambda: first_batch_norm(-0.2, 0.3)),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_the_graph_leaves_open_is_asked(case, tmp_path, cli):
    """Exit code 2, nothing written, and the option that it names leads on."""
    likely, make = ASKED[case]
    make().save(tmp_path / "model.keras")
    asked = cli("import-keras", "model.keras", "--output", "model.ckpt")
    assert asked.code == 2
    assert f"`--scale {likely}` (" in asked.err
    assert f"`--model.scale {likely}`" in asked.err
    assert not (tmp_path / "model.ckpt").exists()
    with pytest.raises(InputError, match="does not tell what its images were scaled to"):
        FromKeras(path=str(tmp_path / "model.keras"))
    assert from_keras(tmp_path / "model.keras", scale=likely).hparams["scale"] == likely


def test_asking_in_every_verb(tmp_path, cli, small_smiles):
    """A file that is asked about: each verb's own option answers; a summary needs none, and inspect
    names it.
    """
    teachable_machine().save(tmp_path / "model.h5")
    images, labels = pictures(6)
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["test_set_x"], file["test_set_y"] = images, labels
    for verb in (
        ["predict", "--ckpt_path", "model.h5", "--data.test_file", "test.h5"],
        ["export", "--ckpt_path", "model.h5", "--format", "keras", "--output", "out.keras"],
        ["report", "model.h5", "--data.test_file", "test.h5"],
    ):
        asked = cli(*verb)
        assert (asked.code, "`--scale tf`" in asked.err) == (2, True)
        assert cli(*verb, "--scale", "tf").code == 0
    assert cli("summary", "--ckpt_path", "model.h5").code == 0
    assert "import-keras model.h5 --output model.ckpt --scale tf" in " ".join(
        cli("inspect", "model.h5").out.split()
    )


def test_nothing_speaks_against_255(tmp_path, capsys):
    """A plain network, also the course's ResNet50 by name: 0..1 as ever, and the line says that it
    is an assumption.
    """
    for name in (None, "ResNet50"):
        model = model_of(layers.ZeroPadding2D(1), name)
        model.save(tmp_path / "model.keras")
        ours = from_keras(tmp_path / "model.keras")
        assert ours.hparams["scale"] == "/255"
        assert "scale: /255 (0..1) is assumed" in capsys.readouterr().out
    assert from_keras(tmp_path / "model.keras", scale="/255").hparams["scale"] == "/255"
    assert capsys.readouterr().out == ""


def bright_or_dark(*first: layers.Layer) -> keras.Model:
    """Tells three grades of brightness apart, for images of bytes only."""
    stack = [
        *first,
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax", name="grade"),
    ]
    model = keras.Sequential([keras.Input((12, 12, 3)), *stack])
    a, b, slope = 80 / 255, 160 / 255, 40.0
    model.get_layer("grade").set_weights(
        [
            np.ones((3, 1), "float32") * np.array([0, slope, 2 * slope], "float32") / 3,
            np.array([0, -slope * a, -slope * (a + b)]),
        ]
    )
    return model


@pytest.fixture
def graded(tmp_path: Path) -> keras.Model:
    """model.h5, which divides by 255 itself, and the 60 images of test.h5, which Keras gets all
    right.
    """
    model = bright_or_dark(layers.RandomFlip(), layers.Rescaling(1 / 255))
    model.save(tmp_path / "model.h5")
    images, labels = pictures()
    for role in ("train", "test"):
        with h5py.File(tmp_path / f"{role}.h5", "w") as file:
            file[f"{role}_set_x"], file[f"{role}_set_y"] = images, labels
    assert (np.asarray(model(images.astype("float32"))).argmax(1) == labels).all()
    return model


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training.*")
def test_every_verb_gives_keras_s_numbers(graded, tmp_path, cli):
    """60 of 60 without an option, where 20 were right; the scale is said, kept in checkpoints and
    in config.yaml.
    """
    inferred = "scale: raw (0..255), because the model begins with Rescaling 'rescaling"
    data = ["--data.test_file", "test.h5"]
    for verb in (
        ["import-keras", "model.h5", "--output", "model.ckpt"],
        ["predict", "--ckpt_path", "model.h5", *data],
        ["report", "model.h5", *data],
        ["test", "--model", "FromKeras", "--model.path", "model.h5", *data],
    ):
        done = cli(*verb)
        assert (done.code, inferred in done.out) == (0, True), done
        all_right = "60 of 60" in " ".join(done.out.split()) or "1.000" in done.out
        assert all_right or verb[0] == "import-keras"
    done = cli("test", "--ckpt_path", "model.ckpt", *data)
    assert (done.code, "scale:" in done.out) == (0, False)
    fit = [
        "fit", "--data.train_file", "train.h5", "--data.val_fraction", 0.5,
        "--trainer.accelerator", "cpu",
    ]  # fmt: skip
    done = cli(
        *fit, "--model", "FromKeras", "--model.path", "model.h5", "--model.lr", 1e-9,
        "--trainer.max_epochs", 1,
    )  # fmt: skip
    assert (done.code, inferred in done.out) == (0, True), done
    assert "the augmentation" not in done.out
    run = next((tmp_path / "lightning_logs").glob("*/version_0"))
    assert "scale: raw" in (run / "config.yaml").read_text()
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 2)
    assert (done.code, "scale:" in done.out) == (0, False), done
    for checkpoint in (run, "model.ckpt"):
        model, _ = load_model(str(checkpoint), "test")
        assert isinstance(model, ImageClassifier)
        assert model.hparams["scale"] == "raw"
        images, labels = pictures()
        assert (model.predict(images).argmax(1) == labels).all()


@pytest.mark.slow
def test_a_scale_beside_a_file_that_remembers_one(tmp_path, cli, graded):
    """An error in every verb, not ignored: checkpoints and ONNX files have their own."""
    assert cli("import-keras", "model.h5", "--output", "model.ckpt").code == 0
    done = cli("export", "--ckpt_path", "model.ckpt", "--format", "onnx", "--output", "model.onnx")
    assert done.code == 0, done.err
    for file in ("model.ckpt", "model.onnx"):
        for verb in (
            ["predict", "--ckpt_path", file, "--data.test_file", "test.h5"],
            ["demo", "--ckpt_path", file, "--port", "0"],
            *([] if "onnx" in file else [["report", file, "--data.test_file", "test.h5"]]),
            *(
                []
                if "onnx" in file
                else [["export", "--ckpt_path", file, "--format", "torch", "--output", "out.pt2"]]
            ),
        ):
            refused = cli(*verb, "--scale", "/255")
            assert refused.code == 2
            assert f"{file} remembers its own" in refused.err, verb
    assert cli("predict", "--ckpt_path", "model.ckpt", "--data.test_file", "test.h5").code == 0


def test_a_word_against_the_graph(graded, tmp_path, capsys):
    """What the user says counts, with a line; so does what an earlier version wrote into a
    checkpoint.
    """
    said = "though the model begins with Rescaling 'rescaling"
    ours = from_keras(tmp_path / "model.h5", scale="/255")
    assert f"scale: /255 (0..1), as given, {said}" in (line := capsys.readouterr().out)
    assert "and so takes raw (0..255)" in line
    images = pictures(6)[0]
    expected = np.asarray(graded(images.astype("float32") / 255))
    np.testing.assert_allclose(ours.predict(images), expected, atol=1e-5)
    save_checkpoint(ours, tmp_path / "old.ckpt")
    old, _ = load_model(str(tmp_path / "old.ckpt"), "predict")
    assert f"scale: /255 (0..1), as the checkpoint has it, {said}" in capsys.readouterr().out
    np.testing.assert_array_equal(old.predict(images), ours.predict(images))


def test_an_adapted_normalization_of_a_checkpoint(tmp_path, capsys):
    """Its mean lies among the weights, also in a checkpoint: the same line from there."""
    model = model_of(adapted(lambda x: x))
    model.save(tmp_path / "model.keras")
    save_checkpoint(from_keras(tmp_path / "model.keras", scale="/255"), tmp_path / "old.ckpt")
    capsys.readouterr()
    load_model(str(tmp_path / "old.ckpt"), "predict")
    assert "begins with Normalization 'normalization" in capsys.readouterr().out


@pytest.mark.parametrize("source", ["h5", "keras"])
def test_preprocessing_goes_back_to_keras(source, tmp_path):
    """Slices, stack and cast of Keras 3, which read from a file go into one that Keras loads."""
    from signs_lightning.keras_io.to_keras import export_keras

    model = model_of(
        lambda x: keras.applications.vgg16.preprocess_input(ops.cast(x[:, ::2], "float32"))
    )
    randomize(model)
    model.save(tmp_path / f"model.{source}")
    ours = from_keras(tmp_path / f"model.{source}")
    images = pictures(4)[0].astype("float32")
    for path in (tmp_path / "again.keras", tmp_path / "again.h5"):
        export_keras(ours, path, "keras" if path.suffix == ".keras" else "keras-h5")
        again = keras.models.load_model(path, compile=False)
        np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(model(images)))
