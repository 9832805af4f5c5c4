"""Texts that are run as code where they stand: read as a part of the source, if they are known."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.values import NotUnderstoodError, Place, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

_CHARACTERS = 20_000
_PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


@dataclass(frozen=True)
class CallSite:
    """Where a call is, whose function sees the names around it."""

    interpreter: Interpreter
    scope: Scope
    node: ast.AST

    @property
    def place(self) -> Place:
        return self.interpreter.place(self.node, self.scope)

    @property
    def inner_scope(self) -> Scope:
        """Where code in a text binds its names: in a function, they end with it."""
        scope = self.scope
        return scope if scope.parent is None or scope.is_class else Scope(scope.module, scope)

    def run(self, text: Value) -> None:
        """Run a text as `exec` does.

        Raises:
            NotUnderstoodError: it is not known, or is no Python.
        """
        self.interpreter.run_block(self.parse(text).body, self.inner_scope)

    def evaluate(self, text: Value) -> Value:
        """Return the value of an expression in a text; run it if it is none, and return None."""
        body = self.parse(text).body
        if len(body) == 1 and isinstance(body[0], ast.Expr):
            return self.interpreter.evaluate(body[0].value, self.inner_scope)
        self.interpreter.run_block(body, self.inner_scope)
        return None

    def perhaps_run(self, text: Value, reason: str) -> None:
        """Do as if a text may or may not be run."""
        unknown = Unknown(reason, self.place)
        if self.interpreter.havoc(list(self.parse(text).body), self.scope, unknown):
            self.interpreter.findings.add_unknown(unknown)

    def parse(self, text: Value) -> ast.Module:
        """Return the tree of a text, all of it on the line of the call.

        Raises:
            NotUnderstoodError: it is not known, or is no Python.
        """
        self.interpreter.budget.make(len(text) if isinstance(text, str) else 1)
        tree = _parsed(text)
        if tree is None:
            raise self.hidden_change("a text that is run as code, and is not known")
        for part in ast.walk(tree):
            if hasattr(part, "lineno"):
                part.lineno = getattr(self.node, "lineno", 0)
        return tree

    def hidden_change(self, reason: str) -> NotUnderstoodError:
        """Note that any name and any model may be changed; return the error that says so."""
        self.interpreter.effects.everything.append(Unknown(reason, self.place))
        return NotUnderstoodError(reason)


def _parsed(text: Value) -> ast.Module | None:
    if not isinstance(text, str) or len(text) > _CHARACTERS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as invalid escapes in its texts
            return ast.parse(text.strip())
    except _PARSER_ERRORS:
        return None
