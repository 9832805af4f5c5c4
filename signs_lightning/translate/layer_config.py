"""A layer's arguments as a Keras config has them."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.keras_objects import read_object, written
from signs_lightning.translate.keras_session import Session, session
from signs_lightning.translate.values import LibraryName, Place, Record, Unknown, Value

PAIRS = {"kernel_size", "strides", "pool_size", "dilation_rate", "size"}
OBJECTS = {
    "_initializer": "initializers", "_regularizer": "regularizers", "_constraint": "constraints",
}  # fmt: skip
ACTIVATIONS = {
    *("linear", "relu", "relu6", "sigmoid", "tanh", "softmax", "log_softmax", "softplus"),
    *("softsign", "elu", "selu", "celu", "gelu", "swish", "silu", "exponential", "hard_sigmoid"),
    *("hard_silu", "hard_swish", "hard_tanh", "hard_shrink", "leaky_relu", "mish", "glu"),
    *("log_sigmoid", "soft_shrink", "tanh_shrink", "threshold", "squareplus", "sparsemax"),
    *("sparse_plus", "sparse_sigmoid"),
}
# Layers in which these arguments are no pair of rows and columns.
NO_PAIR = {"GaussianNoise", "RandomGaussianBlur"}


def layer_config(
    class_name: str, arguments: dict[str, Value], current: Session, place: Place
) -> dict[str, Any]:
    """Return a layer's arguments as Keras keeps them; an `Unknown` stays in its place.

    Args:
        class_name: Keras's.
        arguments: all of them, by Keras's names.
        current: tells the data format of layers that do not say theirs.
        place: of the call, for an `Unknown`.
    """
    config = {
        key: _value(class_name, key, value, current, place) for key, value in arguments.items()
    }
    if class_name in ("MaxPooling2D", "AveragePooling2D") and config["strides"] is None:
        config["strides"] = config["pool_size"]
    if class_name == "Normalization" and isinstance(config["axis"], int):
        config["axis"] = [config["axis"]]
    return config


def _value(class_name: str, key: str, value: Value, current: Session, place: Place) -> Any:
    if isinstance(value, Unknown):
        return value
    for ending, kind in OBJECTS.items():
        if key.endswith(ending):
            return written(read_object(kind, value, place))
    if key == "activation":
        return read_activation(value, place)
    if key == "data_format":
        return current.data_format if value is None else value
    if key in PAIRS and class_name not in NO_PAIR and isinstance(value, int):
        return [value, value]
    if key in PAIRS and class_name not in NO_PAIR and isinstance(value, list | tuple):
        return written(value) * (2 if len(value) == 1 else 1)
    if key in ("padding", "cropping") and not isinstance(value, str):
        return _sides(value)
    if key in ("padding", "interpolation", "mode") and isinstance(value, str):
        return value.lower()
    if key == "units" and isinstance(value, str | float) and current.release < (3, 0):
        text = str(value).strip().removesuffix(".0")  # Keras 2 takes `int(units)`
        return int(text) if text.isdecimal() and len(text) < 10 else value
    if key == "target_shape" and isinstance(value, int):
        return [value]
    if isinstance(value, (Record, LibraryName)):
        what = value.describe() if isinstance(value, Record) else value.name
        return Unknown(f"{what} as {key} of {class_name}", place)
    return written(value)


def _sides(value: Value) -> Any:
    """Return `1`, `(1, 2)` or `((1, 1), (2, 2))` as what is added above, below, left and right."""
    if isinstance(value, int):
        return [[value, value], [value, value]]
    if isinstance(value, list | tuple) and len(value) == 4:  # Keras 1
        return [written(value[:2]), written(value[2:])]
    if isinstance(value, list | tuple):
        return [[part, part] if isinstance(part, int) else written(part) for part in value]
    return value


def read_activation(value: Value, place: Place) -> Any:
    """Return an activation's name, a layer's entry, or an `Unknown`."""
    if value is None:
        return "linear"
    if hasattr(value, "entry"):  # a layer as an activation
        return value.entry()
    name = value.name.rpartition(".")[2] if isinstance(value, LibraryName) else value
    if session().release[0] >= 3:
        name = {"swish": "silu", "hard_swish": "hard_silu"}.get(name, name)
    if isinstance(name, str):
        return name if name in ACTIVATIONS else Unknown(f"the activation {name}", place)
    if isinstance(value, Unknown):
        return value
    what = value.describe() if isinstance(value, Record) else repr(value)[:40]
    return Unknown(f"{what} as an activation", place)
