"""The lines of a `forward`, from statements: variables, and calls inside of calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Any

from signs_lightning.source.expressions import Call, Code, Input, substitute, text, walk
from signs_lightning.source.layout import lines_of
from signs_lightning.source.program import Statement

MAX_LINE = 84  # characters, up to which a call is written inside of another one
VARIABLES = "xyzuvwpqrst"
LIGHT = ("Norm", "Dropout", "ReLU", "Identity", "Noise")  # modules that share a line with others


class ForwardLines:
    """Writes the body of a `forward`.

    Args:
        statements: of the body.
        inputs: names of the values from outside, by their numbers.
        first: number of the first statement's value; the others follow.
        layer_code: gives the code of a statement's module, such as `self.conv1`.
        is_heavy: whether a statement's module begins a line of its own.
    """

    def __init__(
        self,
        statements: Sequence[Statement],
        inputs: dict[int, str],
        first: int,
        layer_code: Callable[[Statement], str],
        is_heavy: Callable[[Statement], bool],
    ) -> None:
        self.statements, self.first = statements, first
        self.layer_code, self.is_heavy = layer_code, is_heavy
        self.result = first + len(statements) - 1
        self.uses = Counter([self.result])
        self.last_uses = {self.result: self.result + 1}
        for k, statement in enumerate(statements, start=first):
            self.uses.update(statement.inputs)
            self.last_uses |= dict.fromkeys(statement.inputs, k)
        self.values: dict[int, Any] = {number: Code(name) for number, name in inputs.items()}
        self.owners = {name: number for number, name in inputs.items()}
        self.pending: int | None = None  # a value that is not assigned yet
        self.lines: list[str] = []

    def write(self) -> list[str]:
        """Return the lines, at a margin of two levels."""
        for k, statement in enumerate(self.statements, start=self.first):
            self._write(k, statement)
        return [*self.lines, *lines_of(self.values[self.result], 2, "return ")]

    def _write(self, number: int, statement: Statement) -> None:
        begins_line = len(set(statement.inputs)) > 1 and self._is_call(statement)
        begins_line |= bool(statement.layer) and self.is_heavy(statement)
        if self.pending is not None and (begins_line or _is_repeated(statement, self.pending)):
            self._assign(self.pending)
        code = self._code(statement)
        if self.pending is not None and len(text(code)) > MAX_LINE:
            self._assign(self.pending)
            code = self._code(statement)
        self.pending, self.values[number] = None, code
        if statement.penalty is not None:
            self._assign(number)
            penalty = substitute(statement.penalty, (self.values[number],))
            self.lines += lines_of(penalty, 2, "self.penalty = self.penalty + ")
        elif isinstance(code, Code):  # the same value under another number
            owner = self.owners[code.text]
            last = max(self.last_uses.get(value, 0) for value in (owner, number))
            self.last_uses[owner] = self.last_uses[number] = last
        elif self._is_taken_next(number):
            self.pending = number
        else:
            self._assign(number)

    def _is_call(self, statement: Statement) -> bool:
        """Return whether a statement of several inputs is more than an operator."""
        return isinstance(statement.code, Call)

    def _is_taken_next(self, number: int) -> bool:
        position = number + 1 - self.first
        if number == self.result:
            return True
        return self.uses[number] == 1 and number in self.statements[position].inputs

    def _code(self, statement: Statement) -> Any:
        arguments = tuple(self.values[value] for value in statement.inputs)
        layer = Code(self.layer_code(statement)) if statement.layer else None
        return substitute(statement.code, arguments, layer)

    def _assign(self, number: int) -> None:
        """Write a value into a variable that no later statement reads."""
        for name in chain(VARIABLES, (f"x{k}" for k in count(1))):
            owner = self.owners.get(name)
            if owner is None or self.last_uses.get(owner, 0) <= number:
                break
        self.lines += lines_of(self.values[number], 2, f"{name} = ")
        self.owners[name], self.values[number], self.pending = number, Code(name), None


def _is_repeated(statement: Statement, value: int) -> bool:
    """Return whether the code of a statement has a value more than once."""
    numbers = [node.number for node in walk(statement.code) if isinstance(node, Input)]
    return sum(statement.inputs[number] == value for number in numbers) > 1


def is_heavy_code(code: Any) -> bool:
    """Return whether a module is one that begins a line."""
    return isinstance(code, Call) and not any(part in text(code.function) for part in LIGHT)
