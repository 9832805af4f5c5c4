"""Comprehensions and generator expressions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.iterators import ValueIterator
from signs_lightning.translate.operators import first_unknown
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.source_errors import perform_safely
from signs_lightning.translate.values import (
    NeedsFactError,
    NotUnderstoodError,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


class _UnknownError(Exception):
    """How many rounds there are is not known."""

    def __init__(self, unknown: Unknown) -> None:
        super().__init__(unknown.reason)
        self.unknown = unknown


def _own_scope(node: Any, scope: Scope) -> Scope:
    own = Scope(scope.module, scope)
    for part in ast.walk(node):
        if isinstance(part, ast.NamedExpr):  # binds a name of the code around
            name = part.target.id
            own.outer[name] = scope.outer.get(name, scope.variables)
    return own


def _first(interpreter: Interpreter, node: Any, scope: Scope) -> Value:
    """Return the value that the first `for` loops over: the only one that is evaluated at once."""
    return interpreter.evaluate(node.generators[0].iter, scope)


def _rounds(
    interpreter: Interpreter, node: Any, own: Scope, value: Value, index: int = 0
) -> Iterator[None]:
    """Bind the names of each round in its scope, one round after the other.

    Args:
        value: that the `for` with this index loops over.

    Raises:
        _UnknownError: how many there are is not known.
    """
    generator = node.generators[index]
    items = interpreter.iterate(value, interpreter.place(generator.iter, own))
    if isinstance(items, Unknown):
        interpreter.havoc([node], own, items)
        raise _UnknownError(items)
    for item in items:
        interpreter.budget.step()
        interpreter.assign(generator.target, item, own)
        truths = (interpreter.test(test, own) for test in generator.ifs)
        truth = next((t for t in truths if isinstance(t, Unknown) or not t), True)
        if isinstance(truth, Unknown):
            interpreter.havoc([node], own, truth)
            raise _UnknownError(truth)
        if not truth:
            continue
        if index + 1 == len(node.generators):
            yield
        else:
            inner = interpreter.evaluate(node.generators[index + 1].iter, own)
            yield from _rounds(interpreter, node, own, inner, index + 1)


def evaluate_comprehension(interpreter: Interpreter, node: Any, scope: Scope) -> Value:
    own, first = _own_scope(node, scope), _first(interpreter, node, scope)
    values: list[Value] = []
    try:
        for _ in _rounds(interpreter, node, own, first):
            values.append(interpreter.evaluate(node.elt, own))
            interpreter.budget.make(1)
    except _UnknownError as error:
        return error.unknown
    if isinstance(node, ast.SetComp):
        return first_unknown(values) or perform_safely(set, values)
    return values


def evaluate_dict_comprehension(
    interpreter: Interpreter, node: ast.DictComp, scope: Scope
) -> Value:
    own, first = _own_scope(node, scope), _first(interpreter, node, scope)
    pairs: list[tuple[Value, Value]] = []
    try:
        for _ in _rounds(interpreter, node, own, first):
            key = interpreter.evaluate(node.key, own)
            pairs.append((key, interpreter.evaluate(node.value, own)))
            interpreter.budget.make(1)
    except _UnknownError as error:
        return error.unknown
    return first_unknown([key for key, _ in pairs]) or perform_safely(dict, pairs)


def evaluate_generator(interpreter: Interpreter, node: ast.GeneratorExp, scope: Scope) -> Value:
    own, first = _own_scope(node, scope), _first(interpreter, node, scope)
    place = interpreter.place(node.generators[0].iter, scope)
    items = interpreter.iterate(first, place)  # which raises at once what cannot be iterated
    if isinstance(items, Unknown):
        interpreter.havoc([node], own, items)
        return items
    return ValueIterator(_later(interpreter, node, own, ValueIterator(items)), [first])


def _later(
    interpreter: Interpreter, node: ast.GeneratorExp, own: Scope, first: Value
) -> Iterator[Value]:
    try:
        for _ in _rounds(interpreter, node, own, first):
            yield interpreter.evaluate(node.elt, own)
    except _UnknownError as error:
        unknown = error.unknown
        raise (
            NeedsFactError(unknown.fact) if unknown.fact else NotUnderstoodError(unknown.reason)
        ) from None
