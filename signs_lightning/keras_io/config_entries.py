"""Access to the entries of a Keras config, whichever version of Keras wrote it."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from signs_lightning.keras_io.file_errors import inconsistent_model, untrusted_file
from signs_lightning.keras_io.model_graph import LayerPath
from signs_lightning.runtime.escaping import shorten

Entry = dict[str, Any]  # of a layer or a model: class_name, config, …
MODELS = ("Sequential", "Functional", "Model")
MAX_NAME_LENGTH = 256  # characters of a layer's name
# Keras 3's, of operations such as `x + 1` or `keras.ops.add(x, 1)`, which are no layers.
OPERATION_MODULES = ("keras.src.ops", "keras.ops", "keras.src.activations")


def keras_major(config: Entry, keras_version: str | None = None) -> int:
    """Return the major version of the Keras that wrote a config.

    Args:
        config: the model.
        keras_version: as the file says; taken from the config when omitted.
    """
    own_version = config.get("keras_version") or ("3" if "module" in config else "2")
    version = str(keras_version or own_version)
    return int(version[0]) if version[:1].isdigit() else 3


def model_config(model: Entry, name: str) -> dict[str, Any]:
    """Return a model's config as a dict with "layers".

    Keras 2.0 wrote the layers of a Sequential as a bare list.

    Raises:
        InputError: it has no layers.
    """
    config = model.get("config")
    if isinstance(config, list):
        config = {"layers": config}
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(layers, list) or not layers:
        raise inconsistent_model(f"The config of {name} has no list of layers")
    return config


def layer_entries(model: Entry, path: LayerPath) -> list[Entry]:
    """Return the checked entries of a model's layers.

    Raises:
        InputError: one of them has no class, config or name.
    """
    entries = model_config(model, "/".join(path) or "the model")["layers"]
    for entry in entries:
        class_name = entry.get("class_name") if isinstance(entry, dict) else None
        if not isinstance(class_name, str) or len(class_name) > MAX_NAME_LENGTH:
            raise_malformed(f"has a layer {str(entry)[:40]}, expected class_name and config", path)
        if not isinstance(entry.get("config"), dict) and class_name != "Sequential":
            raise_malformed(f"has a layer {class_name} without config", path)
        name_of(entry)
    return entries


def is_layer(value: Any) -> bool:
    """Return whether a value of a config is a layer's entry: {"class_name", "config"}."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("class_name"), str)
        and isinstance(value.get("config"), dict)
    )


def name_of(entry: Entry) -> str:
    """Return the name of a layer or a model.

    Raises:
        InputError: it is not text, or too long.
    """
    config = entry["config"]
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else "sequential")
    if not isinstance(name, str):
        raise inconsistent_model(
            f"A {entry['class_name']} is named {shorten(repr(name))}, expected text"
        )
    if len(name) > MAX_NAME_LENGTH:
        raise untrusted_file(f"A layer's name has {len(name):,} characters ('{shorten(name)}')")
    return name


def class_and_arguments(spec: Any) -> tuple[str, dict[str, Any]]:
    """Return class name and arguments of an initializer, regularizer or constraint.

    Args:
        spec: "he_normal", or a dict of both; a class of the user's own keeps its package's name, as
            in "mine>HeNormal".
    """
    config: Any = {}
    if isinstance(spec, dict):
        registered, config = spec.get("registered_name"), spec.get("config")
        spec = spec.get("class_name")
        if isinstance(registered, str) and ">" in registered:
            spec = registered
    name = str(spec)
    if ">" not in name and ("_" in name or not name[:1].isupper()):
        name = "".join(part.capitalize() for part in name.split("_"))
    return shorten(name), config if isinstance(config, dict) else {}


def snake_case(class_name: str) -> str:
    """Return Keras's `to_snake_case`: "DepthwiseConv2D" → "depthwise_conv2d"."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def raise_malformed(problem: str, path: LayerPath) -> NoReturn:
    """Raise an error about a model's config; `problem` follows the model's name."""
    model = f"The model '{shorten('/'.join(path))}'" if path else "The model"
    raise inconsistent_model(f"{model} {shorten(problem, 200)}")
