"""Generators of the source: their code runs up to the next `yield`, each time a value is taken."""

from __future__ import annotations

import ast
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.signals import Break, Continue, Signal, Uncertain
from signs_lightning.translate.values import (
    NeedsFactError,
    NotUnderstoodError,
    Place,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.functions import Function
    from signs_lightning.translate.interpreter import Interpreter

_Steps = Generator[Value, None, Signal | None]


def yields(nodes: list[ast.stmt]) -> bool:
    """Return whether a function with these statements is a generator."""
    pending: list[ast.AST] = list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            pending += ast.iter_child_nodes(node)
    return False


def generate(interpreter: Interpreter, function: Function, scope: Scope) -> Iterator[Value]:
    """Yield what a function yields.

    Args:
        scope: that has its arguments.
    """
    try:
        yield from _steps(interpreter, function.body, scope)
    except (NotUnderstoodError, NeedsFactError) as error:
        unknown = Unknown(str(error), Place(0, 0))
        changed: list[Value] = [function]
        if interpreter.effects.changes_something(function):
            changed += scope.variables.values()
        interpreter.taint(changed, unknown)
        raise


def known(truth: bool | Unknown) -> bool:
    """Return a truth value.

    Raises:
        NotUnderstoodError, NeedsFactError: if it is not known.
    """
    if isinstance(truth, Unknown):
        raise NeedsFactError(truth.fact) if truth.fact else NotUnderstoodError(truth.reason)
    return truth


def _steps(interpreter: Interpreter, nodes: list[ast.stmt], scope: Scope) -> _Steps:
    """Run statements, yield what they yield, and return how they end their block."""
    for node in nodes:
        interpreter.budget.step()
        signal: Signal | None = None
        if not yields([node]):
            signal = interpreter.run_block([node], scope)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield):
            given = node.value.value
            yield interpreter.evaluate(given, scope) if given else None
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.YieldFrom):
            value = interpreter.evaluate(node.value.value, scope)
            yield from interpreter.taken(value, interpreter.place(node, scope))
        elif isinstance(node, ast.If):
            truth = known(interpreter.test(node.test, scope))
            signal = yield from _steps(interpreter, node.body if truth else node.orelse, scope)
        elif isinstance(node, ast.For | ast.While):
            signal = yield from _loop(interpreter, node, scope)
        else:
            raise NotUnderstoodError(f"a yield in a statement '{type(node).__name__.lower()}'")
        if isinstance(signal, Uncertain):
            raise NotUnderstoodError(signal.unknown.reason)
        if signal is not None:
            return signal
    return None


def _loop(interpreter: Interpreter, node: ast.For | ast.While, scope: Scope) -> _Steps:
    for _ in _rounds(interpreter, node, scope):
        interpreter.budget.step()
        signal = yield from _steps(interpreter, node.body, scope)
        if isinstance(signal, Break):
            return None
        if signal is not None and not isinstance(signal, Continue):
            return signal
    return (yield from _steps(interpreter, node.orelse, scope))


def _rounds(interpreter: Interpreter, node: ast.For | ast.While, scope: Scope) -> Iterator[None]:
    """Yield before each round of a loop, with its names bound."""
    if isinstance(node, ast.While):
        while known(interpreter.test(node.test, scope)):
            yield
        return
    items = interpreter.evaluate(node.iter, scope)
    for item in interpreter.taken(items, interpreter.place(node.iter, scope)):
        interpreter.assign(node.target, item, scope)
        yield
