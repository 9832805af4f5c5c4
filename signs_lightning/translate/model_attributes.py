"""What a notebook reads of a model and calls on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from signs_lightning.translate import layer_attributes, tensor_shapes
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.model_records import ModelRecord
from signs_lightning.translate.pretrained import add_pretrained
from signs_lightning.translate.sequential_records import SequentialRecord
from signs_lightning.translate.values import Method, NotUnderstoodError, Place, Unknown, Value

Arguments = tuple[list[Value], dict[str, Value], Place]
WITHOUT_EFFECT = {
    *("summary", "save", "save_weights", "export", "reset_states", "make_predict_function"),
    *("_make_predict_function", "reset_metrics", "make_train_function"),
}
GIVING = {
    *("predict", "predict_generator", "predict_on_batch", "predict_classes", "predict_proba"),
    *("test_on_batch", "to_json", "to_yaml", "get_weights"),
}
EVALUATES = {"evaluate", "evaluate_generator"}
FITS = {"fit", "fit_generator"}
VALUES = {"history", "metrics_names", "metrics", "stop_training", "loss"}


def attribute(model: ModelRecord, name: str, place: Place) -> Value:
    """Return an attribute of a model; a method is returned as a `Method`.

    Raises:
        NotUnderstoodError: it is not known.
    """
    if name in METHODS:
        perform = METHODS[name]
        return Method(name, lambda args, kwargs, at: perform(model, (args, kwargs, at)))
    if name in WITHOUT_EFFECT:
        return Method(name, lambda args, kwargs, at: None)
    if name in EVALUATES:
        return Method(name, lambda args, kwargs, at: _evaluate(model, name, (args, kwargs, at)))
    if name in GIVING:
        return Method(name, lambda args, kwargs, at: Unknown(f"{name}()", at))
    if name in FITS:
        from signs_lightning.translate.fit_records import record_fit

        return Method(name, lambda args, kwargs, at: record_fit(model, args, kwargs, at, name))
    if name == "layers":  # to which Keras 3 does not count operations
        is_new = session().release[0] >= 3
        return [x for x in model.layers if not (is_new and getattr(x, "is_operation", False))]
    if name == "optimizer":
        if model.compiled is None:
            raise NotUnderstoodError(f".optimizer of {model.describe()} before compile")
        return model.compiled.optimizer
    if name in ("inputs", "outputs"):
        return list(getattr(model, name))
    if name in ("input", "output", "input_shape", "output_shape"):
        return _end(model, name, place)
    if name in VALUES:
        return Unknown(f".{name} of {model.describe()}", place)
    return layer_attributes.attribute(model, name, place)


def _end(model: ModelRecord, name: str, place: Place) -> Value:
    model.require_built()
    ends: list[Any] = model.inputs if name.startswith("input") else model.outputs
    if name.endswith("_shape"):
        ends = [tensor_shapes.shape_of(end, place) for end in ends]
    return ends[0] if len(ends) == 1 else list(ends)


def _evaluate(model: ModelRecord, name: str, arguments: Arguments) -> Value:
    args, kwargs, place = arguments
    model.evaluated.append((place, args, kwargs))
    return Unknown(f"{name}()", place)


def _get_layer(model: ModelRecord, arguments: Arguments) -> Value:
    args, kwargs, _place = arguments
    given = dict(zip(("name", "index"), args, strict=False)) | kwargs
    name, index = given.get("name"), given.get("index")
    if isinstance(index, int) and -len(model.layers) <= index < len(model.layers):
        return model.layers[index]
    found = [layer for layer in model.layers if layer.name == name]
    if not found:
        raise NotUnderstoodError(f"get_layer({name!r:.60}) of {model.describe()}")
    return found[0]


def _add(model: ModelRecord, arguments: Arguments) -> None:
    args, kwargs, place = arguments
    if not isinstance(model, SequentialRecord):
        raise NotUnderstoodError(f".add() of {model.describe()}, which is no Sequential")
    model.add(args[0] if args else kwargs.get("layer"), place)


def _pop(model: ModelRecord, arguments: Arguments) -> Value:
    if not isinstance(model, SequentialRecord):
        raise NotUnderstoodError(f".pop() of {model.describe()}, which is no Sequential")
    return model.pop()


def _build(model: ModelRecord, arguments: Arguments) -> None:
    args, kwargs, place = arguments
    shape = args[0] if args else kwargs.get("input_shape")
    if isinstance(shape, Unknown):
        model.set_input_shape(shape, place)
    elif isinstance(shape, list | tuple):
        model.set_input_shape([None, *shape[1:]], place)


def _initialise(model: ModelRecord, arguments: Arguments) -> None:
    """Do `super().__init__(…)` of a class that derives from Sequential."""
    args, kwargs, place = arguments
    given = dict(zip(("layers", "name"), args, strict=False)) | kwargs
    model.name = given.get("name") or model.name
    for layer in given.get("layers") or []:
        _add(model, ([layer], {}, place))


def _compile(model: ModelRecord, arguments: Arguments) -> None:
    from signs_lightning.translate.compile_records import compile_model

    compile_model(model, *arguments)


def _load_weights(model: ModelRecord, arguments: Arguments) -> None:
    args, kwargs, place = arguments
    given = dict(zip(("filepath", "by_name"), args, strict=False)) | kwargs
    path = given.get("filepath")
    file = path if isinstance(path, str) else None
    how = given.get("by_name"), given.get("skip_mismatch")
    if any(isinstance(value, Unknown) for value in how):
        raise NotUnderstoodError("these arguments of load_weights")
    what = f"{model.describe()} from {f'{file!r:.80}' if file else 'a file'}"
    add_pretrained(model, what, place, file, *map(bool, how))


METHODS: dict[str, Callable[[Any, Arguments], Value]] = {
    "__init__": _initialise,
    "get_layer": _get_layer,
    "add": _add,
    "pop": _pop,
    "build": _build,
    "compile": _compile,
    "load_weights": _load_weights,
}
