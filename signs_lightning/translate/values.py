"""The values that the interpreter knows: plain Python ones, unknown ones, and records of libraries.

A value is a number, a text, None, a list, tuple, dict, set, slice or range of Python; an `Unknown`;
a `LibraryName`; or a `Record` of a library's object. Functions and classes of the source itself are
records, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Value = Any


@dataclass(frozen=True, order=True)
class Place:
    """Where a statement is.

    Attributes:
        cell: number of the code cell, from 1 as Jupyter counts cells; 0 in a script.
        line: line of the cell or of the script, from 1.
        file: name of a sibling module that it is in; empty for the file itself.
    """

    cell: int
    line: int
    file: str = ""

    def __str__(self) -> str:
        where = f"cell {self.cell}, line {self.line}" if self.cell else f"line {self.line}"
        return f"{self.file}, {where}" if self.file else where


class NotUnderstoodError(Exception):
    """A statement has what is not understood; its message says what, without the place."""


class NeedsFactError(Exception):
    """A value that only the data know is needed.

    Attributes:
        fact: its name, such as "input_shape", "classes", or "X_train.shape[0]".
    """

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


@dataclass(frozen=True)
class Unknown:
    """A value that is not known.

    Attributes:
        reason: what is not understood, such as "tf.py_function(…)".
        place: the statement that it comes from.
        fact: name of the fact that tells it, where only the data know it; None otherwise.
    """

    reason: str
    place: Place
    fact: str | None = None


@dataclass(frozen=True)
class NoEffect(Unknown):
    """An unknown value of what has no effect on model and training, such as a plot.

    Its attributes, items and the results of its calls are this same value, and calling it changes
    none of its arguments.
    """


@dataclass(frozen=True)
class LibraryName:
    """A name of a library, such as "keras.layers.Conv2D", of which nothing is imported.

    Attributes:
        name: dotted, in the canonical spelling that `library_names` gives.
    """

    name: str


class Record:
    """An object of a library, of which only what matters is kept.

    What a method here does not override is not understood. Each gets values that may contain
    `Unknown` ones, and returns a value; an unknown argument that matters makes an unknown result or
    is kept until the model is written.

    Raises:
        NotUnderstoodError: from each method, for what the record does not know.
    """

    def describe(self) -> str:
        """Return what messages call it."""
        return type(self).__name__

    def attribute(self, name: str, place: Place) -> Value:
        """Return `self.name`; a method is returned as a `Method`."""
        raise NotUnderstoodError(f".{name} of {self.describe()}")

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        """Do `self.name = value`."""
        raise NotUnderstoodError(f"setting .{name} of {self.describe()}")

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        """Return `self(*args, **kwargs)`."""
        raise NotUnderstoodError(f"calling {self.describe()}")

    def item(self, index: Value, place: Place) -> Value:
        """Return `self[index]`."""
        raise NotUnderstoodError(f"indexing {self.describe()}")

    def set_item(self, index: Value, value: Value, place: Place) -> None:
        """Do `self[index] = value`."""
        raise NotUnderstoodError(f"setting an item of {self.describe()}")

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        """Return `self operator other`, such as "+", or the other way round; "-" alone has None."""
        raise NotUnderstoodError(f"'{operator}' of {self.describe()}")

    def length(self, place: Place) -> Value:
        """Return `len(self)`."""
        raise NotUnderstoodError(f"the length of {self.describe()}")

    def iterate(self, place: Place) -> Iterator[Value]:
        """Yield the items that a `for` loop takes."""
        raise NotUnderstoodError(f"a loop over {self.describe()}")

    def taint(self, unknown: Unknown) -> None:
        """Note that code that is not understood may have changed this object."""


@dataclass(frozen=True)
class Method(Record):
    """A method of a record, which `perform(args, kwargs, place)` does."""

    name: str
    perform: Any

    def describe(self) -> str:
        return f"{self.name}()"

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return self.perform(args, kwargs, place)
