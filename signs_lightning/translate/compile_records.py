"""What a model is compiled with, as Keras keeps it in its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from signs_lightning.translate.keras_objects import (
    ObjectRecord,
    find_class,
    foreign_in,
    make_object,
    unknowns_in,
    written,
)
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.model_notes import loss_note
from signs_lightning.translate.optimizer_records import read_optimizer
from signs_lightning.translate.values import (
    LibraryName,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

ORDER = ("optimizer", "loss", "metrics", "loss_weights", "sample_weight_mode", "weighted_metrics")
ORDER3 = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly",
          "steps_per_execution", "jit_compile", "auto_scale_loss")  # fmt: skip
OF_SPEED = {
    "run_eagerly",
    "steps_per_execution",
    "jit_compile",
    "auto_scale_loss",
    "target_tensors",
}
# Spellings of losses that are not Keras's own words for them.
LOSS_NAMES = {"mse": "mean_squared_error", "mae": "mean_absolute_error"}


@dataclass(eq=False)
class CompileRecord:
    """What `compile` was called with.

    Attributes:
        optimizer: an `ObjectRecord`, or an `Unknown`.
        loss: as Keras writes it, with `Unknown` inside.
        metrics: likewise.
        others: arguments that change the training and are neither, as they are.
        place: of the call.
        flags: which layers were trainable then, by their id.
    """

    optimizer: Value
    loss: Any
    metrics: Any
    others: dict[str, Any]
    place: Place
    flags: dict[int, bool]

    @property
    def unknowns(self) -> list[tuple[str, Unknown]]:
        """What of it is not known and reaches the training."""
        parts = {"the optimizer": self.optimizer, "the loss": self.loss, **self.others}
        foreign = {"the loss": self.loss, **self.others}
        return [
            *((what, unknown) for what, v in parts.items() for unknown in unknowns_in(v)),
            *((what, u) for what, v in foreign.items() for u in foreign_in(v, what, self.place)),
        ]

    def config(self) -> dict[str, Any]:
        """Return what Keras writes.

        Raises:
            NotUnderstoodError: something of it is not known.
        """
        if unknowns := self.unknowns:
            raise NotUnderstoodError(f"{unknowns[0][0]}: {unknowns[0][1].reason}")
        metrics = None if next(unknowns_in(self.metrics), None) else self.metrics
        loss = {"optimizer": written(self.optimizer), "loss": self.loss, "metrics": metrics}
        return loss | self.others


def compile_model(model: Any, args: list[Value], kwargs: dict[str, Value], place: Place) -> None:
    """Do `model.compile(*args, **kwargs)`."""
    order = ORDER3 if session().release[0] >= 3 else ORDER
    if len(args) > len(order):
        raise NotUnderstoodError(f"compile with {len(args)} positional arguments")
    given = dict(zip(order, args, strict=False)) | kwargs
    optimizer = read_optimizer(given.pop("optimizer", "rmsprop"), place)
    loss = _each(given.pop("loss", None), lambda spec: read_loss(spec, place))
    metrics = _each(given.pop("metrics", None), lambda spec: _read_metric(spec, place))
    for part in loss if isinstance(loss, list) else [loss]:
        if (text := loss_note(model, part)) is not None:
            session().note(text, place)
    others = {k: written(v) for k, v in given.items() if k not in OF_SPEED and v is not None}
    model.compiled = CompileRecord(
        optimizer, loss, metrics, others, place, dict(model.trainable_flags())
    )


def _each(value: Value, read: Any) -> Any:
    """Return what is read of a value, or of each part of a list or dict."""
    if isinstance(value, list | tuple):
        return [_each(part, read) for part in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _each(part, read) for key, part in value.items()}
    return read(value)


def read_loss(spec: Value, place: Place) -> Any:
    """Return a loss as Keras writes it, None for none, an `Unknown` for one that is not known."""
    if spec is None or isinstance(spec, Unknown):
        return spec
    if isinstance(spec, ObjectRecord) and spec.kind == "losses":
        return spec.unknown or spec.entry()
    if isinstance(spec, LibraryName):
        last = spec.name.rpartition(".")[2]
        if not spec.name.startswith(("keras.losses.", "keras.metrics.")):
            return Unknown(f"the loss {spec.name}", place)
        if last[:1].isupper():  # the class, which Keras 3 makes an object of
            return make_loss(last, [], {}).entry()
        return last
    if isinstance(spec, str):
        return LOSS_NAMES.get(spec, spec)
    what = spec.describe() if isinstance(spec, Record) else repr(spec)[:40]
    return Unknown(f"{what} as the loss", place)


def make_loss(name: str, args: list[Value], kwargs: dict[str, Value]) -> ObjectRecord:
    """Return `keras.losses.name(*args, **kwargs)`."""
    if find_class("losses", name) is not None:
        return make_object("losses", name, args, kwargs)
    if args:
        raise NotUnderstoodError(f"the arguments of {name}")
    return ObjectRecord("losses", name, dict(kwargs))


def _read_metric(spec: Value, place: Place) -> Any:
    if spec is None or isinstance(spec, Unknown | str):
        return spec
    if isinstance(spec, ObjectRecord):
        return spec.unknown or spec.entry()
    if isinstance(spec, LibraryName):
        return spec.name.rpartition(".")[2]
    name = getattr(spec, "name", None)
    return name if isinstance(name, str) else Unknown("a metric", place)
