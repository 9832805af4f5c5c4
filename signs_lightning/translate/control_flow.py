"""Blocks, branches, loops, `try` and `with`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from signs_lightning.translate.classes import Instance
from signs_lightning.translate.findings import NOT_UNDERSTOOD
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.signals import (
    Break,
    Continue,
    Signal,
    Uncertain,
    always_raises,
    may_leave,
)
from signs_lightning.translate.source_errors import SourceError
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

_WHILE_ROUNDS = 20_000


def run_block(interpreter: Interpreter, nodes: list[ast.stmt], scope: Scope) -> Signal | None:
    """Run statements until one ends the block, and return how it does.

    After one that perhaps ends it, what the others change is unknown.
    """
    from signs_lightning.translate.statements import run_statement

    for index, node in enumerate(nodes):
        signal = run_statement(interpreter, node, scope)
        if isinstance(signal, Uncertain):
            interpreter.havoc(nodes[index + 1 :], scope, signal.unknown)
        if signal is not None:
            return signal
    return None


def _skipped(
    interpreter: Interpreter, nodes: list[ast.stmt], scope: Scope, unknown: Unknown
) -> Signal | None:
    """Do as if statements may or may not run, and return how they may end the block."""
    returns, jumps = may_leave(nodes)
    if interpreter.havoc(nodes, scope, unknown) or returns:
        interpreter.findings.add_unknown(unknown)
        interpreter.kinds[-1].add(NOT_UNDERSTOOD)
    return Uncertain(unknown, returns) if returns or jumps else None


def run_if(interpreter: Interpreter, node: ast.If, scope: Scope) -> Signal | None:
    truth = interpreter.test(node.test, scope)
    if not isinstance(truth, Unknown):
        return interpreter.run_block(node.body if truth else node.orelse, scope)
    if always_raises(node.body):  # the source ran through, so that this branch was not taken
        return interpreter.run_block(node.orelse, scope)
    if always_raises(node.orelse):
        return interpreter.run_block(node.body, scope)
    unknown = _derived(interpreter, node, "a branch", truth, scope)
    return _skipped(interpreter, [*node.body, *node.orelse], scope, unknown)


def _derived(
    interpreter: Interpreter, node: ast.stmt, what: str, unknown: Unknown, scope: Scope
) -> Unknown:
    """Return the unknown value that a statement makes of what depends on another one."""
    reason = (
        unknown.reason
        if "depends on" in unknown.reason
        else f"{what} that depends on {unknown.reason}"
    )
    return Unknown(reason, interpreter.place(node, scope), unknown.fact)


def run_for(interpreter: Interpreter, node: ast.For, scope: Scope) -> Signal | None:
    iterable = interpreter.evaluate(node.iter, scope)
    items = interpreter.iterate(iterable, interpreter.place(node.iter, scope))
    if isinstance(items, Unknown):
        interpreter.havoc([node.target], scope, items)
        unknown = _derived(interpreter, node, "a loop", items, scope)
        if isinstance(iterable, Record) and isinstance(node.target, ast.Name):
            scope.bind(node.target.id, iterable)  # whose parts the body may change
        if _changes_parts(node):
            interpreter.taint(interpreter.effects.values_of(node.iter, scope), unknown)
        signal = _skipped(interpreter, [*node.body, *node.orelse], scope, unknown)
        interpreter.havoc([node.target], scope, items)
        return _loop_end(signal)
    for item in items:
        interpreter.budget.step()
        interpreter.assign(node.target, item, scope)
        signal = interpreter.run_block(node.body, scope)
        if isinstance(signal, Break):
            return None
        if isinstance(signal, Uncertain):
            interpreter.havoc([node.target], scope, signal.unknown)
            rest = [*node.body, *node.orelse]
            interpreter.havoc(rest, scope, signal.unknown)
            return _loop_end(signal)
        if signal is not None and not isinstance(signal, Continue):
            return signal
    return interpreter.run_block(node.orelse, scope)


_SETTERS = frozenset({"set_weights", "assign", "assign_add", "assign_sub", "load_weights"})


def _changes_parts(node: ast.For) -> bool:
    """Return whether the body of a loop changes what it loops over, such as layers."""
    names = {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
    for part in (inner for statement in node.body for inner in ast.walk(statement)):
        if not isinstance(part, ast.Attribute) or not isinstance(part.value, ast.Name):
            continue
        is_set = part.attr in _SETTERS or not isinstance(part.ctx, ast.Load)
        if part.value.id in names and is_set:
            return True
    return False


def _loop_end(signal: Signal | None) -> Signal | None:
    """Return how a loop may end the block that it is in."""
    return signal if isinstance(signal, Uncertain) and signal.is_return else None


def run_while(interpreter: Interpreter, node: ast.While, scope: Scope) -> Signal | None:
    for _ in range(_WHILE_ROUNDS):
        truth = interpreter.test(node.test, scope)
        if isinstance(truth, Unknown):
            unknown = _derived(interpreter, node, "a loop", truth, scope)
            return _loop_end(_skipped(interpreter, [*node.body, *node.orelse], scope, unknown))
        if not truth:
            return interpreter.run_block(node.orelse, scope)
        signal = interpreter.run_block(node.body, scope)
        if isinstance(signal, Break):
            return None
        if isinstance(signal, Uncertain):
            interpreter.havoc([*node.body, *node.orelse], scope, signal.unknown)
            return _loop_end(signal)
        if signal is not None and not isinstance(signal, Continue):
            return signal
    raise NotUnderstoodError(f"a loop of more than {_WHILE_ROUNDS:,} rounds")


def run_with(interpreter: Interpreter, node: ast.With, scope: Scope) -> Signal | None:
    unknown = None
    entries: list[tuple[Value, Place]] = []
    for item in node.items:
        place = interpreter.place(item.context_expr, scope)
        value = interpreter.evaluate(item.context_expr, scope)
        if isinstance(value, Unknown) and not isinstance(value, NoEffect):
            unknown = value
        entered = value
        if isinstance(value, Record):
            try:
                enter = value.attribute("__enter__", place)
                entered = interpreter.call(enter, [], {}, place)
            except (NotUnderstoodError, SourceError):
                entered = value
        if item.optional_vars is not None:
            interpreter.assign(item.optional_vars, entered, scope)
        entries.append((value, place))
    try:
        signal = interpreter.run_block(node.body, scope)
    except SourceError as error:
        kind = _raised(error)
        taken = [_leave(interpreter, value, (kind, kind, None), at) for value, at in entries[::-1]]
        if not any(taken):
            raise
        return None
    for value, place in reversed(entries):
        _leave(interpreter, value, (None, None, None), place)
    if unknown is not None:
        interpreter.havoc(node.body, scope, unknown)
        returns, jumps = may_leave(node.body)
        return Uncertain(unknown, returns) if returns or jumps else None
    return signal


def _leave(interpreter: Interpreter, value: Value, error: tuple[Value, ...], place: Place) -> bool:
    """Call `__exit__` of an object of the source, and return whether it takes an exception.

    Raises:
        NotUnderstoodError: it is not known whether it does.
    """
    if not isinstance(value, Instance) or not value.has_method("__exit__"):
        return False
    result = value.call_method("__exit__", list(error), {}, place)
    truth = interpreter.truth(result, place)
    if isinstance(truth, Unknown) and error[0] is not None:
        raise NotUnderstoodError(f"whether {value.describe()} takes an exception")
    return truth is True


_MISSING_MODULE = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_MISSING_NAME = {"NameError", "Exception", "BaseException"}
_PARENTS = {
    "ModuleNotFoundError": ("ImportError",),
    "KeyError": ("LookupError",),
    "IndexError": ("LookupError",),
    "ZeroDivisionError": ("ArithmeticError",),
    "OverflowError": ("ArithmeticError",),
    "FileNotFoundError": ("OSError", "IOError", "EnvironmentError"),
    "UnicodeDecodeError": ("ValueError",),
    "NotImplementedError": ("RuntimeError",),
}
_NO_EXCEPTION = {"SystemExit", "KeyboardInterrupt", "GeneratorExit"}


def run_try(interpreter: Interpreter, node: ast.Try, scope: Scope) -> Signal | None:
    """Run the body; a handler only if the body certainly raises what it catches.

    Where something in the body is not understood, a handler may or may not run.
    """
    caught = [_caught_names(handler.type) for handler in node.handlers]
    is_guard = any(_MISSING_MODULE & names for names in caught)
    is_name_guard = any(_MISSING_NAME & names for names in caught)
    interpreter.import_guards += is_guard
    interpreter.name_guards += is_name_guard
    interpreter.kinds.append(set())
    signal: Signal | None = None
    error: SourceError | None = None
    try:
        signal = interpreter.run_block(node.body, scope)
    except SourceError as raised:
        error = raised
    finally:
        interpreter.import_guards -= is_guard
        interpreter.name_guards -= is_name_guard
        kinds = interpreter.kinds.pop()
        interpreter.kinds[-1] |= kinds
    if error is not None:
        signal = _handle(interpreter, node, caught, error, scope)
    else:
        if node.handlers and (NOT_UNDERSTOOD in kinds or _reads_files(node.body)):
            unknown = Unknown("what the 'try' raises", interpreter.place(node, scope))
            handlers = [s for handler in node.handlers for s in handler.body]
            if not always_raises(handlers):
                _skipped(interpreter, handlers, scope, unknown)
        if signal is None:
            signal = interpreter.run_block(node.orelse, scope)
    last = interpreter.run_block(node.finalbody, scope)
    return last or signal


# Functions and methods that raise an exception where a file is missing.
_READERS = frozenset(
    ["open", "File", "load", "load_weights", "load_model", "imread", "read_csv", "listdir"]
)


def _reads_files(nodes: list[ast.stmt]) -> bool:
    """Return whether statements read a file by its name."""
    calls = [part.func for node in nodes for part in ast.walk(node) if isinstance(part, ast.Call)]
    return any(getattr(f, "attr", getattr(f, "id", "")) in _READERS for f in calls)


def _caught_names(kind: ast.expr | None) -> set[str]:
    if kind is None:
        return {"BaseException"}
    parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return {ast.unparse(part).rpartition(".")[2] for part in parts[:50]}


def _handle(
    interpreter: Interpreter,
    node: ast.Try,
    caught: list[set[str]],
    error: SourceError,
    scope: Scope,
) -> Signal | None:
    names = {error.name, "BaseException", *_PARENTS.get(error.name, ())}
    if error.name not in _NO_EXCEPTION:
        names.add("Exception")
    for handler, kinds in zip(node.handlers, caught, strict=True):
        if names & kinds:
            if handler.name:
                value: Value = error.value if error.value is not None else _raised(error)
                scope.bind(handler.name, value)
            return interpreter.run_block(handler.body, scope)
    interpreter.run_block(node.finalbody, scope)
    raise error


def _raised(error: SourceError) -> Value:
    return LibraryName(f"builtins.{error.name}")
