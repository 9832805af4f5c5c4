"""The weights of a layer or model as a source reads them: what changes them, changes the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from signs_lightning.translate.values import NotUnderstoodError, Place, Record, Unknown, Value

NAMES = {
    *("weights", "trainable_weights", "non_trainable_weights", "variables", "kernel", "bias"),
    *("trainable_variables", "non_trainable_variables", "gamma", "beta"),
}
_CHANGES = {"assign", "assign_add", "assign_sub", "load", "scatter_update", "initializer"}


@dataclass(eq=False)
class WeightsRecord(Record):
    """Weights, all of a layer or model or one of them, of which no value is known."""

    owner: Any
    name: str

    def describe(self) -> str:
        return f".{self.name} of {self.owner.describe()}"

    def taint(self, unknown: Unknown) -> None:
        self.owner.taint(unknown)

    def attribute(self, name: str, place: Place) -> Value:
        if name in _CHANGES:
            raise NotUnderstoodError(f".{name} of {self.describe()}")
        return Unknown(f".{name} of {self.describe()}", place)

    def item(self, index: Value, place: Place) -> Value:
        return self

    def length(self, place: Place) -> Value:
        return Unknown(f"the length of {self.describe()}", place)

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        return Unknown(f"'{operator}' of {self.describe()}", place)
