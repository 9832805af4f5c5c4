"""Names that code of a source reads each time Keras runs it, and so once more when it trains."""

from __future__ import annotations

import ast
from typing import Any

from signs_lightning.translate.bound_methods import BoundMethod
from signs_lightning.translate.classes import Instance, UserClass
from signs_lightning.translate.functions import Function
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.limits import check_tree
from signs_lightning.translate.values import (
    LibraryName,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)


def remember_names(function: Value, what: str, place: Place) -> None:
    """Keep what a function reads when a layer or model is called, such as that of a Lambda.

    Keras on a graph of TensorFlow runs it once; later releases run it again when they train.

    Args:
        what: that messages call it.
    """
    function = function.function if isinstance(function, BoundMethod) else function
    if isinstance(function, Function) and not session().is_multi_backend:
        session().read_late.append((function, _read(function, set()), what, place))


def changed_names() -> list[Unknown]:
    """Return what such functions read that is another value by now."""
    found = []
    for function, before, what, place in session().read_late:
        try:
            now = _read(function, set())
            changed = [name for name, value in before.items() if now.get(name) != value]
        except (NotUnderstoodError, RecursionError):
            changed = [function.name]
        if changed:
            found.append(
                Unknown(f"{changed[0]}, which {what} reads, and which changes then", place)
            )
    return list(dict.fromkeys(found))


def _read(function: Function, visited: set[int]) -> dict[str, Any]:
    """Return the values of names outside a function that it reads, in a form to compare."""
    visited.add(id(function))
    parts = [part for node in function.body for part in ast.walk(node)]
    own = {*function.parameters()}
    own |= {p.id for p in parts if isinstance(p, ast.Name) and not isinstance(p.ctx, ast.Load)}
    names = {p.id for p in parts if isinstance(p, ast.Name)} - own
    values = ((name, *function.scope.find(name)) for name in sorted(names))
    return {name: _frozen(value, visited) for name, found, value in values if found}


def _frozen(value: Value, visited: set[int]) -> Any:
    if isinstance(value, Unknown | LibraryName):
        return value
    if isinstance(value, BoundMethod):
        return _frozen(value.receiver, visited), _frozen(value.function, visited)
    if isinstance(value, Record):
        return _frozen_record(value, visited)
    check_tree(value)
    if isinstance(value, dict):
        return tuple((repr(key), _frozen(item, visited)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(_frozen(item, visited) for item in value)
    return type(value), repr(value)


def _frozen_record(value: Record, visited: set[int]) -> Any:
    parts: dict[str, Any] = {}
    if id(value) not in visited:
        visited.add(id(value))
        if isinstance(value, Function):
            parts = _read(value, visited)
        elif isinstance(value, Instance):
            parts = {k: _frozen(v, visited) for k, v in value.attributes.items()}
        elif isinstance(value, UserClass):
            parts = {k: _frozen(v, visited) for k, v in value.namespace.items()}
        elif hasattr(value, "numbers"):
            return repr(value.numbers)
    return _Same(value), parts


class _Same:
    """An object that is equal to itself alone."""

    def __init__(self, value: Record) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._value is self._value

    __hash__ = None  # type: ignore[assignment]
