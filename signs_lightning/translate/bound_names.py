"""The names that statements bind, and the parts of statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def call_arguments(node: ast.Call) -> list[ast.expr]:
    """Return the arguments of a call."""
    return [*node.args, *(keyword.value for keyword in node.keywords)]


def nodes_inside(nodes: list[ast.AST]) -> Iterator[ast.AST]:
    """Yield these nodes and those in them, without the bodies of functions."""
    pending: list[ast.AST] = list(nodes)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += [*node.decorator_list, *node.args.defaults]
        else:
            pending += ast.iter_child_nodes(node)


def names_of_loops(node: ast.AST) -> list[str]:
    """Return the names that only a loop or a handler binds."""
    if isinstance(node, ast.For | ast.comprehension):
        return [n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)]
    return [node.name] if isinstance(node, ast.ExceptHandler) and node.name else []


def names_bound(node: ast.AST) -> list[str]:
    """Return the names that a node binds."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [(alias.asname or alias.name).split(".")[0] for alias in node.names]
        return [name for name in names if name != "*"]
    if isinstance(node, ast.ExceptHandler):
        return [node.name] if node.name else []
    if isinstance(node, ast.MatchAs | ast.MatchStar):
        return [node.name] if node.name else []
    return []
