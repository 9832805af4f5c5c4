"""What the interpreter asks of the libraries that a source uses."""

from __future__ import annotations

from typing import Protocol

from signs_lightning.translate.classes import Instance
from signs_lightning.translate.values import Place, Value


class Libraries(Protocol):
    """What is known of Keras, numpy and the other libraries.

    Each method may raise NotUnderstoodError or NeedsFactError, and may return NotImplemented for
    a name that it does not know.
    """

    def call(self, name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        """Return what a call of a library's name gives."""

    def attribute(self, name: str, place: Place) -> Value:
        """Return the value of a library's name that is read, such as "numpy.pi"."""

    def subclass(self, name: str, instance: Instance, place: Place) -> Value:
        """Return what an instance is whose class derives from a library's class.

        It is asked when the instance is made, before its `__init__` runs. The record that it
        returns becomes `instance.base`: attributes that neither the instance nor its class has
        are read from it, `super().__init__(…)` calls its attribute `__init__`, and calling the
        instance calls it unless its class has `__call__`. It may call methods of the class by
        `instance.call_method("call", [x], {}, place)`.
        """


class NoLibraries:
    """Libraries of which nothing is known."""

    def call(self, name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return NotImplemented

    def attribute(self, name: str, place: Place) -> Value:
        return NotImplemented

    def subclass(self, name: str, instance: Instance, place: Place) -> Value:
        return NotImplemented
