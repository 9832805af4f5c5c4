"""`pathlib.Path` as its text."""

from __future__ import annotations

import posixpath
from typing import Any

from signs_lightning.translate.operators import first_unknown
from signs_lightning.translate.values import (
    Method,
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

_LENGTH = 2000


class PathRecord(Record):
    """A path; `own_text()` is what `str(path)` gives."""

    def __init__(self, text: str) -> None:
        self.text = posixpath.normpath(text[:_LENGTH])

    def describe(self) -> str:
        return f"the path {self.text}"

    def own_text(self) -> str:
        return self.text

    def attribute(self, name: str, place: Place) -> Value:
        base = posixpath.basename(self.text)
        stem, suffix = posixpath.splitext(base)
        known: dict[str, Value] = {"name": base, "stem": stem, "suffix": suffix}
        if name in known:
            return known[name]
        if name == "parent":
            return PathRecord(posixpath.dirname(self.text))
        if name in ("joinpath", "resolve", "absolute", "expanduser", "as_posix", "__str__"):
            return Method(name, lambda args, kwargs, at: self._method(name, args))
        if name in ("exists", "is_dir", "is_file", "mkdir", "unlink", "open", "write_text"):
            return NoEffect(f".{name}() of {self.describe()}", place)
        return Unknown(f".{name} of {self.describe()}", place)

    def _method(self, name: str, args: list[Value]) -> Value:
        if name in ("as_posix", "__str__"):
            return self.text
        return make_path([self, *args])

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        if operator == "/" and isinstance(other, str | PathRecord):
            return make_path([other, self] if is_reflected else [self, other])
        return super().operate(operator, other, is_reflected, place)


def make_path(args: list[Value]) -> Value:
    """Return `Path(*args)`."""
    unknown = first_unknown(args)
    if unknown:
        return unknown
    parts = [arg.text if isinstance(arg, PathRecord) else arg for arg in args]
    if not all(isinstance(part, str) for part in parts):
        raise NotUnderstoodError("a path of what is no text")
    return PathRecord(posixpath.join(*parts) if parts else ".")


def call_path(interpreter: Any, args: list[Value], kwargs: Any, place: Place) -> Value:
    """Return `pathlib.Path(…)`."""
    return make_path(args)


def join_paths(interpreter: Any, args: list[Value], kwargs: Any, place: Place) -> Value:
    """Return `os.path.join(…)` as text."""
    made = make_path(args)
    if not isinstance(made, PathRecord):
        return made
    texts = [arg.text if isinstance(arg, PathRecord) else arg for arg in args]
    return posixpath.join(*texts)[:_LENGTH] if texts else ""
