"""What fit was called with, compared with Keras's own signatures and with its arithmetic."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import pytest
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from reading_data import ARRAYS, MODEL, fit_of, fits_of, problems_of, read, values_of

from signs_lightning.keras_io.network_plan import make_plan
from signs_lightning.translate.callback_records import SIGNATURES
from signs_lightning.translate.fit_records import FIT
from signs_lightning.translate.image_generators import DATASET, FLOW, FROM_DIRECTORY, GENERATOR
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import Translation, translate


def defaults(function: Any) -> dict[str, Any]:
    """Return the arguments of a function in their order, None where one has no default."""
    empty = inspect.Parameter.empty
    return {
        name: None if parameter.default is empty else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


@pytest.mark.parametrize(
    ("ours", "function"),
    [
        (FIT, keras.Model.fit),
        (GENERATOR, ImageDataGenerator),
        (FLOW, ImageDataGenerator.flow),
        (FROM_DIRECTORY, ImageDataGenerator.flow_from_directory),
        (SIGNATURES["EarlyStopping"], keras.callbacks.EarlyStopping),
        (SIGNATURES["ReduceLROnPlateau"], keras.callbacks.ReduceLROnPlateau),
        (SIGNATURES["LearningRateScheduler"], keras.callbacks.LearningRateScheduler),
    ],
)
def test_signatures_are_those_of_keras(ours: dict[str, Any], function: Any) -> None:
    assert list(ours.items()) == list(defaults(function).items())


def test_other_signatures_begin_as_those_of_keras() -> None:
    """Keras 3 left out arguments at the end, and added some."""
    dataset = defaults(keras.utils.image_dataset_from_directory)
    assert {k: v for k, v in DATASET.items() if k in dataset} == dataset
    checkpoint = list(defaults(keras.callbacks.ModelCheckpoint).items())
    assert list(SIGNATURES["ModelCheckpoint"].items())[: len(checkpoint)] == checkpoint


def test_the_defaults_of_fit() -> None:
    fit = fit_of("model.fit(x, y)")
    values = values_of(fit)
    assert (values["max_epochs"], values["batch_size"]) == (1, 32)
    assert fit.data.options["batch_size"].place is None
    assert "shuffle" not in values
    assert fit.scale == "raw"


def test_positional_arguments_are_in_keras_order() -> None:
    values = values_of(fit_of("model.fit(x, y, 16, 7, 0, None, 0.25, None, False)"))
    assert (values["batch_size"], values["max_epochs"]) == (16, 7)
    assert (values["val_fraction"], values["shuffle"]) == (0.25, False)


def test_files_and_keys_are_those_that_are_read() -> None:
    fit = fit_of("model.fit(x / 255, y, validation_data=(x_test / 255, y_test))")
    values = values_of(fit)
    assert (values["train_file"], values["val_file"]) == ("train_signs.h5", "test_signs.h5")
    keys = [
        values[f"{role}_{what}_key"] for role in ("train", "val") for what in ("images", "labels")
    ]
    assert keys == ["train_set_x", "train_set_y", "test_set_x", "test_set_y"]
    assert any("test" in note for _, note in fit.all_notes)
    assert fit.scale == "/255"


SPLIT = "from sklearn.model_selection import train_test_split as split\n"


def test_a_split_is_a_share_of_the_file() -> None:
    source = "a, b, c, d = split(x, y, test_size=0.2)\nmodel.fit(a, c, validation_data=(b, d))"
    values = values_of(fit_of(SPLIT + source))
    assert values["val_fraction"] == pytest.approx(0.2)
    assert values["train_file"] == "train_signs.h5"
    assert "val_file" not in values


def test_a_part_that_is_left_out_is_never_trained_on() -> None:
    source = (
        "a, t, c, u = split(x, y, test_size=0.2)\na, b, c, d = split(a, c, test_size=0.25)\n"
        "model.fit(a, c, validation_data=(b, d))"
    )
    fit = fit_of(SPLIT + source)
    values = values_of(fit)
    assert values["val_fraction"] == pytest.approx(0.25)
    assert fit.data.unnamed == ["train"]
    assert "train_file" not in values
    assert "train_file" not in values_of(fit_of("model.fit(x[:100], y[:100])"))


def test_images_and_validation_images_scaled_otherwise_are_said() -> None:
    assert "scaled otherwise" in problems_of(
        "model.fit(x / 255, y, validation_data=(x_test, y_test))"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("(x - x.mean()) / 255, y", "mean"),
        ("x / 254, y", "scaled to"),
        ("x, y * 2", "labels"),
        ("x, y > 3", "comparison"),
        ("x, y, sample_weight=y", "sample_weight"),
        ("x, y, class_weight='balanced'", "class_weight"),
        ("x, y, class_weight={1: 2.0}", "class_weight"),
        ("x, y, batch_size=np.random.randint(9)", "randint"),
        ("x, y, epochs=0", "epochs"),
        ("x, y, shuffle='batch'", "shuffle"),
        ("x, y, callbacks=[object()]", "object"),
        ("[x, x], y", "to train on"),
        ("tf.data.Dataset.from_tensor_slices((x, y))", "without .batch"),
        ("tf.data.Dataset.from_tensor_slices((x, y)).batch(4).repeat()", "endless"),
        ("ImageDataGenerator(featurewise_center=True).flow(x, y)", "featurewise_center"),
        ("ImageDataGenerator(brightness_range=(1, 2)).flow(x / 255, y)", "brightness_range"),
        ("ImageDataGenerator(fill_mode='wrap', zoom_range=0.1).flow(x, y)", "wrap"),
    ],
)
def test_what_reaches_the_training_and_cannot_be_said(arguments: str, problem: str) -> None:
    assert problem in problems_of(f"model.fit({arguments})")


def test_unknown_arguments_are_no_fit() -> None:
    assert fits_of("model.fit(x, y, batches=3)") == []


def test_class_weights_are_a_list() -> None:
    fit = fit_of("model.fit(x, y, class_weight={0: 1, 1: 2.5})")
    assert fit.class_weights is not None
    assert fit.class_weights.value == [1.0, 2.5]


@pytest.mark.parametrize(
    ("steps", "limit"),
    [
        ("len(x) // 20", None),
        ("int(np.ceil(len(x) / 20))", None),
        ("x.shape[0] / 20", None),
        ("len(x) // 40", 0.5),
        ("100", 100),
        ("None", None),
    ],
)
def test_steps_that_are_no_whole_epoch(steps: str, limit: float | None) -> None:
    source = f"model.fit(ImageDataGenerator().flow(x, y, batch_size=20), steps_per_epoch={steps})"
    assert values_of(fit_of(source)).get("limit_train_batches") == limit


@pytest.mark.parametrize(
    ("steps", "limit"),
    [("1875", None), ("1874", 1874), ("60000 // 64", 937), ("len(a) // 32", None)],
)
def test_steps_of_a_known_number_of_images(steps: str, limit: int | None) -> None:
    source = (
        f"(a, b), _ = keras.datasets.mnist.load_data()\nmodel.fit(a, b, steps_per_epoch={steps})"
    )
    assert values_of(fit_of(source)).get("limit_train_batches") == limit


def test_generators_change_images_and_then_rescale_them() -> None:
    fit = fit_of(
        "made = ImageDataGenerator(rescale=1 / 255, rotation_range=10, horizontal_flip=True)\n"
        "model.fit_generator(made.flow(x, y, batch_size=8), epochs=2)"
    )
    assert fit.scale == "/255"
    (_, entry), values = fit.data.augmentation[0], values_of(fit)
    assert entry["init_args"] == {"rotation_range": 10, "horizontal_flip": True}
    assert (values["batch_size"], values["max_epochs"]) == (8, 2)


def test_flips_alone_are_those_of_torchvision() -> None:
    fit = fit_of("model.fit(ImageDataGenerator(horizontal_flip=True).flow(x, y))")
    assert [entry["class_path"] for _, entry in fit.data.augmentation] == [
        "torchvision.transforms.v2.RandomHorizontalFlip"
    ]


def test_folders_are_resized_as_keras_does() -> None:
    fit = fit_of(
        "made = ImageDataGenerator(rescale=1 / 255).flow_from_directory('pets/train', (64, 32))\n"
        "val = ImageDataGenerator(rescale=1 / 255).flow_from_directory('pets/val', (64, 32))\n"
        "model.fit(made, validation_data=val)"
    )
    values = values_of(fit)
    assert (values["train_file"], values["val_file"]) == ("pets/train", "pets/val")
    assert (values["resize"], values["fit"], values["image_size"]) == (
        "nearest",
        "stretch",
        [64, 32],
    )
    assert values["channels"] == 3


def test_parts_of_one_folder_are_a_share() -> None:
    parts = [
        f"{name} = keras.utils.image_dataset_from_directory('pets', validation_split=0.3, "
        f"subset='{name}', seed=1, image_size=(64, 64), batch_size=4)\n"
        for name in ("training", "validation")
    ]
    fit = fit_of("".join(parts) + "model.fit(training, validation_data=validation)")
    values = values_of(fit)
    assert (values["val_fraction"], values["batch_size"]) == (pytest.approx(0.3), 4)
    assert (values["resize"], values["fit"]) == ("tf-bilinear", "stretch")
    assert fit.scale == "raw"


@pytest.mark.parametrize(
    ("shape", "size", "change"),
    [
        ("", "(48, 32)", ""),
        (", input_shape=(None, None, 3)", "(48, 32)", ""),
        ("", "48", ""),
        ("", "(99, 9)", ".map(lambda x, y: (tf.image.resize(x, (48, 32)), y))"),
    ],
)
def test_models_without_a_size_take_that_of_the_folder(
    tmp_path: Path, shape: str, size: str, change: str
) -> None:
    """As Keras builds a model on its first batch; nothing is asked for, and a data file of another
    size says nothing.
    """
    for facts in ({}, {"input_shape": (64, 64, 3)}):
        made = translate_folder(tmp_path, shape, size, change, facts)
        assert not made.needed
        assert made.model is not None
        assert made.model.plan.image_size == (48, 48 if size == "48" else 32, 3)


def test_the_size_of_images_that_are_not_understood_is_asked_for(tmp_path: Path) -> None:
    """The network would begin with an image of three channels, and is fed one of one."""
    change = ".map(lambda x, y: (tf.image.rgb_to_grayscale(x), y))"
    made = translate_folder(tmp_path, "", "48", change, {})
    assert made.model is None
    assert [finding.fact for finding in made.needed] == ["input_shape"]


def translate_folder(
    tmp_path: Path, shape: str, size: str, change: str, facts: dict[str, Any]
) -> Translation:
    """Translate a source that fits a small network on a folder of pictures."""
    source = tmp_path / "notebook.py"
    source.write_text(
        "import tensorflow as tf\n"
        "from tensorflow import keras\n"
        f"data = keras.utils.image_dataset_from_directory('pets', image_size={size}){change}\n"
        "model = keras.Sequential([\n"
        f"    keras.layers.Conv2D(4, 3, activation='relu'{shape}),\n"
        "    keras.layers.GlobalAveragePooling2D(),\n"
        "    keras.layers.Dense(2, activation='softmax')])\n"
        "model.compile('adam', 'sparse_categorical_crossentropy')\n"
        "model.fit(data)\n"
    )
    return translate(read_source(source, facts, None), facts, {}, tmp_path / "out")


PIPELINE = """
def prepare(image, label):
    image = tf.cast(image, tf.float32) / 255.0
    image = tf.image.random_flip_left_right(image)
    return tf.image.resize(image, (32, 32)), tf.one_hot(label, 6)

data = tf.data.Dataset.from_tensor_slices((x, y)).map(prepare)
"""


def test_pipelines_are_followed() -> None:
    fit = fit_of(f"{PIPELINE}model.fit(data.shuffle(1000).batch(12).prefetch(1), epochs=3)")
    values = values_of(fit)
    assert fit.scale == "/255"
    assert (values["image_size"], values["resize"], values["batch_size"]) == (32, "tf-bilinear", 12)
    assert len(fit.data.augmentation) == 1
    assert "shuffle" not in values
    assert values_of(fit_of(f"{PIPELINE}model.fit(data.batch(12))"))["shuffle"] is False


def test_epochs_begin_at_the_first() -> None:
    first, second = fits_of(
        "h = model.fit(x, y, epochs=4)\n"
        "model.compile('sgd', 'sparse_categorical_crossentropy')\n"
        "model.fit(x, y, epochs=10, initial_epoch=h.epoch[-1])"
    )
    assert (first.epochs, second.first_epoch, second.epochs) == (4, 3, 7)
    assert second.is_recompiled
    assert second.before is first


def test_a_fit_that_goes_on_counts_the_epochs_of_before() -> None:
    _, second = fits_of("model.fit(x, y, epochs=4)\nmodel.fit(x, y, epochs=2)")
    assert values_of(second)["max_epochs"] == 6


def test_helpers_that_are_not_at_hand_leave_the_file_to_the_user() -> None:
    source = (
        "from my_data import load_dataset\nX, Y, X_test, Y_test, classes = load_dataset()\n"
        "model.fit(X, Y, validation_data=(X_test, Y_test))"
    )
    fit = fit_of(source)
    assert fit.data.unnamed == ["train", "val"]
    assert fit.scale == "raw"
    assert fit_of(source, {"scale": "/255"}).scale == "/255"


def test_unknown_images_ask_for_their_scale() -> None:
    (fit,) = fits_of("from my_data import images\nmodel.fit(images(), y)")
    assert getattr(fit.scale, "fact", None) == "scale"


LOOP = """
import os
a, b = [], []
for name in os.listdir("pets"):
    a.append(read_picture(name))
    b.append(name)
a, b = np.array(a), np.array(b)
"""


def test_what_a_loop_reads_has_a_shape_and_a_scale_to_ask_for() -> None:
    (fit,) = fits_of(f"{LOOP}size = a.shape[1:]\nmodel.fit(a, b)")
    assert getattr(fit.scale, "fact", None) == "scale"
    assert fit_of(f"{LOOP}model.fit(a, b)", {"scale": "raw"}).scale == "raw"
    fit = fit_of(f"{LOOP}model.fit(a / 255., b)")
    assert fit.scale == "/255"
    assert any("taken for bytes" in note for _, note in fit.all_notes)


def test_parts_of_a_helpers_data_are_arrays() -> None:
    source = "from my_code import load_images\n(a, b), (c, d) = load_images()\n"
    fit = fit_of(f"{source}model.fit(a / 255, b, validation_data=(c / 255, d))")
    assert fit.data.unnamed == ["train", "val"]


@pytest.mark.parametrize(
    ("layer", "images", "note"),
    [
        ("layers.Rescaling(1 / 255)", "x / 255", "scaled twice"),
        ("layers.Rescaling(1 / 255)", "x", ""),
        ("layers.ReLU()", "x / 255", ""),
        ("layers.ReLU()", "x", "nothing scales"),
    ],
)
def test_images_that_are_scaled_twice_are_said(layer: str, images: str, note: str) -> None:
    source = f"""
model = keras.Sequential([keras.Input((64, 64, 3)), {layer}, layers.Flatten(), layers.Dense(6)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit({images}, y)
"""
    fit = fit_of(source)
    assert fit.model_config is not None
    fit.check_scale(make_plan(fit.model_config))
    assert [text for _, text in fit.all_notes if "scale" in text] == [text for _, text in fit.notes]
    assert note in " ".join(text for _, text in fit.notes)
    assert bool(fit.notes) == bool(note)


@pytest.mark.parametrize(
    ("arguments", "epochs", "limit"),
    [
        ("2000, 5, validation_data=made, nb_val_samples=800", 5, 125),
        ("samples_per_epoch=2000, nb_epoch=3", 3, 125),
        ("2000", 10, 125),
    ],
)
def test_keras_1_counts_images_of_an_epoch(arguments: str, epochs: int, limit: int) -> None:
    source = (
        "made = ImageDataGenerator(rescale=1. / 255).flow(x, y, batch_size=16)\n"
        f"model.fit_generator(made, {arguments})"
    )
    read(MODEL + ARRAYS + source, version="1.2.2")
    (fit,) = session().models[-1].fits
    values = values_of(fit)
    assert fit.all_problems == []
    assert (values["max_epochs"], values["limit_train_batches"]) == (epochs, limit)
    assert values.get("limit_val_batches") in (None, 50)
