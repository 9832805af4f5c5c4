"""Statements: each is run, and noted as understood, without effect, or not understood."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate import control_flow, without_effect
from signs_lightning.translate.assignments import delete, set_item
from signs_lightning.translate.definitions import define_class, define_function
from signs_lightning.translate.findings import (
    NEEDS_FACT,
    NOT_UNDERSTOOD,
    UNDERSTOOD,
    WITHOUT_EFFECT,
    Finding,
)
from signs_lightning.translate.imports import import_from, import_modules
from signs_lightning.translate.limits import LimitError
from signs_lightning.translate.operators import BINARY, first_unknown
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.signals import Break, Continue, Return, Signal, Uncertain, may_leave
from signs_lightning.translate.source_errors import SourceError
from signs_lightning.translate.values import (
    LibraryName,
    NeedsFactError,
    NoEffect,
    NotUnderstoodError,
    Record,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


MAX_TEXT = 1000  # characters of a statement that are kept
UNREADABLE = "it could not be read"


def run_statement(interpreter: Interpreter, node: ast.stmt, scope: Scope) -> Signal | None:
    """Run a statement, note what became of it, and return how it ends its block.

    Raises:
        SourceError: if it raises an exception, and other statements are around it.
        LimitError: if the interpretation takes too long.
    """
    interpreter.budget.step()
    is_nested = interpreter.statement_depth > 0
    interpreter.statement_depth += 1
    interpreter.kinds.append(set())
    reason, fact = "", None
    signal: Signal | None = None
    try:
        run = _STATEMENTS.get(type(node))
        if run is None:
            raise NotUnderstoodError(f"a statement '{type(node).__name__.lower()}'")
        signal = run(interpreter, node, scope)
    except (NotUnderstoodError, RecursionError) as error:
        reason = str(error) if isinstance(error, NotUnderstoodError) else "nested too deep"
    except NeedsFactError as error:
        reason, fact = f"{error.fact}, which only the data tell", error.fact
    except SourceError as error:
        if is_nested:
            raise
        reason = f"it raises {error}"
        interpreter.raised = Unknown(reason, interpreter.place(node, scope))
    except LimitError:
        raise
    except Exception as error:  # a mistake here must not end the translation
        reason = f"{UNREADABLE} ({type(error).__name__}: {error})"[:200]
    finally:
        interpreter.statement_depth -= 1
        inner = interpreter.kinds.pop()
        interpreter.kinds[-1] |= inner & {NOT_UNDERSTOOD}
    if reason:
        unknown = Unknown(reason, interpreter.place(node, scope), fact)
        returns, jumps = may_leave([node])
        interpreter.havoc([node], scope, unknown)
        if returns or jumps:
            signal = Uncertain(unknown, returns)
        kind = NEEDS_FACT if fact else NOT_UNDERSTOOD
    else:
        kind, reason, fact = _kind(interpreter, node, inner, scope)
    interpreter.kinds[-1].add(kind)
    place = interpreter.place(node, scope)
    if not interpreter.findings.is_noted(place, kind):
        interpreter.findings.add(
            Finding(place, kind, first_line(node), reason, "", fact, is_nested)
        )
    return signal


def first_line(node: ast.stmt) -> str:
    """Return the first line of a statement, and "…" for others of a text in it."""
    if written := getattr(node, "written", ""):  # such as %matplotlib inline, or several
        return str(written)[:MAX_TEXT]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return f"{'def' if isinstance(node, ast.FunctionDef) else 'class'} {node.name}"
    try:
        text, _, more = ast.unparse(_without_body(node))[:MAX_TEXT].partition("\n")
        return text if isinstance(node, _COMPOUND) or not more else f"{text}…"
    except (RecursionError, ValueError):
        return type(node).__name__


_COMPOUND = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.AsyncFunctionDef)


def _without_body(node: ast.stmt) -> ast.AST:
    if isinstance(node, ast.If | ast.For | ast.While | ast.With):
        short = copy.copy(node)
        short.body = [ast.Pass()]
        if not isinstance(short, ast.With):
            short.orelse = []
        return short
    return node


def _kind(
    interpreter: Interpreter, node: ast.stmt, inner: set[str], scope: Scope
) -> tuple[str, str, str | None]:
    """Return kind, reason and fact of a statement that ran."""
    result = interpreter.result
    interpreter.result = None
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and isinstance(result, Unknown):
        if isinstance(result, NoEffect):
            return WITHOUT_EFFECT, "", None
        if result.place != interpreter.place(node, scope):  # listed where it comes from
            return UNDERSTOOD, "", None
        return (NEEDS_FACT if result.fact else NOT_UNDERSTOOD), result.reason, result.fact
    if isinstance(node, ast.Expr):
        is_new = isinstance(result, Unknown) and result.place == interpreter.place(node, scope)
        if is_new and not isinstance(result, NoEffect) and isinstance(node.value, ast.Call):
            return (NEEDS_FACT if result.fact else NOT_UNDERSTOOD), result.reason, result.fact
        return _kind_of_expression(node, inner, result), "", None
    if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try) and inner:
        return (WITHOUT_EFFECT if inner == {WITHOUT_EFFECT} else UNDERSTOOD), "", None
    return UNDERSTOOD, "", None


def _kind_of_expression(node: ast.Expr, inner: set[str], result: Value) -> str:
    value = node.value
    if isinstance(result, NoEffect) or not isinstance(value, ast.Call):
        return WITHOUT_EFFECT
    if isinstance(value.func, ast.Attribute) and value.func.attr in without_effect.METHODS:
        return WITHOUT_EFFECT
    return WITHOUT_EFFECT if inner == {WITHOUT_EFFECT} else UNDERSTOOD


def _assign(interpreter: Interpreter, node: ast.Assign, scope: Scope) -> None:
    value = interpreter.evaluate(node.value, scope)
    for target in node.targets:
        interpreter.assign(target, value, scope)
    interpreter.result = value


def _annotated(interpreter: Interpreter, node: ast.AnnAssign, scope: Scope) -> None:
    if node.value is not None:
        value = interpreter.evaluate(node.value, scope)
        interpreter.assign(node.target, value, scope)
        interpreter.result = value


def _augmented(interpreter: Interpreter, node: ast.AugAssign, scope: Scope) -> None:
    place = interpreter.place(node, scope)
    target = node.target
    if isinstance(target, ast.Name):
        old = interpreter.evaluate(ast.copy_location(ast.Name(target.id, ast.Load()), node), scope)
        value = _changed(interpreter, node, old, scope)
        scope.bind(target.id, value)
    elif isinstance(target, ast.Attribute):
        owner = interpreter.evaluate(target.value, scope)
        old = interpreter.attribute(owner, target.attr, place)
        value = _changed(interpreter, node, old, scope)
        interpreter.set_attribute(owner, target.attr, value, place)
    else:
        from signs_lightning.translate.evaluate import subscript

        owner = interpreter.evaluate(target.value, scope)
        index = interpreter.evaluate(target.slice, scope)
        old = interpreter.checked(subscript(interpreter, owner, index, place))
        value = _changed(interpreter, node, old, scope)
        set_item(interpreter, owner, index, value, place)
    interpreter.result = value


def _changed(interpreter: Interpreter, node: ast.AugAssign, old: Value, scope: Scope) -> Value:
    """Return the new value of `old += value`, which changes a list in place."""
    value = interpreter.evaluate(node.value, scope)
    place = interpreter.place(node, scope)
    if isinstance(old, list) and isinstance(node.op, ast.Add):
        if isinstance(value, Unknown):
            interpreter.taint([old], value)
            return value
        more = interpreter.items(value, place)
        interpreter.budget.check(len(old) + len(more))
        old.extend(more)
        return old
    if isinstance(old, set | dict) or (isinstance(old, list) and isinstance(node.op, ast.Mult)):
        unknown = first_unknown(value)
        if unknown:
            interpreter.taint([old], unknown)
            return unknown
        new = interpreter.binary(type(node.op), old, value, place)
        if isinstance(old, list):
            old[:] = new
        else:
            old.clear()
            old.update(new)
        return old
    change = getattr(old, "change", None)
    if change is not None and type(node.op) in BINARY and not isinstance(value, Unknown):
        return change(BINARY[type(node.op)][0], value, place)
    return interpreter.binary(type(node.op), old, value, place)


def _expression(interpreter: Interpreter, node: ast.Expr, scope: Scope) -> None:
    interpreter.result = interpreter.evaluate(node.value, scope)


def _pass(interpreter: Interpreter, node: ast.stmt, scope: Scope) -> None:
    return None


def _return(interpreter: Interpreter, node: ast.Return, scope: Scope) -> Signal:
    return Return(None if node.value is None else interpreter.evaluate(node.value, scope))


def _break(interpreter: Interpreter, node: ast.Break, scope: Scope) -> Signal:
    return Break()


def _continue(interpreter: Interpreter, node: ast.Continue, scope: Scope) -> Signal:
    return Continue()


def _global(interpreter: Interpreter, node: ast.Global, scope: Scope) -> None:
    for name in node.names:
        scope.make_global(name)


def _nonlocal(interpreter: Interpreter, node: ast.Nonlocal, scope: Scope) -> None:
    for name in node.names:
        scope.make_nonlocal(name)


def _raise(interpreter: Interpreter, node: ast.Raise, scope: Scope) -> None:
    if node.exc is None:
        raise SourceError("Exception", "raised again")
    called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    value = interpreter.evaluate(node.exc, scope)
    name = ast.unparse(called).rpartition(".")[2][:80]
    kept = value if isinstance(value, Record | LibraryName) else None
    raise SourceError(name, "", kept)


def _assert(interpreter: Interpreter, node: ast.Assert, scope: Scope) -> None:
    """Raise if what is asserted is known to be false; an unknown condition held when it ran."""
    truth = interpreter.test(node.test, scope)
    if truth is False:
        raise SourceError("AssertionError")


_STATEMENTS: dict[type[ast.stmt], Callable[[Any, Any, Scope], Signal | None]] = {
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Expr: _expression,
    ast.Delete: delete,
    ast.Pass: _pass,
    ast.Return: _return,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.Global: _global,
    ast.Nonlocal: _nonlocal,
    ast.Raise: _raise,
    ast.Assert: _assert,
    ast.If: control_flow.run_if,
    ast.For: control_flow.run_for,
    ast.While: control_flow.run_while,
    ast.With: control_flow.run_with,
    ast.Try: control_flow.run_try,
    ast.FunctionDef: define_function,
    ast.ClassDef: define_class,
    ast.Import: import_modules,
    ast.ImportFrom: import_from,
}
