"""Files of older Keras versions, made by rewriting what Keras 3 wrote: same weights, other
spellings, same outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax
import keras
import numpy as np
import pytest
from keras import layers

from signs_lightning.keras_io.load_keras import from_keras

from .against_keras import images_for, randomize, to_torch
from .test_models import backbone, functional_of, happy, resnet, signs


def keras2(value: Any) -> Any:
    """A Keras 3 config in Keras 2's words: no wrapped dtypes, initializers without module,
    batch_input_shape.
    """
    if isinstance(value, list):
        return [keras2(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return "float32"
    value = {
        key: keras2(item)
        for key, item in value.items()
        if key not in {"module", "registered_name", "build_config"}
    }
    if "batch_shape" in value:
        value["batch_input_shape"] = value.pop("batch_shape")
    for new in (
        "quantization_config", "optional", "synchronized", "renorm", "renorm_clipping",
        "renorm_momentum", "keepdims",
    ):  # fmt: skip
        value.pop(new, None)
    if "inbound_nodes" in value:
        value["inbound_nodes"] = [_node(node) for node in value["inbound_nodes"]]
    if isinstance(value.get("input_layers"), list) and isinstance(value["input_layers"][0], str):
        value["input_layers"], value["output_layers"] = (
            [value["input_layers"]],
            [value["output_layers"]],
        )
    return value


def _node(node: dict[str, Any]) -> list[Any]:
    arguments = node["args"]
    tensors = arguments[0] if isinstance(arguments[0], list) else arguments
    flag = {
        key: value
        for key, value in node["kwargs"].items()
        if key == "training" and value is not None
    }
    return [[*tensor["config"]["keras_history"], flag] for tensor in tensors]


def no_input_layer(config: dict[str, Any]) -> None:
    """Before tf.keras 2.2 a Sequential kept its input's shape in its first layer."""
    first = config["config"]["layers"].pop(0)
    config["config"]["layers"][0]["config"]["batch_input_shape"] = first["config"][
        "batch_input_shape"
    ]
    config["config"].pop("build_input_shape", None)


def bare_list(config: dict[str, Any]) -> None:
    no_input_layer(config)
    config["config"] = config["config"]["layers"]


def short_nodes(config: dict[str, Any]) -> None:
    """Keras 2.0: inbound nodes without kwargs, and the class called Model."""
    config["class_name"] = "Model"
    for layer in config["config"]["layers"]:
        layer["inbound_nodes"] = [
            [tensor[:3] for tensor in node] for node in layer["inbound_nodes"]
        ]


def old_arguments(config: dict[str, Any]) -> None:
    """Arguments that older versions spell otherwise or do not have."""
    for layer in (
        config["config"]["layers"] if isinstance(config["config"], dict) else config["config"]
    ):
        own = layer["config"]
        if layer["class_name"] == "BatchNormalization":
            own["axis"] = {-1: 3, 3: [3]}.get(own["axis"], own["axis"])
        if layer["class_name"] == "Flatten":
            own.pop("data_format")
        if layer["class_name"] == "Conv2D":
            own.pop("groups")
            own["kernel_initializer"] = {
                "class_name": "VarianceScaling",
                "config": {"scale": 1.0, "mode": "fan_avg"},
            }
        if layer["class_name"] == "ReLU":
            layer["class_name"] = "Activation"
            layer["config"] = {"name": own["name"], "trainable": True, "activation": "relu"}
            if "name" in layer:
                layer["config"]["name"] = layer["name"]


def rewrite(
    path: Path, version: str, *changes: Callable[[dict[str, Any]], None], as_bytes: bool = True
) -> None:
    """Turns a legacy `.h5` of Keras 3 into one of an older version."""
    with h5py.File(path, "r+") as file:
        config = keras2(json.loads(file.attrs["model_config"]))
        for change in changes:
            change(config)
        kept = {
            layer["config"]["name"]
            for layer in (
                config["config"]
                if isinstance(config["config"], list)
                else config["config"]["layers"]
            )
        }
        text = json.dumps(config)
        file.attrs["model_config"] = text.encode() if as_bytes else text
        group = file["model_weights"]
        for owner in (file, group):
            owner.attrs["keras_version"] = version.encode() if as_bytes else version
        del file.attrs["backend"]
        names = [name for name in group.attrs["layer_names"] if name in kept]
        group.attrs["layer_names"] = np.array([n.encode() for n in names]) if as_bytes else names
        for name in names:
            layer = group[name]
            renamed = []
            for weight in layer.attrs["weight_names"]:
                old = {"kernel": "depthwise_kernel"} if "depthwise" in weight else {}
                last = weight.split("/")[-1]
                new = "/".join([*weight.split("/")[:-1], old.get(last, last) + ":0"])
                layer.move(weight, new)
                renamed.append(new.encode() if as_bytes else new)
            layer.attrs["weight_names"] = np.array(renamed) if as_bytes else renamed


def assert_unchanged(model: keras.Model, path: Path) -> None:
    images = images_for(model)
    predicted = from_keras(path, scale="/255").predict(to_torch(images)).numpy()
    theirs = np.asarray(jax.jit(lambda x: model(x, training=False))(images))
    np.testing.assert_allclose(
        predicted[:, 1:] if theirs.shape[1] == 1 else predicted, theirs, atol=1e-5, rtol=0
    )


VERSIONS = {
    "2.15.0 sequential": (lambda: happy(16), "2.15.0", [], False),
    "2.15.0 functional": (lambda: functional_of(signs(40)), "2.15.0", [], False),
    "2.3.1 without InputLayer": (lambda: signs(36), "2.3.1", [no_input_layer, old_arguments], True),
    "2.2.4 Model": (lambda: functional_of(signs(40)), "2.2.4", [short_nodes], True),
    "2.0.7 Model": (lambda: functional_of(happy(16)), "2.0.7", [short_nodes, old_arguments], True),
    "2.0.7 list": (lambda: happy(16), "2.0.7", [bare_list, old_arguments], True),
    "2.0.7 ResNet": (
        lambda: resnet(40, 3, 2, (1, 1, 1, 1)),
        "2.0.7",
        [short_nodes, old_arguments],
        True,
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(tmp_path, version):
    make, number, changes, as_bytes = VERSIONS[version]
    model = make()
    randomize(model)
    model.save(tmp_path / "old.h5")
    rewrite(tmp_path / "old.h5", number, *changes, as_bytes=as_bytes)
    assert_unchanged(model, tmp_path / "old.h5")


def test_model_in_a_model_of_keras2(tmp_path):
    """tf.keras counts the calls of a model from 1, because building it was call 0."""
    image = keras.Input((8, 8, 3))
    value = backbone()(image, training=False)
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(value)))
    randomize(model)
    model.save(tmp_path / "nested.h5")

    def count_from_one(config: dict[str, Any]) -> None:
        flatten = next(
            layer for layer in config["config"]["layers"] if layer["class_name"] == "Flatten"
        )
        flatten["inbound_nodes"][0][0][:3] = ["backbone", 1, 0]

    rewrite(tmp_path / "nested.h5", "2.11.0", count_from_one, as_bytes=False)
    assert_unchanged(model, tmp_path / "nested.h5")


def test_arithmetic_of_keras2(tmp_path):
    """`1 - x * 2 + y` is TFOpLambda layers there."""
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(3, 1, name="x")(image)
    twice = layers.Rescaling(2.0, name="twice")(x)
    rest = layers.Rescaling(-1.0, 1.0, name="rest")(twice)
    total = layers.Add(name="total")([rest, image])
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(total)))
    randomize(model)
    model.save(tmp_path / "arithmetic.h5")

    def operations(config: dict[str, Any]) -> None:
        nodes = {
            "twice": ("math.multiply", ["x", 0, 0, {"y": 2.0, "name": None}]),
            "rest": (
                "math.subtract",
                ["_CONSTANT_VALUE", -1, 1.0, {"y": ["twice", 0, 0], "name": None}],
            ),
            "total": (
                "__operators__.add",
                ["rest", 0, 0, {"y": [config["config"]["input_layers"][0][0], 0, 0]}],
            ),
        }
        for layer in config["config"]["layers"]:
            if layer["name"] in nodes:
                function, node = nodes[layer["name"]]
                layer["class_name"], layer["inbound_nodes"] = "TFOpLambda", [node]
                layer["config"] = {
                    "name": layer["name"],
                    "trainable": True,
                    "dtype": "float32",
                    "function": function,
                }

    rewrite(tmp_path / "arithmetic.h5", "2.11.0", operations, as_bytes=False)
    assert_unchanged(model, tmp_path / "arithmetic.h5")


@pytest.mark.parametrize("version", ["2.15.0", "3.15.1"])
def test_hard_sigmoid(tmp_path, version):
    """clip(0.2 x + 0.5) in Keras 2, relu6(x + 3) / 6 in Keras 3."""
    stack = [
        layers.Conv2D(4, 3),
        layers.Rescaling(0.2, 0.5, name="line"),
        layers.ReLU(max_value=1.0, name="clip"),
    ]
    if version.startswith("3"):
        stack = [
            layers.Conv2D(4, 3),
            layers.Identity(name="line"),
            layers.Activation("hard_sigmoid", name="clip"),
        ]
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Rescaling(9.0, -4.0),
            *stack,
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    randomize(model)
    model.save(tmp_path / "hard.h5")

    def one_activation(config: dict[str, Any]) -> None:
        config["config"]["layers"] = [
            layer for layer in config["config"]["layers"] if layer["config"]["name"] != "line"
        ]
        clip = next(
            layer for layer in config["config"]["layers"] if layer["config"]["name"] == "clip"
        )
        clip.update(class_name="Activation", config={"name": "clip", "activation": "hard_sigmoid"})

    rewrite(tmp_path / "hard.h5", version, one_activation)
    assert_unchanged(model, tmp_path / "hard.h5")


def test_names_split_over_several_attributes(tmp_path):
    """An HDF5 attribute holds 64 kB; Keras splits longer lists of names."""
    model = signs(40)
    randomize(model)
    model.save(tmp_path / "split.h5")
    with h5py.File(tmp_path / "split.h5", "r+") as file:
        group = file["model_weights"]
        names = list(group.attrs["layer_names"])
        del group.attrs["layer_names"]
        group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:3], names[3:]
    assert_unchanged(model, tmp_path / "split.h5")


def test_weights_of_keras_2_2(tmp_path):
    """Legacy weights only, names as bytes."""
    model = happy(64)
    randomize(model)
    model.save(tmp_path / "model.h5")
    rewrite(tmp_path / "model.h5", "2.2.4")
    with (
        h5py.File(tmp_path / "model.h5") as file,
        h5py.File(tmp_path / "weights.h5", "w") as weights,
    ):
        for name in file["model_weights"]:
            file.copy(f"model_weights/{name}", weights)
        for key, value in file["model_weights"].attrs.items():
            weights.attrs[key] = value
    assert_unchanged(model, tmp_path / "weights.h5")
