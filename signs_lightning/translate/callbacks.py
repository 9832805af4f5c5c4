"""Keras's callbacks, as entries of a configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.callback_records import OURS, CallbackRecord
from signs_lightning.translate.classes import Instance
from signs_lightning.translate.own_callbacks import OwnCallback, translate_own
from signs_lightning.translate.values import NotUnderstoodError, Place, Record, Unknown, Value

# They write or print, and a run here does so by itself.
WITHOUT_EFFECT = {
    "TensorBoard": "every run has TensorBoard's events",
    "CSVLogger": "every run has its history.csv",
    "TerminateOnNaN": "every run ends when the loss is no number",
    "ProgbarLogger": "every run shows its progress",
    "History": "every run has its history",
    "BaseLogger": "every run has its history",
    "BackupAndRestore": "every run keeps last.ckpt",
}
MAX_EPOCHS = 10_000  # of a schedule that is evaluated
TABLE = "signs_lightning.models.epoch_rates.EpochRates"


@dataclass
class CallbackEntries:
    """What the callbacks of a fit become.

    Attributes:
        callbacks: entries of `trainer.callbacks`.
        lr_scheduler: entry of `model.lr_scheduler`, or None.
        checkpoint: options of `checkpoint`.
        restores_best: whether the best weights are those that training ends with.
        notes: what is to be said, each with its place.
        problems: what cannot be said in a configuration.
    """

    callbacks: list[tuple[Place, dict[str, Any]]] = field(default_factory=list)
    lr_scheduler: tuple[Place, dict[str, Any]] | None = None
    checkpoint: tuple[Place, dict[str, Any]] | None = None
    restores_best: bool = False
    notes: list[tuple[Place, str]] = field(default_factory=list)
    problems: list[Unknown] = field(default_factory=list)


@dataclass(frozen=True)
class FitSettings:
    """What of a fit its callbacks depend on.

    Attributes:
        epochs: their number.
        is_validated: whether it has validation data.
        metrics: as `compile` spells those that it names.
        rate: the learning rate at the start; None where it is not known.
        first_epoch: number of the first epoch.
    """

    epochs: int
    is_validated: bool
    metrics: tuple[str, ...] = ("accuracy",)
    rate: float | None = None
    first_epoch: int = 0


def translate_callbacks(records: list[Value], fit: FitSettings, place: Place) -> CallbackEntries:
    """Return what the callbacks of a fit, at a place, become in a configuration."""
    made = CallbackEntries()
    for record in records:
        if isinstance(record, Instance) and isinstance(record.base, OwnCallback):
            translate_own(record, fit, made, place)
            continue
        if not isinstance(record, CallbackRecord):
            made.problems.append(
                record if isinstance(record, Unknown) else _problem(record, "this callback", place)
            )
            continue
        if record.kind in WITHOUT_EFFECT:
            made.notes.append((record.place, f"{record.kind}: {WITHOUT_EFFECT[record.kind]}"))
            continue
        if record.kind not in TRANSLATIONS:
            made.problems.append(_problem(record, record.kind, place))
            continue
        values = (record.unknown, *record.options.values())
        # Where a file is written does not matter.
        if record.kind == "ModelCheckpoint":
            values = tuple(v for k, v in record.options.items() if k not in ("filepath", "options"))
        if unknown := next((v for v in values if isinstance(v, Unknown)), None):
            made.problems.append(unknown)
            continue
        try:
            TRANSLATIONS[record.kind](record, fit, made)
        except NotUnderstoodError as error:
            made.problems.append(Unknown(str(error), record.place))
    _check_stops(made, place)
    return made


def _check_stops(made: CallbackEntries, place: Place) -> None:
    """Note two callbacks that Lightning does not tell apart."""
    entries = [entry for _, entry in made.callbacks if entry["class_path"] == "EarlyStopping"]
    keys = [(e["init_args"]["monitor"], e["init_args"]["mode"]) for e in entries]
    for monitor, _ in {key: None for key in keys if keys.count(key) > 1}:
        made.problems.append(Unknown(f"two callbacks that stop by {monitor}", place))


def _problem(record: Value, what: str, place: Place) -> Unknown:
    described = record.describe() if isinstance(record, Record) else what
    return Unknown(described, getattr(record, "place", place))


def _monitor(record: CallbackRecord, fit: FitSettings, made: CallbackEntries) -> str | None:
    """Return our name of what is monitored; None where Keras finds nothing to monitor.

    Raises:
        NotUnderstoodError: it is no figure of ours.
    """
    name = record.options["monitor"]
    plain = str(name).removeprefix("val_")
    if str(name).startswith("val_") and not fit.is_validated:
        text = f"{record.kind} watches {name}, and nothing is validated: without effect in Keras"
        made.notes.append((record.place, text))
        return None
    ours = OURS.get(plain)
    if ours is None:
        raise NotUnderstoodError(f"{record.kind} of {name}")
    if ours == "accuracy" and plain not in fit.metrics:
        text = f"{record.kind} watches {name}, and the metrics are {', '.join(fit.metrics)}"
        made.notes.append((record.place, f"{text}: without effect in some versions of Keras"))
    return f"val_{ours}" if str(name).startswith("val_") else ours


def _mode(record: CallbackRecord, monitor: str) -> str:
    mode = record.options["mode"]
    if mode in ("min", "max"):
        return str(mode)
    return "min" if monitor.endswith("loss") else "max"


def _number(record: CallbackRecord, name: str) -> Any:
    value = record.options[name]
    is_number = isinstance(value, int | float) and math.isfinite(value)
    if not is_number or isinstance(value, bool):
        raise NotUnderstoodError(f"{name} of {record.kind}")
    return value


def _count(record: CallbackRecord, name: str) -> int:
    value = _number(record, name)
    return max(0, math.ceil(value))


def _early_stopping(record: CallbackRecord, fit: FitSettings, made: CallbackEntries) -> None:
    options = record.options
    for name in ("baseline", "start_from_epoch"):
        if options[name] not in (None, 0):
            raise NotUnderstoodError(f"{name} of EarlyStopping")
    if (monitor := _monitor(record, fit, made)) is None:
        return
    mode = _mode(record, monitor)
    settings = {"monitor": monitor, "mode": mode, "patience": max(1, _count(record, "patience"))}
    settings["min_delta"] = abs(_number(record, "min_delta"))
    settings["check_finite"] = False  # Keras waits
    made.callbacks.append((record.place, {"class_path": "EarlyStopping", "init_args": settings}))
    if options["restore_best_weights"] is True:
        if made.checkpoint is not None and made.checkpoint[1]["monitor"] != monitor:
            place, choice = made.checkpoint  # of a ModelCheckpoint, which changes no training
            note = f"ModelCheckpoint by {choice['monitor']}: best.ckpt is chosen by {monitor} alone"
            made.notes.append((place, note))
            made.checkpoint = None
        _keep_best(record, monitor, mode, made)
        made.restores_best = True
        text = "restore_best_weights: the best weights are in best.ckpt, the last ones in last.ckpt"
        made.notes.append((record.place, text))


def _keep_best(record: CallbackRecord, monitor: str, mode: str, made: CallbackEntries) -> None:
    """Choose best.ckpt by a figure.

    Raises:
        NotUnderstoodError: another figure chooses it already, or it is one of training.
    """
    choice = {"monitor": monitor, "mode": mode}
    if made.checkpoint is not None and made.checkpoint[1] != choice:
        raise NotUnderstoodError(f"a second choice of weights, by {monitor}")
    made.checkpoint = record.place, choice


def _model_checkpoint(record: CallbackRecord, fit: FitSettings, made: CallbackEntries) -> None:
    if record.options["save_best_only"] is not True:
        made.notes.append((record.place, "ModelCheckpoint: every run keeps last.ckpt"))
        return
    if (monitor := _monitor(record, fit, made)) is None:
        return
    chosen = made.checkpoint and made.checkpoint[1]["monitor"]
    if chosen not in (None, monitor):  # Keras writes a file more, and trains alike
        note = f"ModelCheckpoint by {monitor}: best.ckpt is chosen by {chosen} alone"
        made.notes.append((record.place, note))
        return
    _keep_best(record, monitor, _mode(record, monitor), made)
    made.notes.append((record.place, "ModelCheckpoint: the best weights are in best.ckpt"))


def _set_scheduler(record: CallbackRecord, entry: dict[str, Any], made: CallbackEntries) -> None:
    if made.lr_scheduler is not None:
        raise NotUnderstoodError(f"{record.kind} beside another schedule")
    made.lr_scheduler = record.place, entry


def _plateau(record: CallbackRecord, fit: FitSettings, made: CallbackEntries) -> None:
    if (monitor := _monitor(record, fit, made)) is None:
        return
    factor = _number(record, "factor")
    if not 0 <= factor < 1:
        raise NotUnderstoodError(f"factor={factor} of ReduceLROnPlateau")
    settings = {
        "monitor": monitor,
        "mode": _mode(record, monitor),
        "factor": float(factor),
        # Keras lowers the rate when the patience is reached, PyTorch when it is exceeded.
        "patience": max(0, _count(record, "patience") - 1),
        "threshold": float(abs(_number(record, "min_delta"))),
        "threshold_mode": "abs",
        # An epoch of cooldown ends before Keras counts the epoch, and after that in PyTorch.
        "cooldown": max(0, _count(record, "cooldown") - 1),
        "min_lr": float(_number(record, "min_lr")),
        "eps": 0.0,
    }
    path = "lightning.pytorch.cli.ReduceLROnPlateau"
    _set_scheduler(record, {"class_path": path, "init_args": settings}, made)


def _schedule(record: CallbackRecord, fit: FitSettings, made: CallbackEntries) -> None:
    rates = epoch_rates(record.options["schedule"], fit, record.place)
    _set_scheduler(record, {"class_path": TABLE, "init_args": {"rates": rates}}, made)


def epoch_rates(function: Value, fit: FitSettings, place: Place) -> list[float]:
    """Return the learning rate of each epoch, as a function of the source gives it.

    Raises:
        NotUnderstoodError: it is not understood, or gives no rate.
    """
    if not isinstance(function, Record):
        raise NotUnderstoodError("the schedule of LearningRateScheduler")
    if fit.epochs > MAX_EPOCHS:
        raise NotUnderstoodError(f"a schedule of {fit.epochs:,} epochs")
    rates: list[float] = []
    rate: Value = fit.rate
    takes_rate = len(getattr(function, "parameters", list)()) > 1
    for epoch in range(fit.first_epoch, fit.first_epoch + fit.epochs):
        before = Unknown("the learning rate of before", place) if rate is None else rate
        found = function.call([epoch, before] if takes_rate else [epoch], {}, place)
        if hasattr(found, "numbers"):
            found = found.numbers
        is_rate = isinstance(found, int | float) and not isinstance(found, bool)
        if not is_rate or not math.isfinite(found) or found < 0:
            reason = getattr(found, "reason", "the schedule of LearningRateScheduler")
            raise NotUnderstoodError(f"the learning rate of epoch {epoch}: {reason}")
        rate = float(found)
        rates.append(rate)
    return rates


TRANSLATIONS: dict[str, Callable[[CallbackRecord, FitSettings, CallbackEntries], None]] = {
    "EarlyStopping": _early_stopping,
    "ModelCheckpoint": _model_checkpoint,
    "ReduceLROnPlateau": _plateau,
    "LearningRateScheduler": _schedule,
}
