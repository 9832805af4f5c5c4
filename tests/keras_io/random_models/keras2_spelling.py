"""Writes what Keras 3 saved as an older version would have: the JSON and the legacy `.h5`.

The spellings are those of `keras/engine` 2.0–2.3 and of `tensorflow/python/keras` and `tf_keras`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

Entry = dict[str, Any]

NEW_KEYS = {
    *("module", "registered_name", "build_config", "quantization_config", "optional", "renorm"),
    *("renorm_clipping", "renorm_momentum", "synchronized", "sliding_window", "use_gate"),
    *("flash_attention", "pad_to_aspect_ratio", "antialias"),
}
RENAMED = "block/"  # before the name of a layer here and there
FUNCTIONS = {  # of TFOpLambda, by the class of Keras 3's operation
    "Multiply": "math.multiply",
    "Add": "__operators__.add",
    "Subtract": "math.subtract",
    "TrueDivide": "math.truediv",
    "Divide": "math.truediv",
    "Relu": "nn.relu",
    "Sigmoid": "math.sigmoid",
    "Tanh": "math.tanh",
    "Negative": "math.negative",
    "Square": "math.square",
    "Absolute": "math.abs",
    "Maximum": "math.maximum",
}


def number(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def hard_sigmoid(x: Any) -> Any:
    """Keras 2's formula; Keras 3 has another one under this name."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def respell(config: Entry, version: str, r: Random) -> Entry:
    """Return a model's JSON of Keras 3 as an older version writes it."""
    entry = _respell(config, version, r)
    is_old = number(version) < (2, 4)
    if entry["class_name"] == "Sequential" and is_old:
        first, *others = entry["config"]["layers"]
        if others and others[0]["class_name"] not in ("Functional", "Model", "Sequential"):
            others[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
            others[0]["config"]["dtype"] = "float32"
            entry["config"]["layers"] = others
            entry["config"].pop("build_input_shape", None)
            if number(version) < (2, 2):  # before 2.2.3 the config was a bare list
                entry["config"] = others
    return entry


def _respell(value: Any, version: str, r: Random) -> Any:
    if isinstance(value, list):
        return [_respell(item, version, r) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return "float32"
    if "config" not in value or "class_name" not in value:
        return {key: _respell(item, version, r) for key, item in value.items()}
    if str(value.get("module", "")).startswith(("keras.src.ops", "keras.ops")):
        return _operation(value)
    name = value["class_name"]
    nodes = value.get("inbound_nodes")
    inner = {k: _respell(v, version, r) for k, v in value.items() if k not in NEW_KEYS}
    if isinstance(inner["config"], dict):
        inner["config"] = _arguments(name, inner["config"], version, r)
    if nodes is not None:
        inner["inbound_nodes"] = [_node(node, name) for node in nodes]
    if name in ("Functional", "Sequential"):
        _model(inner, value, version)
    if name == "BatchNormalization" and version == "2.2.4-tf":
        inner["class_name"] = r.choice((name, "BatchNormalizationV1"))
    if "Initializer" not in name and name in ("GlorotUniform", "HeNormal", "GlorotNormal"):
        return _initializer(inner, version)
    if name in ("L1", "L2") and number(version) < (2, 4):
        factors = {"l1": 0.0, "l2": 0.0} | inner["config"]
        return {"class_name": "L1L2", "config": factors}
    return inner


def _initializer(entry: Entry, version: str) -> Entry:
    if version == "2.2.4-tf":  # TensorFlow 1
        return {**entry, "config": {**entry["config"], "dtype": "float32"}}
    if number(version) > (2, 3):
        return entry
    mode = "fan_in" if entry["class_name"] == "HeNormal" else "fan_avg"
    kind = "uniform" if entry["class_name"] == "GlorotUniform" else "normal"
    scale = 2.0 if entry["class_name"] == "HeNormal" else 1.0
    config = {"scale": scale, "mode": mode, "distribution": kind, "seed": None}
    return {"class_name": "VarianceScaling", "config": config}


def _model(entry: Entry, original: Entry, version: str) -> None:
    config = entry["config"]
    if entry["class_name"] == "Functional":
        entry["class_name"] = "Functional" if number(version) >= (2, 4) else "Model"
        for key in ("input_layers", "output_layers"):
            if isinstance(config[key][0], str):
                config[key] = [config[key]]
    elif isinstance(shape := original.get("build_config", {}).get("input_shape"), list):
        config["build_input_shape"] = shape


def _arguments(name: str, config: Entry, version: str, r: Random) -> Entry:
    config = {key: value for key, value in config.items() if key not in NEW_KEYS}
    is_tf = number(version) >= (2, 4) or version == "2.2.4-tf"
    if number(version) < (2, 4) and not is_tf:
        config.pop("dtype", None)
    if "batch_shape" in config:
        config["batch_input_shape"] = config.pop("batch_shape")
        config |= {"sparse": False, "dtype": "float32"} | ({"ragged": False} if is_tf else {})
    if name in ("BatchNormalization", "LayerNormalization") and is_tf:
        axis = config["axis"]
        config["axis"] = axis if isinstance(axis, list) or axis < 0 else [axis]
    if name in ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose") and is_tf:
        config["groups"] = 1
    if name == "Conv2D" and number(version) < (2, 4) and config.get("groups") == 1:
        del config["groups"]
    if name == "Flatten" and number(version) < (2, 2) and config["data_format"] == "channels_last":
        del config["data_format"]
    if name == "LeakyReLU":
        config["alpha"] = config.pop("negative_slope")
    if name in ("LeakyReLU", "ELU") and number(version) < (2, 2):
        config["alpha"] = {"type": "ndarray", "value": config["alpha"]}
    if name == "Resizing":
        config = {k: v for k, v in config.items() if k not in ("fill_mode", "fill_value")}
    if config.get("keepdims") is False:
        del config["keepdims"]
    if config.get("activation") == "silu":
        config["activation"] = "swish"
    return config


def _node(node: Entry, name: str) -> list[Any]:
    arguments, kwargs = node["args"], node["kwargs"]
    tensors = arguments[0] if isinstance(arguments[0], list) else arguments
    flags = {k: v for k, v in kwargs.items() if k == "training" and v is not None}
    histories = [tensor["config"]["keras_history"] for tensor in tensors]
    if name == "MultiHeadAttention":
        query, *others = histories
        named = dict(zip(("value", "key"), others, strict=False))
        return [[*query, flags | named]]
    return [[*history, flags] for history in histories]


def _operation(entry: Entry) -> Entry:
    function = FUNCTIONS[entry["class_name"]]
    nodes = []
    for node in entry["inbound_nodes"]:
        values = [
            item["config"]["keras_history"] if isinstance(item, dict) else item
            for item in node["args"]
        ]
        first, named = values[0], {"name": None}
        if len(values) > 1:
            named["y"] = values[1]
        first = first if isinstance(first, list) else ["_CONSTANT_VALUE", -1, first]
        nodes.append([*first, named])
    name = entry["config"]["name"]
    config = {"name": name, "trainable": True, "dtype": "float32", "function": function}
    return {"class_name": "TFOpLambda", "config": config, "name": name, "inbound_nodes": nodes}


def _entries(model: Entry) -> Iterator[Entry]:
    for entry in model["config"]["layers"]:
        yield entry
        if entry["class_name"] in ("Functional", "Sequential"):
            yield from _entries(entry)


def write_h5(path: Path, model: keras.Model, version: str, r: Random) -> None:
    """Write a model as an older version would have: a legacy `.h5`."""
    as_bytes = number(version) < (2, 12)
    original = json.loads(model.to_json())
    depthwise = {
        entry["config"]["name"]
        for entry in _entries(original)
        if entry["class_name"] == "DepthwiseConv2D"
    }
    config = respell(original, version, r)
    layers = config["config"] if isinstance(config["config"], list) else config["config"]["layers"]
    kept = {layer["config"]["name"] for layer in layers if isinstance(layer["config"], dict)}
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        legacy_h5_format.save_weights_to_hdf5_group(group, model)
        for owner in (file, group):
            for key, value in (("keras_version", version), ("backend", "tensorflow")):
                owner.attrs[key] = value.encode() if as_bytes else value
        names = [name for name in group.attrs["layer_names"] if name in kept]
        if names and r.random() < 0.15:  # Keras 3 allows no such names
            names = _rename(config, group, names, r.choice(names))
        group.attrs["layer_names"] = _texts(names, as_bytes)
        for name in names:
            layer, renamed = group[name], []
            for weight in layer.attrs["weight_names"]:
                *owners, last = weight.split("/")
                is_depthwise = bool(owners) and owners[-1] in depthwise and last == "kernel"
                new = "/".join([*owners, ("depthwise_kernel" if is_depthwise else last) + ":0"])
                layer.move(weight, new)
                renamed.append(new)
            layer.attrs["weight_names"] = _texts(renamed, as_bytes)
        text = json.dumps({key: config[key] for key in ("class_name", "config")})
        file.attrs["model_config"] = text.encode() if as_bytes else text


def _rename(config: Entry, group: h5py.Group, names: list[str], name: str) -> list[str]:
    """Give a layer at the top a name with a slash; return the names of all."""
    new = f"{RENAMED}{name}"
    own = group[name]
    weights = [weight.split("/") for weight in own.attrs["weight_names"]]
    moved = ["/".join([new if part == name else part for part in parts]) for parts in weights]
    for parts, weight in zip(weights, moved, strict=True):
        own.move("/".join(parts), weight)
    own.attrs["weight_names"] = _texts(moved, as_bytes=False)
    group.move(name, new)
    model = config["config"]
    entries = model if isinstance(model, list) else model["layers"]
    for entry in entries:
        if (entry.get("name") or entry["config"]["name"]) == name:
            entry["config"]["name"] = new
            if "name" in entry:
                entry["name"] = new
        entry["inbound_nodes"] = _renamed(entry.get("inbound_nodes", []), name, new)
        if not entry["inbound_nodes"]:
            del entry["inbound_nodes"]
    if isinstance(model, dict) and "output_layers" in model:
        model["output_layers"] = _renamed(model["output_layers"], name, new)
        model["input_layers"] = _renamed(model["input_layers"], name, new)
    return [new if other == name else other for other in names]


def _renamed(value: Any, name: str, new: str) -> Any:
    """Return nodes that refer to a layer by its new name."""
    if isinstance(value, dict):
        return {key: _renamed(item, name, new) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) >= 3 and value[0] == name:
        return [new, *(_renamed(item, name, new) for item in value[1:])]
    return [_renamed(item, name, new) for item in value]


def _texts(names: list[str], as_bytes: bool) -> Any:
    """Return a list of names as an attribute's value."""
    encoded: Any = np.array([name.encode() for name in names]) if names else []
    return encoded if as_bytes else np.array(names, h5py.string_dtype())


def split_h5(path: Path, weights: Path, architecture: Path) -> None:
    """Write the weights alone, and the JSON of the model, as `save_weights` and `to_json` did."""
    with h5py.File(path) as file, h5py.File(weights, "w") as target:
        config = file.attrs["model_config"]
        config = json.loads(config)
        version = file.attrs["keras_version"]
        version = version.decode() if isinstance(version, bytes) else version
        for key, value in file["model_weights"].attrs.items():
            target.attrs[key] = value
        for name in file["model_weights"]:
            file.copy(file["model_weights"][name], target, name)
    architecture.write_text(
        json.dumps({**config, "keras_version": version, "backend": "tensorflow"})
    )
