"""Every layer of the bridge in exported files: ONNX and torch.export give what the model here
gives.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from keras_io.against_keras import randomize

from signs_lightning.export.artefacts import ENDINGS, export_artefact
from signs_lightning.export.compared_images import random_images
from signs_lightning.keras_io.activations import ALONG_AXIS, ELEMENTWISE
from signs_lightning.keras_io.load_keras import from_keras

BRANCHES = {  # stacks of layers that stand side by side behind one image (7, 6, 4)
    "activations": [
        [layers.Rescaling(8.0, -4.0), layers.Activation(name)]
        for name in sorted({*ELEMENTWISE, *ALONG_AXIS})
    ],
    "convolutions": [
        [layers.Conv2D(4, 3, padding="same", strides=2)],
        [layers.Conv2D(4, 3, padding="same", dilation_rate=2)],
        [layers.Conv2D(4, 3, groups=2)],
        [layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)],
        [layers.SeparableConv2D(3, 3)],
        [layers.Conv2DTranspose(3, 3, 2, "same")],
        [layers.Conv2DTranspose(3, 2, 3, "valid")],
        [layers.Conv2DTranspose(3, 3, 2, "same", output_padding=1)],
        [
            layers.Conv2D(3, 2),
            layers.MaxPooling2D(2, data_format="channels_first"),
            layers.Conv2D(4, 1),
        ],
    ],
    "pooling and shapes": [
        [layers.MaxPooling2D(2, padding="same")],
        [layers.AveragePooling2D(3, 2, padding="same")],
        [layers.AveragePooling2D(2)],
        [layers.GlobalAveragePooling2D()],
        [layers.GlobalMaxPooling2D(keepdims=True)],
        [layers.ZeroPadding2D(((1, 0), (2, 1)))],
        [layers.Cropping2D(((1, 0), (2, 1)))],
        [layers.UpSampling2D((2, 3))],
        [layers.UpSampling2D(2, interpolation="bilinear")],
        [layers.Resizing(5, 9, "nearest")],
        [layers.Resizing(5, 9, "bilinear")],
        [layers.Reshape((7, 3, 2, 4)), layers.Dense(2)],
        [layers.Reshape((1, 1, -1)), layers.Dense(2)],
        [layers.Permute((3, 1, 2)), layers.Dense(2)],
        [
            layers.Reshape((7, 6, 2, 2)),
            layers.Permute((1, 2, 4, 3)),
            layers.Reshape((7, 6, 4)),
            layers.Conv2D(3, 2),
        ],
    ],
    "normalisations and rectifiers": [
        [layers.BatchNormalization()],
        [layers.BatchNormalization(axis=1)],
        [layers.BatchNormalization(scale=False, center=False)],
        [layers.LayerNormalization()],
        [layers.LayerNormalization(axis=[1, 2])],
        [layers.GroupNormalization(2)],
        [layers.GroupNormalization(-1)],
        [
            layers.Flatten(),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.LayerNormalization(),
            layers.PReLU(),
        ],
        [layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1, 2, 3, 4])],
        [layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1, 2, 3, 4], invert=True)],
        [layers.Rescaling(6.0, -2.0), layers.ReLU(2.0, 0.1, 0.5)],
        [layers.LeakyReLU(0.2)],
        [layers.ELU(0.7)],
        [layers.PReLU(shared_axes=[1, 2])],
        [layers.Softmax(axis=1)],
        [layers.Rescaling([0.1, 0.2, 0.3, 0.4], offset=-0.5)],
        [
            layers.Dropout(0.3),
            layers.SpatialDropout2D(0.3),
            layers.GaussianNoise(0.3),
            layers.RandomFlip(),
        ],
    ],
}


def arithmetic(image: keras.KerasTensor) -> keras.KerasTensor:
    """Tensors and constants, from either side, with broadcasting; every merging layer."""
    x = layers.Conv2D(4, 3, padding="same")(image)
    y = (1.0 - x * 2.0 + image) / (x * x + 3.0) - np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    y = keras.ops.multiply(y, layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = keras.ops.relu(keras.ops.maximum(y, 2.0 / (x + 5.0)))
    merged = [
        kind()([x, y]) for kind in (layers.Add, layers.Subtract, layers.Multiply, layers.Average)
    ]
    merged += [
        layers.Maximum()([x, y]),
        layers.Minimum()([x, y]),
        layers.Concatenate(axis=1)([x, y]),
    ]
    return layers.Concatenate()([layers.Flatten()(value) for value in merged])


@pytest.mark.slow
@pytest.mark.parametrize("branches", [*BRANCHES, "arithmetic"])
def test_every_layer(branches, tmp_path):
    """A warning of an exporter fails the test, too."""
    image = keras.Input((7, 6, 4))
    if branches == "arithmetic":
        joined = arithmetic(image)
    else:
        stacks = [keras.Sequential([*stack, layers.Flatten()]) for stack in BRANCHES[branches]]
        joined = layers.Concatenate()([stack(image) for stack in stacks])
    model = keras.Model(image, layers.Dense(3, activation="softmax")(joined))
    randomize(model)
    model.save(tmp_path / "model.keras")
    ours = from_keras(tmp_path / "model.keras", scale="/255")
    images = random_images(12, (7, 6, 4))
    assert ours.predict(images).std(dim=0).min() > 1e-3  # it tells the images apart
    for format, ending in ENDINGS.items():
        assert export_artefact(ours, tmp_path / f"model{ending}", format, images) <= 1e-5
