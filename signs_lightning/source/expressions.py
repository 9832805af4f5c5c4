"""Python expressions as small trees, and their text.

A tree is a number, a text, None, a tuple, a list, or one of the nodes below. What comes from a file
is only ever a literal or a checked name, so that no text of a file can become code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from signs_lightning.errors import InputError


@dataclass(frozen=True)
class Ref:
    """A name of a module, such as `relu` of torch.nn.functional."""

    module: str
    name: str


@dataclass(frozen=True)
class Code:
    """A piece of code as it is: a local variable, `self.conv1`."""

    text: str


@dataclass(frozen=True)
class BlockName:
    """A class of the file itself, and the names of its arguments."""

    name: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Input:
    """An input of a statement, by its position."""

    number: int


@dataclass(frozen=True)
class Layer:
    """The module of a statement."""


@dataclass(frozen=True)
class Call:
    """A call; the name of an argument is "" where it is given by position."""

    function: Any
    arguments: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Method:
    """A method of a value: its name, and what it is called with."""

    value: Any
    name: str
    arguments: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Operation:
    """Values joined by an operator, such as `+`."""

    operator: str
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Attribute:
    """An attribute of a value."""

    value: Any
    name: str


@dataclass(frozen=True)
class Repeated:
    """`*(value for variable in range(count))`."""

    value: Any
    variable: str
    count: int


def call(function: Any, *positional: Any, **named: Any) -> Call:
    """Return a call with these arguments."""
    arguments = [("", value) for value in positional]
    return Call(function, (*arguments, *named.items()))


BINDING = {"*": 3, "/": 3, "+": 2, "-": 2, ">": 1, ">=": 1, "<": 1, "<=": 1}
# How a module's names are written; those of all others are imported one by one.
PREFIXES = {"torch.nn": "nn.", "torch.nn.functional": "F.", "torch": "torch.", "math": "math."}


def text(node: Any) -> str:
    """Return the code of a tree on one line.

    Raises:
        InputError: it holds what cannot be written as code.
    """
    match node:
        case Ref(module, name):
            return "Tensor" if (module, name) == ("torch", "Tensor") else _prefixed(module, name)
        case Code(code):
            return code
        case BlockName(name):
            return name
        case Call(function, arguments):
            return f"{text(function)}({', '.join(argument_texts(arguments))})"
        case Method(value, name, arguments):
            inner = text(value)
            inner = f"({inner})" if isinstance(value, Operation) else inner
            return f"{inner}.{name}({', '.join(argument_texts(arguments))})"
        case Operation(operator, parts):
            return f" {operator} ".join(_operand(part, operator, k) for k, part in enumerate(parts))
        case Attribute(value, name):
            return f"{text(value)}.{name}"
        case Repeated(value, variable, count):
            return f"*({text(value)} for {variable} in range({count}))"
        case tuple():
            inner = ", ".join(map(text, node))
            return f"({inner},)" if len(node) == 1 else f"({inner})"
        case list():
            return f"[{', '.join(map(text, node))}]"
        case dict():
            return f"{{{', '.join(f'{text(k)}: {text(v)}' for k, v in node.items())}}}"
        case frozenset():
            return f"{{{', '.join(map(text, sorted(node)))}}}"
        case str():
            return quoted(node)
        case float() if node != node or node in (float("inf"), float("-inf")):
            return f'float("{node}")'
        case float() if abs(node) >= 1e6 and float(f"{node:g}") == node:
            return f"{node:g}".replace("e+0", "e").replace("e+", "e")
        case bool() | int() | float() | None:
            return repr(node)
    raise InputError(f"The model has a {type(node).__name__}, which cannot be written as source.")


def _prefixed(module: str, name: str) -> str:
    return PREFIXES.get(module, "") + name


def _operand(part: Any, operator: str, position: int) -> str:
    inner = text(part)
    is_bound = isinstance(part, Operation) and (
        BINDING[part.operator] < BINDING[operator]
        or (BINDING[part.operator] == BINDING[operator] and position > 0)
    )
    is_negative = isinstance(part, int | float) and inner.startswith("-") and position > 0
    return f"({inner})" if is_bound or is_negative else inner


def argument_texts(arguments: tuple[tuple[str, Any], ...]) -> list[str]:
    """Return the code of each argument of a call."""
    return [f"{name}={text(value)}" if name else text(value) for name, value in arguments]


def quoted(value: str) -> str:
    """Return a text as a literal in double quotes, where that needs no more escapes."""
    literal = repr(value)
    if literal[0] == '"' or '"' in value:
        return literal
    return '"' + literal[1:-1].replace("\\'", "'") + '"'


def transform(node: Any, change: Callable[[Any], Any]) -> Any:
    """Return a tree in which every node is changed, the innermost first."""

    def inside(value: Any) -> Any:
        return transform(value, change)

    def named(arguments: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
        return tuple((name, inside(value)) for name, value in arguments)

    match node:
        case Call(function, arguments):
            node = Call(inside(function), named(arguments))
        case Method(value, name, arguments):
            node = Method(inside(value), name, named(arguments))
        case Operation(operator, parts):
            node = Operation(operator, tuple(map(inside, parts)))
        case Attribute() | Repeated():
            node = replace(node, value=inside(node.value))
        case tuple():
            node = tuple(map(inside, node))
        case list():
            node = list(map(inside, node))
        case dict():
            node = {key: inside(value) for key, value in node.items()}
    return change(node)


def walk(node: Any) -> Iterator[Any]:
    """Yield every node of a tree, in the order of its code."""
    yield node
    match node:
        case Call(function, arguments):
            yield from walk(function)
            for _, value in arguments:
                yield from walk(value)
        case Method(value, _, arguments):
            yield from walk(value)
            for _, part in arguments:
                yield from walk(part)
        case Operation(_, parts):
            for part in parts:
                yield from walk(part)
        case Attribute(value) | Repeated(value):
            yield from walk(value)
        case tuple() | list():
            for part in node:
                yield from walk(part)
        case dict():
            yield from walk(list(node.values()))


def substitute(node: Any, inputs: tuple[Any, ...], layer: Any = None) -> Any:
    """Return a tree with these in the place of its inputs and of its module."""

    def change(part: Any) -> Any:
        if isinstance(part, Input):
            return inputs[part.number]
        return layer if isinstance(part, Layer) else part

    return transform(node, change)
