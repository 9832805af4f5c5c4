"""Interpretation of short sources, for the tests."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from typing import Any

from signs_lightning.translate.cells import CELL_LINES, Cell
from signs_lightning.translate.interpreter import Interpretation, run_cells
from signs_lightning.translate.libraries import NoLibraries
from signs_lightning.translate.values import LibraryName, Method, Place, Record, Unknown, Value


class Box(Record):
    """An object of a library whose method `add` changes it."""

    def __init__(self) -> None:
        self.added: list[Value] = []
        self.taints: list[Unknown] = []

    def attribute(self, name: str, place: Place) -> Value:
        if name == "add":
            return Method(name, lambda args, kwargs, at: self.added.append(args[0]))
        return super().attribute(name, place)

    def taint(self, unknown: Unknown) -> None:
        self.taints.append(unknown)


class Boxes(NoLibraries):
    """Libraries with `keras.Box()` alone."""

    def call(self, name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        if name == "keras.Box":
            return Box()
        if name == "keras.data_size":
            return Unknown("len(data)", place, "size")
        return NotImplemented


def cell(source: str, number: int = 0) -> Cell:
    """Return a source as a cell."""
    text = textwrap.dedent(source)
    tree = ast.parse(text)
    ast.increment_lineno(tree, number * CELL_LINES)
    return Cell(number, text, tree)


def interpret(
    *sources: str, facts: dict[str, Any] | None = None, folder: Path | None = None
) -> Interpretation:
    """Interpret sources as cells."""
    cells = [cell(source, number) for number, source in enumerate(sources, 1)]
    return run_cells(cells, Boxes(), facts or {}, folder)


def names(result: Interpretation) -> dict[str, Value]:
    """Return what the source bound, without modules, functions and classes."""
    return {
        name: value
        for name, value in result.namespace.items()
        if not isinstance(value, Record | LibraryName)
    }
