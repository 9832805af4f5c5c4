"""Functions of the source, and their calls."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.generators import generate, yields
from signs_lightning.translate.iterators import ValueIterator
from signs_lightning.translate.limits import CALL_DEPTH
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.signals import Return, Uncertain
from signs_lightning.translate.source_errors import SourceError
from signs_lightning.translate.values import (
    NotUnderstoodError,
    Place,
    Record,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


class Function(Record):
    """A function or lambda of the source.

    Attributes:
        name: as `def` gives it; "<lambda>" for a lambda.
        arguments: its parameters.
        body: its statements.
        scope: of the code around it.
        is_generator: whether it yields.
        attributes: that the source sets on it.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        name: str,
        arguments: ast.arguments,
        body: list[ast.stmt],
        scope: Scope,
    ) -> None:
        self._interpreter = interpreter
        self.name = name
        self.arguments = arguments
        self.body = body
        self.scope = scope
        self.owner: Any = scope.owner if scope.is_class else None
        self.is_generator = yields(body)
        self.attributes: dict[str, Value] = {"__name__": name, "__doc__": _docstring(body)}
        self._defaults = [interpreter.evaluate(node, scope) for node in arguments.defaults]
        self._keyword_defaults = [
            node and interpreter.evaluate(node, scope) for node in arguments.kw_defaults
        ]

    @classmethod
    def define(
        cls, interpreter: Interpreter, node: ast.FunctionDef | ast.Lambda, scope: Scope
    ) -> Function:
        """Return the function of a `def` or lambda, without its decorators."""
        if isinstance(node, ast.Lambda):
            body: list[ast.stmt] = [ast.copy_location(ast.Return(value=node.body), node)]
            return cls(interpreter, "<lambda>", node.args, body, scope)
        return cls(interpreter, node.name, node.args, node.body, scope)

    def describe(self) -> str:
        return f"function {self.name}"

    def attribute(self, name: str, place: Place) -> Value:
        if name in self.attributes:
            return self.attributes[name]
        return super().attribute(name, place)

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        self.attributes[name] = value

    def parameters(self) -> list[str]:
        """Return the names of all its parameters."""
        a = self.arguments
        named = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
        return [arg.arg for arg in named if arg is not None]

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        scope = Scope(self.scope.module, self.scope)
        scope.owner = self.owner or self.scope.owner
        scope.variables.update(self._bound(args, kwargs))
        if self.owner is not None and args:
            scope.receiver = args[0]
        if self.is_generator:
            values = generate(self._interpreter, self, scope)
            return ValueIterator(values, [self], f"the generator {self.name}()")
        return self._run(scope)

    def _run(self, scope: Scope) -> Value:
        interpreter = self._interpreter
        if interpreter.depth >= CALL_DEPTH:
            raise NotUnderstoodError(f"{self.name}() calls itself too deep")
        interpreter.depth += 1
        try:
            signal = interpreter.run_block(self.body, scope)
        finally:
            interpreter.depth -= 1
        if isinstance(signal, Uncertain):
            return signal.unknown
        return signal.value if isinstance(signal, Return) else None

    def evaluate_inside(self, node: ast.expr, names: dict[str, Value]) -> Value:
        """Return the value of an expression of its body, with the names of its arguments."""
        scope = Scope(self.scope.module, self.scope)
        scope.variables.update(names)
        return self._interpreter.evaluate(node, scope)

    def _bound(self, args: list[Value], kwargs: dict[str, Value]) -> dict[str, Value]:
        a = self.arguments
        positional = [arg.arg for arg in (*a.posonlyargs, *a.args)]
        bound: dict[str, Value] = dict(zip(positional, args, strict=False))
        extra = args[len(positional) :]
        if a.vararg:
            bound[a.vararg.arg] = tuple(extra)
        elif extra:
            raise SourceError("TypeError", f"{self.name}() got too many arguments")
        only = [arg.arg for arg in a.kwonlyargs]
        rest: dict[str, Value] = {}
        for name, value in kwargs.items():
            if name in bound and name in positional:
                raise SourceError("TypeError", f"{self.name}() got two values for {name}")
            if name in positional or name in only:
                bound[name] = value
            elif a.kwarg:
                rest[name] = value
            else:
                raise SourceError("TypeError", f"{self.name}() got an unexpected {name}")
        if a.kwarg:
            bound[a.kwarg.arg] = rest
        start = len(positional) - len(self._defaults)
        defaults = dict(zip(positional[start:], self._defaults, strict=True))
        for name, node, value in zip(only, a.kw_defaults, self._keyword_defaults, strict=True):
            if node is not None:
                defaults[name] = value
        bound = {**{name: v for name, v in defaults.items() if name not in bound}, **bound}
        missing = [name for name in (*positional, *only) if name not in bound]
        if missing:
            raise SourceError("TypeError", f"{self.name}() misses the argument {missing[0]}")
        return bound


def _docstring(body: list[ast.stmt]) -> str | None:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first.value.value if isinstance(first.value.value, str) else None
    return None


class Partial(Record):
    """`functools.partial(function, …)`."""

    def __init__(
        self, interpreter: Interpreter, function: Value, args: list[Value], kwargs: dict[str, Value]
    ) -> None:
        self._interpreter = interpreter
        self._function = function
        self._args = args
        self._kwargs = kwargs

    def describe(self) -> str:
        return "a partial function"

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return self._interpreter.call(
            self._function, [*self._args, *args], {**self._kwargs, **kwargs}, place
        )
