"""Lists, tuples, sets and dicts as they are written."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from signs_lightning.translate.operators import first_unknown
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.source_errors import perform_safely
from signs_lightning.translate.values import NotUnderstoodError, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


def _elements(interpreter: Interpreter, nodes: list[ast.expr], scope: Scope) -> Value:
    """Return a list of their values, or an unknown value for `*unknown`."""
    values: list[Value] = []
    for item in nodes:
        if isinstance(item, ast.Starred):
            part = interpreter.evaluate(item.value, scope)
            if isinstance(part, Unknown):
                return part
            values += interpreter.items(part, interpreter.place(item, scope))
        else:
            values.append(interpreter.evaluate(item, scope))
    interpreter.budget.make(len(values))
    return values


def evaluate_list(interpreter: Interpreter, node: ast.List, scope: Scope) -> Value:
    return _elements(interpreter, node.elts, scope)


def evaluate_tuple(interpreter: Interpreter, node: ast.Tuple, scope: Scope) -> Value:
    values = _elements(interpreter, node.elts, scope)
    return values if isinstance(values, Unknown) else tuple(values)


def evaluate_set(interpreter: Interpreter, node: ast.Set, scope: Scope) -> Value:
    values = _elements(interpreter, node.elts, scope)
    return first_unknown(values) or perform_safely(set, values)


def evaluate_dict(interpreter: Interpreter, node: ast.Dict, scope: Scope) -> Value:
    result: dict[Value, Value] = {}
    for key_node, value_node in zip(node.keys, node.values, strict=True):
        value = interpreter.evaluate(value_node, scope)
        if key_node is None:
            if isinstance(value, Unknown):
                return value
            if not isinstance(value, dict):
                raise NotUnderstoodError("'**' of what is no dict")
            interpreter.budget.make(len(value))
            result.update(value)
            continue
        key = interpreter.evaluate(key_node, scope)
        unknown = first_unknown(key)
        if unknown:
            return unknown
        perform_safely(result.__setitem__, key, value)
    interpreter.budget.make(len(result))
    return result
