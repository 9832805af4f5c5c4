"""The layers of Keras 1 and 2 in Keras 3's spelling: classes, arguments and their values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.keras_io import activations
from signs_lightning.keras_io.config_entries import Entry, class_and_arguments, is_layer, name_of
from signs_lightning.keras_io.initializers import SCALING
from signs_lightning.keras_io.layer_table import BATCH_NORMS
from signs_lightning.keras_io.operation_table import is_operation, module_of_operation
from signs_lightning.runtime.escaping import shorten

CLASSES: dict[str, str] = {
    "Model": "Functional",
    **dict.fromkeys(BATCH_NORMS, "BatchNormalization"),
    "ThresholdedReLU": "ReLU",
    "RandomCrop": "Resizing",
}


def _dropped(*names: str) -> dict[str, str | None]:
    return dict.fromkeys(names)


KERNEL = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
# Arguments that Keras 3 calls otherwise, or does not have (None); "" is every layer.
ARGUMENTS: dict[str, dict[str, str | None]] = {
    "": _dropped("batch_input_shape", "input_shape", "input_dim", "input_dtype", "rng_type"),
    "InputLayer": {"batch_input_shape": "batch_shape", **_dropped("sparse", "ragged", "trainable")},
    "DepthwiseConv2D": _dropped("groups", "filters", *KERNEL),
    "SeparableConv2D": _dropped("groups", *KERNEL),
    "Conv2DTranspose": _dropped("groups"),
    "BatchNormalization": _dropped(
        *("fused", "renorm", "renorm_clipping", "renorm_momentum", "virtual_batch_size"),
        *("adjustment", "mode"),
    ),
    "MultiHeadAttention": _dropped(
        "query_shape", "key_shape", "value_shape", "softmax_robust_masking"
    ),
    "Attention": _dropped("causal"),  # an argument of the call
    "AdditiveAttention": _dropped("causal"),
    "Dropout": {"p": "rate"},  # of Keras 1
    "SpatialDropout2D": _dropped("trainable", "noise_shape"),
    "LeakyReLU": {"alpha": "negative_slope"},
    "ThresholdedReLU": {"theta": "threshold"},
    "RandomCrop": _dropped("seed"),
}
ADDED: dict[str, dict[str, Any]] = {
    "RandomCrop": {"interpolation": "bilinear", "crop_to_aspect_ratio": True},
}
ONE_AXIS = {"BatchNormalization", "GroupNormalization", "Concatenate"}
OBJECTS = {
    "initializer": {
        *SCALING,
        *("RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Orthogonal"),
        *("Zeros", "Ones", "Constant", "Identity"),
    },
    "regularizer": {"L1", "L2", "L1L2", "OrthogonalRegularizer"},
    "constraint": {"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"},
}
ALIASES = {"Normal": "RandomNormal", "Uniform": "RandomUniform", "Zero": "Zeros", "One": "Ones"}


@dataclass
class Notes:
    """What of a model is written as something else or left out, though it predicts the same.

    Attributes:
        changes: layers by what becomes of them; "{}" stands for their names.
    """

    changes: dict[str, list[str]] = field(default_factory=dict)

    def change(self, text: str, entry: Entry) -> None:
        """Note what becomes of a layer."""
        self.changes.setdefault(text, []).append(describe(entry))

    def lines(self) -> list[str]:
        """Return the changes, each with one layer and the number of others."""
        return [
            text.replace("{}", first + (f" and {len(others)} more" if others else ""))
            for text, (first, *others) in self.changes.items()
        ]


def describe(entry: Entry) -> str:
    """Return what a message calls a layer."""
    return f"{entry['class_name']} '{name_of(entry)}'"


def keras3_entry(class_name: str, config: dict[str, Any], entry: Entry | None = None) -> Entry:
    """Return an entry of Keras 3, with the module of `entry` where that is Keras 3's."""
    own = entry or {}
    module = str(own.get("module"))
    has_own = module.startswith("keras.") and own["class_name"] == class_name
    return {
        "module": module if has_own else "keras.layers",
        "class_name": class_name,
        "config": config,
        "registered_name": own.get("registered_name") if has_own else None,
        **({"build_config": own["build_config"]} if has_own and "build_config" in own else {}),
    }


def translate_layer(entry: Entry, keras: int, notes: Notes) -> list[Entry]:
    """Return a layer in Keras 3's spelling, and the layers that must follow it.

    Args:
        entry: of a layer that is no model, or of an operation.
        keras: major version of the Keras that wrote it.
        notes: gets what becomes of it.
    """
    config, class_name = dict(entry["config"]), entry["class_name"]
    if is_operation(entry, keras):
        module = entry.get("module") or module_of_operation(class_name)
        own = {"module": module, "class_name": class_name, "registered_name": class_name}
        return [keras3_entry(class_name, config, own)]
    followers: list[Entry] = []
    # Of Keras's backends only TensorFlow loads it.
    if class_name == "SyncBatchNormalization" or config.pop("synchronized", False):
        notes.change("{} is written without its synchronization of devices", entry)
    for key, value in entry["config"].items():
        kind = key.rpartition("_")[2]
        if key == "layer" and is_layer(value):
            config[key], *followers = translate_layer(value, keras, notes)
        elif kind in OBJECTS and value is not None:
            config[key] = _translate_object(kind, value, keras)
            if config[key] is None:
                del config[key]
                name = activations.describe(value)
                notes.change(f"{key} '{shorten(name)}' of {{}} is left out", entry)
    if keras >= 3:
        return [keras3_entry(class_name, config, entry), *followers]
    if activations.name_of(config.get("activation")) == "hard_sigmoid":
        config["activation"] = "linear"
        notes.change("Keras 2's hard_sigmoid of {} is written as a Rescaling and a ReLU", entry)
        followers = _hard_sigmoid(config)
    elif "activation" in config:
        config["activation"] = _translate_activation(config["activation"], notes)
    if class_name == "RandomCrop":
        notes.change("{} is written as a Resizing, which gives what it predicts", entry)
    config = _translate_arguments(class_name, config)
    return [keras3_entry(CLASSES.get(class_name) or class_name, config), *followers]


def _hard_sigmoid(config: dict[str, Any]) -> list[Entry]:
    """Return the layers of Keras 2's formula, clip(0.2 x + 0.5)."""
    name, dtype = config["name"], _translate_dtype(config.get("dtype"))
    line = {"name": f"{name}_line", "dtype": dtype, "scale": 0.2, "offset": 0.5}
    clip = {"name": f"{name}_clip", "dtype": dtype, "max_value": 1.0}
    return [keras3_entry("Rescaling", line), keras3_entry("ReLU", clip)]


def _translate_arguments(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    names = ARGUMENTS[""] | ARGUMENTS.get(CLASSES.get(class_name, class_name), {})
    names |= ARGUMENTS.get(class_name, {})
    written: dict[str, Any] = {}
    for key, value in config.items():
        name = names.get(key, key)
        if name is None:
            continue
        if isinstance(value, dict) and value.get("type") == "ndarray":  # NumPy's numbers
            value = value.get("value")
        written[name] = value
    if "dtype" in written:
        written["dtype"] = _translate_dtype(written["dtype"])
    axis = written.get("axis")
    if class_name in (*ONE_AXIS, *BATCH_NORMS) and isinstance(axis, list) and len(axis) == 1:
        written["axis"] = axis[0]
    if class_name == "Normalization":
        axes = len(axis) if isinstance(axis, list) else 1
        written |= {k: _flatten(written.get(k), axes) for k in ("mean", "variance")}
    return written | ADDED.get(class_name, {})


def _translate_dtype(dtype: Any) -> Any:
    """Return a policy by its name; None is the default."""
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name")
    return None if str(dtype).lstrip("_") == "infer" else dtype


def _translate_activation(spec: Any, notes: Notes) -> Any:
    name = activations.name_of(spec)
    if name in activations.LAYERS:
        return translate_layer(spec, 2, notes)[0]
    return spec if name is None else name


def _translate_object(kind: str, spec: Any, keras: int) -> Any:
    """Return an initializer, regularizer or constraint; None if it is not one of Keras's."""
    name, config = class_and_arguments(spec)
    known = {known.lower(): known for known in OBJECTS[kind]}
    if keras >= 3:
        is_keras = (
            str(spec.get("module") or "keras.").startswith(("keras.", "builtins"))
            if isinstance(spec, dict)
            else True
        )
        return spec if is_keras and ">" not in f"{spec}" else None
    name = re.sub(r"V[12]$", "", ALIASES.get(name, name))
    if name.lower() not in known:
        return None
    config = {key: value for key, value in config.items() if key != "dtype"}
    if config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
    written = {"module": f"keras.{kind}s", "class_name": known[name.lower()], "config": config}
    return written | {"registered_name": None}


def _flatten(value: Any, axes: int) -> Any:
    """Return nested lists without the axes of one entry around them."""
    while _depth(value) > axes and len(value) == 1:
        value = value[0]
    return value


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list) and value else 0
