"""Calls as expressions: their function, arguments and receiver."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from signs_lightning.translate.code_texts import CallSite
from signs_lightning.translate.scoped_builtins import SCOPED
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.source_errors import SourceError
from signs_lightning.translate.values import (
    LibraryName,
    NeedsFactError,
    NotUnderstoodError,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


def evaluate_call(interpreter: Interpreter, node: ast.Call, scope: Scope) -> Value:
    """Return what a call gives."""
    place = interpreter.place(node, scope)
    if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
        found, _ = scope.find("super")
        if not found:
            return interpreter.super_of(scope.owner, scope.receiver)
    function = interpreter.evaluate(node.func, scope)
    try:
        result = _called(interpreter, node, function, scope)
    except (NotUnderstoodError, NeedsFactError, SourceError) as error:
        if trains(node):
            interpreter.note_unread_training(node, Unknown(str(error), place), scope)
        raise
    if trains(node):
        if isinstance(function, Unknown):
            interpreter.note_unread_training(node, function, scope)
        interpreter.trainings.append(result)
    return result


def _called(interpreter: Interpreter, node: ast.Call, function: Value, scope: Scope) -> Value:
    args, kwargs, unknown = _arguments(interpreter, node, scope)
    place = interpreter.place(node, scope)
    if unknown is not None:
        interpreter.taint([function, *args, *kwargs.values()], unknown)
        if trains(node):
            interpreter.note_unread_training(node, unknown, scope)
        return unknown
    try:
        perform = SCOPED.get(function.name) if isinstance(function, LibraryName) else None
        if perform is not None:
            result = perform(CallSite(interpreter, scope, node), args, kwargs)
            if result is not NotImplemented:
                return result
        return interpreter.call(function, args, kwargs, place)
    except NotUnderstoodError as error:
        failure = Unknown(str(error), place)
        interpreter.taint([function, *args, *kwargs.values()], failure)
        raise


_FIT_ARGUMENTS = frozenset(
    [
    "epochs", "nb_epoch", "batch_size", "validation_data", "validation_split", "callbacks",
    "steps_per_epoch", "samples_per_epoch", "verbose", "class_weight", "initial_epoch",
]
)  # fmt: skip


def trains(node: ast.Call) -> bool:
    """Return whether a call looks like a method of a Keras model that compiles or trains it."""
    if not isinstance(node.func, ast.Attribute):
        return False
    keywords = {keyword.arg for keyword in node.keywords}
    if node.func.attr == "fit":
        return bool(keywords & _FIT_ARGUMENTS)
    if node.func.attr == "compile":
        return bool(keywords & {"optimizer", "loss", "metrics"}) or len(node.args) > 1
    return node.func.attr in ("fit_generator", "train_on_batch")


def _arguments(
    interpreter: Interpreter, node: ast.Call, scope: Scope
) -> tuple[list[Value], dict[str, Value], Unknown | None]:
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    unknown = None
    for item in node.args:
        if isinstance(item, ast.Starred):
            value = interpreter.evaluate(item.value, scope)
            if isinstance(value, Unknown):
                unknown = value
            else:
                args += interpreter.items(value, interpreter.place(item, scope))
        else:
            args.append(interpreter.evaluate(item, scope))
    for keyword in node.keywords:
        value = interpreter.evaluate(keyword.value, scope)
        if keyword.arg is not None:
            kwargs[keyword.arg] = value
        elif isinstance(value, Unknown):
            unknown = value
        elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
            kwargs.update(value)
        else:
            raise NotUnderstoodError("'**' of what is no dict of names")
    return args, kwargs, unknown
