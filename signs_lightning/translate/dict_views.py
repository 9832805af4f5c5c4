"""`keys()`, `values()` and `items()` of a dict, which change with it."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.iterators import live_items
from signs_lightning.translate.operators import check_equality, contains, first_unknown
from signs_lightning.translate.source_errors import perform_safely
from signs_lightning.translate.text_formats import as_text
from signs_lightning.translate.values import NotUnderstoodError, Place, Record, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

_OPERATORS = {
    "==": operator.eq, "!=": operator.ne, "|": operator.or_, "&": operator.and_,
    "-": operator.sub, "^": operator.xor,
}  # fmt: skip


class DictView(Record):
    """What `keys()`, `values()` or `items()` gives.

    Args:
        mapping: the dict.
        name: of the method.
    """

    def __init__(self, interpreter: Interpreter, mapping: dict[Value, Value], name: str) -> None:
        self._interpreter = interpreter
        self._name = name
        self._mapping = mapping
        self.sources: list[Value] = [mapping]  # that it shows

    def describe(self) -> str:
        return f"the {self._name} of a dict"

    def _now(self) -> Any:
        """Return Python's own view.

        Raises:
            NotUnderstoodError: code that is not understood may have changed the dict.
        """
        poison = self._interpreter.effects.poison_of(self._mapping)
        if poison:
            raise NotUnderstoodError(poison.reason)
        return getattr(self._mapping, self._name)()

    def length(self, place: Place) -> Value:
        return len(self._now())

    def iterate(self, place: Place) -> Iterator[Value]:
        return live_items(self._interpreter, self._now(), self._mapping)

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        if operator == "in":
            return contains(list(self._now()), other, place)
        perform = _OPERATORS.get(operator)
        right = other._now() if isinstance(other, DictView) else other
        if perform is None or isinstance(right, Record):
            return super().operate(operator, other, is_reflected, place)
        unknown = first_unknown(list(self._now()), right)
        check_equality(list(self._now()), right)
        pair = (right, self._now()) if is_reflected else (self._now(), right)
        return unknown or perform_safely(perform, *pair)

    def own_text(self) -> str:
        text = as_text(list(self._now()), "r", self._interpreter.budget)
        return f"dict_{self._name}({text})"


def view_of(name: str) -> Any:
    """Return what does the method of a dict: a list in Python 2."""

    def perform(
        interpreter: Interpreter, value: Any, args: Any, kwargs: Any, place: Place
    ) -> Value:
        if not interpreter.is_python2:
            return DictView(interpreter, value, name)
        interpreter.budget.make(len(value))
        return list(getattr(value, name)())

    return perform
