"""Models that Keras 2 wrote, exported: real Keras 3 loads them and agrees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch
from keras import layers
from keras_io.against_keras import to_torch

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.graph_parser import read_graph
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.keras_io.to_keras3_config import Keras3Config

Config = dict[str, Any]
Change = Callable[[Config], None]
IMAGES = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
ENDINGS = {"keras": ".keras", "keras-h5": ".h5", "keras-weights": ".weights.h5"}
GLOROT = {"class_name": "GlorotUniform", "config": {"seed": None}}


def layer(class_name: str, name: str, **arguments: Any) -> Config:
    own = {"name": name, "trainable": True, "dtype": "float32"}
    return {"class_name": class_name, "config": own | arguments}


def image(*shape: int, name: str = "image") -> Config:
    own = {
        "batch_input_shape": [None, *shape],
        "dtype": "float32",
        "sparse": False,
        "ragged": False,
        "name": name,
    }
    return {"class_name": "InputLayer", "config": own}


def sequential() -> Config:
    """As tf.keras 2.11 spells a model that Keras 3 reads."""
    kernel = {
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "data_format": "channels_last",
    }
    stack = [
        layer(
            "Conv2D",
            "conv",
            filters=4,
            groups=1,
            activation="relu",
            kernel_initializer=GLOROT,
            kernel_constraint=None,
            **kernel,
        ),
        layer(
            "BatchNormalization",
            "norm",
            axis=3,
            momentum=0.9,
            epsilon=1e-3,
            center=True,
            scale=True,
        ),
        layer("LayerNormalization", "layer_norm", axis=[3], epsilon=1e-3),
        layer(
            "DepthwiseConv2D",
            "depthwise",
            depth_multiplier=1,
            activation="linear",
            depthwise_initializer=GLOROT,
            **kernel,
        ),
        layer("ReLU", "relu", max_value=6.0, negative_slope=0.0, threshold=0.0),
        layer(
            "SeparableConv2D",
            "separable",
            filters=4,
            depth_multiplier=1,
            pointwise_initializer=GLOROT,
            **kernel,
        ),
        layer(
            "Conv2DTranspose",
            "transpose",
            filters=2,
            output_padding=None,
            kernel_initializer=GLOROT,
            **kernel,
        ),
        layer("LeakyReLU", "leaky", alpha=0.2),
        layer("Dropout", "dropout", rate=0.5, noise_shape=None, seed=None),
        layer("Flatten", "flatten", data_format="channels_last"),
        layer(
            "Dense",
            "dense",
            units=3,
            activation="softmax",
            kernel_initializer=GLOROT,
            kernel_regularizer=None,
        ),
    ]
    return {
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [image(8, 8, 3), *stack]},
    }


def twin() -> keras.Model:
    """The same model, built by somebody in Keras 3, with names of Keras's own."""
    same = {"padding": "same"}
    stack = [
        layers.Conv2D(4, 3, activation="relu", **same),
        layers.BatchNormalization(momentum=0.9),
        layers.LayerNormalization(),
        layers.DepthwiseConv2D(3, **same),
        layers.ReLU(6.0),
        layers.SeparableConv2D(4, 3, **same),
        layers.Conv2DTranspose(2, 3, **same),
        layers.LeakyReLU(0.2),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), *stack])


def functional(inner: Config, calls_from: int = 0) -> Config:
    """image → the model inside → Flatten → Dense, as Keras 2 writes it."""
    node = [[[inner["config"]["name"], calls_from, 0, {}]]]
    entries = [
        image(8, 8, 3) | {"name": "image", "inbound_nodes": []},
        inner | {"name": inner["config"]["name"], "inbound_nodes": [[["image", 0, 0, {}]]]},
        layer("Flatten", "flatten") | {"name": "flatten", "inbound_nodes": node},
        layer("Dense", "dense", units=3, activation="softmax")
        | {"name": "dense", "inbound_nodes": [[["flatten", 0, 0, {}]]]},
    ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["dense", 0, 0]]}
    return {"class_name": "Model", "config": {"name": "outer", "layers": entries, **ends}}


def backbone(class_name: str = "Model") -> Config:
    entries = [
        image(8, 8, 3) | {"name": "image", "inbound_nodes": []},
        layer("Conv2D", "conv", filters=4, kernel_size=[3, 3])
        | {"name": "conv", "inbound_nodes": [[["image", 0, 0, {}]]]},
        layer("BatchNormalization", "norm", axis=-1)
        | {"name": "norm", "inbound_nodes": [[["conv", 0, 0, {}]]]},
    ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["norm", 0, 0]]}
    return {"class_name": class_name, "config": {"name": "backbone", "layers": entries, **ends}}


def nested_twin() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    )
    inner = keras.Model(inner.inputs[0], inner.outputs[0])
    start = keras.Input((8, 8, 3))
    return keras.Model(start, layers.Dense(3, activation="softmax")(layers.Flatten()(inner(start))))


def model_of(config: Config, version: str = "2.11.0") -> FromKeras:
    """Random weights, moving averages included."""
    torch.manual_seed(0)
    model = FromKeras(config=json.dumps(config | {"keras_version": version})).eval()
    with torch.no_grad():
        for name, tensor in model.network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5
                    if "running_var" in name
                    else tensor + torch.randn_like(tensor) / 4
                )
    return model


def difference(theirs: keras.Model, ours: FromKeras) -> float:
    # Compiled at once: op by op takes ten times as long.
    predicted = np.asarray(jax.jit(lambda x: theirs(x, training=False))(IMAGES))
    return float(np.abs(predicted - ours.predict(to_torch(IMAGES)).numpy()).max())


def assert_returns(ours: FromKeras, folder: Path, twin: keras.Model | None = None) -> None:
    """Keras loads both formats, and the weights into a model that somebody builds in Keras 3."""
    for format in ("keras", "keras-h5"):
        path = folder / f"model{ENDINGS[format]}"
        export_keras(ours, path, format)
        assert difference(keras.models.load_model(path, compile=False), ours) < 1e-5
    if twin is not None:
        export_keras(ours, folder / "model.weights.h5", "keras-weights")
        twin.load_weights(folder / "model.weights.h5")
        assert difference(twin, ours) < 1e-5


def changed(*changes: Change) -> Config:
    config = sequential()
    for change in changes:
        change(config)
    return config


def argument(name: str, **arguments: Any) -> Change:
    def change(config: Config) -> None:
        own = config["config"]
        entries = own if isinstance(own, list) else own["layers"]
        next(e for e in entries if e["config"]["name"] == name)["config"].update(arguments)

    return change


def version_1_norms(config: Config) -> None:
    config["config"]["layers"][2]["class_name"] = "BatchNormalizationV1"


def no_name(config: Config) -> None:
    del config["config"]["name"]


def first_layer_shape(config: Config) -> None:
    del config["config"]["layers"][0]
    argument("conv", batch_input_shape=[None, 8, 8, 3])(config)


def bare_list(config: Config) -> None:
    first_layer_shape(config)
    config["config"] = config["config"]["layers"]


def rename(config: Config) -> None:
    own = config["config"]
    entries = own if isinstance(own, list) else own["layers"]
    conv = next(entry for entry in entries if entry["config"]["name"] == "conv")
    conv["config"]["name"] = "block/conv"


def drop_argument(config: Config) -> None:
    """Keras 1's name of Dropout's rate."""
    own = next(e for e in config["config"]["layers"] if e["config"]["name"] == "dropout")["config"]
    own["p"] = own.pop("rate")


def with_modules(config: Config) -> None:
    """The `.keras` format of tf.keras 2.13."""
    config |= {"module": "tf_keras.src.engine.sequential", "registered_name": "Sequential"}
    for entry in config["config"]["layers"]:
        entry |= {
            "module": "tf_keras.layers",
            "registered_name": None,
            "build_config": {"input_shape": [None, 8, 8, 3]},
        }


def scaling(**arguments: Any) -> Config:
    return {
        "class_name": "VarianceScaling",
        "config": {"scale": 1.0, "mode": "fan_avg"} | arguments,
    }


SPELLINGS: dict[str, Change] = {
    "modules": with_modules,
    "class of version 1": version_1_norms,
    "axis as a list": argument("norm", axis=[3]),
    "fused": argument("norm", fused=True, renorm=False, virtual_batch_size=None),
    "groups of depthwise": argument("depthwise", groups=1),
    "kernel of depthwise": argument("depthwise", kernel_initializer=GLOROT, kernel_constraint=None),
    "groups of separable": argument("separable", groups=1, kernel_initializer=GLOROT),
    "groups of transposed": argument("transpose", groups=1),
    "initializer's dtype": argument(
        "dense", kernel_initializer=GLOROT | {"config": {"seed": None, "dtype": "float32"}}
    ),
    "old distribution": argument("separable", depthwise_initializer=scaling(distribution="normal")),
    "initializers by name": argument(
        "conv", kernel_initializer="he_normal", bias_initializer="zero"
    ),
    "regularizer": argument(
        "conv", kernel_regularizer={"class_name": "L2", "config": {"l2": 1e-3}}
    ),
    "NumPy's number": argument("leaky", alpha={"type": "ndarray", "value": 0.2}),
    "policy": argument("dense", dtype={"class_name": "Policy", "config": {"name": "float32"}}),
    "p of Dropout": drop_argument,
    "no name": no_name,
    "first layer's shape": first_layer_shape,
    "bare list": bare_list,
}
CHANGES: dict[str, tuple[Change, str]] = {  # what is said of them
    "own initializer": (
        argument("conv", kernel_initializer="mine"),
        "kernel_initializer 'mine' of Conv2D",
    ),
    "own constraint": (
        argument("dense", kernel_constraint={"class_name": "Mine", "config": {}}),
        "kernel_constraint 'Mine' of Dense 'dense' is left out",
    ),
    "slash": (rename, "Conv2D 'block/conv' is named with _ in place of /"),
}


def test_all_spellings_at_once(tmp_path, capsys):
    """Those that one file can have, and what is said of them."""
    apart = ("first layer's shape", "no name")  # the bare list has both
    changes = [change for name, change in SPELLINGS.items() if name not in apart]
    ours = model_of(changed(*changes, *(change for change, _ in CHANGES.values())))
    assert_returns(ours, tmp_path, twin())
    printed = capsys.readouterr().out
    for _, line in CHANGES.values():
        assert line in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SPELLINGS, *CHANGES])
def test_each_spelling(tmp_path, name):
    change = SPELLINGS[name] if name in SPELLINGS else CHANGES[name][0]
    assert_returns(model_of(changed(change)), tmp_path, twin())


def teachable_machine() -> Config:
    """Sequential of a Sequential of a Functional, where only the last says the image's shape."""
    inner = {"name": "features", "layers": [backbone("Functional")]}
    head = {"name": "head", "layers": sequential()["config"]["layers"][-2:]}
    own = [{"class_name": "Sequential", "config": config} for config in (inner, head)]
    return {"class_name": "Sequential", "config": {"name": "outer", "layers": own}}


MODELS = {
    "calls from 0": lambda: functional(backbone()),
    "calls from 1": lambda: functional(backbone(), 1),
    "Sequentials": teachable_machine,
}


@pytest.mark.parametrize("name", MODELS)
def test_models_in_models(tmp_path, name):
    theirs = None if name == "Sequentials" else nested_twin()
    assert_returns(model_of(MODELS[name]()), tmp_path, theirs)


def called(entry: Config, *inputs: str) -> Config:
    """A layer of a Functional model, as Keras 2 writes it."""
    nodes = [[[name, 0, 0, {}] for name in inputs]] if inputs else []
    return entry | {"name": entry["config"]["name"], "inbound_nodes": nodes}


def of_layers(*entries: Config, outputs: list[str]) -> Config:
    """A Functional model whose last layers are joined in front of a Dense."""
    flat = [called(layer("Flatten", f"flat_{name}"), name) for name in outputs]
    joined = called(layer("Concatenate", "join", axis=-1), *(entry["name"] for entry in flat))
    dense = called(layer("Dense", "dense", units=3, activation="softmax"), "join")
    everything = [called(image(8, 8, 3)), *entries, *flat, joined, dense]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["dense", 0, 0]]}
    return {"class_name": "Model", "config": {"name": "odd", "layers": everything, **ends}}


def layer_as_activation(class_name: str, **arguments: Any) -> Config:
    return layer(class_name, class_name.lower(), **arguments)


def test_what_keras_3_has_otherwise(tmp_path, capsys):
    """Both places of hard_sigmoid, and classes that are gone."""
    kernel = {"kernel_size": [3, 3], "padding": "same"}
    leaky = layer_as_activation("LeakyReLU", alpha=0.1)
    thresholded = layer_as_activation("ThresholdedReLU", theta=0.2)
    names = ["hard", "clip", "crop", "sync", "leaky", "threshold", "spatial"]
    entries = [  # in the order of Keras, by the distance to the last layer
        called(layer("Conv2D", "plain", filters=2, activation="relu", **kernel), "image"),
        called(layer("Conv2D", "hard", filters=2, activation="hard_sigmoid", **kernel), "image"),
        called(layer("Conv2D", "leaky", filters=2, activation=leaky, **kernel), "plain"),
        called(layer("Activation", "clip", activation="hard_sigmoid"), "plain"),
        called(layer("RandomCrop", "crop", height=5, width=4, seed=None), "plain"),
        called(layer("SyncBatchNormalization", "sync", axis=[3], momentum=0.9), "plain"),
        called(layer("Conv2D", "threshold", filters=2, activation=thresholded, **kernel), "leaky"),
        called(layer("SpatialDropout2D", "spatial", rate=0.5, noise_shape=None), "hard"),
    ]
    ours = model_of(of_layers(*entries, outputs=names))
    assert_returns(ours, tmp_path)
    printed = capsys.readouterr().out
    assert "SyncBatchNormalization 'sync' is written without its synchronization" in printed
    assert "RandomCrop 'crop' is written as a Resizing, which" in printed
    assert "hard_sigmoid of Conv2D 'hard' and 1 more" in printed
    sequence = [*sequential()["config"]["layers"]]
    sequence[4]["config"]["activation"] = "hard_sigmoid"
    ours = model_of({"class_name": "Sequential", "config": {"name": "model", "layers": sequence}})
    theirs = twin()  # in which it is spelled out
    line = [layers.Rescaling(0.2, 0.5), layers.ReLU(1.0)]
    theirs = keras.Sequential(
        [keras.Input((8, 8, 3)), *theirs.layers[:4], *line, *theirs.layers[4:]]
    )
    assert_returns(ours, tmp_path, theirs)


def test_tensors_by_name(tmp_path):
    """Of attention layers; `causal` was an argument of the layer before tf.keras 2.10."""
    several = layer(
        "MultiHeadAttention", "several",
        num_heads=2, key_dim=2, query_shape=[None, 64, 3], key_shape=None, value_shape=None,
    )  # fmt: skip
    value = {"value": ["rows", 0, 0], "attention_mask": None, "use_causal_mask": False}
    entries = [
        called(layer("Reshape", "rows", target_shape=[64, 3]), "image"),
        called(several) | {"inbound_nodes": [[["rows", 0, 0, value]]]},
        called(layer("Attention", "causal", causal=True, use_scale=False), "rows", "rows"),
    ]
    assert_returns(model_of(of_layers(*entries, outputs=["several", "causal"])), tmp_path)


def test_axes_in_the_older_format(tmp_path):
    """Keras 3 itself reads `axis=[1, 2]` from its own `.h5` as -1, but not from ours."""
    assert_returns(model_of(changed(argument("layer_norm", axis=[1, 2]))), tmp_path)


X = np.random.default_rng(1).random((2, 4, 6, 3), dtype=np.float32) - 0.5
Y = np.random.default_rng(2).random((2, 4, 6, 3), dtype=np.float32) + 0.5
SLICES = [{"class_name": "__ellipsis__"}, {"start": None, "stop": None, "step": -1}]
FIRST = [{"start": None, "stop": None, "step": None}, 2]
PADS = [[0, 0], [1, 0], [0, 2], [0, 0]]
# function, further arguments ("y" is the second input), what it gives
CALLS: list[tuple[str, Config, Any]] = [
    ("math.add", {"y": 2.0, "name": None}, X + 2),
    ("__operators__.add", {"y": "y"}, X + Y),
    ("math.subtract", {"y": [0.1, 0.2, 0.3]}, X - np.array([0.1, 0.2, 0.3])),
    ("math.multiply", {"y": "y"}, X * Y),
    ("math.truediv", {"y": "y"}, X / Y),
    ("math.pow", {"y": 2}, X**2),
    ("math.maximum", {"y": 0.1}, np.maximum(X, 0.1)),
    ("math.negative", {}, -X),
    ("math.abs", {}, np.abs(X)),
    ("math.square", {}, X**2),
    ("math.exp", {}, np.exp(X)),
    ("nn.bias_add", {"bias": [1.0, 2.0, 3.0], "data_format": None}, X + np.array([1, 2, 3])),
    ("math.reduce_mean", {"axis": [1, 2], "keepdims": True}, X.mean((1, 2), keepdims=True)),
    ("math.reduce_sum", {"axis": 1}, X.sum(1)),
    ("math.reduce_max", {"axis": -1}, X.max(-1)),
    ("clip_by_value", {"clip_value_min": -0.1, "clip_value_max": 0.2}, X.clip(-0.1, 0.2)),
    ("reshape", {"shape": [-1, 24, 3]}, X.reshape(-1, 24, 3)),
    ("compat.v1.transpose", {"perm": [0, 2, 1, 3], "conjugate": False}, X.transpose(0, 2, 1, 3)),
    (
        "compat.v1.pad",
        {"paddings": PADS, "mode": "CONSTANT", "constant_values": 0},
        np.pad(X, PADS),
    ),
    ("expand_dims", {"axis": 1}, X[:, None]),
    ("reverse", {"axis": [-1]}, X[..., ::-1]),
    ("cast", {"dtype": "float32"}, X),
    ("__operators__.getitem", {"slice_spec": SLICES}, X[..., ::-1]),
    ("__operators__.getitem", {"slice_spec": FIRST}, X[:, 2]),
    ("nn.relu", {"name": None}, X.clip(0)),
    ("math.sigmoid", {}, 1 / (1 + np.exp(-X))),
    ("nn.softmax", {"axis": -1}, np.exp(X) / np.exp(X).sum(-1, keepdims=True)),
]


def test_calls_of_tensorflow():
    """As tf.keras 2.15 writes them; one of a number by position and one of several tensors, too."""
    entries = [called(image(4, 6, 3, name=name)) for name in ("x", "y")]
    for k, (function, arguments, _) in enumerate(CALLS):
        taken = {key: ["y", 0, 0] if value == "y" else value for key, value in arguments.items()}
        kind = "SlicingOpLambda" if "getitem" in function else "TFOpLambda"
        own = layer(kind, f"tf.{k}", function=function)
        entries.append(called(own) | {"inbound_nodes": [["x", 0, 0, taken]]})
    number = called(layer("TFOpLambda", "number", function="math.subtract"))
    number["inbound_nodes"] = [["_CONSTANT_VALUE", -1, 1.0, {"y": ["x", 0, 0], "name": None}]]
    both = called(layer("TFOpLambda", "both", function="concat"))
    both["inbound_nodes"] = [[["x", 0, 0, {"axis": -1}], ["y", 0, 0, {"axis": -1}]]]
    entries += [number, both]
    ends = {
        "input_layers": [["x", 0, 0], ["y", 0, 0]],
        "output_layers": [[entry["name"], 0, 0] for entry in entries[2:]],
    }
    config = {"class_name": "Functional", "config": {"name": "m", "layers": entries, **ends}}
    translated = Keras3Config(config, read_graph(config, "2.15.0"))
    theirs = keras.models.model_from_json(json.dumps(translated.entry)).predict([X, Y], verbose=0)
    expected = [*(value for _, _, value in CALLS), 1 - X, np.concatenate([X, Y], -1)]
    for name, ours, value in zip(ends["output_layers"], theirs, expected, strict=True):
        np.testing.assert_allclose(ours, value, atol=1e-6, err_msg=str(name))
