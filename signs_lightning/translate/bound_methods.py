"""Functions of classes: with their first argument, or under a decorator that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signs_lightning.translate.values import Place, Record, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


class Wrapped(Record):
    """A function under `@staticmethod`, `@classmethod` or `@property`."""

    def __init__(self, kind: str, function: Value) -> None:
        self.kind = kind
        self.function = function


class BoundMethod(Record):
    """A function of a class with its first argument."""

    def __init__(self, interpreter: Interpreter, function: Value, receiver: Record) -> None:
        self._interpreter = interpreter
        self.function = function
        self.receiver = receiver

    def describe(self) -> str:
        return f"a method of {self.receiver.describe()}"

    def attribute(self, name: str, place: Place) -> Value:
        return self.function.attribute(name, place)

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return self._interpreter.call(self.function, [self.receiver, *args], kwargs, place)
