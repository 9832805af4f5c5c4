"""Iterators: each value is made when it is taken, and what is left stays for the next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.source_errors import SourceError, perform_safely
from signs_lightning.translate.values import (
    NeedsFactError,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

_END = object()
_DEPTH = 100  # of iterators over iterators


class ValueIterator(Record):
    """An iterator of Python's own: a generator, or what `iter`, `zip`, `map` and the like give.

    Args:
        values: what gives its values.
        sources: the values that it takes them from; to take one may change these.
        what: that messages call it.

    Raises:
        NotUnderstoodError: if it is nested too deep.
    """

    def __init__(
        self, values: Iterable[Value], sources: Iterable[Value] = (), what: str = "an iterator"
    ) -> None:
        self._values = iter(values)
        self._what = what
        self._failure: Exception | None = None
        self.sources = list(sources)
        inner = [source for source in self.sources if isinstance(source, ValueIterator)]
        self._depth: int = 1 + max((source._depth for source in inner), default=0)
        if self._depth > _DEPTH:
            raise NotUnderstoodError("iterators that are nested too deep")

    def describe(self) -> str:
        return self._what

    def next(self) -> Value:
        """Return the next value.

        Raises:
            SourceError: after the last one.
        """
        value = self._take()
        if value is _END:
            raise SourceError("StopIteration")
        return value

    def _take(self) -> Value:
        if self._failure is not None:  # what it gave before is not known
            raise self._failure
        try:
            return perform_safely(next, self._values, _END)
        except (NotUnderstoodError, NeedsFactError) as error:
            self._fail(error)
            raise

    def _fail(self, error: Exception) -> None:
        self._failure = error
        for source in self.sources:
            if isinstance(source, ValueIterator):
                source._fail(error)

    def iterate(self, place: Place) -> Iterator[Value]:
        while (value := self._take()) is not _END:
            yield value

    def taint(self, unknown: Unknown) -> None:
        self._fail(NotUnderstoodError(unknown.reason))


def has_order(value: set[Value] | frozenset[Value]) -> bool:
    """Return whether Python takes the items of a set in the same order each time.

    It puts them where their hashes say. Those of texts change from run to run; small whole numbers
    are their own, and lie side by side in a table that has at least 8 places, and 5 for 3 items.
    """
    if len(value) < 2:
        return True
    is_whole = all(isinstance(item, int) and item >= 0 for item in value)
    return is_whole and max(value) < max(8, len(value) * 5 // 3)


def live_items(interpreter: Interpreter, value: Any, owner: Any = None) -> Iterator[Value]:
    """Return the items of one of Python's containers, with the changes made to it meanwhile.

    Args:
        owner: the dict that `value` is a view of.

    Raises:
        NotUnderstoodError: if code that is not understood may have changed it meanwhile.
        SourceError: if Python raises.
    """
    return _live(interpreter, iter(value), value if owner is None else owner)


def _live(interpreter: Interpreter, items: Iterator[Value], owner: Any) -> Iterator[Value]:
    while True:
        poison = interpreter.effects.poison_of(owner)
        if poison:
            raise NotUnderstoodError(poison.reason)
        item = perform_safely(next, items, _END)
        if item is _END:
            return
        yield item
