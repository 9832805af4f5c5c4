"""What is known of Keras and of the libraries that data come from, asked in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from signs_lightning.translate import data_calls, keras_calls
from signs_lightning.translate.own_callbacks import OwnCallback
from signs_lightning.translate.values import Place, Value

if TYPE_CHECKING:
    from signs_lightning.translate.classes import Instance


class KnownLibraries:
    """Keras models first, then arrays, data sets and callbacks."""

    def call(self, name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return _first(
            lambda: keras_calls.call(name, args, kwargs, place),
            lambda: data_calls.call(name, args, kwargs, place),
        )

    def attribute(self, name: str, place: Place) -> Value:
        return _first(
            lambda: keras_calls.attribute(name, place), lambda: data_calls.attribute(name, place)
        )

    def subclass(self, name: str, instance: Instance, place: Place) -> Value:
        if name == "keras.callbacks.Callback":
            return OwnCallback(place)
        return keras_calls.subclass(name, instance, place)


def _first(*questions: Callable[[], Value]) -> Value:
    """Return the first answer that is not NotImplemented."""
    for question in questions:
        answer = question()
        if answer is not NotImplemented:
            return answer
    return NotImplemented
