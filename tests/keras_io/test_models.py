"""Whole models: random graphs, nested models, the classics, keras.applications, in every file
format; gradients.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import h5py
import jax
import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from keras.src.legacy.saving import legacy_h5_format

from signs_lightning.errors import InputError
from signs_lightning.keras_io.load_keras import from_keras

from .against_keras import (
    assert_same,
    examples,
    images_for,
    layer_outputs,
    network_of,
    randomize,
    to_torch,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


BLOCKS = {
    "conv": lambda n: layers.Conv2D(n, 3, padding="same", activation="relu"),
    "strided": lambda n: layers.Conv2D(n, 2, strides=2, padding="same", activation="elu"),
    "separable": lambda n: layers.SeparableConv2D(n, 3, padding="same"),
    "depthwise": lambda n: layers.DepthwiseConv2D(3, padding="same"),
    "norm": lambda n: layers.BatchNormalization(),
    "group": lambda n: layers.GroupNormalization(2),
    "pool": lambda n: layers.MaxPooling2D(2, padding="same"),
    "average": lambda n: layers.AveragePooling2D(3, strides=1, padding="same"),
    "pad": lambda n: layers.ZeroPadding2D(((1, 0), (2, 1))),
    "up": lambda n: layers.UpSampling2D(2),
    "relu": lambda n: layers.ReLU(6.0),
    "activation": lambda n: layers.Activation("swish"),
    "prelu": lambda n: layers.PReLU(shared_axes=[1, 2]),
    "dropout": lambda n: layers.Dropout(0.5),
    "dense": lambda n: layers.Dense(n),
}
# Blocks that keep height and width.
KEEPING = ["conv", "separable", "norm", "average", "relu", "activation", "prelu"]
block = st.tuples(st.sampled_from(sorted(BLOCKS)), st.sampled_from([2, 4, 6]))


@pytest.mark.slow
@examples(6)
@given(st.lists(block, min_size=2, max_size=11), st.sampled_from(["flatten", "pool"]))
def test_sequential_graphs(folder, blocks, head):
    tail = layers.Flatten() if head == "flatten" else layers.GlobalAveragePooling2D()
    stack = [BLOCKS[kind](width) for kind, width in blocks]
    model = keras.Sequential(
        [keras.Input((9, 8, 4)), *stack, tail, layers.Dense(3, activation="softmax")]
    )
    randomize(model)
    assert_same(model, folder)


@pytest.mark.slow
@examples(8)
@given(st.data())
def test_functional_graphs(folder, data):
    """Branches from any earlier value, shared layers, skip connections; every loose end joins at
    the last layer.
    """
    image = keras.Input((8, 8, 4))
    values, shared = [image], layers.Conv2D(4, 3, padding="same", name="shared")
    for _ in range(data.draw(st.integers(2, 8))):
        kind = data.draw(st.sampled_from([*KEEPING, "shared", "add", "concatenate", "scaled"]))
        value = data.draw(st.sampled_from(values))
        if kind == "shared":
            value = shared(value) if value.shape[-1] == 4 else value
        elif kind in {"add", "concatenate"}:
            other = data.draw(st.sampled_from(values))
            fits = kind == "concatenate" or other.shape == value.shape
            value = (
                {"add": layers.Add, "concatenate": layers.Concatenate}[kind]()([value, other])
                if fits
                else value
            )
        elif kind == "scaled":
            value = value * 0.5 - 0.1
        else:
            value = BLOCKS[kind](4)(value)
        values.append(value)
    ends = [
        layers.GlobalAveragePooling2D()(value)
        for value in dict(zip(map(id, values), values, strict=True)).values()
    ]
    model = keras.Model(
        image,
        layers.Dense(1, activation="sigmoid")(
            layers.Concatenate()(ends) if len(ends) > 1 else ends[0]
        ),
    )
    randomize(model)
    assert_same(model, folder)


def backbone(functional: bool = True, name: str = "backbone") -> keras.Model:
    stack = [
        layers.Conv2D(4, 3, padding="same", name="conv.1"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Conv2D(4, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
    ]
    if not functional:
        return keras.Sequential([keras.Input((8, 8, 3)), *stack], name=name)
    image = keras.Input((8, 8, 3))
    value = image
    for layer in stack:
        value = layer(value)
    return keras.Model(image, value, name=name)


@pytest.mark.parametrize("functional", [True, False])
@pytest.mark.parametrize("frozen", ["none", "all", "some"])
@pytest.mark.parametrize("outer", ["sequential", "functional", "two levels"])
def test_nested_models(folder, functional, frozen, outer):
    """A backbone inside a model, as transfer learning makes it; a frozen one has its weights in
    another order in `.h5`.
    """
    inner = backbone(functional)
    inner.trainable = frozen != "all"
    if frozen == "some":
        inner.layers[1].trainable = False
    head = [layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
    if outer == "sequential":
        model = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(2.0), inner, *head])
    else:
        image = keras.Input((8, 8, 3))
        value = inner(image, training=False)
        if outer == "two levels":
            middle = keras.Model(image, layers.BatchNormalization()(value), name="middle")
            image = keras.Input((8, 8, 3))
            value = middle(layers.RandomFlip()(image))
        for layer in head:
            value = layer(value)
        model = keras.Model(image, value)
    randomize(model)
    ours = assert_same(model, folder)
    assert any("backbone.conv_1.weight" in name for name in ours.state_dict())


def test_shared_model(folder):
    """One backbone on the image and on its negative."""
    image, inner = keras.Input((8, 8, 3)), backbone()
    joined = layers.Subtract()([inner(image), inner(1.0 - image)])
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(joined)))
    randomize(model)
    ours = assert_same(model, folder)
    assert ours.network.totals()[0] == sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def happy(size: int = 64) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.ZeroPadding2D(3),
            layers.Conv2D(32, 7),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def signs(size: int = 64, classes: int = 6) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.Conv2D(8, 4, padding="same"),
            layers.ReLU(),
            layers.MaxPooling2D(8, padding="same"),
            layers.Conv2D(16, 2, padding="same"),
            layers.ReLU(),
            layers.MaxPooling2D(4, padding="same"),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def functional_of(model: keras.Model) -> keras.Model:
    """A Sequential model as a Functional one."""
    return keras.Model(model.inputs[0], model.outputs[0])


def resnet(
    size: int = 64, classes: int = 6, width: int = 64, identities: tuple[int, ...] = (2, 3, 5, 2)
) -> keras.Model:
    """The course's ResNet50 with the course's names."""
    image = keras.Input((size, size, 3))
    x = layers.Conv2D(width, 7, strides=2, name="conv1")(layers.ZeroPadding2D(3)(image))
    x = layers.ReLU()(layers.BatchNormalization(name="bn_conv1")(x))
    x = layers.MaxPooling2D(3, strides=2)(x)
    for stage, count in enumerate(identities, start=2):
        filters = width * 2 ** (stage - 2)
        for block in range(count + 1):
            name, stride, shortcut = (
                f"{stage}{chr(97 + block)}_branch",
                2 if stage > 2 and block == 0 else 1,
                x,
            )
            for part, (channels, kernel, step) in enumerate(
                [(filters, 1, stride), (filters, 3, 1), (4 * filters, 1, 1)]
            ):
                x = layers.Conv2D(
                    channels, kernel, strides=step, padding="same", name=f"res{name}2{'abc'[part]}"
                )(x)
                x = layers.BatchNormalization(name=f"bn{name}2{'abc'[part]}")(x)
                x = layers.ReLU()(x) if part < 2 else x
            if block == 0:
                shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"res{name}1")(
                    shortcut
                )
                shortcut = layers.BatchNormalization(name=f"bn{name}1")(shortcut)
            x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x))


@pytest.mark.parametrize(
    "make",
    [happy, signs, lambda: resnet(width=8, identities=(1, 1, 0, 0))],
    ids=["happy", "signs", "resnet50"],
)
def test_classics(folder, make):
    model = make()
    randomize(model)
    assert_same(model, folder)


@pytest.mark.parametrize(
    ("architecture", "make"),
    [
        ("happy", lambda: happy(32)),
        ("signs", lambda: signs(96, 4)),
        pytest.param("resnet50", lambda: resnet(64, 5, width=4), marks=pytest.mark.slow),
        pytest.param(
            *("resnet50", lambda: resnet(100, 3, width=4, identities=(2, 3, 5, 3))),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_weights_only(folder, architecture, make):
    """Files without a config go into our architecture: the named one, or the one that fits."""
    model = make()
    randomize(model)
    new, legacy = folder / "weights.weights.h5", folder / "weights.legacy.h5"
    model.save_weights(new)
    with h5py.File(legacy, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    size = model.input_shape[1:] if model.input_shape[1] == 100 else None
    images = images_for(model)
    theirs = np.asarray(jax.jit(lambda x: model(x, training=False))(images))
    for path, name in itertools.product((new, legacy), (architecture, None)):
        ours = from_keras(path, architecture=name, image_size=size)
        predicted = ours.predict(to_torch(images)).numpy()
        np.testing.assert_allclose(
            predicted[:, 1:] if ours.binary else predicted, theirs, atol=1e-5, rtol=0
        )


APPLICATIONS = {
    "MobileNetV2": 64,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "VGG16": 64,
    "MobileNet": 64,
    "DenseNet121": 64,
    "InceptionV3": 75,
    "Xception": 71,
    "EfficientNetB0": 64,
    "NASNetMobile": 64,
    "EfficientNetV2B0": 64,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(folder, name):
    size = APPLICATIONS[name]
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=7)
    randomize(model)
    assert_same(model, folder)


@pytest.mark.slow
def test_gradients(folder):
    """Both sides in float64, BatchNorm in inference mode: each weight's gradient within 1e-6 of its
    largest.
    """
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with jax.enable_x64(True):
            model = resnet(40, 3, width=2, identities=(1, 1, 1, 1))
            randomize(model)
            images = images_for(model, 4).astype("float64")
            labels = np.array([0, 1, 2, 1])

            def loss(trainable: list, fixed: list) -> object:
                outputs, _ = model.stateless_call(trainable, fixed, images, training=False)
                return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, outputs))

            variables = (
                [v.value for v in model.trainable_variables],
                [v.value for v in model.non_trainable_variables],
            )
            paths = [variable.path for variable in model.trainable_variables]
            gradients = dict(
                zip(paths, map(np.asarray, jax.jit(jax.grad(loss))(*variables)), strict=True)
            )
            model.save(folder / "gradients.h5")
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    ours = from_keras(folder / "gradients.h5").double()
    network = network_of(ours)
    with h5py.File(folder / "gradients.h5") as file:  # float64, too: from_keras made float32 of it
        for layer, weights in network.plan.layers():
            group = file["model_weights"][layer.path[0]]
            for weight, name in zip(weights, group.attrs["weight_names"], strict=True):
                network.load_keras(layer.path, weight, group[name][()])
    torch.nn.functional.cross_entropy(ours(to_torch(images)), torch.from_numpy(labels)).backward()
    compared = 0
    for layer, weights in network.plan.layers():
        for weight in weights:
            if not weight.trainable:
                continue
            grad = network.parameter(layer.path, weight).grad
            assert grad is not None
            theirs = gradients[f"{layer.path[-1]}/{weight.keras}"].transpose(weight.permutation)
            theirs = theirs.reshape(grad.shape)
            assert theirs.dtype == np.float64
            largest = max(np.abs(theirs).max(), 1e-12)
            np.testing.assert_allclose(grad.numpy() / largest, theirs / largest, atol=1e-6, rtol=0)
            compared += 1
    assert compared == len(gradients)


def test_first_difference_names_the_layer(folder):
    from signs_lightning.keras_io.compare_outputs import first_difference

    model = signs(32)
    randomize(model)
    model.save(folder / "model.keras")
    ours = from_keras(folder / "model.keras")
    images = images_for(model)
    reference = layer_outputs(model, images)
    assert first_difference(ours, reference, to_torch(images)) is None
    name = model.layers[3].name
    with torch.no_grad():
        ours.network.get_parameter(f"{name}.weight")[0, 0, 0, 0] += 1
    difference = first_difference(ours, reference, to_torch(images))
    assert difference is not None
    assert difference.layer == name
    assert f"'{name}' is the first that differs" in str(difference)
    assert len(difference.before) == 3


def test_any_image_size_needs_one(folder):
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 3),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(folder / "any.keras")
    with pytest.raises(InputError, match="images of any size"):
        from_keras(folder / "any.keras")
    ours = from_keras(folder / "any.keras", image_size=(20, 30, 3))
    assert ours.image_size == (20, 30, 3)
    images = np.random.default_rng(0).random((2, 20, 30, 3), dtype=np.float32)
    np.testing.assert_allclose(ours.predict(to_torch(images)), np.asarray(model(images)), atol=1e-5)


@pytest.mark.parametrize("scale", ["raw", "tf", "caffe", "torch"])
def test_scale(folder, scale):
    """As `preprocess_input` of keras.applications, on images of 0..255."""
    from keras.src.applications.imagenet_utils import preprocess_input

    model = signs(32)
    model.save(folder / "scale.keras")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    prepared = (
        images.astype("float32")
        if scale == "raw"
        else preprocess_input(images.astype("float32"), mode=scale)
    )
    ours = from_keras(folder / "scale.keras", scale=scale)
    np.testing.assert_allclose(ours.predict(images), np.asarray(model(prepared)), atol=1e-5)
