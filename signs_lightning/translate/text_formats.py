"""Formatting of texts: `%`, `.format`, f-strings, bounded."""

from __future__ import annotations

import re
import string
from typing import Any

from signs_lightning.translate.iterators import has_order
from signs_lightning.translate.limits import Budget, check_tree
from signs_lightning.translate.source_errors import perform_safely
from signs_lightning.translate.values import LibraryName, NotUnderstoodError, Record, Unknown, Value

_NUMBERS = re.compile(r"\d+")
_SPEC = re.compile(r"%(?:\([^)]*\))?[-+ #0]*([\d.]*)")
_WIDTH = 200
_SCALARS = (bool, int, float, complex, str)


def as_text(value: Value, conversion: str, budget: Budget) -> str:
    """Return `str(value)`, or what the conversion "r" or "a" makes of it."""
    check_tree(value)
    check_printable(value)
    text = {"r": repr, "a": ascii}.get(conversion, str)(value)
    budget.make_text(len(text))
    return text


def check_printable(value: Value) -> None:
    """Check that a value and what it contains are plain.

    Raises:
        NotUnderstoodError: otherwise.
    """
    if isinstance(value, Record | LibraryName | Unknown):
        raise NotUnderstoodError("the text of a library's object")
    if isinstance(value, dict):
        for pair in value.items():
            check_printable(pair)
    elif isinstance(value, set | frozenset) and not has_order(value):
        raise NotUnderstoodError("the text of a set, whose order is not known")
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            check_printable(item)


def format_value(value: Value, conversion: str, spec: str, budget: Budget) -> str:
    """Return `format(value, spec)`.

    Raises:
        NotUnderstoodError: for a width that is too large, or a value that is not plain.
        Exception: what Python raises.
    """
    _check_width(spec)
    if conversion or not spec or not isinstance(value, _SCALARS):
        value = as_text(value, conversion, budget)
    text = format(value, spec)
    budget.make_text(len(text))
    return text


def _check_width(spec: str) -> None:
    if any(len(number) > 4 or int(number) > _WIDTH for number in _NUMBERS.findall(spec)):
        raise NotUnderstoodError("a format that is too wide")


def percent_format(template: str, values: Value, budget: Budget) -> str:
    """Return `template % values`."""
    if "*" in template:
        raise NotUnderstoodError("a format with '*'")
    _check_width(" ".join(_SPEC.findall(template)))
    check_tree(values)
    check_printable(values)
    sizes = [len(v) for v in (values if isinstance(values, tuple) else (values,)) if _is_text(v)]
    budget.make_text(len(template) * (1 + max(sizes, default=0)))
    return perform_safely(lambda: template % values)


def _is_text(value: Value) -> bool:
    return isinstance(value, str | bytes)


class _Formatter(string.Formatter):
    """`str.format`, without attributes of values and with bounded widths."""

    def __init__(self, budget: Budget, attribute: Any) -> None:
        self._budget = budget
        self._attribute = attribute

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        first, rest = re.match(r"([^.\[]*)(.*)", field_name, re.S).groups()  # type: ignore[union-attr]
        value = self.get_value(int(first) if first.isdigit() else first, args, kwargs)
        for name, index in re.findall(r"\.(\w+)|\[([^\]]*)\]", rest):
            if name:
                value = self._attribute(value, name)
            else:
                value = value[int(index) if index.isdigit() else index]
        return value, first

    def format_field(self, value: Any, format_spec: str) -> str:
        return format_value(value, "", format_spec, self._budget)

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return as_text(value, conversion, self._budget) if conversion else value


def format_method(
    template: str, args: list[Value], kwargs: dict[str, Value], budget: Budget, attribute: Any
) -> str:
    """Return `template.format(*args, **kwargs)`; `attribute(value, name)` reads `{0.name}`."""
    formatter = _Formatter(budget, attribute)
    budget.make_text(len(template))
    text = formatter.vformat(template, args, kwargs)
    budget.make_text(len(text))
    return text
