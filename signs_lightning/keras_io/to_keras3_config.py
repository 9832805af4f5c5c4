"""Rewrites a model's config as Keras 3 reads it."""

from __future__ import annotations

from typing import Any

from signs_lightning.keras_io.config_entries import MODELS, Entry
from signs_lightning.keras_io.inbound_nodes import endpoints
from signs_lightning.keras_io.layer_table import BATCH_NORMS
from signs_lightning.keras_io.operation_table import is_operation, module_of_operation

RENAMED = {"Model": "Functional", **dict.fromkeys(BATCH_NORMS, "BatchNormalization")}
Registration = tuple[str, str | None]  # module and registered name of a class
LAYER = ("keras.layers", None)
SEQUENTIAL = ("keras", None)
FUNCTIONAL = ("keras.src.models.functional", "Functional")


def keras3_name(class_name: str) -> str:
    """Return the name of a class in Keras 3."""
    return RENAMED.get(class_name, class_name)


def entries_of(model: Entry) -> list[Entry]:
    """Return the entries of a model's layers."""
    config = model["config"]
    return config if isinstance(config, list) else config["layers"]


def rename_classes(model: Entry) -> Entry:
    """Return a config with Keras 3's names of classes of layers."""
    entries = [rename_classes(e) if e["class_name"] in MODELS else e for e in entries_of(model)]
    entries = [entry | {"class_name": keras3_name(entry["class_name"])} for entry in entries]
    config = {"name": "sequential"} if isinstance(model["config"], list) else model["config"]
    class_name = keras3_name(model["class_name"])
    return model | {"class_name": class_name, "config": config | {"layers": entries}}


def keras3_config(model: Entry, keras: int, wrapped: bool) -> Entry:
    """Return a config that `rename_classes` returned as Keras 3 reads it.

    Args:
        model: the config.
        keras: major version of the Keras that wrote it.
        wrapped: whether it is for the `.keras` format, where every layer says its module.
    """
    config = {"name": "sequential", **model["config"]}
    config["layers"] = [
        keras3_config(entry, keras, wrapped)
        if entry["class_name"] in MODELS
        else _layer_entry(entry, keras, wrapped)
        for entry in config["layers"]
    ]
    is_sequential = model["class_name"] == "Sequential"
    if keras < 3 and not is_sequential:  # of [["image", 0, 0]] Keras 3 would make lists
        for key in ("input_layers", "output_layers"):
            ((name, index),) = endpoints(config[key], key, ())
            config[key] = [name, index, 0]
    registration = SEQUENTIAL if is_sequential else FUNCTIONAL
    return _entry(model, config, keras, registration if wrapped else None)


def _layer_entry(entry: Entry, keras: int, wrapped: bool) -> Entry:
    config, class_name = dict(entry["config"]), entry["class_name"]
    if class_name == "InputLayer" and "batch_input_shape" in config:  # Keras 2's name for it
        config["batch_shape"] = config.pop("batch_input_shape")
        config = {k: v for k, v in config.items() if k in {"batch_shape", "dtype", "name"}}
    registration: Registration = LAYER
    if is_operation(entry, keras):
        registration = module_of_operation(class_name), class_name
    return _entry(entry, config, keras, registration if wrapped else None)


def _entry(
    entry: Entry, config: dict[str, Any], keras: int, registration: Registration | None
) -> Entry:
    """Return the entry of a layer or model with another config, and its calls."""
    written: Entry = {"class_name": entry["class_name"], "config": config}
    own = entry if keras >= 3 else {}  # tf.keras has other modules
    if registration is not None:
        written["module"] = own.get("module", registration[0])
        written["registered_name"] = own.get("registered_name", registration[1])
    written |= {key: entry[key] for key in ("name", "inbound_nodes") if key in entry}
    return written | {key: own[key] for key in ("build_config",) if key in own}
