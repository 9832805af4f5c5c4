"""Bounds of time, steps and memory within which a source is interpreted."""

from __future__ import annotations

import time

from signs_lightning.translate.values import NotUnderstoodError, Value

SECONDS = 4.0
STEPS = 1_500_000
ITEMS = 3_000_000  # of all containers made; a text counts a tenth of its length
LENGTH = 300_000  # of one text or container
BITS = 2048  # of one whole number
CALL_DEPTH = 40
_TREE = 20_000  # values in a nested container that is printed, compared or hashed
_TREE_DEPTH = 40


class LimitError(Exception):
    """The interpretation as a whole takes too long or too much memory."""


class Budget:
    """What the interpretation may still use.

    Attributes:
        reason: why it ended; empty before.
    """

    def __init__(self) -> None:
        self._steps = STEPS
        self._items = ITEMS
        self._end = time.monotonic() + SECONDS
        self.reason = ""

    def step(self, count: int = 1) -> None:
        """Count a step.

        Raises:
            LimitError: if there were too many, or the time is over.
        """
        self._steps -= count
        if self._steps < 0:
            self._stop(f"more than {STEPS:,} steps")
        if self._steps % 64 < count and time.monotonic() > self._end:
            self._stop("longer than the time allowed")

    def make(self, length: int) -> int:
        """Return the length of a container that is to be made, after counting it.

        Raises:
            NotUnderstoodError: if it alone is too long.
            LimitError: if all together are.
        """
        self.check(length)
        self._items -= length
        if self._items < 0:
            self._stop("more memory than allowed")
        return length

    @staticmethod
    def check(length: int) -> None:
        """Check the length of one container.

        Raises:
            NotUnderstoodError: if it is too long.
        """
        if length > LENGTH:
            raise NotUnderstoodError(f"a list or text of more than {LENGTH:,} items")

    def make_text(self, length: int) -> None:
        """Count a text that is to be made."""
        self.check(length)
        self.make(length // 10)

    def _stop(self, reason: str) -> None:
        self.reason = reason
        raise LimitError(reason)


def check_tree(*values: Value) -> None:
    """Check that nested containers can be printed, compared and hashed in a moment.

    A list can hold another one many times, so that its elements are more than were ever made.

    Raises:
        NotUnderstoodError: if they are too large or too deep.
    """
    count = 0
    pending = [(value, 0) for value in values]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, dict):
            parts = [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            parts = list(value)
        else:
            continue
        count += len(parts)
        if count > _TREE or depth > _TREE_DEPTH:
            raise NotUnderstoodError("a nested list that is too large")
        pending += [(part, depth + 1) for part in parts]
