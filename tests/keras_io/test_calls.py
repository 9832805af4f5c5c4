"""Layers that are called more than once, on values of other shapes, and layers whose names are also
names of ours.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.inbound_nodes import inbound_nodes, references
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.modules import Apply

from .against_keras import assert_same, images_for, randomize, to_torch

# Each is made once and called on (6, 8, 4) and on (4, 5, 4).
ON_IMAGES: dict[str, Callable[[], keras.layers.Layer]] = {
    "up_sampling": lambda: layers.UpSampling2D((2, 1), interpolation="bilinear"),
    "resizing": lambda: layers.Resizing(7, 3),
    "cropping": lambda: layers.Cropping2D(((1, 0), (0, 2))),
    "zero_padding": lambda: layers.ZeroPadding2D((1, 2)),
    "max_pooling": lambda: layers.MaxPooling2D(3, 2, "same"),
    "average_pooling": lambda: layers.AveragePooling2D(3, 2, "same"),
    "global_pooling": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "permute": lambda: layers.Permute((3, 1, 2)),
    "reshape": lambda: layers.Reshape((-1, 2)),
    "flatten": lambda: layers.Flatten(),
    "conv": lambda: layers.Conv2D(3, 3, strides=2, padding="same"),
    "separable": lambda: layers.SeparableConv2D(3, 2, padding="same", activation="softmax"),
    "transpose": lambda: layers.Conv2DTranspose(2, 3, 2, "same"),
    "norm": lambda: layers.BatchNormalization(),
    "prelu": lambda: layers.PReLU(shared_axes=[1, 2]),
}
# Each is called on (6, 8, 4), on (12, 4) and on (4,).
ON_ALL_RANKS: dict[str, Callable[[], keras.layers.Layer]] = {
    "dense": lambda: layers.Dense(3, activation="softmax"),
    "layer_norm": lambda: layers.LayerNormalization(),
    "softmax": lambda: layers.Softmax(),
    "activation": lambda: layers.Activation("log_softmax"),
    "flat": lambda: layers.Flatten(),
    "reshaped": lambda: layers.Reshape((-1, 1)),
    "rescaling": lambda: layers.Rescaling([0.5, 1.0, 2.0, 3.0], offset=-0.2),
    "dropout": lambda: layers.Dropout(0.3),
    "elu": lambda: layers.ELU(),
}


def joined(image: keras.KerasTensor, values: list[keras.KerasTensor]) -> keras.Model:
    flat = [layers.Flatten()(value) for value in values]
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Concatenate()(flat)))


def test_a_layer_on_two_sizes(tmp_path):
    image = keras.Input((6, 8, 4))
    small = layers.Conv2D(4, (3, 4))(image)
    shared = [make() for make in ON_IMAGES.values()]
    model = joined(image, [layer(value) for layer in shared for value in (image, small)])
    randomize(model)
    assert_same(model, tmp_path)


def test_a_layer_on_two_ranks(tmp_path):
    image = keras.Input((6, 8, 4))
    values = [
        image,
        layers.Reshape((12, 4))(layers.Conv2D(4, (3, 6))(image)),
        layers.GlobalMaxPooling2D()(image),
    ]
    merged = [kind() for kind in (layers.Concatenate, layers.Add, layers.Maximum)]
    shared = [make() for make in ON_ALL_RANKS.values()]
    outputs = [layer(value) for layer in shared for value in values]
    outputs += [layer([value, value * 2.0]) for layer in merged for value in values]
    model = joined(image, outputs)
    randomize(model)
    assert_same(model, tmp_path)


def test_a_layer_with_weights_that_one_module_cannot_be(tmp_path):
    """Keras itself refuses to build a BatchNormalization at two ranks; a file that says so all the
    same is refused by name.
    """
    image = keras.Input((6, 8, 4))
    value = layers.BatchNormalization(name="norm")(image)
    again = layers.Flatten()(
        layers.BatchNormalization(name="norm_again")(layers.Reshape((48, 4))(value))
    )
    model = keras.Model(image, layers.Dense(3, activation="softmax")(again))
    path = tmp_path / "two_ranks.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        entries = {entry["name"]: entry for entry in config["config"]["layers"]}
        entries["norm"]["inbound_nodes"] += entries["norm_again"]["inbound_nodes"]
        config["config"]["layers"].remove(entries["norm_again"])
        file.attrs["model_config"] = json.dumps(config).replace(
            '["norm_again", 0, 0]', '["norm", 1, 0]'
        )
    with pytest.raises(
        InputError,
        match=r"BatchNormalization 'norm' is called on values of shape \(6, 8, 4\) and of shape",
    ):
        from_keras(path)


# Keras's name of a layer → what its weights are called here, as in checkpoints that were written
# before.
SPELLINGS = {
    "conv.1": "conv_1",
    "forward": "forward_",
    "training": "training_",
    "plan": "plan_",
    "names": "names_",
    "totals": "totals_",
    "network": "network",
    "weight": "weight",
    "calls": "calls",
    "steps": "steps",
    "sites": "sites",
    "modules_of_calls": "modules_of_calls",
    "frozen": "frozen_",
    "penalties": "penalties_",
    "_inference": "_inference_",
    "_modules": "_modules_",
    "a b": "a b",
}


@pytest.mark.parametrize("nested", [False, True])
def test_names_that_are_also_ours(tmp_path, nested):
    """Convolutions of these names, one regularized; and a frozen model of such a name that holds
    them all.
    """
    image = value = keras.Input((4, 4, 2))
    for name in SPELLINGS:
        regularizer = keras.regularizers.L2(0.1) if name == "penalties" else None
        value = layers.Conv2D(2, 1, name=name, kernel_regularizer=regularizer)(value)
    if nested:
        inner = keras.Model(image, value, name="frozen")
        inner.trainable = False
        image = keras.Input((4, 4, 2))
        value = layers.Dropout(0.5, name="penalties")(inner(image))
    model = keras.Model(
        image, layers.Dense(2, activation="softmax", name="to")(layers.Flatten(name="train")(value))
    )
    randomize(model)
    ours = assert_same(model, tmp_path)
    keys = {key.removesuffix(".weight") for key in ours.state_dict() if key.endswith(".weight")}
    if nested:
        plain = {name: name.replace(".", "_") for name in SPELLINGS} | {
            n: f"{n}_" for n in ("forward", "training", "_modules")
        }
        assert keys == {f"network.frozen_.{name}" for name in plain.values()} | {"network.to_"}
        assert ours.network.regularization_loss() == 0
    else:
        assert keys == {f"network.{name}" for name in SPELLINGS.values()} | {"network.to_"}
        kernel = np.asarray(model.get_layer("penalties").kernel)
        assert ours.network.regularization_loss().item() == pytest.approx(
            0.1 * np.square(kernel).sum(), rel=1e-5
        )
    again = FromKeras(**ours.hparams)
    again.load_state_dict(ours.state_dict())
    images = to_torch(images_for(model))
    assert torch.equal(again.predict(images), ours.predict(images))
    assert torch.equal(copy.deepcopy(ours).train().predict(images), ours.predict(images))


def test_a_call_that_keras_2_fixed_to_inference_sleeps_alone(tmp_path):
    """`training=False` of one call, which tf.keras 2 keeps while it trains, leaves its other call
    awake.
    """
    image = keras.Input((4, 4, 2))
    dropout = layers.Dropout(0.5, name="dropout")
    joined = layers.Concatenate(name="joined")([dropout(image, training=False), dropout(image)])
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(joined)))
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        config = json.loads(file.attrs["model_config"])
    calls = next(entry for entry in config["config"]["layers"] if entry["name"] == "dropout")[
        "inbound_nodes"
    ]
    calls[0]["kwargs"], calls[1]["kwargs"] = {"training": False}, {}
    images = torch.ones(8, 2, 4, 4)
    for version, asleep in (("2.15.0", [True, False]), ("3.15.1", [False, False])):
        network = FromKeras(config=json.dumps(config | {"keras_version": version})).train().network
        seen: dict[str, torch.Tensor] = {}
        network(images, lambda name, value, seen=seen: seen.update({name: value}))
        first, second = seen["joined"].split(2, dim=1)
        assert [torch.equal(first, images), torch.equal(second, images)] == asleep


def test_more_than_ten_constants_keep_their_places():
    """Constants of a call stand where Keras has them, also from the tenth argument on."""
    places = Apply(lambda *values: torch.stack(values), {k: torch.tensor(k) for k in range(1, 12)})
    assert places(torch.tensor(0)).tolist() == list(range(12))


@pytest.mark.parametrize(
    "node",
    [
        [["a", 0, 0, {"value": ["b", 0, 0], "key": ["c", 0, 0], "use_causal_mask": True}]],
        [["a", 0, 0, {"key": ["c", 0, 0], "value": ["b", 0, 0], "use_causal_mask": True}]],
        [["a", 0, 0, {"use_causal_mask": True, "training": None}], ["b", 0, 0, {}], ["c", 0, 0]],
    ],
)
def test_attention_of_keras_2(node):
    """Arguments by name, in any order, are those by position."""
    entry = {"class_name": "MultiHeadAttention", "config": {}, "inbound_nodes": [node]}
    ((arguments, training),) = inbound_nodes(entry, ())
    assert references(arguments) == [("a", 0), ("b", 0), ("c", 0)]
    assert arguments[3:] == ("use_causal_mask",)
    assert training is None
