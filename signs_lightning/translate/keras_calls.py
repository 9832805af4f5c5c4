"""The names of Keras that make a model: layers, models, optimizers, losses, applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate import compile_records, optimizer_records, tensor_operations
from signs_lightning.translate.keras_objects import ObjectRecord, make_object
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.layer_arguments import LAYERS, layer_class
from signs_lightning.translate.layer_config import ACTIVATIONS
from signs_lightning.translate.layer_records import make_input, make_layer
from signs_lightning.translate.model_records import make_model
from signs_lightning.translate.sequential_records import make_sequential
from signs_lightning.translate.symbolic_tensors import holds_tensor
from signs_lightning.translate.values import (
    LibraryName,
    Method,
    NotUnderstoodError,
    Place,
    Value,
)

OBJECT_PREFIXES = {
    "keras.initializers.": "initializers",
    "tensorflow.initializers.": "initializers",
    "tensorflow.keras.initializers.": "initializers",
    "keras.regularizers.": "regularizers",
    "keras.constraints.": "constraints",
    "keras.optimizers.schedules.": "optimizers.schedules",
}
OF_TENSORFLOW = {
    *("random_normal_initializer", "truncated_normal_initializer", "random_uniform_initializer"),
    *("constant_initializer", "zeros_initializer", "ones_initializer"),
    *("variance_scaling_initializer", "orthogonal_initializer", "glorot_uniform_initializer"),
    "glorot_normal_initializer",
}
METRIC_FIRST = {
    "AUC": "num_thresholds", "TopKCategoricalAccuracy": "k", "SparseTopKCategoricalAccuracy": "k",
    "Precision": "thresholds", "Recall": "thresholds", "MeanIoU": "num_classes",
}  # fmt: skip


def call(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `name(*args, **kwargs)`, NotImplemented for a name that is not of a Keras model.

    Args:
        name: canonical, as `library_names` spells it.
        args: positional arguments.
        kwargs: the others.
        place: of the call.

    Raises:
        NotUnderstoodError: it is of a Keras model, but not known.
    """
    from signs_lightning.translate import applications, preprocess_input

    prefix, _, last = name.rpartition(".")
    if name in ("keras.models.Sequential", "keras.models.Model"):
        return (make_sequential if last == "Sequential" else make_model)(args, kwargs, place)
    if prefix == "keras.layers":
        return _layer(last, args, kwargs, place)
    if prefix.startswith("keras.applications"):
        if last == "preprocess_input":
            return preprocess_input.call(prefix, args, kwargs, place)
        return applications.call(last, args, kwargs, place)
    for start, kind in OBJECT_PREFIXES.items():
        if prefix + "." == start and last != "get":
            return make_object(kind, last, args, kwargs)
    if name.startswith("tensorflow.contrib.layers.") and "initializer" in last:
        return make_object("initializers", last, args, kwargs)
    if prefix == "tensorflow" and last in OF_TENSORFLOW:
        return make_object("initializers", last, args, kwargs)
    if name.startswith(("keras.optimizers.", "tensorflow.train.")) and (
        last.endswith("Optimizer") or prefix.startswith("keras.optimizers")
    ):
        return _optimizer(name, args, kwargs, place)
    if prefix == "keras.losses" and last[:1].isupper():
        return compile_records.make_loss(last, args, kwargs)
    if prefix == "keras.metrics" and last[:1].isupper():
        first = dict(zip([METRIC_FIRST.get(last, "name")], args, strict=False))
        return ObjectRecord("metrics", last, first | kwargs)
    if name in MODEL_FUNCTIONS:
        return MODEL_FUNCTIONS[name](args, kwargs, place)
    return tensor_operations.call_function(name, args, kwargs, place)


def _layer(last: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    from signs_lightning.translate.lambda_layers import make_lambda

    if last == "Input":
        return make_input(args, kwargs, place)
    if last == "InputLayer":
        return _input_layer(args, kwargs, place)
    if last in tensor_operations.MERGES or last == "merge":
        return tensor_operations.merge(last, args, kwargs, place)
    if last == "Lambda":
        return make_lambda(args, kwargs, place)
    if last in ("Layer", "Wrapper"):
        return NotImplemented
    return make_layer(last, args, kwargs, place)


def _input_layer(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    first = "shape" if session().release[0] >= 3 else "input_shape"
    given = dict(zip([first], args, strict=False)) | kwargs
    names = {"input_shape": "shape", "batch_input_shape": "batch_shape"}
    given = {names.get(key, key): value for key, value in given.items()}
    return make_input([], given, place).node.layer


def _optimizer(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    last = name.rpartition(".")[2]
    if last == "get":
        return optimizer_records.read_optimizer(args[0] if args else None, place)
    if last == "LossScaleOptimizer" and args:
        return args[0]
    return optimizer_records.make_optimizer(name, args, kwargs)


def _set_data_format(args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
    value: Value = args[0] if args else next(iter(kwargs.values()), None)
    formats = {"th": "channels_first", "tf": "channels_last"}
    value = formats.get(value, value) if isinstance(value, str) else value
    if value not in formats.values():
        raise NotUnderstoodError(f"the data format {value!r:.40}")
    session().data_format = value


def _get_data_format(args: list[Value], kwargs: dict[str, Value], place: Place) -> str:
    return session().data_format


def _get_ordering(args: list[Value], kwargs: dict[str, Value], place: Place) -> str:
    return {"channels_first": "th", "channels_last": "tf"}[session().data_format]


def _clear(args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
    session().counts.clear()


def _set_value(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    raise NotUnderstoodError("keras.backend.set_value()")


def _ndim(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    if not holds_tensor(args):
        return NotImplemented
    return args[0].attribute("ndim", place)


def _is_tensor(args: list[Value], kwargs: dict[str, Value], place: Place) -> bool:
    return holds_tensor(args)


def _set_learning_phase(args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
    session().note("set_learning_phase changes what Keras predicts, and no training", place)


def _set_policy(args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
    value: Value = args[0] if args else next(iter(kwargs.values()), None)
    if value != "float32":
        raise NotUnderstoodError(f"the policy {value!r:.40}")


MODEL_FUNCTIONS: dict[str, Any] = {
    "keras.backend.set_learning_phase": _set_learning_phase,
    "keras.backend.set_floatx": _set_policy,
    "keras.config.set_floatx": _set_policy,
    "keras.config.set_dtype_policy": _set_policy,
    "keras.mixed_precision.set_global_policy": _set_policy,
    "keras.mixed_precision.set_dtype_policy": _set_policy,
    "keras.mixed_precision.experimental.set_policy": _set_policy,
    "keras.backend.set_image_data_format": _set_data_format,
    "keras.backend.set_image_dim_ordering": _set_data_format,
    "keras.config.set_image_data_format": _set_data_format,
    "keras.backend.image_data_format": _get_data_format,
    "keras.config.image_data_format": _get_data_format,
    "keras.backend.image_dim_ordering": _get_ordering,
    "keras.backend.clear_session": _clear,
    "keras.utils.clear_session": _clear,
    "keras.backend.set_value": _set_value,
    "keras.backend.ndim": _ndim,
    "keras.backend.is_keras_tensor": _is_tensor,
}


def attribute(name: str, place: Place) -> Value:
    """Return the value of a name of Keras that is read, NotImplemented for one that is not known.

    A class or a function stays a `LibraryName`.
    """
    prefix, _, last = name.rpartition(".")
    if name == "keras.__version__":
        return session().version
    is_layer = prefix == "keras.layers" and layer_class(last) in LAYERS
    is_activation = prefix in ("keras.activations", "tensorflow.nn") and last in ACTIVATIONS
    if is_layer or is_activation:
        return LibraryName(name)
    if prefix == "keras.backend" and last == "epsilon":
        return Method(last, lambda args, kwargs, at: 1e-7)
    return NotImplemented


def subclass(name: str, instance: Any, place: Place) -> Value:
    """Return what an instance of a class that derives from `name` is for Keras.

    NotImplemented where its class is no layer or model; see `subclass_models`.
    """
    from signs_lightning.translate import subclass_models

    return subclass_models.subclass(name, instance, place)
