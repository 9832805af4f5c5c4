"""Models as records have the config, the names, the shapes and the totals of the same in Keras."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras_models import Wrapped, keras_meaning, keras_totals, meaning
from reading_data import read

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.source.write_source import write_text
from signs_lightning.translate.keras_session import start_session
from signs_lightning.translate.model_summary import summarize
from signs_lightning.translate.values import LibraryName, NotUnderstoodError, Place, Unknown

PLACE = Place(1, 1)


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.backend.clear_session()
    start_session("3.0.0")


def sequential(k: Any) -> Any:
    model = k.Sequential(name="net")
    model.add(k.Input((17, 16, 3)))
    model.add(k.layers.Conv2D(4, 3, (2, 1), "same", activation="relu"))
    model.add(k.layers.MaxPool2D(2, 2))
    model.add(k.layers.ZeroPadding2D((1, 2)))
    model.add(k.layers.Conv2D(4, (3, 2), activation=k.layers.LeakyReLU(0.1)))
    model.add(k.layers.BatchNormalization(momentum=0.9))
    model.add(k.layers.Dropout(0.3))
    model.add(k.layers.Flatten())
    regularizer = k.regularizers.l2(0.01)
    model.add(k.layers.Dense(5, kernel_initializer="he_normal", kernel_regularizer=regularizer))
    model.add(k.layers.Dense(3, activation="softmax", kernel_constraint=k.constraints.MaxNorm(2)))
    model.pop()
    model.add(k.layers.Dense(4, activation="softmax"))
    return model


def residual(k: Any) -> Any:
    image = k.Input(shape=(16, 16, 3))
    x = k.layers.Conv2D(8, 3, padding="same", name="first")(image)
    for width in (8, 8, 16):
        shortcut = x
        x = k.layers.BatchNormalization(axis=3)(x)
        x = k.layers.Activation("relu")(x)
        x = k.layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
        if width == 16:
            shortcut = k.layers.Conv2D(width, 1)(shortcut)
        x = k.layers.Add()([x, shortcut])
    x = k.layers.concatenate([k.layers.MaxPooling2D()(x), k.layers.AveragePooling2D(2)(x)])
    x = k.layers.GlobalAveragePooling2D()(x)
    return k.Model(inputs=image, outputs=k.layers.Dense(6, activation="softmax")(x), name="res")


def shared_layers(k: Any) -> Any:
    image = k.layers.Input((12, 12, 2))
    conv = k.layers.Conv2D(2, 3, padding="same")
    x = conv(conv(image))
    x = k.layers.multiply([x, conv(image)])
    return k.Model(image, k.layers.Dense(3)(k.layers.Flatten()(x)))


def nested(k: Any) -> Any:
    inner = k.Sequential([k.Input((10, 10, 3)), k.layers.Conv2D(4, 3), k.layers.ReLU()])
    image = k.Input((10, 10, 3))
    x = k.layers.RandomFlip("horizontal")(image)
    x = inner(x, training=False)
    inner.trainable = False
    x = k.layers.GlobalMaxPooling2D()(x)
    return k.Model(image, k.layers.Dense(2, activation="softmax")(x))


def arithmetic(k: Any) -> Any:
    image = k.Input((8, 8, 3))
    x = (image / 127.5 - 1.0)[..., ::-1]
    y = 2.0 * x + k.layers.Conv2D(3, 1)(x)
    y = k.ops.concatenate([y, -x], axis=-1)
    y = k.ops.mean(y, axis=[1, 2])
    y = k.ops.reshape(y, (-1, 6))
    return k.Model(image, k.layers.Dense(2)(k.ops.relu(y)))


def extended(k: Any) -> Any:
    base = k.Sequential([k.Input((12, 12, 3)), k.layers.Conv2D(4, 3), k.layers.Conv2D(5, 3)])
    for layer in base.layers[:1]:
        layer.trainable = False
    x = k.layers.Flatten()(base.layers[-1].output)
    return k.Model(inputs=base.inputs, outputs=k.layers.Dense(2)(x))


BUILDERS: list[Callable[[Any], Any]] = [
    sequential, residual, shared_layers, nested, arithmetic, extended,
]  # fmt: skip


@pytest.mark.parametrize("build", BUILDERS)
def test_same_config_shapes_and_totals(build: Callable[[Any], Any]) -> None:
    expected = build(keras)
    model = build(Wrapped(LibraryName("keras"))).record
    ours, theirs = meaning(model.config()), keras_meaning(expected)
    if build is not sequential:  # Keras counts the models that a Sequential keeps inside
        ours["config"].pop("name"), theirs["config"].pop("name")
    assert json.loads(json.dumps(ours)) == theirs
    summary = summarize(model)
    assert (summary.total, summary.trainable) == keras_totals(expected)
    shapes = {layer.name: layer.output.shape for layer in expected.layers}
    rows = {row.name: row.shape for row in summary.rows}
    assert {name: rows[name] for name in shapes} == shapes


@pytest.mark.parametrize("build", [sequential, residual, nested])
def test_is_built_and_written_as_source(build: Callable[[Any], Any]) -> None:
    model = build(Wrapped(LibraryName("keras")))
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
    record = model.record
    classifier = FromKeras(
        config=json.dumps(record.config()),
        scale="/255",
        compile_config=json.dumps(record.compile_config()),
    )
    own = sum(p.numel() for p in classifier.parameters() if p.requires_grad)
    assert own == summarize(record).trainable
    assert "class Net" in write_text(classifier).text


def test_unknown_argument_is_kept() -> None:
    k = Wrapped(LibraryName("keras"))
    unknown = Unknown("tf.py_function()", Place(3, 4))
    model = k.Sequential([k.Input((8, 8, 3)), k.layers.Flatten(), k.layers.Dense(unknown)]).record
    assert [found for _, found in model.unknowns] == [unknown]
    with pytest.raises(NotUnderstoodError, match="units of Dense"):
        model.config()
    with pytest.raises(NotUnderstoodError, match="py_function"):
        summarize(model)


def test_asks_for_input_shape() -> None:
    k = Wrapped(LibraryName("keras"))
    model = k.Sequential([k.layers.Flatten(), k.layers.Dense(2)]).record
    assert [found.fact for _, found in model.unknowns] == ["input_shape"]
    start_session("3.0.0", {"input_shape": (4, 4, 3)})
    model = k.Sequential([k.layers.Flatten(), k.layers.Dense(2)]).record
    assert summarize(model).total == (48 + 1) * 2


def test_tainted_layer_is_not_translated() -> None:
    k = Wrapped(LibraryName("keras"))
    layer = k.layers.Dense(2)
    model = k.Sequential([k.Input((4,)), layer]).record
    layer.record.taint(Unknown("surgery(layer)", PLACE))
    assert "surgery(layer)" in {found.reason for _, found in model.unknowns}


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("3.0.0", ["conv2d", "conv2d_1", "max_pooling2d", "re_lu", "dense"]),
        ("2.15.0", ["conv2d", "conv2d_1", "max_pooling2d", "re_lu", "dense"]),
        ("2.2.4", ["conv2d_1", "conv2d_2", "max_pooling2d_1", "re_lu_1", "dense_1"]),
        ("1.2.2", ["convolution2d_1", "convolution2d_2", "maxpooling2d_1", "relu_1", "dense_1"]),
    ],
)
def test_names_of_each_keras(version: str, names: list[str]) -> None:
    start_session(version)
    k = Wrapped(LibraryName("keras"))
    made = [k.layers.Conv2D(2, 3), k.layers.Conv2D(2, 3), k.layers.MaxPooling2D(), k.layers.ReLU()]
    assert [layer.name for layer in [*made, k.layers.Dense(2)]] == names


def test_words_of_keras1() -> None:
    start_session("1.2.2")
    k = Wrapped(LibraryName("keras"))
    model = k.Sequential()
    model.add(
        k.layers.Convolution2D(
            8, 3, 5, border_mode="same", subsample=(2, 2), init="he_normal", input_shape=(16, 16, 3)
        )
    )
    model.add(k.layers.MaxPooling2D(pool_size=(2, 2), border_mode="valid"))
    model.add(k.layers.Flatten())
    model.add(k.layers.Dense(output_dim=4, activation="softmax", W_regularizer=k.regularizers.l2()))
    start = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, (3, 5), (2, 2), "same", kernel_initializer="he_normal")(start)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(x))
    expected = keras.Model(start, keras.layers.Dense(4, activation="softmax")(x))
    assert summarize(model.record).total == expected.count_params()
    own = {e["class_name"]: e["config"] for e in model.record.config()["config"]["layers"]}
    theirs = expected.layers[1].get_config()
    for key in ("kernel_size", "strides", "padding", "filters"):
        assert tuple_of(own["Conv2D"][key]) == tuple_of(theirs[key])
    assert own["Conv2D"]["kernel_initializer"]["class_name"] == "HeNormal"
    assert own["Dense"]["kernel_regularizer"]["config"] == {"l2": 0.01}


def tuple_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("version", "units", "expected"),
    [("2.4.0", "'6'", 6), ("2.4.0", "12 / 2", 6), ("2.4.0", "'six'", "six"), ("3.0.0", "'6'", "6")],
)
def test_units_are_made_whole_before_keras3(version: str, units: str, expected: Any) -> None:
    found = read(
        f"from tensorflow.keras.layers import Dense\nlayer = Dense({units})", None, version
    )
    assert found["layer"].config["units"] == expected


def test_kernel_of_two_numbers_is_a_stride_since_tf_keras() -> None:
    start_session("2.4.0")
    k = Wrapped(LibraryName("keras"))
    assert k.layers.Conv2D(8, 3, 2).strides == (2, 2)
    start_session("2.2.4")
    assert k.layers.Conv2D(8, 3, 2).kernel_size == (3, 2)
