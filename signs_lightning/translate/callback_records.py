"""Keras's callbacks as records: class and arguments."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.values import NotUnderstoodError, Place, Record, Unknown, Value

# Arguments in Keras's order, with defaults.
SIGNATURES: dict[str, dict[str, Any]] = {
    "EarlyStopping": {
        "monitor": "val_loss",
        "min_delta": 0,
        "patience": 0,
        "verbose": 0,
        "mode": "auto",
        "baseline": None,
        "restore_best_weights": False,
        "start_from_epoch": 0,
    },
    "ModelCheckpoint": {
        "filepath": None,
        "monitor": "val_loss",
        "verbose": 0,
        "save_best_only": False,
        "save_weights_only": False,
        "mode": "auto",
        "save_freq": "epoch",
        "initial_value_threshold": None,
        "period": 1,
        "options": None,
    },
    "ReduceLROnPlateau": {
        "monitor": "val_loss",
        "factor": 0.1,
        "patience": 10,
        "verbose": 0,
        "mode": "auto",
        "min_delta": 1e-4,
        "cooldown": 0,
        "min_lr": 0,
    },
    "LearningRateScheduler": {"schedule": None, "verbose": 0},
}
OURS = {  # Keras's names of what is monitored, without "val_"
    "loss": "loss",
    **dict.fromkeys(("acc", "accuracy", "binary_accuracy"), "accuracy"),
    **dict.fromkeys(("categorical_accuracy", "sparse_categorical_accuracy"), "accuracy"),
}
OLD_NAMES = {"epsilon": "min_delta"}  # of ReduceLROnPlateau before Keras 2.1


class CallbackRecord(Record):
    """A callback.

    Args:
        kind: the class, such as "EarlyStopping".
        args: of the call.
        kwargs: of the call.
        place: the statement.
    """

    def __init__(
        self, kind: str, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> None:
        self.kind, self.place = kind, place
        self.unknown: Unknown | None = None
        known = SIGNATURES.get(kind)
        if known is None:
            self.options: dict[str, Any] = {}
            return
        given = dict(zip(known, args, strict=False))
        given |= {OLD_NAMES.get(key, key): value for key, value in kwargs.items()}
        if len(args) > len(known) or (other := [key for key in given if key not in known]):
            what = f"{other[0]} of {kind}" if len(args) <= len(known) else f"arguments of {kind}"
            raise NotUnderstoodError(what)
        self.options = known | given

    def describe(self) -> str:
        return f"the callback {self.kind}"

    def taint(self, unknown: Unknown) -> None:
        self.unknown = self.unknown or unknown

    def attribute(self, name: str, place: Place) -> Value:
        return Unknown(f".{name} of {self.describe()}", place)
