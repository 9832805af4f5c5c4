"""Expressions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate import python_methods
from signs_lightning.translate.call_expressions import evaluate_call
from signs_lightning.translate.comprehensions import (
    evaluate_comprehension,
    evaluate_dict_comprehension,
    evaluate_generator,
)
from signs_lightning.translate.displays import (
    evaluate_dict,
    evaluate_list,
    evaluate_set,
    evaluate_tuple,
)
from signs_lightning.translate.functions import Function
from signs_lightning.translate.library_names import ALIASES, canonical
from signs_lightning.translate.object_builtins import keras_class
from signs_lightning.translate.operators import compare, first_unknown, unary
from signs_lightning.translate.python_builtins import BUILTINS, OTHER_BUILTINS
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.source_errors import SourceError, perform_safely
from signs_lightning.translate.text_formats import format_value
from signs_lightning.translate.values import (
    LibraryName,
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


def evaluate(interpreter: Interpreter, node: ast.expr, scope: Scope) -> Value:
    """Return the value of an expression.

    Raises:
        NotUnderstoodError: if something in it is not understood.
        SourceError: if it raises an exception.
    """
    interpreter.budget.step()
    perform = _EXPRESSIONS.get(type(node))
    if perform is None:
        raise NotUnderstoodError(f"{type(node).__name__} expression")
    return interpreter.checked(perform(interpreter, node, scope))


def _constant(interpreter: Interpreter, node: ast.Constant, scope: Scope) -> Value:
    if node.value is Ellipsis:
        return LibraryName("builtins.Ellipsis")
    return node.value


def _name(interpreter: Interpreter, node: ast.Name, scope: Scope) -> Value:
    found, value = scope.find(node.id)
    if found:
        return value
    if node.id == "__name__":
        return scope.module.name
    if node.id in BUILTINS or node.id in OTHER_BUILTINS:
        return LibraryName(f"builtins.{node.id}")
    if node.id == "__file__":
        return scope.module.file or "notebook.py"
    if node.id in ALIASES:
        return LibraryName(ALIASES[node.id])
    if interpreter.name_guards:
        raise SourceError("NameError", f"name '{node.id}' is not defined")
    return interpreter.new_unknown(
        f"the name '{node.id}', which is not defined", interpreter.place(node, scope)
    )


def attribute(interpreter: Interpreter, value: Value, name: str, place: Place) -> Value:
    """Return `value.name`."""
    if isinstance(value, Unknown):
        return value
    if isinstance(value, LibraryName):
        if name == "__name__":
            return value.name.rpartition(".")[2]
        full = canonical(f"{value.name}.{name}")
        return interpreter.library_attribute(full, place)
    if isinstance(value, Record):
        if name == "__class__" and (known := keras_class(value)):
            return known
        result = value.attribute(name, place)
        is_report = name in ("history", "metrics_names") and isinstance(result, Unknown)
        return NoEffect(f".{name}", place) if is_report and not result.fact else result
    return python_methods.attribute(interpreter, value, name, place)


def _attribute(interpreter: Interpreter, node: ast.Attribute, scope: Scope) -> Value:
    value = evaluate(interpreter, node.value, scope)
    return attribute(interpreter, value, node.attr, interpreter.place(node, scope))


def _subscript(interpreter: Interpreter, node: ast.Subscript, scope: Scope) -> Value:
    value = evaluate(interpreter, node.value, scope)
    index = evaluate(interpreter, node.slice, scope)
    return subscript(interpreter, value, index, interpreter.place(node, scope))


def subscript(interpreter: Interpreter, value: Value, index: Value, place: Place) -> Value:
    """Return `value[index]`."""
    if isinstance(value, Unknown):
        return value
    if isinstance(value, LibraryName):
        if value.name.startswith(("typing.", "builtins.")):
            return value  # list[int], Optional[str]
        raise NotUnderstoodError(f"indexing {value.name}")
    if isinstance(value, Record):
        return value.item(index, place)
    parts = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
    if unknown := first_unknown(*parts):
        return unknown
    record = next((part for part in parts if isinstance(part, Record)), None)
    if record is not None and not (isinstance(value, dict) and any(key is record for key in value)):
        return Unknown(f"an item at {record.describe()}", place)  # a label of the data, say
    if isinstance(value, dict) and hasattr(value, "default_factory"):
        raise NotUnderstoodError("a default dict")
    result = perform_safely(lambda: value[index])
    if isinstance(index, slice) and hasattr(result, "__len__"):
        interpreter.budget.make(len(result))
    return result


def _slice(interpreter: Interpreter, node: ast.Slice, scope: Scope) -> Value:
    parts = (node.lower, node.upper, node.step)
    return slice(*(part and evaluate(interpreter, part, scope) for part in parts))


def _binary(interpreter: Interpreter, node: ast.BinOp, scope: Scope) -> Value:
    left = evaluate(interpreter, node.left, scope)
    right = evaluate(interpreter, node.right, scope)
    return interpreter.binary(type(node.op), left, right, interpreter.place(node, scope))


def _unary(interpreter: Interpreter, node: ast.UnaryOp, scope: Scope) -> Value:
    value = evaluate(interpreter, node.operand, scope)
    if isinstance(value, Unknown):
        return value
    if isinstance(node.op, ast.Not):
        truth = interpreter.truth(value, interpreter.place(node, scope))
        return truth if isinstance(truth, Unknown) else not truth
    return unary(type(node.op), value, interpreter.place(node, scope))


def _boolean(interpreter: Interpreter, node: ast.BoolOp, scope: Scope) -> Value:
    is_and = isinstance(node.op, ast.And)
    unknown = None
    value: Value = None
    for part in node.values:
        value = evaluate(interpreter, part, scope)
        truth = interpreter.truth(value, interpreter.place(node, scope))
        if isinstance(truth, Unknown):
            unknown = unknown or truth
        elif truth is not is_and:
            # `unknown and False` is false, whatever the unknown value is.
            if unknown is None or value is is_and or isinstance(value, bool):
                return value
            return unknown
    return unknown or value


def _compare(interpreter: Interpreter, node: ast.Compare, scope: Scope) -> Value:
    left = evaluate(interpreter, node.left, scope)
    result: Value = True
    for kind, part in zip(node.ops, node.comparators, strict=True):
        right = evaluate(interpreter, part, scope)
        result = compare(type(kind), left, right, interpreter.place(node, scope))
        truth = interpreter.truth(result, interpreter.place(node, scope))
        if isinstance(truth, Unknown) or not truth:
            return result
        left = right
    return result


def _conditional(interpreter: Interpreter, node: ast.IfExp, scope: Scope) -> Value:
    truth = interpreter.test(node.test, scope)
    if isinstance(truth, Unknown):
        interpreter.havoc([node.body, node.orelse], scope, truth)
        return truth
    return evaluate(interpreter, node.body if truth else node.orelse, scope)


def _joined(interpreter: Interpreter, node: ast.JoinedStr, scope: Scope) -> Value:
    parts: list[str] = []
    unknown = None
    for item in node.values:
        part = evaluate(interpreter, item, scope)
        if isinstance(part, Unknown):
            unknown = unknown or part
        else:
            parts.append(part)
    if unknown:
        return unknown
    interpreter.budget.make_text(sum(map(len, parts)))
    return "".join(parts)


def _formatted(interpreter: Interpreter, node: ast.FormattedValue, scope: Scope) -> Value:
    value = evaluate(interpreter, node.value, scope)
    spec = evaluate(interpreter, node.format_spec, scope) if node.format_spec else ""
    unknown = first_unknown(value, spec)
    if unknown:
        return unknown
    conversion = "" if node.conversion < 0 else chr(node.conversion)
    text = interpreter.own_text(value, interpreter.place(node, scope), conversion)
    value, conversion = (value, conversion) if text is None else (text, "")
    return perform_safely(format_value, value, conversion, spec, interpreter.budget)


def _lambda(interpreter: Interpreter, node: ast.Lambda, scope: Scope) -> Value:
    return Function.define(interpreter, node, scope)


def _walrus(interpreter: Interpreter, node: ast.NamedExpr, scope: Scope) -> Value:
    value = evaluate(interpreter, node.value, scope)
    scope.bind(node.target.id, value)
    return value


_EXPRESSIONS: dict[type[ast.expr], Callable[[Any, Any, Scope], Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: evaluate_call,
    ast.Subscript: _subscript,
    ast.Slice: _slice,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.List: evaluate_list,
    ast.Tuple: evaluate_tuple,
    ast.Set: evaluate_set,
    ast.Dict: evaluate_dict,
    ast.JoinedStr: _joined,
    ast.FormattedValue: _formatted,
    ast.Lambda: _lambda,
    ast.NamedExpr: _walrus,
    ast.ListComp: evaluate_comprehension,
    ast.SetComp: evaluate_comprehension,
    ast.GeneratorExp: evaluate_generator,
    ast.DictComp: evaluate_dict_comprehension,
}
