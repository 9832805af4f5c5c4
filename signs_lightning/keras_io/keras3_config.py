"""A model's config as Keras 3 reads it; and what Keras 3 refuses, or reads as another model, in a config that Keras 2 wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations
from signs_lightning.keras_io.graph_parser import MODELS
from signs_lightning.keras_io.inbound_nodes import endpoints, inbound_nodes, name_of, references
from signs_lightning.keras_io.layer_table import OPERATIONS, WITH_ACTIVATION

RENAMED = {
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}


def _arguments(plain: str, *weights: str) -> frozenset[str]:
    ends = ("initializer", "regularizer", "constraint")
    return frozenset([*plain.split(), *(f"{weight}_{end}" for weight in weights for end in ends)])


CONVOLUTION = (
    "kernel_size strides padding data_format dilation_rate activation use_bias activity_regularizer"
)
NORM = "axis epsilon center scale"
WARPED = "fill_mode fill_value interpolation seed data_format"
# What the layers that Keras 2 had take in Keras 3.15; each takes EVERY, too.
EVERY = {"name", "trainable", "dtype", "input_shape"}
ARGUMENTS: dict[str, frozenset[str]] = {
    "Conv2D": _arguments(f"{CONVOLUTION} filters groups", "kernel", "bias"),
    "DepthwiseConv2D": _arguments(f"{CONVOLUTION} depth_multiplier", "depthwise", "bias"),
    "SeparableConv2D": _arguments(
        f"{CONVOLUTION} filters depth_multiplier", "depthwise", "pointwise", "bias"
    ),
    "Conv2DTranspose": _arguments(f"{CONVOLUTION} filters output_padding", "kernel", "bias"),
    "Dense": _arguments("units activation use_bias activity_regularizer", "kernel", "bias"),
    "BatchNormalization": _arguments(f"{NORM} momentum", "beta", "gamma")
    | {"moving_mean_initializer", "moving_variance_initializer"},
    "LayerNormalization": _arguments(NORM, "beta", "gamma"),
    "GroupNormalization": _arguments(f"{NORM} groups", "beta", "gamma"),
    "Normalization": _arguments("axis mean variance invert"),
    "PReLU": _arguments("shared_axes", "alpha"),
    "Activation": _arguments("activation"),
    "ReLU": _arguments("max_value negative_slope threshold"),
    "LeakyReLU": _arguments("negative_slope alpha"),
    "ELU": _arguments("alpha"),
    "Softmax": _arguments("axis"),
    "Dropout": _arguments("rate noise_shape seed"),
    "SpatialDropout2D": _arguments("rate data_format seed"),
    "AlphaDropout": _arguments("rate noise_shape seed"),
    "GaussianDropout": _arguments("rate seed"),
    "GaussianNoise": _arguments("stddev seed"),
    "MaxPooling2D": _arguments("pool_size strides padding data_format"),
    "AveragePooling2D": _arguments("pool_size strides padding data_format"),
    "GlobalMaxPooling2D": _arguments("data_format keepdims"),
    "GlobalAveragePooling2D": _arguments("data_format keepdims"),
    "ZeroPadding2D": _arguments("padding data_format"),
    "Cropping2D": _arguments("cropping data_format"),
    "UpSampling2D": _arguments("size data_format interpolation"),
    "Resizing": _arguments("height width interpolation crop_to_aspect_ratio data_format"),
    "Flatten": _arguments("data_format"),
    "Reshape": _arguments("target_shape"),
    "Permute": _arguments("dims"),
    "Rescaling": _arguments("scale offset"),
    "Concatenate": _arguments("axis"),
    **dict.fromkeys(
        ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Identity"), frozenset()
    ),
    "RandomFlip": _arguments("mode seed data_format"),
    "RandomRotation": _arguments(f"factor {WARPED}"),
    "RandomZoom": _arguments(f"height_factor width_factor {WARPED}"),
    "RandomTranslation": _arguments(f"height_factor width_factor {WARPED}"),
    "RandomContrast": _arguments("factor value_range seed"),
    "RandomBrightness": _arguments("factor value_range seed"),
}

FANS = "seed input_axes output_axes"
SCALED = {
    f"{name}{kind}": FANS for name in ("Glorot", "He", "Lecun") for kind in ("Normal", "Uniform")
}
OBJECTS: dict[str, dict[str, str]] = {  # and these, by the end of an argument's name
    "initializer": SCALED
    | dict.fromkeys(("RandomNormal", "TruncatedNormal"), "mean stddev seed")
    | {
        "RandomUniform": "minval maxval seed",
        "VarianceScaling": f"scale mode distribution {FANS}",
        "Orthogonal": "gain seed",
    }
    | {"Zeros": "", "Ones": "", "Constant": "value", "Identity": "gain"},
    "regularizer": {"L1": "l1", "L2": "l2", "L1L2": "l1 l2"},
    "constraint": {
        "MaxNorm": "max_value axis",
        "MinMaxNorm": "min_value max_value rate axis",
        "NonNeg": "",
        "UnitNorm": "axis",
    },
}
SHORT_NAMES = {
    "initializer": {"zero", "one", "normal", "uniform"}
}  # besides those of the classes, as he_normal


def check_keras3_config(config: dict[str, Any], keras: int, wrapped: bool) -> None:
    """Looks at a whole model.

    Args:
        config: as in the file.
        keras: major version of the Keras that wrote it.
        wrapped: whether it is to be written in the `.keras` format; else in the legacy `.h5`, which
            Keras reads otherwise.

    Raises:
        InputError: Keras 3 would refuse the config, or make another model of it.
    """
    shapeless = (
        ["a Sequential without an input shape"] if keras < 3 and not _says_its_input(config) else []
    )
    found = list(dict.fromkeys([*_unsupported(config, keras, wrapped), *shapeless]))
    if not found:
        return
    here, other = ("keras", "keras-h5") if wrapped else ("keras-h5", "keras")
    way = f"Choose the format {other}."
    if any(_unsupported(config, keras, not wrapped)) or shapeless:
        way = (
            "Write its weights alone (format keras-weights) for a model that you build in Keras "
            "3, or an ONNX file (format onnx)."
        )
    raise InputError(
        f"Keras 3 would refuse or change this model in the format {here}: "
        f"{', '.join(found[:5])}{' …' if len(found) > 5 else ''}. {way}"
    )


def _unsupported(model: dict[str, Any], keras: int, wrapped: bool) -> Iterator[str]:
    config = model["config"]
    entries = config if isinstance(config, list) else config["layers"]
    if keras < 3 and model["class_name"] != "Sequential":
        yield from _unsupported_calls(config)
    for entry in entries:
        if "/" in name_of(entry):
            yield f"the / in the name of {_shown(entry)}"
        if entry["class_name"] in MODELS:
            yield from _unsupported(entry, keras, wrapped)
        elif entry["class_name"] != "InputLayer":
            for what in _unsupported_of_layer(entry, keras, wrapped):
                yield f"{what} of {_shown(entry)}" if what else _shown(entry)


def _says_its_input(model: dict[str, Any]) -> bool:
    """Whether Keras 3 can build a model when it reads it; models inside are built when they are called."""
    config = model["config"]
    if model["class_name"] != "Sequential" or (
        isinstance(config, dict) and config.get("build_input_shape")
    ):
        return True
    first, *others = config if isinstance(config, list) else config["layers"]
    if first["class_name"] in MODELS:
        return bool(others) and _says_its_input(first)
    return first["class_name"] == "InputLayer" or "batch_input_shape" in first["config"]


def _shown(entry: dict[str, Any]) -> str:
    return f"{entry['class_name']} '{name_of(entry)}'"


def _unsupported_calls(config: dict[str, Any]) -> Iterator[str]:
    """tf.keras counts the calls of a model inside the model from 1; Keras 3 from 0, but from 1 at a Functional's output."""
    entries = {name_of(entry): entry for entry in config["layers"]}
    calls = {name: inbound_nodes(entry, ()) for name, entry in entries.items()}
    for name, entry in entries.items():
        nodes = [node for node in entry.get("inbound_nodes", []) if isinstance(node, list) and node]
        if any(isinstance(node[0], str) for node in nodes) and entry["class_name"] != "TFOpLambda":
            yield f"the inbound_nodes of {_shown(entry)}"
        for arguments, _ in calls[name]:
            for taken, index in references(arguments):
                if entries[taken]["class_name"] in MODELS and index >= len(calls[taken]):
                    yield f"calls of {_shown(entries[taken])} counted from 1"
    name, index = endpoints(config["output_layers"], "output_layers", ())[0]
    count = len(calls[name])
    if entries[name]["class_name"] in MODELS and (
        index >= count if entries[name]["class_name"] == "Sequential" else count > 1
    ):
        yield f"the last call of {_shown(entries[name])}"


def _unsupported_of_layer(entry: dict[str, Any], keras: int, wrapped: bool) -> Iterator[str]:
    class_name, config = RENAMED.get(entry["class_name"], entry["class_name"]), entry["config"]
    axis = config.get("axis", -1)
    if not wrapped and (axis is None or (isinstance(axis, list) and len(axis) > 1)):
        yield f"axis {axis}"  # which it drops without a word
    if not wrapped and _is_operation(entry):
        yield "the arithmetic"
    for key, value in config.items():
        kind = key.rpartition("_")[2]
        if kind in OBJECTS and value is not None and not _known_object(kind, value, keras):
            yield key
    if keras >= 3:
        return
    if class_name not in ARGUMENTS:
        if class_name in ("ThresholdedReLU", "TFOpLambda"):
            yield ""
        return
    if (
        wrapped
        and isinstance(axis, list)
        and class_name in ("BatchNormalization", "GroupNormalization", "Concatenate")
    ):
        yield f"axis {axis}"
    known = ARGUMENTS[class_name] | (
        EVERY - ({"trainable"} if class_name == "SpatialDropout2D" else set())
    )
    yield from (key for key in config if key not in known)
    for key, value in config.items():
        if key == "activation" or key.rpartition("_")[2] in OBJECTS:
            continue
        if isinstance(value, dict) and not str(value.get("class_name")).startswith("DTypePolicy"):
            yield key  # a number as NumPy's, or a policy of Keras 2's
    if class_name == "Normalization" and _depth(config.get("mean")) > (
        len(axis) if isinstance(axis, list) else 1
    ):
        yield "mean"
    if class_name in WITH_ACTIVATION:
        spec = config.get("activation")
        name = activations.name_of(spec)
        if name == "hard_sigmoid":
            yield "Keras 2's hard_sigmoid"
        elif name in activations.LAYERS:
            own = spec["config"].keys() - EVERY - ARGUMENTS.get(name, frozenset())
            if own or name not in ARGUMENTS or not str(spec.get("module")).startswith("keras."):
                yield f"activation '{name}'"


def _is_operation(entry: dict[str, Any]) -> bool:
    """Whether it is arithmetic such as `x + 1`: the config of a layer has more in it."""
    return entry["config"].keys() <= {"name"} or entry["class_name"] in OPERATIONS


def _known_object(kind: str, spec: Any, keras: int) -> bool:
    """Whether an initializer, regularizer or constraint is one of Keras 3, with arguments that it takes."""
    classes = OBJECTS[kind]
    if isinstance(spec, str):
        names = {"".join(name.split("_")).lower() for name in classes}
        return (
            keras >= 3
            or spec in SHORT_NAMES.get(kind, ())
            or "".join(spec.split("_")).lower() in names
        )
    if not isinstance(spec, dict):
        return False
    name, config, module = (
        str(spec.get("class_name")),
        spec.get("config") or {},
        spec.get("module") or "keras.",
    )
    if ">" in f"{name}{spec.get('registered_name')}" or not str(module).startswith(
        ("keras.", "builtins")
    ):
        return False
    if keras >= 3:
        return True
    takes = (
        name in classes and isinstance(config, dict) and config.keys() <= set(classes[name].split())
    )
    return takes and not any(isinstance(value, dict) for value in config.values())


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list) and value else 0


def rename_classes(model: dict[str, Any]) -> dict[str, Any]:
    """The config with the classes' names of Keras 3, from which a `.weights.h5` numbers its groups."""
    config = model["config"]
    entries = [
        rename_classes(e) if e["class_name"] in MODELS else e
        for e in (config if isinstance(config, list) else config["layers"])
    ]
    entries = [
        entry | {"class_name": RENAMED.get(entry["class_name"], entry["class_name"])}
        for entry in entries
    ]
    config = (
        {"name": "sequential", "layers": entries}
        if isinstance(config, list)
        else config | {"layers": entries}
    )
    return model | {
        "class_name": RENAMED.get(model["class_name"], model["class_name"]),
        "config": config,
    }


def keras3_config(model: dict[str, Any], keras: int, wrapped: bool) -> dict[str, Any]:
    """A `rename_classes` config as Keras 3 reads it.

    Args:
        model: the config.
        keras: major version of the Keras that wrote it.
        wrapped: whether it is for the `.keras` format, where every layer says its module.
    """
    config = {"name": "sequential", **model["config"]}
    config["layers"] = [
        keras3_config(entry, keras, wrapped)
        if entry["class_name"] in MODELS
        else _layer(entry, keras, wrapped)
        for entry in config["layers"]
    ]
    if model["class_name"] == "Sequential":
        return _entry(model, config, keras, ("keras", None) if wrapped else None)
    if keras < 3:  # [["image", 0, 0]], of which Keras 3 would make lists of one tensor
        for key in ("input_layers", "output_layers"):
            ((name, index),) = endpoints(config[key], key, ())
            config[key] = [name, index, 0]
    return _entry(
        model, config, keras, ("keras.src.models.functional", "Functional") if wrapped else None
    )


def _layer(entry: dict[str, Any], keras: int, wrapped: bool) -> dict[str, Any]:
    config, class_name = dict(entry["config"]), entry["class_name"]
    if class_name == "InputLayer" and "batch_input_shape" in config:  # Keras 2's name for it
        config["batch_shape"] = config.pop("batch_input_shape")
        config = {
            key: value for key, value in config.items() if key in {"batch_shape", "dtype", "name"}
        }
    home: tuple[str, str | None] = ("keras.layers", None)
    if _is_operation(entry):
        places = {"Relu": "keras.src.ops.nn", "Cast": "keras.src.ops.core"}
        home = (places.get(class_name, "keras.src.ops.numpy"), class_name)
    return _entry(entry, config, keras, home if wrapped else None)


def _entry(
    entry: dict[str, Any], config: dict[str, Any], keras: int, home: tuple[str, str | None] | None
) -> dict[str, Any]:
    """A layer's or model's entry: class, config, its calls and, where `home` is given, its module and registered name."""
    written: dict[str, Any] = {"class_name": entry["class_name"], "config": config}
    own = entry if keras >= 3 else {}  # tf.keras has other modules
    if home is not None:
        written |= {
            "module": own.get("module", home[0]),
            "registered_name": own.get("registered_name", home[1]),
        }
    return (
        written
        | {key: entry[key] for key in ("name", "inbound_nodes") if key in entry}
        | ({"build_config": own["build_config"]} if "build_config" in own else {})
    )
