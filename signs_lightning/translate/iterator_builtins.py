"""Python's built-in functions that give iterators, or take of one what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.generators import known
from signs_lightning.translate.iterators import ValueIterator
from signs_lightning.translate.source_errors import SourceError, perform_safely
from signs_lightning.translate.values import NotUnderstoodError, Place, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

Builtin = Callable[[Any, list[Value], dict[str, Value], Place], Value]


def _made_later(
    interpreter: Interpreter, values: Iterable[Value], sources: list[Value], place: Place
) -> Value:
    """Return what `zip`, `map` and `filter` give: an iterator, a list in Python 2."""
    iterator = ValueIterator(values, sources)
    return interpreter.items(iterator, place) if interpreter.is_python2 else iterator


def _enumerate(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    start = args[1] if len(args) > 1 else kwargs.get("start", 0)
    if isinstance(start, Unknown):
        return start
    items = interpreter.taken(args[0], place)
    return ValueIterator(perform_safely(enumerate, items, start), args[:1])


def _zip(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    parts = [interpreter.taken(arg, place) for arg in args]
    is_strict = bool(kwargs.get("strict", False))
    return _made_later(interpreter, zip(*parts, strict=is_strict), args, place)


def _map(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    parts = [interpreter.taken(arg, place) for arg in args[1:]]
    if interpreter.is_python2 and (args[0] is None or len(parts) > 1):
        raise NotUnderstoodError("map() of Python 2 without a function, or with several lists")

    def perform(*row: Value) -> Value:
        interpreter.budget.step()
        return interpreter.call(args[0], list(row), {}, place)

    return _made_later(interpreter, perform_safely(map, perform, *parts), args[1:], place)


def _filter(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    items = interpreter.taken(args[1], place)

    if interpreter.is_python2 and isinstance(args[1], str | tuple):
        raise NotUnderstoodError("filter() of Python 2 of a text or tuple")

    def keeps(item: Value) -> bool:
        interpreter.budget.step()
        kind = args[0]
        result = item if kind is None else interpreter.call(kind, [item], {}, place)
        return known(interpreter.truth(result, place))

    return _made_later(interpreter, filter(keeps, items), args[1:], place)


def _reversed(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    value = args[0]
    if isinstance(value, list | tuple | str | range | dict | bytes):
        return ValueIterator(perform_safely(reversed, value))
    if isinstance(value, set | frozenset | ValueIterator):
        raise SourceError("TypeError", "reversed() of what has no order or length")
    return ValueIterator(interpreter.items(value, place)[::-1])


def _any_all(wanted: bool) -> Builtin:
    def find(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        unknown = None
        is_set = isinstance(args[0], set | frozenset)
        for item in (interpreter.unordered if is_set else interpreter.taken)(args[0], place):
            interpreter.budget.step()
            truth = interpreter.truth(item, place)
            if isinstance(truth, Unknown):
                unknown = truth
            elif truth is wanted:
                if unknown:  # at which it may have ended
                    interpreter.taint(args, unknown)
                return wanted
        return unknown or (not wanted)

    return find


ITERATOR_BUILTINS: dict[str, Builtin] = {
    "enumerate": _enumerate, "zip": _zip, "map": _map, "filter": _filter, "reversed": _reversed,
    "any": _any_all(True), "all": _any_all(False),
}  # fmt: skip
