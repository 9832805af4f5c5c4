"""Lists what a Keras file has and a model here does without.

None of it changes what the model predicts in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from signs_lightning.keras_io.constraints import read_constraints
from signs_lightning.keras_io.keras_file import KerasFile
from signs_lightning.keras_io.layer_table import is_different_in_training
from signs_lightning.keras_io.model_graph import Layer
from signs_lightning.keras_io.network_plan import Plan
from signs_lightning.keras_io.random_layers import AUGMENTATION, is_active
from signs_lightning.keras_io.regularizers import read_regularization
from signs_lightning.runtime.escaping import shorten

# Arguments of an optimizer that have no effect of their own.
WITHOUT_EFFECT = {
    *("name", "jit_compile", "is_legacy_optimizer", "ema_momentum", "ema_overwrite_frequency")
}
# Those of Keras's Adam, which a fit here uses.
ADAM = {"learning_rate": 1e-3, "lr": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
LOSSES = {"categoricalcrossentropy", "sparsecategoricalcrossentropy"}
BINARY_LOSSES = {"binarycrossentropy"}
LOSS_DEFAULTS = {"reduction": ("sum_over_batch_size", "auto"), "axis": (-1,)}
ACCURACIES = {
    *("accuracy", "acc", "binaryaccuracy", "categoricalaccuracy", "sparsecategoricalaccuracy")
}
WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper", "function")
MAX_METRICS = 6  # that are named
UNSET = (None, False, 0)


def find_omissions(file: KerasFile, plan: Plan) -> list[str]:
    """Return what is in the file and not used here, each as a few words.

    Args:
        file: the open file.
        plan: its model's.
    """
    graph = plan.graph
    layers: dict[str, list[Layer]] = {}  # by what of them is omitted
    for layer in graph.layers.values():
        for omission in _of_layer(layer):
            layers.setdefault(omission, []).append(layer)
    for omission, layer in [*read_regularization(plan).unknown, *read_constraints(plan).unknown]:
        layers.setdefault(omission, []).append(layer)
    for layer in graph.layers.values():
        if layer.class_name in AUGMENTATION and not all(map(is_active, plan.contexts[layer.path])):
            layers.setdefault("the augmentation", []).append(layer)
    for call in graph.calls:
        if call.training is True and is_different_in_training(call.layer):
            layers.setdefault("training=True", []).append(call.layer)
    omissions = []
    for omission, (first, *others) in layers.items():
        more = f" and {len(others)} more" if others else ""
        omissions.append(f"{omission} of {shorten(str(first))}{more}")
    config, has_state = file.compiled()
    omissions += _of_training(config, plan)
    return omissions + (["the optimizer's state"] if has_state else [])


def _of_layer(layer: Layer) -> Iterator[str]:
    config = layer.config
    if layer.wrapper is not None:
        yield "the normalization in training"
    if config.get("seed") is not None:
        yield "the seed"
    if config.get("lora_rank") is not None:
        yield "lora_rank"
    if layer.class_name == "SyncBatchNormalization" or config.get("synchronized") is True:
        yield "synchronized"
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):
        dtype = dtype["config"].get("name")
    if isinstance(dtype, str) and dtype != "float32":
        yield f"dtype {shorten(dtype)} (computed in float32)"


def _of_training(config: dict[str, Any], plan: Plan) -> Iterator[str]:
    """Yield what of a compile configuration differs from a fit here."""
    optimizer = config.get("optimizer", config.get("optimizer_config"))
    if optimizer is not None:
        arguments = {
            key: value
            for key, value in _arguments(optimizer).items()
            if key not in WITHOUT_EFFECT and not _is_default(value, ADAM.get(key))
        }
        shown = _with_arguments(optimizer, arguments)
        if shown.lower() != "adam":
            yield f"optimizer {shown}"
    known = {"name", "fn"} | ({"from_logits"} if plan.ending.kind == "logits" else set())
    for loss in _flatten(config.get("loss")):
        arguments = {
            key: value
            for key, value in _arguments(loss).items()
            if key not in known and value not in LOSS_DEFAULTS.get(key, ())
        }
        shown = _with_arguments(loss, arguments)
        if _plain(shown) not in (BINARY_LOSSES if plan.binary else LOSSES):
            yield f"loss {shown}"
    metrics = [_name(m) for k in ("metrics", "weighted_metrics") for m in _flatten(config.get(k))]
    if metrics := [name for name in metrics if _plain(name) not in ACCURACIES]:
        more = " …" if len(metrics) > MAX_METRICS else ""
        yield f"metrics {', '.join(metrics[:MAX_METRICS])}{more}"
    for key in ("loss_weights", "sample_weight_mode"):
        if config.get(key) not in (None, [], {}):
            yield key


def loss_names(file: KerasFile) -> list[str]:
    """Return the names of the losses of `compile`, in lower case without underscores."""
    return [_plain(_name(loss)) for loss in _flatten(file.compiled()[0].get("loss"))]


def _with_arguments(spec: Any, arguments: dict[str, Any]) -> str:
    """Return `Adam(beta_1=0.8)`: a name and those arguments that are set."""
    shown = [f"{shorten(k)}={_value(v)}" for k, v in arguments.items() if v not in UNSET]
    return _name(spec) + (f"({', '.join(shown)})" if shown else "")


def _flatten(value: Any) -> Iterator[Any]:
    """Yield the losses or metrics, names or dicts, of nested lists and dicts."""
    if isinstance(value, list) or (isinstance(value, dict) and "class_name" not in value):
        for part in value if isinstance(value, list) else value.values():
            yield from _flatten(part)
    elif value is not None:
        yield value


def _name(spec: Any) -> str:
    """Return the name in `"mse"` or `{"class_name": "AUC"}`, or a wrapped function's."""
    if isinstance(spec, dict):
        name, arguments = spec.get("class_name"), _arguments(spec)
        if name in WRAPPERS:
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
    if default is None or not isinstance(value, float):
        return False
    return abs(value - default) <= 1e-5 * default


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return _name(value) if isinstance(value, dict) else shorten(str(value), 30)
