"""What a Keras file has and a model here does without: said in one line, because none of it changes what the model predicts in float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from signs_lightning.keras_io.graph_parser import Graph, Layer
from signs_lightning.keras_io.keras_file import KerasFile
from signs_lightning.keras_io.layer_table import AUGMENTATION
from signs_lightning.runtime.escaping import shorten

# Of an optimizer: what has no effect of its own, and what Keras's Adam, which a fit here uses, has.
WITHOUT_EFFECT = {
    "name",
    "jit_compile",
    "is_legacy_optimizer",
    "ema_momentum",
    "ema_overwrite_frequency",
}
ADAM = {"learning_rate": 1e-3, "lr": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
LOSSES = {"categoricalcrossentropy", "sparsecategoricalcrossentropy"}
BINARY_LOSSES = {"binarycrossentropy"}
LOSS_DEFAULTS = {"reduction": ("sum_over_batch_size", "auto"), "axis": (-1,)}
ACCURACIES = {
    "accuracy",
    "acc",
    "binaryaccuracy",
    "categoricalaccuracy",
    "sparsecategoricalaccuracy",
}


def not_taken_over(file: KerasFile, graph: Graph, binary: bool) -> list[str]:
    """What is in the file and is dropped here, each as a few words.

    Args:
        file: the open file.
        graph: its model.
        binary: whether a sigmoid ends the model.
    """
    kinds: dict[str, list[Layer]] = {}
    for layer in graph.layers.values():
        for kind in _of_layer(layer):
            kinds.setdefault(kind, []).append(layer)
    for call in graph.calls:
        if call.training is True and call.layer.class_name in AUGMENTATION:
            kinds.setdefault("training=True", []).append(call.layer)
    items = [
        f"{kind} of {shorten(str(of[0]))}" + (f" and {len(of) - 1} more" if len(of) > 1 else "")
        for kind, of in kinds.items()
    ]
    compiled, has_state = file.compiled()
    return [
        *items,
        *_of_training(compiled, binary),
        *(["the optimizer's state"] if has_state else []),
    ]


def _of_layer(layer: Layer) -> Iterator[str]:
    config = layer.config
    for key, value in config.items():
        if key.endswith("_constraint") and value is not None:
            yield f"{shorten(key)} {_name(value)}"
    if config.get("activity_regularizer") is not None:
        yield f"activity_regularizer {_name(config['activity_regularizer'])}"
    if layer.class_name == "ActivityRegularization":
        yield "the penalty"
    if layer.class_name in AUGMENTATION:
        yield "the augmentation"
    elif config.get("seed") is not None:
        yield "the seed"
    if config.get("lora_rank") is not None:
        yield "lora_rank"
    if layer.class_name == "SyncBatchNormalization" or config.get("synchronized") is True:
        yield "synchronized"
    dtype = config.get("dtype")
    dtype = (
        dtype["config"].get("name")
        if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict)
        else dtype
    )
    if isinstance(dtype, str) and dtype != "float32" and layer.class_name not in AUGMENTATION:
        yield f"dtype {shorten(dtype)} (computed in float32)"


def _of_training(compiled: dict[str, Any], binary: bool) -> Iterator[str]:
    """What of a compile configuration is not what a fit here does anyway."""
    optimizer = compiled.get("optimizer", compiled.get("optimizer_config"))
    if optimizer is not None:
        name, arguments = _name(optimizer), _arguments(optimizer)
        shown = [
            f"{shorten(key)}={_value(value)}"
            for key, value in arguments.items()
            if key not in WITHOUT_EFFECT
            and value not in (None, False, 0)
            and not _is_default(value, ADAM.get(key))
        ]
        if name.lower() != "adam" or shown:
            yield f"optimizer {name}" + (f"({', '.join(shown)})" if shown else "")
    loss = compiled.get("loss")
    for part in _flat(loss):
        shown = [
            f"{shorten(key)}={_value(value)}"
            for key, value in _arguments(part).items()
            if key not in {"name", "fn"}
            and value not in (None, False, 0, *LOSS_DEFAULTS.get(key, ()))
        ]
        known = _plain(_name(part)) in (BINARY_LOSSES if binary else LOSSES)
        if not known or shown:
            yield f"loss {_name(part)}" + (f"({', '.join(shown)})" if shown else "")
    metrics = [
        _name(part) for key in ("metrics", "weighted_metrics") for part in _flat(compiled.get(key))
    ]
    if metrics := [name for name in metrics if _plain(name) not in ACCURACIES]:
        yield f"metrics {', '.join(metrics[:6])}" + (" …" if len(metrics) > 6 else "")
    for key in ("loss_weights", "sample_weight_mode"):
        if compiled.get(key) not in (None, [], {}):
            yield key


def _flat(value: Any) -> Iterator[Any]:
    """The losses or metrics in whatever lists and dicts they stand: names, or objects with a class_name."""
    if isinstance(value, list) or (isinstance(value, dict) and "class_name" not in value):
        for part in value if isinstance(value, list) else value.values():
            yield from _flat(part)
    elif value is not None:
        yield value


def _name(spec: Any) -> str:
    """Of `"mse"`, {"class_name": "AUC", …}, or a function that Keras wrapped: {"class_name": "MeanMetricWrapper", …}."""
    if isinstance(spec, dict):
        name, arguments = spec.get("class_name"), _arguments(spec)
        if name in ("MeanMetricWrapper", "LossFunctionWrapper", "function"):
            name = arguments.get("name", name)
        if name is None and isinstance(spec.get("config"), str):
            name = spec["config"]
        return shorten(str(name))
    return shorten(str(spec))


def _arguments(spec: Any) -> dict[str, Any]:
    config = spec.get("config") if isinstance(spec, dict) else None
    return config if isinstance(config, dict) else {}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _is_default(value: Any, default: float | None) -> bool:
    return (
        default is not None and isinstance(value, float) and abs(value - default) <= 1e-5 * default
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return _name(value) if isinstance(value, dict) else shorten(str(value), 30)
