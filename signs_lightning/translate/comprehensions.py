"""Comprehensions, and the values that generators yield."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.operators import first_unknown
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.source_errors import perform_safely
from signs_lightning.translate.values import NotUnderstoodError, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


def _comprehension(
    interpreter: Interpreter, node: Any, scope: Scope, element: Callable[[Scope], None]
) -> Unknown | None:
    """Run `element` for each item, and return what makes the result unknown."""

    def run(index: int, inner: Scope) -> Unknown | None:
        if index == len(node.generators):
            element(inner)
            return None
        generator = node.generators[index]
        iterable = interpreter.evaluate(generator.iter, inner)
        items = interpreter.iterate(iterable, interpreter.place(generator.iter, scope))
        if isinstance(items, Unknown):
            interpreter.havoc([node], scope, items)
            return items
        for item in items:
            interpreter.budget.step()
            interpreter.assign(generator.target, item, inner)
            truths = (interpreter.test(test, inner) for test in generator.ifs)
            truth = next((t for t in truths if isinstance(t, Unknown) or not t), True)
            if isinstance(truth, Unknown):
                return truth
            if truth:
                unknown = run(index + 1, inner)
                if unknown:
                    return unknown
        return None

    own = Scope(scope.module, scope)
    for part in ast.walk(node):
        if isinstance(part, ast.NamedExpr):  # binds a name of the code around
            name = part.target.id
            own.outer[name] = scope.outer.get(name, scope.variables)
    return run(0, own)


def evaluate_comprehension(interpreter: Interpreter, node: Any, scope: Scope) -> Value:
    values: list[Value] = []

    def add(inner: Scope) -> None:
        values.append(interpreter.evaluate(node.elt, inner))
        interpreter.budget.make(1)

    unknown = _comprehension(interpreter, node, scope, add)
    if isinstance(node, ast.GeneratorExp) and not unknown:
        return interpreter.generator(values)
    if isinstance(node, ast.SetComp) and not unknown:
        return first_unknown(values) or perform_safely(set, values)
    return unknown or values


def evaluate_dict_comprehension(
    interpreter: Interpreter, node: ast.DictComp, scope: Scope
) -> Value:
    pairs: list[tuple[Value, Value]] = []

    def add(inner: Scope) -> None:
        key = interpreter.evaluate(node.key, inner)
        pairs.append((key, interpreter.evaluate(node.value, inner)))
        interpreter.budget.make(1)

    unknown = _comprehension(interpreter, node, scope, add)
    return unknown or first_unknown([key for key, _ in pairs]) or perform_safely(dict, pairs)


def evaluate_yield(interpreter: Interpreter, node: ast.Yield, scope: Scope) -> Value:
    value = interpreter.evaluate(node.value, scope) if node.value else None
    interpreter.yielded(value, scope)
    return None


def evaluate_yield_from(interpreter: Interpreter, node: ast.YieldFrom, scope: Scope) -> Value:
    values = interpreter.evaluate(node.value, scope)
    if isinstance(values, Unknown):
        raise NotUnderstoodError(values.reason)
    for value in interpreter.items(values, interpreter.place(node, scope)):
        interpreter.yielded(value, scope)
    return None
