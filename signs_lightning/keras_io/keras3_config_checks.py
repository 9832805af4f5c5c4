"""Finds what Keras 3 would refuse or change in a config that Keras 2 wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations, keras3_layer_arguments
from signs_lightning.keras_io.config_entries import MODELS, Entry, name_of
from signs_lightning.keras_io.inbound_nodes import endpoints, inbound_nodes, references
from signs_lightning.keras_io.keras3_layer_arguments import ANY_LAYER, OBJECTS, SHORT_NAMES
from signs_lightning.keras_io.layer_table import WITH_ACTIVATION
from signs_lightning.keras_io.operation_table import is_operation
from signs_lightning.keras_io.to_keras3_config import entries_of, keras3_name

MAX_LISTED = 5  # problems that a message names


def check_keras3_config(config: Entry, keras: int, wrapped: bool) -> None:
    """Check that Keras 3 reads a whole model as it is.

    Args:
        config: as in the file.
        keras: major version of the Keras that wrote it.
        wrapped: whether it is to be written in the `.keras` format; else in the legacy `.h5`, which
            Keras reads otherwise.

    Raises:
        InputError: Keras 3 would refuse the config, or make another model of it.
    """
    is_shapeless = keras < 3 and not _has_input_shape(config)
    problems = list(dict.fromkeys(_unsupported(config, keras, wrapped)))
    problems += ["a Sequential without an input shape"] if is_shapeless else []
    if not problems:
        return
    format, other = ("keras", "keras-h5") if wrapped else ("keras-h5", "keras")
    advice = f"Choose the format {other}."
    if is_shapeless or any(_unsupported(config, keras, not wrapped)):
        advice = (
            "Write its weights alone (format keras-weights) for a model that you build in Keras "
            "3, or an ONNX file (format onnx)."
        )
    more = " …" if len(problems) > MAX_LISTED else ""
    raise InputError(
        f"Keras 3 would refuse or change this model in the format {format}: "
        f"{', '.join(problems[:MAX_LISTED])}{more}. {advice}"
    )


def _unsupported(model: Entry, keras: int, wrapped: bool) -> Iterator[str]:
    if keras < 3 and model["class_name"] != "Sequential":
        yield from _unsupported_calls(model["config"])
    for entry in entries_of(model):
        if "/" in name_of(entry):
            yield f"the / in the name of {_describe(entry)}"
        if entry["class_name"] in MODELS:
            yield from _unsupported(entry, keras, wrapped)
        elif entry["class_name"] != "InputLayer":
            for part in _unsupported_parts(entry, keras, wrapped):
                yield f"{part} of {_describe(entry)}" if part else _describe(entry)


def _has_input_shape(model: Entry) -> bool:
    """Return whether Keras 3 can build a model when it reads it.

    Models inside are built when they are called.
    """
    config = model["config"]
    is_built = isinstance(config, dict) and config.get("build_input_shape")
    if model["class_name"] != "Sequential" or is_built:
        return True
    first, *others = entries_of(model)
    if first["class_name"] in MODELS:
        return bool(others) and _has_input_shape(first)
    return first["class_name"] == "InputLayer" or "batch_input_shape" in first["config"]


def _describe(entry: Entry) -> str:
    return f"{entry['class_name']} '{name_of(entry)}'"


def _unsupported_calls(config: dict[str, Any]) -> Iterator[str]:
    """Yield calls of models inside the model that Keras 3 counts otherwise.

    tf.keras counts them from 1; Keras 3 from 0, but from 1 at a Functional's output.
    """
    entries = {name_of(entry): entry for entry in config["layers"]}
    calls = {name: inbound_nodes(entry, ()) for name, entry in entries.items()}
    for name, entry in entries.items():
        nodes = [node for node in entry.get("inbound_nodes", []) if isinstance(node, list) and node]
        if any(isinstance(node[0], str) for node in nodes) and entry["class_name"] != "TFOpLambda":
            yield f"the inbound_nodes of {_describe(entry)}"
        for arguments, _ in calls[name]:
            for taken, index in references(arguments):
                if entries[taken]["class_name"] in MODELS and index >= len(calls[taken]):
                    yield f"calls of {_describe(entries[taken])} counted from 1"
    name, index = endpoints(config["output_layers"], "output_layers", ())[0]
    class_name, count = entries[name]["class_name"], len(calls[name])
    is_counted_otherwise = index >= count if class_name == "Sequential" else count > 1
    if class_name in MODELS and is_counted_otherwise:
        yield f"the last call of {_describe(entries[name])}"


def _unsupported_parts(entry: Entry, keras: int, wrapped: bool) -> Iterator[str]:
    """Yield what is unsupported of a layer; empty text is the whole layer."""
    class_name, config = keras3_name(entry["class_name"]), entry["config"]
    axis = config.get("axis", -1)
    if not wrapped and (axis is None or (isinstance(axis, list) and len(axis) > 1)):
        yield f"axis {axis}"  # which Keras drops without a warning
    if not wrapped and is_operation(entry, keras):
        yield "the arithmetic"
    if not wrapped and class_name == "Attention" and config.get("score_mode") == "dot":
        yield "score_mode dot"  # which Keras takes for its function `dot`
    for key, value in config.items():
        kind = key.rpartition("_")[2]
        if kind in OBJECTS and value is not None and not _is_known_object(kind, value, keras):
            yield key
    if keras >= 3:
        return
    if class_name in ("ThresholdedReLU", "TFOpLambda", "RandomCrop"):
        yield ""  # which Keras 3 does not have, or computes otherwise
    if class_name not in keras3_layer_arguments.LAYERS:
        return
    takes_one_axis = class_name in ("BatchNormalization", "GroupNormalization", "Concatenate")
    if wrapped and isinstance(axis, list) and takes_one_axis:
        yield f"axis {axis}"
    allowed = keras3_layer_arguments.LAYERS[class_name] | ANY_LAYER
    allowed -= {"trainable"} if class_name == "SpatialDropout2D" else set()
    yield from (key for key in config if key not in allowed)
    for key, value in config.items():
        if key == "activation" or key.rpartition("_")[2] in OBJECTS:
            continue
        if isinstance(value, dict) and not str(value.get("class_name")).startswith("DTypePolicy"):
            yield key  # a number as NumPy's, or a policy of Keras 2's
    axes = len(axis) if isinstance(axis, list) else 1
    if class_name == "Normalization" and _depth(config.get("mean")) > axes:
        yield "mean"
    if class_name in WITH_ACTIVATION:
        yield from _unsupported_activation(config.get("activation"))


def _unsupported_activation(spec: Any) -> Iterator[str]:
    name = activations.name_of(spec)
    if name == "hard_sigmoid":
        yield "Keras 2's hard_sigmoid"
    elif name in activations.LAYERS:
        allowed = keras3_layer_arguments.LAYERS.get(name)
        is_keras3 = str(spec.get("module")).startswith("keras.")
        if allowed is None or not is_keras3 or spec["config"].keys() - ANY_LAYER - allowed:
            yield f"activation '{name}'"


def _is_known_object(kind: str, spec: Any, keras: int) -> bool:
    """Return whether an initializer, regularizer or constraint is one of Keras 3.

    Args:
        kind: which of the three it is.
        spec: a name, or a dict of class_name and config.
        keras: major version of the Keras that wrote the config.
    """
    classes = OBJECTS[kind]
    if isinstance(spec, str):
        is_known = spec.replace("_", "").lower() in {name.lower() for name in classes}
        return keras >= 3 or is_known or spec in SHORT_NAMES.get(kind, ())
    if not isinstance(spec, dict):
        return False
    name, config = str(spec.get("class_name")), spec.get("config") or {}
    is_custom = ">" in f"{name}{spec.get('registered_name')}"
    module = str(spec.get("module") or "keras.")
    if is_custom or not module.startswith(("keras.", "builtins")):
        return False
    if keras >= 3:
        return True
    if name not in classes or not isinstance(config, dict):
        return False
    has_objects = any(isinstance(value, dict) for value in config.values())
    return config.keys() <= set(classes[name].split()) and not has_objects


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list) and value else 0
