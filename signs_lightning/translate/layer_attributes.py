"""What a notebook reads of a layer: its output, its shapes, its arguments."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate import tensor_shapes, weight_records
from signs_lightning.translate.symbolic_tensors import SymbolicTensor
from signs_lightning.translate.values import Method, NotUnderstoodError, Place, Unknown, Value

# Methods that give weights or other values of no effect on the model.
READING = {"get_weights", "compute_output_shape", "get_output_shape_at", "compute_mask"}
VALUES = {"losses", "updates", "input_spec", "metrics"}


def attribute(layer: Any, name: str, place: Place) -> Value:
    """Return an attribute of a layer or of a model, called as a layer.

    Raises:
        NotUnderstoodError: it is not known.
    """
    if name in ("output", "input", "output_shape", "input_shape"):
        return _end(layer, name, place)
    if name in ("get_output_at", "get_input_at"):
        end = name[4:].removesuffix("_at")
        return Method(name, lambda args, kwargs, at: _end(layer, end, at, *args))
    if name in ("name", "trainable", "class_name"):
        return getattr(layer, name)
    if name == "built":
        return True
    if name == "count_params":
        return Method(name, lambda args, kwargs, at: tensor_shapes.count_weights(layer, at))
    if name == "get_config":
        return Method(name, lambda args, kwargs, at: layer.entry()["config"])
    if name == "build":
        return Method(name, lambda args, kwargs, at: None)
    if name in READING:
        return Method(name, lambda args, kwargs, at: Unknown(f"{name}()", at))
    if name in weight_records.NAMES and not getattr(layer, "is_operation", False):
        return weight_records.WeightsRecord(layer, name)
    if name in VALUES:
        return Unknown(f".{name} of {layer.describe()}", place)
    config = getattr(layer, "config", None)  # a method of models
    if isinstance(config, dict) and name in config:
        value = config[name]
        return tuple(value) if isinstance(value, list) else value
    if name == "__class__":
        return Unknown("__class__", place)
    raise NotUnderstoodError(f".{name} of {layer.describe()}")


def _end(layer: Any, name: str, place: Place, number: int = 0) -> Value:
    """Return the input or output of a call, or its shape."""
    if not 0 <= number < len(layer.nodes):
        raise NotUnderstoodError(f".{name} of {layer.describe()}, which is not called")
    node = layer.nodes[number]
    is_output = name.startswith("output") or layer.class_name == "InputLayer"
    ends = [SymbolicTensor(node)] if is_output else node.tensors()
    if is_output and getattr(layer, "output_count", 1) > 1:
        ends = [SymbolicTensor(node, index) for index in range(layer.output_count)]
    if name.endswith("_shape"):
        shapes = [tensor_shapes.shape_of(end, place) for end in ends]
        return shapes[0] if len(shapes) == 1 else shapes
    return ends[0] if len(ends) == 1 else ends
