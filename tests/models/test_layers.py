"""The layers against live Keras on JAX, and against slow float64 loops where Keras has no such
combination.
"""

import math

import jax
import keras
import numpy as np
import pytest
import torch
from torch import nn

from signs_lightning.models.layers import (
    AvgPool2dSame,
    Conv2dSame,
    FlattenNHWC,
    KerasBatchNorm2d,
    MaxPool2dSame,
    initialize_like_keras,
    pair,
    same_padding,
)

# Keras's own get_weights and NumPy 2, which nobody here can put right.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

SIZES = [(8, 8), (9, 5), (6, 13), (1, 2)]  # even, odd, not square, smaller than most kernels


def images(size, channels=3, count=2, seed=0):
    """float32 (N, H, W, C) around −1, so that a zero in the padding would win a maximum and shift a
    mean.
    """
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, *size, channels)) - 1).astype(np.float32)


def ours(layer, nhwc):
    """Applies a layer to NHWC images; the result is NHWC, too."""
    with torch.no_grad():
        return layer(torch.from_numpy(nhwc).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()


def close(actual, expected, atol=1e-5):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=0, atol=atol)


@pytest.mark.parametrize("stride", range(1, 6))
@pytest.mark.parametrize("dilation", range(1, 4))
def test_same_padding_is_jax_s(stride, dilation):
    """XLA's SAME, for every size 1..20 and kernel 1..8; a dilated kernel is one of its full extent
    there.
    """
    for size in range(1, 21):
        for kernel in range(1, 9):
            extent = (kernel - 1) * dilation + 1
            (expected,) = jax.lax.padtype_to_pads((size,), (extent,), (stride,), "SAME")
            assert same_padding(size, kernel, stride, dilation) == tuple(map(int, expected)), (
                size,
                kernel,
            )


def conv_pair(kernel, stride, dilation, groups=1, filters=4, channels=4):
    """The same convolution twice: Keras's layer with weights of its own, and ours with those
    weights.
    """
    keras.utils.set_random_seed(1)
    reference = keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        dilation_rate=dilation,
        groups=groups,
        padding="same",
        bias_initializer="normal",
    )
    reference.build((None, None, None, channels))
    layer = Conv2dSame(channels, filters, kernel, stride=stride, dilation=dilation, groups=groups)
    copy_conv(layer, *reference.get_weights())
    return reference, layer


def copy_conv(layer, kernel, bias):
    layer.weight.data = torch.from_numpy(np.array(kernel)).permute(3, 2, 0, 1)  # HWIO -> OIHW
    layer.bias.data = torch.from_numpy(np.array(bias))


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [(kernel, stride, 1) for kernel in (1, 2, (3, 4), 5) for stride in (1, 2, 3)]
    + [(kernel, 1, dilation) for kernel in (2, (3, 4)) for dilation in (2, (1, 3))]
    + [((3, 2), (2, 2), 1)],
)
def test_conv_same_is_keras_s(kernel, stride, dilation):
    reference, layer = conv_pair(kernel, stride, dilation)
    for size in SIZES:
        batch = images(size, channels=4)
        close(ours(layer, batch), reference(batch))


@pytest.mark.parametrize(("groups", "stride"), [(2, 1), (4, 2)])
def test_grouped_conv_same_is_keras_s(groups, stride):
    reference, layer = conv_pair(3, stride, 1, groups, filters=8)
    for size in SIZES:
        batch = images(size, channels=4)
        close(ours(layer, batch), reference(batch))


def naive_conv_same(batch, kernel, bias, stride, dilation):
    """Keras's definition, tap by tap in float64: (N, H, W, C_in) and HWIO → (N, ceil(H/s),
    ceil(W/s), C_out).
    """
    count, height, width, _ = batch.shape
    rows, columns, _, filters = kernel.shape
    out_h, out_w = math.ceil(height / stride[0]), math.ceil(width / stride[1])
    top = max((out_h - 1) * stride[0] + (rows - 1) * dilation[0] + 1 - height, 0) // 2
    left = max((out_w - 1) * stride[1] + (columns - 1) * dilation[1] + 1 - width, 0) // 2
    result = np.tile(bias.astype(np.float64), (count, out_h, out_w, 1))
    for y, x, i, j in np.ndindex(out_h, out_w, rows, columns):
        row, column = y * stride[0] - top + i * dilation[0], x * stride[1] - left + j * dilation[1]
        if 0 <= row < height and 0 <= column < width:
            result[:, y, x] += batch[:, row, column].astype(np.float64) @ kernel[i, j].astype(
                np.float64
            )
    assert result.shape[-1] == filters
    return result


@pytest.mark.parametrize("kernel", [(2, 2), (3, 4)])
@pytest.mark.parametrize("stride", [(2, 2), (3, 2), (1, 2)])
@pytest.mark.parametrize("dilation", [(2, 2), (1, 3)])
def test_strided_and_dilated_conv_same_is_the_definition(kernel, stride, dilation):
    """Keras refuses stride and dilation together and uneven strides under dilation, so a float64
    loop stands in.
    """
    rng = np.random.default_rng(2)
    weight, bias = (
        rng.standard_normal((*kernel, 3, 5)).astype(np.float32),
        rng.standard_normal(5).astype(np.float32),
    )
    layer = Conv2dSame(3, 5, kernel, stride=stride, dilation=dilation)
    copy_conv(layer, weight, bias)
    for size in SIZES:
        batch = images(size)
        close(ours(layer, batch), naive_conv_same(batch, weight, bias, stride, dilation))


POOLS = [(window, stride) for window in (2, 3, (2, 5), 8) for stride in (None, 1, 2, 3)]


@pytest.mark.parametrize(("window", "stride"), POOLS)
@pytest.mark.parametrize(
    ("layer", "reference"),
    [(MaxPool2dSame, keras.layers.MaxPooling2D), (AvgPool2dSame, keras.layers.AveragePooling2D)],
    ids=["max", "average"],
)
def test_pool_same_is_keras_s(layer, reference, window, stride):
    expected = reference(window, strides=stride, padding="same")
    for size in SIZES:
        batch = images(size)
        close(ours(layer(window, stride), batch), expected(batch), atol=1e-6)


@pytest.mark.parametrize(("window", "stride", "dilation"), [(3, 2, 2), ((2, 3), (1, 3), (3, 2))])
def test_dilated_max_pool_same_is_the_definition(window, stride, dilation):
    """Maximum over the taps that lie inside the image, tap by tap; Keras has no dilation here."""
    (rows, columns), (sy, sx), (dy, dx) = pair(window), pair(stride), pair(dilation)
    for height, width in SIZES:
        batch = images((height, width))
        out_h, out_w = math.ceil(height / sy), math.ceil(width / sx)
        top = max((out_h - 1) * sy + (rows - 1) * dy + 1 - height, 0) // 2
        left = max((out_w - 1) * sx + (columns - 1) * dx + 1 - width, 0) // 2
        expected = np.full((len(batch), out_h, out_w, 3), -np.inf, np.float32)
        for y, x, i, j in np.ndindex(out_h, out_w, rows, columns):
            row, column = y * sy - top + i * dy, x * sx - left + j * dx
            if 0 <= row < height and 0 <= column < width:
                expected[:, y, x] = np.maximum(expected[:, y, x], batch[:, row, column])
        close(ours(MaxPool2dSame(window, stride, dilation), batch), expected, atol=0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_flatten_is_keras_s(memory_format):
    batch = images((3, 4), channels=5)
    tensor = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    close(FlattenNHWC()(tensor).numpy(), keras.layers.Flatten()(batch), atol=0)


def test_batch_norm_is_keras_s():
    """Training outputs, both moving averages after each of six steps, then eval outputs, against
    Keras 3.
    """
    reference, layer = keras.layers.BatchNormalization(), KerasBatchNorm2d(3, biased_variance=True)
    reference.build((None, None, None, 3))
    weights = [[0.5, 1.5, -2], [1, 0, 3], [0.1, -1, 5], [1, 4, 0.3]]
    reference.set_weights([np.array(values, np.float32) for values in weights])
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = map(torch.tensor, reference.get_weights())
    layer.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    scale = np.array([1, 10, 0.01], np.float32)
    for step in range(6):
        batch = images((3, 2), count=2, seed=step) * scale  # 12 values: n / (n − 1) is 9% off
        close(ours(layer.train(), batch), reference(batch, training=True))
        _, _, expected_mean, expected_variance = reference.get_weights()
        close(mean.numpy(), expected_mean)
        np.testing.assert_allclose(variance.numpy(), expected_variance, rtol=2e-6)
    close(ours(layer.eval(), batch), reference(batch, training=False))


@pytest.mark.parametrize("momentum", [0.99, 0.9, 0.0])
def test_batch_norm_of_tf_keras_feeds_the_unbiased_variance(momentum):
    """With biased_variance=False the moving averages are those of float64 numpy with ddof=1."""
    layer = KerasBatchNorm2d(3, momentum=momentum)
    mean, variance = np.zeros(3), np.ones(3)
    for step in range(6):
        batch = images((3, 2), count=2, seed=step)
        output = ours(layer, batch)
        values = batch.astype(np.float64).reshape(-1, 3)
        mean = momentum * mean + (1 - momentum) * values.mean(0)
        variance = momentum * variance + (1 - momentum) * values.var(0, ddof=1)
        normalized = (values - values.mean(0)) / np.sqrt(values.var(0) + 1e-3)
        close(output, normalized.reshape(batch.shape))
    close(layer.get_buffer("running_mean").numpy(), mean, atol=1e-6)
    close(layer.get_buffer("running_var").numpy(), variance, atol=2e-6)


@pytest.mark.parametrize(
    ("initializer", "reference"),
    [
        ("glorot_uniform", keras.initializers.GlorotUniform),
        ("he_normal", keras.initializers.HeNormal),
    ],
)
@pytest.mark.parametrize(
    ("layer", "keras_shape"),
    [
        (nn.Conv2d(24, 40, (3, 7)), (3, 7, 24, 40)),
        (nn.Conv2d(24, 40, 5, groups=4), (5, 5, 6, 40)),
        (nn.Linear(300, 70), (300, 70)),
    ],
    ids=["conv", "grouped", "dense"],
)
def test_initial_kernels_are_distributed_as_keras_s(layer, keras_shape, initializer, reference):
    """Quantiles, deviation and cut of some ten thousand draws, against as many draws of live
    Keras's initializer.
    """
    torch.manual_seed(0)
    nn.init.constant_(layer.bias, 7)
    initialize_like_keras(nn.Sequential(nn.Sequential(layer)), initializer)
    actual = layer.weight.detach().numpy().ravel()
    expected = np.asarray(reference(seed=1)(keras_shape)).ravel()
    assert actual.size == expected.size
    assert not layer.bias.any()
    deviation = float(expected.std())
    assert actual.std() == pytest.approx(deviation, rel=0.02)
    assert actual.mean() == pytest.approx(0, abs=0.03 * deviation)
    assert np.abs(actual).max() == pytest.approx(np.abs(expected).max(), rel=0.02)
    shares = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(
        np.quantile(actual, shares), np.quantile(expected, shares), rtol=0, atol=0.06 * deviation
    )


def test_initialisation_leaves_other_layers_alone_and_names_a_wrong_initializer():
    norm = KerasBatchNorm2d(4)
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), norm)
    nn.init.constant_(norm.weight, 5)
    initialize_like_keras(network)
    assert norm.weight.eq(5).all()
    with pytest.raises(
        ValueError, match="initializer is 'ones', expected 'glorot_uniform' or 'he_normal'"
    ):
        initialize_like_keras(network, "ones")
