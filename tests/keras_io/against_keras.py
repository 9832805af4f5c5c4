"""What every test here does: Keras builds a model and saves it, we read the file, both see the same
images.
"""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import jax
import keras
import numpy as np
import torch

from signs_lightning.keras_io.compare_outputs import first_difference
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.models.classifier import ImageClassifier

FORMATS = ("h5", "keras")


def examples(count: int) -> hypothesis.settings:
    """How many examples hypothesis draws: few in a plain `pytest`, times KERAS_EXAMPLES where that
    is set.
    """
    return hypothesis.settings(max_examples=count * int(os.environ.get("KERAS_EXAMPLES", "1")))


def network_of(model: ImageClassifier) -> KerasNetwork:
    """The network that was built from a Keras file's config."""
    assert isinstance(model.network, KerasNetwork)
    return model.network


def randomize(model: keras.Model, seed: int = 0) -> None:
    """Random weights everywhere, moving statistics included, so that no layer is the identity by
    chance.
    """
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape = weight.shape
        if weight.name in {"gamma", "moving_variance", "variance"}:
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) < 2 or "normalization" in weight.path:
            weight.assign(rng.normal(0, 0.1, shape))
        else:
            weight.assign(rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with a copy of its weights


def images_for(model: keras.Model, count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *model.input_shape[1:]), dtype=np.float32)


def to_torch(images: np.ndarray, channels_first: bool = False) -> torch.Tensor:
    tensor = torch.from_numpy(images)
    return tensor if channels_first else tensor.permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)


def layer_outputs(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """The output of every top-level layer that is called once and is no model itself."""
    left_out = (keras.layers.InputLayer, keras.Model)
    tensors = {
        layer.name: layer.output
        for layer in model.layers
        if not isinstance(layer, left_out) and len(layer._inbound_nodes) == 1
    }
    watched = keras.Model(model.inputs[0], tensors)
    # Compiled at once: op by op takes ten times as long.
    outputs = jax.jit(lambda x: watched(x, training=False))(images)
    return {name: np.asarray(outputs[name]) for name in tensors}  # JAX sorts them


def assert_same(
    model: keras.Model,
    folder: Path,
    channels_first: bool = False,
    formats: tuple[str, ...] = FORMATS,
) -> FromKeras:
    """Saves a Keras model, reads it here, and compares every layer and the probabilities within
    1e-5 of the largest value.
    """
    images = images_for(model)
    inputs = to_torch(images, channels_first)
    theirs = layer_outputs(model, images)
    for extension in formats:
        path = folder / f"model.{extension}"
        model.save(path)
        read = from_keras(path, scale="/255")  # the images are what the model takes
        assert isinstance(read, FromKeras)
        ours = read
        difference = first_difference(ours, theirs, inputs)
        assert difference is None, str(difference)
        predicted = ours.predict(inputs).numpy()
        np.testing.assert_allclose(
            predicted[:, 1:] if ours.binary else predicted,
            list(theirs.values())[-1],
            atol=1e-5,
            rtol=0,
        )
        trainable, fixed = ours.network.totals()
        assert trainable == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        assert trainable + fixed == model.count_params()
    return ours
