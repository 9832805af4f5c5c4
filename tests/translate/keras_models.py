"""Models built twice, by Keras and by the records of `translate`, and their configs compared."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from signs_lightning.translate import keras_calls
from signs_lightning.translate.values import LibraryName, Method, Place, Record

PLACE = Place(1, 1)
# Keys that releases of Keras 3 write differently, or that say nothing about the layer.
WITHOUT_MEANING = {
    *("dtype", "registered_name", "module", "build_config", "shape", "input_axes", "output_axes"),
    *("optional", "quantization_config", "seed", "mask", "ragged", "sparse", "synchronized"),
    *("renorm", "renorm_clipping", "renorm_momentum", "build_input_shape", "compile_config"),
    *("keras_version", "backend", "activity_regularizer"),
}


class Wrapped:
    """A record that is called and read like the object of Keras that it stands for."""

    def __init__(self, record: Any) -> None:
        object.__setattr__(self, "record", record)

    def __getattr__(self, name: str) -> Any:
        if isinstance(self.record, LibraryName):
            known = keras_calls.attribute(f"{self.record.name}.{name}", PLACE)
            if known is not NotImplemented and not isinstance(known, LibraryName):
                return known
            return Wrapped(LibraryName(f"{self.record.name}.{name}"))
        return wrap(self.record.attribute(name, PLACE))

    def __setattr__(self, name: str, value: Any) -> None:
        self.record.set_attribute(name, unwrap(value), PLACE)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given, named = unwrap(list(args)), unwrap(kwargs)
        if isinstance(self.record, LibraryName):
            name = self.record.name
            name = {"keras.Input": "keras.layers.Input"}.get(name, name)
            for model in ("Model", "Sequential"):
                name = f"keras.models.{model}" if name == f"keras.{model}" else name
            result = keras_calls.call(name, given, named, PLACE)
            assert result is not NotImplemented, name
            return wrap(result)
        return wrap(self.record.call(given, named, PLACE))

    def __getitem__(self, index: Any) -> Any:
        return wrap(self.record.item(index, PLACE))

    def __iter__(self) -> Iterator[Any]:
        return map(wrap, self.record.iterate(PLACE))

    def __neg__(self) -> Any:
        return wrap(self.record.operate("-", None, False, PLACE))


def _operator(symbol: str, is_reflected: bool) -> Any:
    def operate(self: Wrapped, other: Any) -> Any:
        return wrap(self.record.operate(symbol, unwrap(other), is_reflected, PLACE))

    return operate


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    setattr(Wrapped, f"__{_name}__", _operator(_symbol, False))
    setattr(Wrapped, f"__r{_name}__", _operator(_symbol, True))


def wrap(value: Any) -> Any:
    """Return a record, or a list of them, as objects that behave like Keras's."""
    if isinstance(value, Record | LibraryName | Method):
        return Wrapped(value)
    if isinstance(value, list):
        return [wrap(part) for part in value]
    return value


def unwrap(value: Any) -> Any:
    """Return what `wrap` was given."""
    if isinstance(value, Wrapped):
        return value.record
    if isinstance(value, list | tuple):
        return type(value)(unwrap(part) for part in value)
    if isinstance(value, dict):
        return {key: unwrap(part) for key, part in value.items()}
    return value


def meaning(value: Any) -> Any:
    """Return a config without what says nothing about the layers.

    Keras 3 writes the default of `training` of some layers, and an only end as a list or not.
    """
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in WITHOUT_MEANING}
        if isinstance(kept.get("training"), bool):
            del kept["training"]
        for key in ("input_layers", "output_layers"):
            if key in kept and isinstance(kept[key][0], str):
                kept[key] = [kept[key]]
        return {key: meaning(part) for key, part in kept.items()}
    return [meaning(part) for part in value] if isinstance(value, list | tuple) else value


def keras_meaning(model: Any) -> Any:
    """Return the meaning of a real model's config."""
    return meaning(json.loads(model.to_json()))


def keras_totals(model: Any) -> tuple[int, int]:
    """Return a real model's numbers of all and of trained values."""
    return model.count_params(), sum(math.prod(w.shape) for w in model.trainable_weights)
