"""What `=` binds: names, items, attributes, and parts of a sequence."""

from __future__ import annotations

import ast
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from signs_lightning.translate.bound_methods import BoundMethod
from signs_lightning.translate.classes import UserClass
from signs_lightning.translate.functions import Function, Partial
from signs_lightning.translate.operators import first_unknown
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.source_errors import SourceError, perform_safely
from signs_lightning.translate.values import (
    LibraryName,
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)
from signs_lightning.translate.without_effect import has_no_effect, reaches_everything

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


def assign(interpreter: Interpreter, target: ast.expr, value: Value, scope: Scope) -> None:
    """Bind a target to a value."""
    place = interpreter.place(target, scope)
    if isinstance(target, ast.Name):
        scope.bind(target.id, value)
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(interpreter, target.elts, value, scope, place)
    elif isinstance(target, ast.Starred):
        assign(interpreter, target.value, value, scope)
    elif isinstance(target, ast.Attribute):
        owner = interpreter.evaluate(target.value, scope)
        set_attribute(interpreter, owner, target.attr, value, place)
    elif isinstance(target, ast.Subscript):
        owner = interpreter.evaluate(target.value, scope)
        index = interpreter.evaluate(target.slice, scope)
        set_item(interpreter, owner, index, value, place)
    else:
        raise NotUnderstoodError(f"assignment to {type(target).__name__}")


def _unpack(
    interpreter: Interpreter, targets: list[ast.expr], value: Value, scope: Scope, place: Place
) -> None:
    stars = [i for i, target in enumerate(targets) if isinstance(target, ast.Starred)]
    unpack = getattr(value, "unpack", None)
    if isinstance(value, Unknown):
        items: list[Value] = [value] * len(targets)
        stars = []
    elif unpack is not None and not stars:
        items = unpack(len(targets), place)
    elif stars:
        items = interpreter.items(value, place)
    else:  # of an iterator, one more is taken, to see whether it ends
        items = list(islice(interpreter.taken(value, place), len(targets) + 1))
    if stars:
        after = len(targets) - stars[0] - 1
        if len(items) < len(targets) - 1:
            raise SourceError("ValueError", "not enough values to unpack")
        end = len(items) - after
        items = [*items[: stars[0]], items[stars[0] : end], *items[end:]]
    if len(items) != len(targets):
        count = "too many" if len(items) > len(targets) else len(items)
        raise SourceError("ValueError", f"{count} values for {len(targets)} names")
    for target, item in zip(targets, items, strict=True):
        assign(interpreter, target, item, scope)


def set_attribute(
    interpreter: Interpreter, owner: Value, name: str, value: Value, place: Place
) -> None:
    """Do `owner.name = value`."""
    if isinstance(owner, Record):
        owner.set_attribute(name, value, place)
    elif isinstance(owner, LibraryName):
        is_bare = isinstance(value, list) and len(value) < 2  # sys.argv without options
        if f"{owner.name}.{name}" == "sys.argv" and is_bare:
            return
        own = f"{owner.name}.{name}"
        if not has_no_effect(own) or reaches_everything(own):
            _change_library(interpreter, f"setting {owner.name}.{name}", place)
    elif isinstance(owner, Unknown):
        is_code = isinstance(value, Function | UserClass | BoundMethod | Partial)
        if is_code and not isinstance(owner, NoEffect):  # perhaps in place of a library's own
            _change_library(interpreter, f"setting .{name} of {owner.reason}", place)
    else:
        raise SourceError("AttributeError", f"setting .{name} of a {type(owner).__name__}")


def _change_library(interpreter: Interpreter, reason: str, place: Place) -> None:
    """Note that a library is another one from here on."""
    interpreter.effects.everything.append(interpreter.new_unknown(reason, place))


def set_item(
    interpreter: Interpreter, owner: Value, index: Value, value: Value, place: Place
) -> None:
    """Do `owner[index] = value`."""
    if isinstance(owner, Record):
        owner.set_item(index, value, place)
        return
    if isinstance(owner, Unknown):
        return
    if isinstance(owner, LibraryName):
        if not has_no_effect(owner.name) or reaches_everything(owner.name):
            _change_library(interpreter, f"setting an item of {owner.name}", place)
        return
    parts = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
    unknown = first_unknown(*parts)
    if unknown:
        interpreter.taint([owner], unknown)
        return
    if isinstance(index, slice):
        value = interpreter.items(value, place)
        interpreter.budget.make(len(value))
        interpreter.budget.check(len(owner) + len(value))
    interpreter.budget.make(1)
    perform_safely(_setter(owner), index, value)


def _setter(owner: Value) -> Callable[..., None]:
    if not isinstance(owner, list | dict):
        raise SourceError("TypeError", f"setting an item of a {type(owner).__name__}")
    return owner.__setitem__


def delete(interpreter: Interpreter, node: ast.Delete, scope: Scope) -> None:
    """Do `del a, b[c]`."""
    for target in node.targets:
        _delete_one(interpreter, target, scope)


def _delete_one(interpreter: Interpreter, target: ast.expr, scope: Scope) -> None:
    place = interpreter.place(target, scope)
    if isinstance(target, ast.Name):
        scope.unbind(target.id)
    elif isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            _delete_one(interpreter, part, scope)
    elif isinstance(target, ast.Subscript):
        owner = interpreter.evaluate(target.value, scope)
        index = interpreter.evaluate(target.slice, scope)
        if isinstance(owner, LibraryName):
            _change_library(interpreter, f"del of an item of {owner.name}", place)
            return
        if isinstance(owner, Unknown) or not isinstance(owner, list | dict):
            raise NotUnderstoodError("del of an item")
        unknown = None if isinstance(index, slice) else first_unknown(index)
        if unknown:
            interpreter.taint([owner], unknown)
            return
        perform_safely(owner.__delitem__, index)
    else:
        owner = interpreter.evaluate(target.value, scope) if isinstance(
            target, ast.Attribute
        ) else None  # fmt: skip
        if isinstance(owner, LibraryName):
            _change_library(interpreter, f"del of an attribute of {owner.name}", place)
        raise NotUnderstoodError("del of an attribute")
