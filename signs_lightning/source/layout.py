"""Lines of at most 100 characters, broken where `ruff format` breaks them."""

from __future__ import annotations

from typing import Any

from signs_lightning.source.expressions import Call, Method, Repeated, text

MAX_WIDTH = 100
INDENT = "    "


def lines_of(node: Any, indent: int, prefix: str = "", suffix: str = "") -> list[str]:
    """Return the lines of an expression between a prefix and a suffix.

    Args:
        node: the expression.
        indent: levels of four spaces.
        prefix: what comes before it in its line, such as `self.conv1 = `.
        suffix: what follows it, such as a comma.
    """
    margin = INDENT * indent
    whole = f"{margin}{prefix}{text(node)}{suffix}"
    if len(whole) <= MAX_WIDTH:
        return [whole]
    if isinstance(node, Repeated):
        inside = lines_of(node.value, indent + 1)
        loop = f"{margin}{INDENT}for {node.variable} in range({node.count})"
        return [f"{margin}{prefix}*(", *inside, loop, f"{margin}){suffix}"]
    opening, parts, closing = _brackets(node)
    if not parts:
        return [whole]
    first, last = f"{margin}{prefix}{opening}", f"{margin}{closing}{suffix}"
    inner = ", ".join((f"{name}=" if name else "") + text(value) for name, value in parts)
    fits = len(margin) + len(INDENT) + len(inner) <= MAX_WIDTH
    if fits and isinstance(node, Call | Method):
        return [first, f"{margin}{INDENT}{inner}", last]
    lines = [first]
    for name, value in parts:
        comma = "" if len(parts) == 1 and not isinstance(node, list | tuple) else ","
        lines += lines_of(value, indent + 1, f"{name}=" if name else "", comma)
    return [*lines, last]


def _brackets(node: Any) -> tuple[str, list[tuple[str, Any]], str]:
    """Return what opens and closes an expression, and the arguments between."""
    match node:
        case Call(function, arguments):
            return f"{text(function)}(", list(arguments), ")"
        case Method(value, name, arguments):
            return f"{text(value)}.{name}(", list(arguments), ")"
        case tuple():
            return "(", [("", value) for value in node], ")"
        case list():
            return "[", [("", value) for value in node], "]"
    return "", [], ""


def with_comment(lines: list[str], comment: str) -> list[str]:
    """Return lines with a comment behind the last one, where it fits."""
    if not comment or len(lines) > 1 or len(lines[0]) + len(comment) + 4 > MAX_WIDTH:
        return lines
    return [f"{lines[0]}  # {comment}"]


def signature_lines(name: str, parts: list[str], result: str, indent: int) -> list[str]:
    """Return the lines of a `def`, broken as ruff breaks them."""
    margin = INDENT * indent
    whole = f"{margin}def {name}({', '.join(parts)}) -> {result}:"
    if len(whole) <= MAX_WIDTH:
        return [whole]
    inner = f"{margin}{INDENT}{', '.join(parts)}"
    head, end = f"{margin}def {name}(", f"{margin}) -> {result}:"
    if len(inner) <= MAX_WIDTH:
        return [head, inner, end]
    return [head, *(f"{margin}{INDENT}{part}," for part in parts), end]
