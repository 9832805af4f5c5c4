"""Objects that Keras writes as a class and its arguments: initializers, optimizers, losses, …"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.keras_session import session
from signs_lightning.translate.object_arguments import OBJECTS
from signs_lightning.translate.signatures import bind
from signs_lightning.translate.values import (
    LibraryName,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

# Spellings that are not a class's own → the class, in lower case without underscores.
ALIASES = {
    "normal": "randomnormal", "uniform": "randomuniform", "zero": "zeros", "one": "ones",
    "gaussian": "randomnormal", "xavierinitializer": "glorotuniform", "maxnorm": "maxnorm",
    "xavieruniform": "glorotuniform", "xaviernormal": "glorotnormal",
    "weightregularizer": "l1l2", "l1l2regularizer": "l1l2",
    "cosinedecayrestart": "cosinedecayrestarts", "piecewiseconstant": "piecewiseconstantdecay",
}  # fmt: skip
# Schedules that TensorFlow 1 had as functions.
FUNCTIONS = {"l1l2": {"l1": 0.01, "l2": 0.01}}  # defaults of a function, not of its class
OLD_WORDS = {"l": ("l1", "l2"), "m": ("max_value",), "scale": ("scale",)}


@dataclass(eq=False)
class ObjectRecord(Record):
    """An object of Keras that is nothing but its class and arguments.

    Attributes:
        kind: the module that has it, without "keras.".
        class_name: Keras's.
        config: its arguments, which may hold `Unknown` and other objects.
        unknown: code that is not understood and may have changed it.
    """

    kind: str
    class_name: str
    config: dict[str, Value] = field(default_factory=dict)
    unknown: Unknown | None = None

    def describe(self) -> str:
        return self.class_name

    def attribute(self, name: str, place: Place) -> Value:
        if (name := _own_word(name)) in self.config:
            return self.config[name]
        raise NotUnderstoodError(f".{name} of {self.class_name}")

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        if (name := _own_word(name)) not in self.config:
            why = ", which sets no rate in Keras 3" if name == "lr" else ""
            raise NotUnderstoodError(f"setting .{name} of {self.class_name}{why}")
        self.config[name] = value

    def taint(self, unknown: Unknown) -> None:
        self.unknown = self.unknown or unknown

    def entry(self) -> dict[str, Any]:
        """Return what Keras writes of it."""
        return {
            "module": f"keras.{self.kind}",
            "class_name": self.class_name,
            "config": {key: written(value) for key, value in self.config.items()},
            "registered_name": None,
        }


def _own_word(name: str) -> str:
    """Return the argument that an attribute is; Keras 3 does not know `lr`."""
    return "learning_rate" if name == "lr" and session().release[0] < 3 else name


def written(value: Value) -> Any:
    """Return a value as a config has it; `Unknown` stays."""
    if isinstance(value, ObjectRecord):
        return value.entry()
    if isinstance(value, list | tuple):
        return [written(part) for part in value]
    if isinstance(value, dict):
        return {key: written(part) for key, part in value.items()}
    if isinstance(value, LibraryName):
        return value.name.rpartition(".")[2]
    return value


def unknowns_in(value: Any) -> Iterator[Unknown]:
    """Yield the `Unknown` values inside a value."""
    if isinstance(value, Unknown):
        yield value
    elif isinstance(value, ObjectRecord):
        if value.unknown is not None:
            yield value.unknown
        yield from unknowns_in(value.config)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from unknowns_in(part)
    elif isinstance(value, dict):
        yield from unknowns_in(list(value.values()))


def foreign_in(value: Any, what: str, place: Place) -> Iterator[Unknown]:
    """Yield what stands for the objects inside a value that no config of Keras holds."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from foreign_in(part, what, place)
    elif isinstance(value, dict):
        yield from foreign_in(list(value.values()), what, place)
    elif isinstance(value, ObjectRecord):
        yield from foreign_in(value.config, what, place)
    elif isinstance(value, LibraryName | Record):
        shown = value.name if isinstance(value, LibraryName) else value.describe()
        yield Unknown(f"{shown} as {what}", place)


def find_class(kind: str, name: str) -> str | None:
    """Return the class of a spelling such as "he_normal", None where there is none."""
    classes = {known.lower(): known for known in OBJECTS[kind]}
    plain = name.replace("_", "").lower()
    short = plain.removesuffix("initializer")
    for spelling in (plain, short, f"{plain}decay"):
        if (found := classes.get(ALIASES.get(spelling, spelling))) is not None:
            return found
    return None


def make_object(kind: str, name: str, args: list[Value], kwargs: dict[str, Value]) -> ObjectRecord:
    """Return `name(*args, **kwargs)`.

    Raises:
        NotUnderstoodError: Keras has no such object, or it no such arguments.
    """
    class_name = find_class(kind, name)
    if class_name is None:
        raise NotUnderstoodError(f"keras.{kind}.{name}")
    signature = OBJECTS[kind][class_name]
    if name.islower():
        signature = signature | FUNCTIONS.get(class_name.lower(), {})
    given = {}
    for key, value in kwargs.items():
        if key in ("dtype", "name"):
            continue
        old = [word for word in OLD_WORDS.get(key, ()) if word in signature]
        given[old[0] if key not in signature and old else key] = value
    return ObjectRecord(kind, class_name, bind(signature, args, given, name))


def read_object(kind: str, spec: Value, place: Place) -> Value:
    """Return the object that an argument names, None for none, an `Unknown` for another value.

    Args:
        kind: "initializers", "regularizers" or "constraints".
        spec: a name, a class, a function, an object, or a dict that Keras writes.
        place: of the call, for an `Unknown`.
    """
    if spec is None or isinstance(spec, Unknown):
        return spec
    if isinstance(spec, ObjectRecord) and spec.kind == kind:
        return spec
    if isinstance(spec, LibraryName):
        spec = spec.name.rpartition(".")[2]
    try:
        if isinstance(spec, str):
            return make_object(kind, spec, [], {})
        if isinstance(spec, dict) and isinstance(spec.get("config"), dict):
            return make_object(kind, str(spec.get("class_name")), [], spec["config"])
    except NotUnderstoodError as error:
        return Unknown(str(error), place)
    what = spec.describe() if isinstance(spec, Record) else repr(spec)[:40]
    return Unknown(f"{what} as one of keras.{kind}", place)
