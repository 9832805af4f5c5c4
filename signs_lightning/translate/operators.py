"""Python's operators on plain values, bounded, and on records."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from signs_lightning.translate.limits import BITS, Budget, check_tree
from signs_lightning.translate.numpy_numbers import check_comparison, computed
from signs_lightning.translate.source_errors import perform_safely
from signs_lightning.translate.text_formats import percent_format
from signs_lightning.translate.values import (
    LibraryName,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

BINARY: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
    ast.MatMult: ("@", operator.matmul),
    ast.LShift: ("<<", operator.lshift),
    ast.RShift: (">>", operator.rshift),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
    ast.BitXor: ("^", operator.xor),
}
UNARY: dict[type[ast.unaryop], tuple[str, Callable[[Any], Any]]] = {
    ast.USub: ("-", operator.neg),
    ast.UAdd: ("+", operator.pos),
    ast.Invert: ("~", operator.invert),
}
ORDER: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_CONTAINERS = (str, bytes, list, tuple)


def is_plain(value: Value) -> bool:
    """Return whether a value is one of Python's own and not a container of others."""
    return value is None or isinstance(value, bool | int | float | complex | str | bytes)


def first_unknown(*values: Value) -> Unknown | None:
    """Return an unknown value among these and what they contain, or None."""
    check_tree(*values)
    pending = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, Unknown):
            return value
        if isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            pending += value
    return None


def binary(
    kind: type[ast.operator], left: Value, right: Value, place: Place, budget: Budget
) -> Value:
    """Return `left operator right`.

    Raises:
        NotUnderstoodError: for what is not known or too large.
        SourceError: if Python raises.
    """
    for side in (left, right):
        if isinstance(side, Unknown):
            return side
    symbol, perform = BINARY[kind]
    special = _of_records(symbol, left, right, place)
    if special is not NotImplemented:
        return special
    if kind is ast.Mod and isinstance(left, str):
        unknown = first_unknown(right)
        return unknown or percent_format(left, right, budget)
    _check_sizes(kind, left, right, budget)
    return computed(perform_safely(perform, left, right), left, right)


def _of_records(symbol: str, left: Value, right: Value, place: Place) -> Value:
    if isinstance(left, LibraryName) or isinstance(right, LibraryName):
        name = left if isinstance(left, LibraryName) else right
        raise NotUnderstoodError(f"'{symbol}' of {name.name}")
    if isinstance(left, Record):
        if not isinstance(right, Record):
            return left.operate(symbol, right, False, place)
        try:
            return left.operate(symbol, right, False, place)
        except NotUnderstoodError:
            return right.operate(symbol, left, True, place)
    if isinstance(right, Record) and not (symbol == "%" and isinstance(left, str)):
        return right.operate(symbol, left, True, place)
    return NotImplemented


def _check_sizes(kind: type[ast.operator], left: Value, right: Value, budget: Budget) -> None:
    """Check that a result is small, before it is made."""
    if kind is ast.Mult:
        for value, count in ((left, right), (right, left)):
            if isinstance(value, _CONTAINERS) and isinstance(count, int):
                _make(value, len(value) * max(int(count), 0), budget)
    if kind is ast.Add and isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS):
        _make(left, len(left) + len(right), budget)
    if kind in (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor) and isinstance(left, dict | set):
        budget.make(len(left) + (len(right) if isinstance(right, dict | set) else 0))
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() + right.bit_length()
        if kind is ast.Pow and right > 0:
            bits = left.bit_length() * right
        elif kind is ast.LShift:
            bits = left.bit_length() + max(right, 0)
        if bits > BITS:
            raise NotUnderstoodError("a whole number that is too large")


def _make(value: Value, length: int, budget: Budget) -> None:
    if isinstance(value, str | bytes):
        budget.make_text(length)
    else:
        budget.make(length)


def unary(kind: type[ast.unaryop], value: Value, place: Place) -> Value:
    """Return `-value` and the like."""
    symbol, perform = UNARY[kind]
    if isinstance(value, LibraryName):
        raise NotUnderstoodError(f"'{symbol}' of {value.name}")
    if isinstance(value, Record):
        return value.operate(symbol, None, False, place)
    return computed(perform_safely(perform, value), value)


def compare(kind: type[ast.cmpop], left: Value, right: Value, place: Place) -> Value:
    """Return one comparison; unknown values give an unknown one."""
    if kind in (ast.Is, ast.IsNot):
        return _identity(left, right, kind is ast.Is)
    if kind in (ast.In, ast.NotIn):
        found = contains(right, left, place)
        return found if isinstance(found, Unknown) else found is (kind is ast.In)
    for side in (left, right):
        if isinstance(side, Unknown):
            return side
    symbol, perform = ORDER[kind]
    if isinstance(left, Record) or isinstance(right, Record):
        return _compare_records(symbol, left, right, place)
    if isinstance(left, LibraryName) or isinstance(right, LibraryName):
        other = right if isinstance(left, LibraryName) else left
        is_told = other is None or isinstance(other, LibraryName)  # and no number or text
        if kind in (ast.Eq, ast.NotEq) and is_told:
            return (left == right) is (kind is ast.Eq)
        name = left if isinstance(left, LibraryName) else right
        raise NotUnderstoodError(f"'{symbol}' of {name.name}")
    unknown = first_unknown(left, right)
    check_equality(left, right)
    check_comparison(left, right)
    return unknown or perform_safely(perform, left, right)


def _identity(left: Value, right: Value, is_same: bool) -> Value:
    for side in (left, right):
        if isinstance(side, Unknown):
            return side
    if isinstance(left, LibraryName) and isinstance(right, LibraryName):
        return (left == right) is is_same
    if left is None or right is None or isinstance(left, bool) or isinstance(right, bool):
        return (left is right) is is_same
    if is_plain(left) and is_plain(right):
        return (type(left) is type(right) and left == right) is is_same
    return (left is right) is is_same


def _compare_records(symbol: str, left: Value, right: Value, place: Place) -> Value:
    if symbol in ("==", "!="):
        if left is right:
            return symbol == "=="
        if left is None or right is None or isinstance(left, str) or isinstance(right, str):
            return symbol == "!="
    if isinstance(left, Record):
        return left.operate(symbol, right, False, place)
    return right.operate(symbol, left, True, place)


def check_equality(*values: Value) -> None:
    """Check that no object among these, or in them, says itself what it is equal to.

    Raises:
        NotUnderstoodError: otherwise.
    """
    pending = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            pending += value
        elif getattr(value, "has_own_equality", False):
            raise NotUnderstoodError("objects in a list that may be equal to other ones")


def contains(container: Value, value: Value, place: Place) -> Value:
    """Return whether a container has a value."""
    for side in (container, value):
        if isinstance(side, Unknown):
            return side
    if isinstance(container, Record):
        return container.operate("in", value, True, place)
    if isinstance(container, LibraryName):
        raise NotUnderstoodError(f"'in' of {container.name}")
    if isinstance(container, range) and type(value) is not int:
        raise NotUnderstoodError("'in' of a range with what is no whole number")
    check_tree(container, value)
    check_equality(container, value)
    if isinstance(value, Record | LibraryName):
        if isinstance(container, list | tuple | set | frozenset | dict):
            unknown = first_unknown(container)
            return unknown or any(item is value or item == value for item in container)
        return perform_safely(operator.contains, container, None)
    unknown = first_unknown(container, value)
    return unknown or perform_safely(operator.contains, container, value)
