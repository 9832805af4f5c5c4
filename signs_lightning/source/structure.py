"""The structure of expressions: what is left of them without their numbers."""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from typing import Any

from signs_lightning.source.expressions import (
    Attribute,
    BlockName,
    Call,
    Code,
    Input,
    Layer,
    Method,
    Operation,
    Ref,
)

CHANNELS = (
    *("in_channels", "out_channels", "num_features", "channels", "groups", "in_features"),
    *("out_features", "normalized_shape", "shape"),
)
Number = int | float


@cache
def _parameters(module: str, name: str) -> dict[str, Any]:
    """Return the arguments of a class with their defaults; empty where they are not known."""
    kind = getattr(importlib.import_module(module), name, None)
    if not inspect.isclass(kind):
        return {}
    parameters = inspect.signature(kind).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return {}
    return {p.name: p.default for p in parameters}


def with_defaults(code: Any) -> Any:
    """Return a call of a class with all its arguments, numbers that are defaults among them."""
    if not isinstance(code, Call) or not isinstance(code.function, Ref):
        return code
    known = _parameters(code.function.module, code.function.name)
    if not known:
        return code
    names = iter(known)
    given = {name or next(names): value for name, value in code.arguments}
    filled = [
        (name, given.get(name, default))
        for name, default in known.items()
        if name in given or _is_number(default)
    ]
    return Call(code.function, tuple(filled))


def without_defaults(code: Any, positional: int) -> Any:
    """Return a call of `with_defaults` as one writes it."""
    if not isinstance(code, Call) or not isinstance(code.function, Ref):
        return code
    known = _parameters(code.function.module, code.function.name)
    if not known or any(not name for name, _ in code.arguments):
        return code
    arguments = []
    by_position = True
    for k, (name, value) in enumerate(code.arguments):
        default = known[name]
        if default is not inspect.Parameter.empty and _is_same(value, default):
            by_position = False
            continue
        by_position = by_position and k < positional and name == list(known)[k]
        arguments.append(("" if by_position else name, value))
    return Call(code.function, tuple(arguments))


def _is_same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def split(node: Any, role: str = "") -> tuple[Any, list[tuple[str, Number]]]:
    """Return the structure of an expression, hashable, and its numbers with their arguments' names.

    Args:
        node: the expression.
        role: name of the argument that it is.
    """
    numbers: list[tuple[str, Number]] = []

    def visit(node: Any, role: str) -> Any:
        match node:
            case bool() | str() | None | Ref() | Code() | Layer():
                return node if not isinstance(node, bool) else ("bool", node)
            case int() | float():
                numbers.append((role, node))
                return (type(node).__name__,)
            case Input(number):
                return ("input", number)
            case Call(BlockName(name, parameters), arguments):
                roles = zip(parameters, arguments, strict=True)
                return ("block", name, tuple(visit(value, role) for role, (_, value) in roles))
            case Call(function, arguments):
                return ("call", visit(function, ""), _named(arguments))
            case Method(value, name, arguments):
                return ("method", visit(value, ""), name, _named(arguments, name))
            case Operation(operator, parts):
                return ("operation", operator, tuple(visit(part, "") for part in parts))
            case Attribute(value, name):
                return ("attribute", visit(value, ""), name)
            case tuple() | list():
                return (type(node).__name__, tuple(visit(part, role) for part in node))
            case dict():
                return ("dict", tuple((k, visit(v, str(k))) for k, v in node.items()))
        return ("other", repr(node))

    def _named(arguments: tuple[tuple[str, Any], ...], default: str = "") -> Any:
        return tuple((name, visit(value, name or default)) for name, value in arguments)

    return visit(node, role), numbers


def put(node: Any, values: list[Any]) -> Any:
    """Return an expression with other values in the place of its numbers, which are taken off.

    The order is that of `split`.
    """
    match node:
        case bool():
            return node
        case int() | float():
            return values.pop(0)
        case Call(function, arguments):
            return Call(put(function, values), tuple((n, put(v, values)) for n, v in arguments))
        case Method(value, name, arguments):
            inner = put(value, values)
            return Method(inner, name, tuple((n, put(v, values)) for n, v in arguments))
        case Operation(operator, parts):
            return Operation(operator, tuple(put(part, values) for part in parts))
        case Attribute(value, name):
            return Attribute(put(value, values), name)
        case tuple():
            return tuple(put(part, values) for part in node)
        case list():
            return [put(part, values) for part in node]
        case dict():
            return {key: put(value, values) for key, value in node.items()}
    return node
