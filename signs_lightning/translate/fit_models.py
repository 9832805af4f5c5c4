"""The model as a fit begins with it: what it trains, and what was loaded and trained before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.callback_records import CallbackRecord
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.late_names import changed_names
from signs_lightning.translate.pretrained import pretrained_of
from signs_lightning.translate.values import NotUnderstoodError, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.fit_records import FitRecord


def remember_model(record: FitRecord, model: Any) -> None:
    """Keep the model and what it is compiled with, as they are when it is fitted."""
    if record.image_shape is not None:  # Keras builds a model on its first batch
        with suppress(NotUnderstoodError):
            model.set_input_shape([None, *record.image_shape], record.place)
    record.loaded = len(session().pretrained)
    record.flags = _flags(record, model)
    now = model.trainable_flags()
    with _flagged(model, record.flags):
        try:
            record.model_config = model.config()
        except NotUnderstoodError:
            record.model_config = None
    try:
        record.compile_config = model.compile_config()
    except NotUnderstoodError:
        record.compile_config = None
    if any(record.flags.get(key, flag) != flag for key, flag in now.items()):
        _say_flags(record)
    record.problems += changed_names()
    _check_optimizer(record)
    _check_loaded(record, model)
    _check_trained(record, model)


def _flags(record: FitRecord, model: Any) -> dict[int, Value]:
    """Return which layers are trained.

    Keras 2 takes the flags of `compile`, Keras 3 those of the first fit after it.
    """
    if record.before is not None and not record.is_recompiled:
        return record.before.flags
    if session().release[0] < 3 and model.compiled is not None:
        return model.compiled.flags
    return model.trainable_flags()


def _say_flags(record: FitRecord) -> None:
    """Say that `trainable` was set since the flags that Keras trains by were taken."""
    if session().release[0] < 3:
        text = "trainable was set since, and Keras trains what was trainable when it was compiled"
        record.notes.append((record.place, text))
        return
    # On TensorFlow it trains what it did, on PyTorch it freezes layers, on JAX it stops.
    reason = "trainable set between two fits without compile: backends of Keras 3 differ"
    record.problems.append(Unknown(reason, record.place))


def _check_optimizer(record: FitRecord) -> None:
    """Note as a problem arguments of the optimizer that were set since the fit before.

    Keras reads them when its first fit builds the step; the rate alone is a variable.
    """
    if record.before is None or record.is_recompiled:
        return
    then, now = (_arguments(fit.compile_config) for fit in (record.before, record))
    if then and now and then != now:
        name = next(key for key in now if now[key] != then.get(key))
        reason = f"{name} of the optimizer, set between two fits without compile"
        record.problems.append(Unknown(reason, record.place))


def _arguments(config: dict[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of a compiled optimizer, without its rate."""
    optimizer = (config or {}).get("optimizer") or {}
    return {k: v for k, v in optimizer.get("config", {}).items() if k != "learning_rate"}


@contextmanager
def _flagged(model: Any, flags: dict[int, Value]) -> Iterator[None]:
    """Give the layers of a model other flags for a while."""
    layers = [layer for layer in (model, *model.all_layers()) if id(layer) in flags]
    now = [layer.trainable for layer in layers]
    for layer in layers:
        layer.trainable = flags[id(layer)]
    try:
        yield
    finally:
        for layer, flag in zip(layers, now, strict=True):
            layer.trainable = flag


def best_files(callbacks: list[Value] | tuple[Value, ...]) -> list[str]:
    """Return the files in which callbacks keep the best weights."""
    keepers = [
        c for c in callbacks if isinstance(c, CallbackRecord) and c.kind == "ModelCheckpoint"
    ]
    files = [c.options.get("filepath") for c in keepers if c.options.get("save_best_only") is True]
    return [file for file in files if isinstance(file, str)]


def _check_loaded(record: FitRecord, model: Any) -> None:
    """Note files that are loaded between two fits; that of the best weights is known."""
    if record.before is None:
        return
    for given in pretrained_of(model, record.before.loaded):
        is_best = given.file in record.before.best_files and record.before.callbacks.checkpoint
        if is_best and record.is_recompiled:
            record.before.callbacks.restores_best = True
        else:
            record.problems.append(
                Unknown(f"weights of {given.what}, between two trainings", given.place)
            )


def _check_trained(record: FitRecord, model: Any) -> None:
    """Note layers that another model has trained before, whose weights are not at hand."""
    trained, layers = session().trained, model.all_layers()
    others = [trained[id(x)] for x in layers if id(x) in trained and trained[id(x)][0] is not model]
    for other, place in dict.fromkeys(others):
        record.problems.append(
            Unknown(f"layers that {other.describe()} trained before, at {place}", record.place)
        )
    for layer in layers:
        if record.flags.get(id(layer), True) is not False and not hasattr(layer, "inputs"):
            session().trained[id(layer)] = (model, record.place)
