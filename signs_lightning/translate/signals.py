"""How a block of statements ends, other than after its last one."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from signs_lightning.translate.values import Unknown, Value


@dataclass(frozen=True)
class Break:
    """By `break`."""


@dataclass(frozen=True)
class Continue:
    """By `continue`."""


@dataclass(frozen=True)
class Return:
    """By `return value`."""

    value: Value


@dataclass(frozen=True)
class Uncertain:
    """Perhaps by one of the others, because a condition is unknown.

    Attributes:
        unknown: the condition.
        is_return: whether the function may have ended, and not only the loop.
    """

    unknown: Unknown
    is_return: bool


Signal = Break | Continue | Return | Uncertain


def may_leave(nodes: list[ast.stmt]) -> tuple[bool, bool]:
    """Return whether statements have a `return`, and whether a `break` or `continue` of a loop."""
    returns = jumps = False
    pending: list[tuple[ast.AST, bool]] = [(node, False) for node in nodes]
    while pending:
        node, in_loop = pending.pop()
        if isinstance(node, ast.Return):
            returns = True
        elif isinstance(node, ast.Break | ast.Continue):
            jumps = jumps or not in_loop
        elif isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        inner = in_loop or isinstance(node, ast.For | ast.While)
        pending += [(child, inner) for child in ast.iter_child_nodes(node)]
    return returns, jumps


def always_raises(nodes: list[ast.stmt]) -> bool:
    """Return whether statements end by an exception or the program's end."""
    last = nodes[-1] if nodes else None
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call):
        called = ast.unparse(last.value.func)
        return called in ("exit", "quit", "sys.exit", "os._exit")
    return isinstance(last, ast.Raise)
