"""Interpretation of the cells of a source, of which nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from signs_lightning.translate import evaluate as expressions
from signs_lightning.translate import library_calls
from signs_lightning.translate.assignments import assign, set_attribute
from signs_lightning.translate.cell_runs import run_all
from signs_lightning.translate.cells import CELL_LINES, Cell
from signs_lightning.translate.classes import Instance, Super, UserClass
from signs_lightning.translate.control_flow import run_block
from signs_lightning.translate.dict_views import DictView
from signs_lightning.translate.findings import NOT_UNDERSTOOD, Findings
from signs_lightning.translate.interpretation import Interpretation, UnreadTraining
from signs_lightning.translate.iterators import ValueIterator, has_order, live_items
from signs_lightning.translate.libraries import Libraries
from signs_lightning.translate.limits import LENGTH, Budget
from signs_lightning.translate.operators import binary
from signs_lightning.translate.scopes import Module, Scope
from signs_lightning.translate.signals import Signal
from signs_lightning.translate.source_errors import SourceError
from signs_lightning.translate.unknown_effects import Effects
from signs_lightning.translate.values import (
    LibraryName,
    NeedsFactError,
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)


def run_cells(
    cells: list[Cell],
    libraries: Libraries,
    facts: dict[str, Any],
    folder: Path | None = None,
) -> Interpretation:
    """Interpret cells, one after the other.

    Args:
        facts: values that only the data know, by the names they are asked for.
        folder: where modules beside the source are looked for; None for nowhere.
    """
    return run_all(Interpreter(libraries, facts, folder), cells)


class Interpreter:
    """The state of an interpretation, and its operations on values.

    Attributes:
        libraries: what is known of the libraries.
        facts: values that only the data know.
        folder: of the source.
        budget: the steps and memory that are left.
        findings: of the statements so far.
        effects: what code that was not run may have changed.
        depth: of the calls of functions of the source.
        import_guards: `try` statements around that catch a missing module.
        name_guards: likewise, that catch a missing name.
        is_python2: whether the source is for Python 2.
        true_division: files in which `/` of whole numbers gives fractions even so.
        running: files that `%run` runs now.
        written: texts of files that cells write, by their names.
    """

    def __init__(self, libraries: Libraries, facts: dict[str, Any], folder: Path | None) -> None:
        self.libraries = libraries
        self.facts = facts
        self.folder = folder
        self.budget = Budget()
        self.findings = Findings()
        self.effects = Effects(self)
        self.modules: dict[str, Module | None] = {}
        self.imports: list[str] = []
        self.running: list[Path] = []
        self.written: dict[str, str] = {}
        self.unread_trainings: list[UnreadTraining] = []
        self.trainings: list[Any] = []
        self.depth = 0
        self.statement_depth = 0
        self.import_guards = 0
        self.name_guards = 0
        self.is_python2 = False
        self.true_division: set[str] = set()
        self.kinds: list[set[str]] = [set()]
        self.raised: Unknown | None = None  # by the last statement of a cell
        self.result: Value = None  # of the last expression that was a statement or assigned

    # Statements and expressions.

    def run_block(self, nodes: Iterable[ast.stmt], scope: Scope) -> Signal | None:
        """Run statements until one ends the block, and return how it does."""
        return run_block(self, list(nodes), scope)

    def evaluate(self, node: ast.expr, scope: Scope) -> Value:
        return expressions.evaluate(self, node, scope)

    def test(self, node: ast.expr, scope: Scope) -> bool | Unknown:
        """Return the truth of an expression."""
        return self.truth(self.evaluate(node, scope), self.place(node, scope))

    def place(self, node: ast.AST, scope: Scope) -> Place:
        cell, line = divmod(getattr(node, "lineno", 0), CELL_LINES)
        return Place(cell, line, scope.module.file)

    def checked(self, value: Value) -> Value:
        """Return a value, or what is known in its place: a fact, or that it was tainted."""
        if isinstance(value, Unknown):
            if value.fact is not None and value.fact in self.facts:
                return self.facts[value.fact]
        elif isinstance(value, list | dict | set):
            return self.effects.poison_of(value) or value
        return value

    # Operations on values.

    def attribute(self, value: Value, name: str, place: Place) -> Value:
        return expressions.attribute(self, value, name, place)

    def set_attribute(self, value: Value, name: str, new: Value, place: Place) -> None:
        set_attribute(self, value, name, new, place)

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        assign(self, target, value, scope)

    def binary(self, kind: type[ast.operator], left: Value, right: Value, place: Place) -> Value:
        is_whole = isinstance(left, int) and isinstance(right, int)
        is_old = self.is_python2 and place.file not in self.true_division
        if kind is ast.Div and is_whole and is_old:
            kind = ast.FloorDiv
        return self.checked(binary(kind, left, right, place, self.budget))

    def truth(self, value: Value, place: Place) -> bool | Unknown:
        """Return whether a value is true."""
        if isinstance(value, Unknown):
            return value
        if isinstance(value, Instance) and value.has_method("__bool__"):
            told = value.call_method("__bool__", [], {}, place)
            return told if isinstance(told, Unknown) else bool(told)
        if isinstance(value, Record):
            try:
                length = value.length(place)
            except (NotUnderstoodError, SourceError):
                return True
            except NeedsFactError as error:
                return Unknown(f"the length of {value.describe()}", place, error.fact)
            return length if isinstance(length, Unknown) else bool(length)
        return True if isinstance(value, LibraryName) else bool(value)

    def iterate(self, value: Value, place: Place) -> Iterator[Value] | Unknown:
        """Return the items of a value, or an unknown value if they are not known."""
        if isinstance(value, Unknown):
            return value
        try:
            return iter(self._iterated(value, place))
        except NotUnderstoodError as error:
            return self.new_unknown(str(error), place)
        except NeedsFactError as error:
            return self.new_unknown(f"a loop over {error.fact}", place, error.fact)

    def _iterated(self, value: Value, place: Place) -> Iterable[Value]:
        if isinstance(value, ValueIterator | DictView | Instance):
            return value.iterate(place)
        if isinstance(value, Record):
            items = []
            for item in value.iterate(place):
                self.budget.step()
                items.append(item)
                if len(items) > LENGTH:
                    raise NotUnderstoodError(f"a loop over {value.describe()}")
            return items
        if isinstance(value, LibraryName):
            raise NotUnderstoodError(f"a loop over {value.name}")
        if isinstance(value, set | frozenset) and not has_order(value):
            return [Unknown("the order of a set", place)] * len(value)
        if isinstance(value, list | dict | set | frozenset):
            return live_items(self, value)
        if isinstance(value, tuple | str | range | bytes):
            return value
        raise SourceError("TypeError", f"a loop over a {type(value).__name__}")

    def items(self, value: Value, place: Place) -> list[Value]:
        """Return all items of a value.

        Raises:
            NotUnderstoodError: if they are not known.
        """
        if isinstance(value, range):
            self.budget.check(len(value) if value.stop - value.start < LENGTH**3 else LENGTH + 1)
        result = list(islice(self.taken(value, place), LENGTH + 1))
        self.budget.make(len(result))
        return result

    def unordered(self, value: Value, place: Place) -> list[Value]:
        """Return all items of a value for what does not ask in which order they are."""
        is_set = isinstance(value, set | frozenset)
        return list(value) if is_set else self.items(value, place)

    def taken(self, value: Value, place: Place) -> Iterator[Value]:
        """Return the items of a value, each of which is made when it is taken.

        Raises:
            NotUnderstoodError: if they are not known.
        """
        items = self.iterate(value, place)
        if isinstance(items, Unknown):
            raise NeedsFactError(items.fact) if items.fact else NotUnderstoodError(items.reason)
        return items

    def own_text(self, value: Value, place: Place, conversion: str = "") -> str | None:
        """Return the text that a record says it has, or None for other values."""
        if isinstance(value, Instance):
            for name in ("__repr__",) if conversion in ("r", "a") else ("__str__", "__repr__"):
                if value.has_method(name):
                    text = value.call_method(name, [], {}, place)
                    if not isinstance(text, str):
                        raise NotUnderstoodError(f"{name} of {value.describe()}")
                    return text
        text = getattr(value, "own_text", None) if isinstance(value, Record) else None
        return text() if text else None

    def call(
        self, function: Value, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        """Return what a call gives."""
        return self.checked(library_calls.call(self, function, args, kwargs, place))

    def note_unread_training(self, node: ast.Call, unknown: Unknown, scope: Scope) -> None:
        """Note that a model is compiled or trained in a way that is not understood."""
        owner = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        name = owner.id if isinstance(owner, ast.Name) else ""
        model = self.effects.peek(owner, scope)
        model = model if hasattr(model, "fits") else getattr(model, "base", None)
        place = self.place(node, scope)
        unread = UnreadTraining(name, model, unknown, place)
        self.unread_trainings.append(unread)
        self.trainings.append(unread)

    def library_attribute(self, name: str, place: Place) -> Value:
        return library_calls.attribute(self, name, place)

    def subclass(self, name: str, instance: Instance, place: Place) -> Value:
        """Return what an instance of a class that derives from a library's class is for it."""
        result = self.libraries.subclass(name, instance, place)
        if result is NotImplemented:
            return self.new_unknown(f"a class that derives from {name}", place)
        return result

    def super_of(self, owner: UserClass | None, receiver: Value) -> Value:
        if owner is None:
            raise NotUnderstoodError("super()")
        return Super(self, owner, receiver)

    # What is not known.

    def new_unknown(self, reason: str, place: Place, fact: str | None = None) -> Unknown:
        """Return a new unknown value, and note it as a finding."""
        unknown = Unknown(reason, place, fact)
        self.note_unknown(unknown)
        return unknown

    def note_unknown(self, unknown: Unknown) -> None:
        """Note as a finding what is not known."""
        self.findings.add_unknown(unknown)
        if not unknown.fact and not isinstance(unknown, NoEffect):
            self.kinds[-1].add(NOT_UNDERSTOOD)

    def taint(self, values: list[Value], unknown: Unknown) -> None:
        self.effects.taint(values, unknown)

    def havoc(self, nodes: list[Any], scope: Scope, unknown: Unknown) -> bool:
        return self.effects.havoc(nodes, scope, unknown)
