"""Layer by layer: hypothesis draws the arguments, Keras builds and saves the layer, ours gives the
same output.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from signs_lightning.errors import InputError
from signs_lightning.keras_io.activations import ALONG_AXIS, ELEMENTWISE
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.keras_io.network_plan import make_plan
from signs_lightning.keras_io.norm_modules import AxisLayerNorm
from signs_lightning.keras_io.to_keras import ENDINGS, Format, export_keras

from .against_keras import assert_same, examples, randomize, to_torch

small = st.integers(1, 3)
pairs = st.tuples(small, small)
padding = st.sampled_from(["same", "valid"])
formats = st.sampled_from(["channels_last", "channels_first"])
activation = st.sampled_from([None, "relu", "sigmoid", "tanh", "softmax", "gelu", "hard_sigmoid"])
rates = st.floats(0.1, 0.9)
INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layers")


def check(
    *stacks: keras.layers.Layer | list[keras.layers.Layer],
    folder: Path,
    shape: tuple[int, ...] = (7, 6, 4),
    channels_first: bool = False,
) -> None:
    """Keras layers, or several in a row, side by side between an image and a softmax; both file
    formats.
    """
    image = keras.Input((shape[2], *shape[:2]) if channels_first else shape)
    ends = []
    for stack in stacks:
        value = image
        for layer in stack if isinstance(stack, list) else [stack]:
            value = layer(value)
        ends.append(layers.Flatten()(value))
    joined = layers.Concatenate()(ends) if len(ends) > 1 else ends[0]
    model = keras.Model(image, layers.Dense(3, activation="softmax")(joined))
    randomize(model)
    assert_same(model, folder, channels_first)


def several(*arguments: st.SearchStrategy, count: int = 5) -> st.SearchStrategy:
    """Arguments of so many layers, no two the same: one model of many costs Keras hardly more than
    one of a single layer.
    """
    return st.lists(st.tuples(*arguments), min_size=count, max_size=count, unique_by=repr)


@st.composite
def strides_or_dilation(draw: st.DrawFn) -> dict[str, object]:
    """Keras allows only one of the two to be more than 1."""
    if draw(st.booleans()):
        return {"strides": draw(pairs)}
    return {"dilation_rate": draw(pairs)}


@examples(2)
@given(
    formats,
    several(
        st.integers(2, 3),
        pairs,
        strides_or_dilation(),
        padding,
        activation,
        st.booleans(),
        st.sampled_from([1, 2, 4]),
    ),
)
def test_conv2d(folder, data_format, drawn):
    stacks = [
        layers.Conv2D(
            groups * multiple,
            kernel,
            padding=pad,
            data_format=data_format,
            activation=act,
            use_bias=bias,
            groups=groups,
            **steps,
        )
        for multiple, kernel, steps, pad, act, bias, groups in drawn
    ]
    check(*stacks, folder=folder, shape=(8, 9, 4), channels_first=data_format == "channels_first")


@examples(2)
@given(
    formats,
    several(
        st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), padding, activation, st.booleans()
    ),
)
def test_depthwise_conv2d(folder, data_format, drawn):
    stacks = [
        layers.DepthwiseConv2D(
            kernel,
            stride,
            pad,
            depth_multiplier=multiplier,
            data_format=data_format,
            activation=act,
            use_bias=bias,
        )
        for multiplier, kernel, stride, pad, act, bias in drawn
    ]
    check(*stacks, folder=folder, channels_first=data_format == "channels_first")


@examples(2)
@given(
    formats,
    several(
        st.integers(2, 5),
        st.integers(1, 3),
        st.integers(1, 2),
        padding,
        st.integers(1, 2),
        activation,
        st.booleans(),
    ),
)
def test_separable_conv2d(folder, data_format, drawn):
    stacks = [
        layers.SeparableConv2D(
            filters,
            kernel,
            stride,
            pad,
            depth_multiplier=multiplier,
            data_format=data_format,
            activation=act,
            use_bias=bias,
        )
        for filters, kernel, stride, pad, multiplier, act, bias in drawn
    ]
    check(*stacks, folder=folder, channels_first=data_format == "channels_first")


@examples(2)
@given(formats, several(st.integers(1, 3), pairs, pairs, padding, st.booleans(), st.booleans()))
def test_conv2d_transpose(folder, data_format, drawn):
    stacks = [
        layers.Conv2DTranspose(
            filters,
            kernel,
            stride,
            pad,
            output_padding=tuple(s - 1 for s in stride) if explicit else None,
            data_format=data_format,
            use_bias=bias,
        )
        for filters, kernel, stride, pad, bias, explicit in drawn
    ]
    check(*stacks, folder=folder, shape=(4, 5, 3), channels_first=data_format == "channels_first")


@examples(2)
@given(
    formats,
    several(
        st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]),
        pairs,
        st.none() | pairs,
        padding,
    ),
)
def test_pooling(folder, data_format, drawn):
    stacks = [kind(size, stride, pad, data_format=data_format) for kind, size, stride, pad in drawn]
    check(*stacks, folder=folder, channels_first=data_format == "channels_first")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_pooling(folder, data_format):
    stacks = [
        kind(data_format=data_format, keepdims=keepdims)
        for kind in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
        for keepdims in (False, True)
    ]
    check(*stacks, folder=folder, channels_first=data_format == "channels_first")


def test_adaptive_pooling(folder):
    """Windows of one size and of two, more windows than pixels, and both data formats.

    Not 7 windows, for which Keras 3.15 on JAX rounds an index up and gives NaN.
    """
    stacks = [
        kind(size, data_format=data_format)
        for kind in (layers.AdaptiveAveragePooling2D, layers.AdaptiveMaxPooling2D)
        for size, data_format in (((3, 4), "channels_last"), ((9, 1), "channels_first"))
    ]
    stacks += [
        [layers.Reshape((24, 7)), kind(5, data_format=data_format)]
        for kind in (layers.AdaptiveAveragePooling1D, layers.AdaptiveMaxPooling1D)
        for data_format in ("channels_last", "channels_first")
    ]
    check(*stacks, folder=folder)


@examples(2)
@given(
    formats,
    several(
        st.sampled_from([layers.ZeroPadding2D, layers.Cropping2D]),
        st.integers(0, 2)
        | pairs
        | st.tuples(st.tuples(small, small), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    ),
)
def test_padding_and_cropping(folder, data_format, drawn):
    stacks = [kind(amount, data_format=data_format) for kind, amount in drawn]
    check(*stacks, folder=folder, channels_first=data_format == "channels_first")


@examples(2)
@given(formats, several(pairs, st.sampled_from(INTERPOLATIONS)))
def test_up_sampling2d(folder, data_format, drawn):
    stacks = [
        layers.UpSampling2D(size, data_format, interpolation) for size, interpolation in drawn
    ]
    check(*stacks, folder=folder, shape=(3, 4, 2), channels_first=data_format == "channels_first")


@pytest.mark.slow
@examples(2)
@given(
    formats,
    several(
        st.integers(2, 12),
        st.integers(2, 12),
        st.sampled_from(INTERPOLATIONS),
        st.booleans(),
        st.sampled_from([{}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}]),
    ),
)
def test_resizing(folder, data_format, drawn):
    stacks = [
        [
            layers.Resizing(
                height,
                width,
                interpolation,
                antialias=antialias,
                data_format=data_format,
                fill_value=0.5,
                **ratio,
            ),
            layers.Conv2D(2, 1, data_format=data_format),
        ]
        for height, width, interpolation, antialias, ratio in drawn
    ]
    check(*stacks, folder=folder, channels_first=data_format == "channels_first")


def test_resizing_between_two_pixels(folder):
    """The centre of the middle row lies between two rows of the image."""
    check(layers.Resizing(23, 10, "nearest"), folder=folder, shape=(14, 17, 2))


def test_center_crop(folder):
    """Even and odd borders, images that are too small in one axis or both, both data formats."""
    sizes = [(7, 6), (4, 3), (1, 1), (9, 3), (4, 8), (12, 9)]
    stacks = [layers.CenterCrop(*size, data_format="channels_last") for size in sizes]
    stacks += [layers.CenterCrop(*size, data_format="channels_first") for size in ((3, 3), (5, 9))]
    check(*stacks, folder=folder)


def random_crop(size: tuple[int, int], keras_version: str) -> KerasNetwork:
    """A model for images of 7×6 pixels that begins with a RandomCrop."""
    model = keras.Sequential(
        [
            keras.Input((7, 6, 3)),
            layers.RandomCrop(*size, name="crop"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    return KerasNetwork(make_plan(json.loads(model.to_json()), keras_version))


def test_random_crop():
    """Keras 2 resizes at rest, and crops all images of a batch at one place in training."""
    images = np.random.default_rng(0).random((3, 7, 6, 3), dtype=np.float32)
    for size in ((4, 4), (5, 9), (7, 3)):
        crop = random_crop(size, "2.15.0").get_submodule("crop").eval()
        expected = keras.preprocessing.image.smart_resize(images, size)
        ours = crop(to_torch(images)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(ours, np.asarray(expected), atol=1e-6)
    crop = random_crop((4, 4), "2.15.0").get_submodule("crop").train()
    windows = {
        (top, left): images[:, top : top + 4, left : left + 4]
        for top in range(4)
        for left in range(3)
    }
    drawn = set()
    for _ in range(200):
        ours = crop(to_torch(images)).permute(0, 2, 3, 1).numpy()
        drawn |= {place for place, window in windows.items() if np.array_equal(ours, window)}
    assert drawn == set(windows)


def test_random_crop_of_keras_3():
    """It says another size than it gives at rest, if it crops at all."""
    with pytest.raises(InputError, match="RandomCrop 'crop' has height and width"):
        random_crop((4, 4), "3.15.0")


@examples(2)
@given(
    several(
        st.sampled_from([1, 2, 3, -1]),
        st.booleans(),
        st.booleans(),
        st.floats(0.5, 0.99),
        st.floats(1e-6, 1e-2),
    )
)
def test_batch_normalization(folder, drawn):
    stacks = [
        layers.BatchNormalization(
            axis=axis, scale=scale, center=center, momentum=momentum, epsilon=epsilon
        )
        for axis, scale, center, momentum, epsilon in drawn
    ]
    check(*stacks, folder=folder)


@examples(2)
@given(
    several(
        st.sampled_from([-1, 1, 2, [1, 2], [2, 3], [1, 2, 3], [3]]), st.booleans(), st.booleans()
    )
)
def test_layer_normalization(folder, drawn):
    stacks = [
        layers.LayerNormalization(axis=axis, scale=scale, center=center)
        for axis, scale, center in drawn
    ]
    check(*stacks, folder=folder)


def test_layer_normalization_of_large_values():
    """Around 240 the deviations keep their digits, as float64 has them."""
    ours = AxisLayerNorm((-1,), (32,), 1e-3, scale=True, center=True, channels_last=False)
    values = 240 + np.random.default_rng(0).random((64, 32), dtype=np.float32)
    normalized = ours(torch.from_numpy(values)).detach().numpy()
    exact = torch.nn.functional.layer_norm(torch.from_numpy(values).double(), (32,), eps=1e-3)
    np.testing.assert_allclose(normalized, exact.numpy(), atol=2e-6)
    theirs = np.asarray(layers.LayerNormalization()(values))
    np.testing.assert_allclose(normalized, theirs, atol=1e-3)  # Keras itself is off by 2e-4


@examples(2)
@given(
    several(st.sampled_from([1, 2, 4, -1]), st.sampled_from([-1, 3]), st.booleans(), st.booleans())
)
def test_group_normalization(folder, drawn):
    stacks = [
        layers.GroupNormalization(groups, axis=axis, scale=scale, center=center)
        for groups, axis, scale, center in drawn
    ]
    check(*stacks, folder=folder)


def test_group_normalization_of_large_values(folder):
    """Around 240 the variance keeps its digits: as Keras, and float64, have it."""
    model = keras.Sequential(
        [
            keras.Input((18, 16, 4)),
            layers.GroupNormalization(2, name="group"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    randomize(model)
    model.save(folder / "group.keras")
    images = 240 + np.random.default_rng(0).random((2, 18, 16, 4), dtype=np.float32)
    group = from_keras(folder / "group.keras", scale="/255").network.get_submodule("group")
    ours = group(to_torch(images)).detach().permute(0, 2, 3, 1).numpy()
    values = images.astype(np.float64).reshape(2, 18, 16, 2, 2)  # (N, H, W, groups, C / groups)
    mean, variance = (f(values, axis=(1, 2, 4), keepdims=True) for f in (np.mean, np.var))
    gamma, beta = (np.asarray(weight) for weight in model.get_layer("group").weights)
    exact = ((values - mean) / np.sqrt(variance + 1e-3)).reshape(images.shape) * gamma + beta
    np.testing.assert_allclose(ours, exact, atol=2e-4)
    theirs = np.asarray(model.get_layer("group")(images))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)  # Keras itself is off by 4e-4


def test_unit_and_rms_normalization(folder):
    check(
        *(layers.UnitNormalization(axis=axis) for axis in (-1, 1, [1, 2], [3])),
        *(layers.RMSNormalization(axis=axis) for axis in (-1, [2, 3], [1, 2, 3])),
        [layers.Reshape((6, 28)), layers.RMSNormalization(epsilon=1e-2)],
        [layers.Flatten(), layers.UnitNormalization()],
        folder=folder,
    )


def test_normalisations_of_vectors(folder):
    stack = [
        layers.Flatten(), layers.Dense(8), layers.BatchNormalization(), layers.LayerNormalization(),
        layers.GroupNormalization(2), layers.PReLU(),
    ]  # fmt: skip
    check(stack, folder=folder)


def test_normalization(folder):
    """Statistics that were given, and those that the layer took from data itself; both ways."""
    rng, stacks = np.random.default_rng(0), []
    for axis, shape in ((-1, (4,)), (None, ()), ((1, 3), (7, 4)), (2, (6,))):
        for invert in (False, True):
            adapted = layers.Normalization(axis=axis, invert=invert)
            adapted.adapt(rng.random((5, 7, 6, 4)).astype("float32"))
            mean, variance = rng.random(shape), rng.random(shape) + 0.5
            stacks += [
                adapted,
                layers.Normalization(axis=axis, mean=mean, variance=variance, invert=invert),
            ]
    check(*stacks, folder=folder)


NAMES = sorted(set(ELEMENTWISE) | set(ALONG_AXIS))


def test_every_activation(folder):
    """All in one model, side by side; softmax and its like along the last axis."""
    image = keras.Input((4, 3, 6))
    scaled = layers.Rescaling(8.0, -4.0)(image)
    outputs = [layers.Flatten()(layers.Activation(name, name=name)(scaled)) for name in NAMES]
    joined = layers.Dense(3, activation="softmax")(layers.Concatenate()(outputs))
    model = keras.Model(image, joined)
    randomize(model)
    assert_same(model, folder)


@examples(2)
@given(several(st.none() | st.floats(0.5, 3), st.floats(0, 0.5), st.floats(0, 1)))
def test_relu(folder, drawn):
    check(
        *([layers.Rescaling(6.0, -2.0), layers.ReLU(*arguments)] for arguments in drawn),
        folder=folder,
    )


def test_rectifiers(folder):
    rectifiers = [
        layers.LeakyReLU(0.2),
        layers.ELU(0.7),
        layers.PReLU(),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Softmax(),
        layers.Softmax(axis=1),
        layers.Softmax(axis=(1, 2)),
        layers.Softmax(axis=[-1, 1]),
        layers.Conv2D(3, 2, activation=layers.LeakyReLU(0.1)),
        layers.Dense(5, activation="elu"),
    ]
    check(*([layers.Rescaling(4.0, -2.0), layer] for layer in rectifiers), folder=folder)


def test_identity_at_inference(folder):
    check(
        layers.Dropout(0.3),
        layers.Dropout(0.3, noise_shape=(None, 1, 1, 4)),
        layers.SpatialDropout2D(0.3),
        layers.AlphaDropout(0.3),
        layers.AlphaDropout(0.3, noise_shape=(None, 1, 7, 1)),
        layers.GaussianDropout(0.3),
        layers.GaussianNoise(0.3),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.1),
        layers.RandomCrop(7, 6),
        layers.Identity(),
        folder=folder,
    )


@pytest.mark.parametrize(
    "layer", [layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.AlphaDropout]
)
def test_dropout_trains_as_in_keras(folder, layer):
    """Mean and spread of what is left, over many values."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 64)),
            layer(0.3, name="drop"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.save(folder / "drop.keras")
    import torch

    torch.manual_seed(0)
    images = np.full((64, 8, 8, 64), 2.0, np.float32)
    drop = from_keras(folder / "drop.keras").network.get_submodule("drop").train()
    ours = drop(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    theirs = np.asarray(model.layers[0](images, training=True))
    # A SpatialDropout2D drops whole channels, 4,096 here.
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.25)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.15)


def test_reshape(folder):
    targets = [(-1,), (6, 7, 4), (7, -1), (7, 3, 2, 4), (1, 1, -1)]
    check(*([layers.Reshape(target), layers.Dense(2)] for target in targets), folder=folder)


def test_permute(folder):
    orders = [(1, 2, 3), (3, 1, 2), (2, 1, 3), (3, 2, 1)]
    check(*([layers.Permute(order), layers.Dense(2)] for order in orders), folder=folder)


def test_channel_shuffle(folder):
    """Reshape to five axes, permute, back: what ShuffleNet does."""
    stack = [
        layers.Reshape((7, 6, 2, 2)),
        layers.Permute((1, 2, 4, 3)),
        layers.Reshape((7, 6, 4)),
        layers.Conv2D(3, 2),
    ]
    check(stack, folder=folder)


@pytest.mark.parametrize("first", ["channels_last", "channels_first"])
def test_both_data_formats_in_one_model(folder, first):
    other = "channels_last" if first == "channels_first" else "channels_first"
    stack = [
        layers.Conv2D(3, 2, data_format=first), layers.MaxPooling2D(2, data_format=other),
        layers.Conv2D(4, 1, data_format=other), layers.Flatten(data_format=other),
    ]  # fmt: skip
    check(stack, folder=folder, channels_first=first == "channels_first")


def test_rescaling(folder):
    check(
        *(layers.Rescaling(scale, offset=-0.5) for scale in (1 / 255, [0.1, 0.2, 0.3, 0.4])),
        folder=folder,
    )


@examples(2)
@given(
    several(
        st.sampled_from(
            ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]
        ),
        st.integers(2, 3),
        small,
        count=8,
    )
)
def test_merging(folder, drawn):
    image = keras.Input((6, 6, 4))
    branches, ends = [layers.Conv2D(4, 1)(image) for _ in range(3)], []
    for kind, count, axis in drawn:
        merge = layers.Concatenate(axis=axis) if kind == "Concatenate" else getattr(layers, kind)()
        ends.append(layers.Flatten()(merge(branches[: 2 if kind == "Subtract" else count])))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Concatenate()(ends)))
    randomize(model)
    assert_same(model, folder)


def test_merging_of_unequal_ranks(folder):
    """New axes come after the batch."""
    image = keras.Input((6, 5, 4))
    vector = layers.GlobalAveragePooling2D()(image)
    row = layers.Reshape((5, 4))(layers.Dense(20)(vector))
    volume = layers.Reshape((6, 5, 2, 2))(image)
    ends = [
        layers.Add()([image, vector]),
        layers.Multiply()([vector, image]),
        layers.Average()([image, row, vector]),
        layers.Maximum()([row, vector]),
        layers.Minimum()([volume, layers.Dense(2)(vector)]),
        layers.Subtract()([layers.Dense(1)(vector), image]),
    ]
    joined = layers.Concatenate()([layers.Flatten()(end) for end in ends])
    model = keras.Model(image, layers.Dense(3, activation="softmax")(joined))
    randomize(model)
    assert_same(model, folder)


def test_dot(folder):
    image = keras.Input((6, 5, 4))
    vector = layers.GlobalAveragePooling2D()(image)
    rows = layers.Reshape((5, 24))(image)
    pairs = [
        (vector, vector, 1), (rows, rows, 2), (rows, rows, 1), (image, vector, (3, 1)),
        (vector, image, (-1, -1)), (rows, image, (1, 2)), (image, rows, (2, 1)),
    ]  # fmt: skip
    ends = [layers.Dot(axes, normalize=k % 2 == 1)([a, b]) for k, (a, b, axes) in enumerate(pairs)]
    joined = layers.Concatenate()([layers.Flatten()(end) for end in ends])
    model = keras.Model(image, layers.Dense(3, activation="softmax")(joined))
    randomize(model)
    assert_same(model, folder)


@pytest.mark.slow
def test_attention(folder):
    """Self-attention of images and of sequences, arguments by position and by name, masks.

    Keras on JAX takes a value_dim that is not the key_dim with dropout only.
    """
    image = keras.Input((4, 5, 6))
    x, y = layers.Reshape((20, 6))(image), layers.Reshape((15, 8))(image)
    z = layers.Conv2D(8, 1)(image)
    several = layers.MultiHeadAttention
    ends = [
        several(2, 3)(x, x),
        several(2, 3, value_dim=5, use_bias=False, dropout=0.1)(x, key=y, value=y),
        several(3, 2, value_dim=4, output_shape=7, dropout=0.1)(key=x, query=y, value=x),
        several(1, 4, use_gate=True)(x, x, use_causal_mask=True),
        several(2, 4, sliding_window=6, dropout=0.3)(x, y, y),
        several(2, 4)(image, z),
        layers.Attention(use_scale=True)([x, x]),
        layers.Attention(score_mode="concat", use_scale=True)([x, x, x], use_causal_mask=True),
        layers.Attention(score_mode="concat", dropout=0.2)([image, image]),
        layers.AdditiveAttention()([x, x]),
        layers.AdditiveAttention(use_scale=False)([x, layers.Dense(6)(y)]),
    ]
    joined = layers.Concatenate()([layers.Flatten()(end) for end in ends])
    model = keras.Model(image, layers.Dense(3, activation="softmax")(joined))
    randomize(model)
    ours = assert_same(model, folder)
    assert_returns(ours, model, folder, "keras", "keras-weights", "keras-h5")


@pytest.mark.parametrize("mask", ["attention_mask", "return_attention_scores"])
def test_attention_that_is_not_taken(folder, mask):
    image = keras.Input((4, 5, 6))
    x = layers.Reshape((20, 6))(image)
    several = layers.MultiHeadAttention(2, 3, name="several")
    if mask == "attention_mask":
        y = several(x, x, attention_mask=layers.Dense(20)(x))
    else:
        y, _ = several(x, x, return_attention_scores=True)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(y)))
    model.save(folder / "mask.keras")
    with pytest.raises(InputError, match=f"MultiHeadAttention 'several' has arguments {mask}"):
        from_keras(folder / "mask.keras", scale="/255")


def test_spectral_normalization(folder):
    """At rest it is the layer inside, whose activation and data_format count."""
    stacks = [
        layers.SpectralNormalization(layer)
        for layer in (
            layers.Conv2D(3, 2, activation="relu"),
            layers.Conv2D(3, 2, data_format="channels_first", use_bias=False),
            layers.Conv2DTranspose(2, 3, padding="same"),
            layers.DepthwiseConv2D(2, depth_multiplier=2),
        )
    ]
    stacks.append(layers.SpectralNormalization(layers.Dense(5, "tanh"), power_iterations=2))
    stacks.append(layers.SpectralNormalization(layers.Dense(2, trainable=False)))
    image = keras.Input((7, 6, 4))
    joined = layers.Concatenate()([layers.Flatten()(stack(image)) for stack in stacks])
    model = keras.Model(image, layers.Dense(3, activation="softmax")(joined))
    randomize(model)
    ours = assert_same(model, folder)
    assert_returns(ours, model, folder, "keras", "keras-weights", "keras-h5")
    assert "SpectralNormalization" in ours.network.layer_graph().nodes[(stacks[0].name,)].kind


def assert_returns(ours: FromKeras, model: keras.Model, folder: Path, *formats: Format) -> None:
    """Exports a model, and lets Keras read it back."""
    expected = model.get_weights()
    for format in formats:
        path = folder / f"again{ENDINGS[format]}"
        export_keras(ours, path, format)
        if format == "keras-weights":
            again = keras.models.clone_model(model)
            again.load_weights(path)
        else:
            again = keras.models.load_model(path)
        for theirs, read in zip(expected, again.get_weights(), strict=True):
            np.testing.assert_array_equal(theirs, read)


def test_arithmetic(folder):
    """Tensors and constants, from either side, with broadcasting."""
    image = keras.Input((6, 5, 4))
    x = layers.Conv2D(4, 3, padding="same")(image)
    y = 1.0 - x * 2.0 + image
    y = y / (x * x + 3.0)
    y = y - np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    y = keras.ops.multiply(y, layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = keras.ops.relu(keras.ops.maximum(y, 2.0 / (x + 5.0)))
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.Flatten()(y)))
    randomize(model)
    assert_same(model, folder)
