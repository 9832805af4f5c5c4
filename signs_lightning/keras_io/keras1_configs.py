"""Rewrites a layer that Keras 1 wrote in the words of Keras 2.

The names are those of Keras 2's own conversion, `keras/legacy/interfaces.py` of 2.0 to 2.3.
"""

from __future__ import annotations

from typing import Any

Entry = dict[str, Any]
CLASSES = {
    "Convolution2D": "Conv2D",
    "AtrousConvolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
}
MERGED = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum"}
ARGUMENTS = {
    "output_dim": "units",
    "nb_filter": "filters",
    "subsample": "strides",
    "atrous_rate": "dilation_rate",
    "border_mode": "padding",
    "bias": "use_bias",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "gamma_init": "gamma_initializer",
    "beta_init": "beta_initializer",
    "p": "rate",
    "sigma": "stddev",
}
# Layers in whose config these arguments stand; others may have arguments of the same names.
OF_KERAS1 = {
    *CLASSES,
    *("Dense", "MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
    *(
        "ZeroPadding2D",
        "Cropping2D",
        "UpSampling2D",
        "Dropout",
        "SpatialDropout2D",
        "GaussianNoise",
    ),
    *("GaussianDropout", "BatchNormalization", "PReLU"),
}
DATA_FORMATS = {"th": "channels_first", "tf": "channels_last"}
INITIALIZERS = {
    "zero": "zeros",
    "one": "ones",
    "uniform": "random_uniform",
    "normal": "random_normal",
}
REGULARIZERS = {"WeightRegularizer", "ActivityRegularizer", "L1L2Regularizer"}
# Axes of a kernel (filters, channels, rows, columns) in (rows, columns, channels, filters).
THEANO_AXES = {0: 3, 1: 2, 2: 0, 3: 1}
WORDS = {"nb_filter", "border_mode", "output_dim", "dim_ordering", "b_regularizer", "gamma_init"}


def is_keras1(entry: Any) -> bool:
    """Return whether a layer's entry, or one in a model inside, is in the words of Keras 1."""
    config = entry.get("config") if isinstance(entry, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else config
    if isinstance(layers, list):
        return any(map(is_keras1, layers))
    if not isinstance(config, dict):
        return False
    is_merge = entry.get("class_name") == "Merge" and isinstance(config.get("mode"), str)
    is_dropout = entry.get("class_name") == "Dropout" and "p" in config and "rate" not in config
    return bool(WORDS & config.keys()) or is_merge or is_dropout


def translate_keras1(entry: Entry) -> Entry:
    """Return a layer's entry in the words of Keras 2; one without counterpart as it is."""
    class_name = str(entry.get("class_name"))
    config: Any = entry.get("config")
    if not isinstance(config, dict):
        return entry
    if class_name == "Merge":
        return _translate_merge(entry, config)
    mode = config.get("mode", 0)
    if class_name not in OF_KERAS1 or (class_name == "BatchNormalization" and mode != 0):
        return entry
    words: Entry = config
    translated: Entry = {ARGUMENTS.get(key, key): value for key, value in words.items()}
    ordering = translated.pop("dim_ordering", None)
    if isinstance(ordering, str) and ordering in DATA_FORMATS:
        translated["data_format"] = DATA_FORMATS[ordering]
    if "nb_row" in config:
        translated["kernel_size"] = [translated.pop("nb_row"), translated.pop("nb_col", None)]
    for key in ("mode", "input_dim", "input_length"):
        translated.pop(key, None)
    if "init" in config:
        translated["alpha_initializer" if class_name == "PReLU" else "kernel_initializer"] = (
            translated.pop("init")
        )
    if class_name == "ZeroPadding2D":
        translated["padding"] = _read_padding(config.get("padding"))
    for key, value in translated.items():
        if key.endswith("_initializer") and isinstance(value, str):
            translated[key] = INITIALIZERS.get(value, value)
        elif key.endswith("_regularizer") and isinstance(value, dict) and "name" in value:
            translated[key] = _read_regularizer(value)
        elif key.endswith("_constraint") and isinstance(value, dict) and "name" in value:
            is_turned = ordering == "th" and key == "kernel_constraint"
            translated[key] = _read_constraint(value, is_turned)
    return {**entry, "class_name": CLASSES.get(class_name, class_name), "config": translated}


def _translate_merge(entry: Entry, config: Entry) -> Entry:
    """Return the layer of Keras 2 that a Merge is, in a functional model."""
    mode, kept = config.get("mode"), {"name": config.get("name"), "trainable": True}
    if not isinstance(mode, str) or config.get("layers") or not entry.get("inbound_nodes"):
        return entry
    if mode == "concat":
        kept["axis"] = config.get("concat_axis", -1)
        return {**entry, "class_name": "Concatenate", "config": kept}
    return {**entry, "class_name": MERGED[mode], "config": kept} if mode in MERGED else entry


def _read_padding(value: Any) -> Any:
    """Return `[1, 1]`, `[top, bottom, left, right]` or a dict as Keras 2's pairs."""
    if isinstance(value, dict):
        value = [value.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    if isinstance(value, list) and len(value) == 4:
        return [value[:2], value[2:]]
    return value


def _read_regularizer(value: Entry) -> Entry:
    if str(value["name"]) in REGULARIZERS:
        factors = {key: value.get(key) or 0.0 for key in ("l1", "l2")}
        return {"class_name": "L1L2", "config": factors}
    return {"class_name": str(value["name"]), "config": {}}


def _read_constraint(value: Entry, is_turned: bool) -> Entry:
    config = {key: part for key, part in value.items() if key != "name"}
    if "m" in config:
        config["max_value"] = config.pop("m")
    axis = config.get("axis")
    if is_turned and axis is not None:
        axes = axis if isinstance(axis, list) else [axis]
        config["axis"] = [THEANO_AXES.get(a, a) if isinstance(a, int) else a for a in axes]
    return {"class_name": str(value["name"]), "config": config}
