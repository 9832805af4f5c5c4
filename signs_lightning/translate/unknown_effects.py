"""What code that is not run may have changed: its names become unknown, its objects tainted."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from signs_lightning.translate import without_effect
from signs_lightning.translate.bound_methods import BoundMethod
from signs_lightning.translate.bound_names import (
    call_arguments,
    names_bound,
    names_of_loops,
    nodes_inside,
)
from signs_lightning.translate.call_expressions import trains
from signs_lightning.translate.classes import Instance, UserClass
from signs_lightning.translate.dict_views import DictView
from signs_lightning.translate.functions import Function
from signs_lightning.translate.iterators import ValueIterator
from signs_lightning.translate.library_names import canonical, is_installed_package
from signs_lightning.translate.python_builtins import BUILTINS
from signs_lightning.translate.scopes import Module, Scope
from signs_lightning.translate.values import LibraryName, Method, NoEffect, Record, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

_PEEKED = ("print", "open", "input", "exec", "eval", "globals", "locals", "delattr")
_CHANGING_BUILTINS = frozenset({"setattr", "next", "map", "filter", "delattr", "exec", "eval"})

_STEPS_OF_TRAINING = ("apply_gradients", "minimize")  # of whichever model the loss is of


class Effects:
    """Finds what code may change.

    Attributes:
        everything: unknown values that change the state of a library, and so all models.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._poisoned: dict[int, tuple[Value, Unknown]] = {}
        self.everything: list[Unknown] = []
        self.changes = 0  # how many names and values became unknown

    def poison_of(self, value: Value) -> Unknown | None:
        """Return what may have changed a list, dict or set in a way that is not known."""
        found = self._poisoned.get(id(value))
        return found[1] if found else None

    def taint(self, values: list[Value], unknown: Unknown) -> None:
        """Note that code that is not understood may have changed these values."""
        if isinstance(unknown, NoEffect):
            unknown = Unknown(unknown.reason, unknown.place)
        seen: set[int] = set()
        pending = list(values)
        self.changes += len(pending)
        while pending:
            value = pending.pop()
            if id(value) in seen or not isinstance(value, Record | list | dict | set | tuple):
                continue
            seen.add(id(value))
            self._interpreter.budget.step()
            if isinstance(value, dict):
                pending += value.values()
            elif isinstance(value, list | set | tuple):
                pending += value
            if isinstance(value, Function):
                self._havoc_function(value, unknown, set())
            elif isinstance(value, ValueIterator | DictView):
                value.taint(unknown)
                pending += value.sources
            elif isinstance(value, BoundMethod):
                pending += [value.receiver, value.function]
            elif isinstance(value, Method):
                pending += _owners(value)
            elif isinstance(value, UserClass | Module):
                continue
            elif isinstance(value, Record):
                if isinstance(value, Instance):
                    pending += [*value.attributes.values(), value.base]
                value.taint(unknown)
            elif not isinstance(value, tuple):
                self._poison(value, unknown)

    def _poison(self, value: Value, unknown: Unknown) -> None:
        self._poisoned[id(value)] = (value, unknown)
        if isinstance(value, dict):
            value.update(dict.fromkeys(value, unknown))
        else:
            value.clear()
            value.append(unknown) if isinstance(value, list) else value.add(unknown)

    def havoc(self, nodes: list[ast.AST], scope: Scope, unknown: Unknown) -> bool:
        """Bind all names that these nodes bind to an unknown value, and taint what they change.

        Returns:
            Whether they bind or change anything.
        """
        before = self.changes
        self._havoc(nodes, scope, unknown, set())
        return self.changes > before

    def _havoc(
        self, nodes: list[ast.AST], scope: Scope, unknown: Unknown, visited: set[int]
    ) -> None:
        bound: list[str] = []
        for node in nodes_inside(nodes):
            self._interpreter.budget.step()
            bound += names_bound(node)
            if isinstance(node, ast.Name):
                self._havoc_iterator(scope.find(node.id)[1], unknown)
            elif isinstance(node, ast.Call):
                self._havoc_call(node, scope, unknown, visited)
            elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(
                node.ctx, ast.Load
            ):
                self._havoc_owner(node, scope, unknown)
            elif isinstance(node, ast.AugAssign):
                self.taint(self.values_of(node.target, scope), unknown)
        # What only a loop or a handler binds is not counted as a change.
        own = {n for node in nodes_inside(nodes) for n in names_of_loops(node)}
        self.changes += len(set(bound) - own)
        for name in bound:
            scope.bind(name, unknown)

    def _havoc_iterator(self, value: Value, unknown: Unknown) -> None:
        """Note that values may have been taken from an iterator, whatever reads its name."""
        if isinstance(value, ValueIterator):
            self.taint([value], unknown)

    def _havoc_owner(
        self, node: ast.Attribute | ast.Subscript, scope: Scope, unknown: Unknown
    ) -> None:
        """Taint what an attribute or an item is set of."""
        self.taint(self.values_of(node.value, scope), unknown)
        owner = self.peek(node.value, scope)
        if isinstance(owner, LibraryName):
            own = f"{owner.name}.{node.attr}" if isinstance(node, ast.Attribute) else owner.name
            if not without_effect.has_no_effect(own) or without_effect.reaches_everything(own):
                self._change_everything(unknown)

    def _change_everything(self, unknown: Unknown) -> None:
        self.everything.append(unknown)
        self.changes += 1

    def _havoc_call(
        self, node: ast.Call, scope: Scope, unknown: Unknown, visited: set[int]
    ) -> None:
        if trains(node):
            self._interpreter.note_unread_training(node, unknown, scope)
        function = self.peek(node.func, scope)
        values = [v for part in call_arguments(node) for v in self.values_of(part, scope)]
        is_method = isinstance(node.func, ast.Attribute)
        if is_method and node.func.attr in without_effect.METHODS:  # type: ignore[attr-defined]
            return
        if is_method and self._is_text(node.func.value, scope):  # type: ignore[attr-defined]
            return
        if is_method and node.func.attr in _STEPS_OF_TRAINING:  # type: ignore[attr-defined]
            self._change_everything(unknown)
        if isinstance(function, LibraryName):
            self._havoc_library(function.name, values, unknown)
        elif isinstance(function, Function):
            if self._havoc_function(function, unknown, visited):
                self.taint(values, unknown)
        elif not isinstance(function, NoEffect) and not _only_computes(function):
            if isinstance(function, UserClass):
                for member in function.namespace.values():
                    if isinstance(member, Function):
                        self._havoc_function(member, unknown, visited)
            self.taint([*self.values_of(node.func, scope), *values], unknown)

    def havoc_text(self, text: str, scope: Scope, unknown: Unknown) -> None:
        """Do so for code that cannot be parsed, by the names that are in it."""
        words = sorted(set(re.findall(r"[^\W\d]\w*", text)))
        self.taint([value for found, value in map(scope.find, words) if found], unknown)
        for name in re.findall(r"(?m)^\s*([^\W\d]\w*)\s*=(?!=)", text):
            scope.bind(name, unknown)

    def _havoc_library(self, name: str, values: list[Value], unknown: Unknown) -> None:
        last = name.rpartition(".")[2]
        if without_effect.reaches_everything(name):
            self._change_everything(unknown)
        elif name.startswith("builtins."):
            if last in _CHANGING_BUILTINS:
                self.taint(values, unknown)
        elif without_effect.has_no_effect(name):
            return
        elif last.startswith("set_") or last == "clear_session":
            self._change_everything(unknown)
        elif last == "shuffle" or not is_installed_package(name):
            self.taint(values, unknown)

    def _havoc_function(self, function: Function, unknown: Unknown, visited: set[int]) -> bool:
        """Taint what a function changes of names outside it; return whether it changes anything.

        Its parameters are not known here: whoever calls it taints its arguments.
        """
        if id(function) in visited:
            return True
        visited.add(id(function))
        scope = Scope(function.scope.module, function.scope)
        for name in function.parameters():
            scope.bind(name, _PARAMETER)
        for node in nodes_inside(list(function.body)):
            if isinstance(node, ast.Global):
                for name in node.names:
                    scope.make_global(name)
            elif isinstance(node, ast.Nonlocal):
                for name in node.names:
                    scope.make_nonlocal(name)
        before = len(self.everything)
        self._havoc(list(function.body), scope, unknown, visited)
        return len(self.everything) > before or self.changes_something(function)

    def changes_something(self, function: Function) -> bool:
        """Return whether a function may change an object that it is given."""
        scope = Scope(function.scope.module, function.scope)
        for name in function.parameters():
            scope.bind(name, _PARAMETER)
        for node in nodes_inside(list(function.body)):
            if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(
                node.ctx, ast.Load
            ):
                return True
            if isinstance(node, ast.AugAssign | ast.Delete | ast.Global | ast.Nonlocal):
                return True
            if isinstance(node, ast.Call):
                called = self.peek(node.func, scope)
                is_method = isinstance(node.func, ast.Attribute)
                if is_method and node.func.attr in without_effect.METHODS:  # type: ignore[attr-defined]
                    continue
                if not isinstance(called, LibraryName) or not _is_harmless(called.name):
                    return True
        return False

    def peek(self, node: ast.expr, scope: Scope) -> Value:
        """Return the value of a name or of names joined by dots, or None if it is not known."""
        if isinstance(node, ast.Name):
            found, value = scope.find(node.id)
            if not found and node.id in BUILTINS | dict.fromkeys(_PEEKED):
                return LibraryName(f"builtins.{node.id}")
            return value
        if isinstance(node, ast.Attribute):
            value = self.peek(node.value, scope)
            if isinstance(value, LibraryName):
                return LibraryName(canonical(f"{value.name}.{node.attr}"))
            if isinstance(value, Module):
                return value.variables.get(node.attr)
            if isinstance(value, UserClass):
                return value.find(node.attr)[1]
            return value if isinstance(value, NoEffect) else None
        if isinstance(node, ast.Subscript | ast.Call):
            # plt.subplots()[1].plot(…)
            value = self.peek(node.func if isinstance(node, ast.Call) else node.value, scope)
            is_plot = isinstance(value, LibraryName) and without_effect.has_no_effect(value.name)
            return value if is_plot or isinstance(value, NoEffect) else None
        return None

    def _is_text(self, node: ast.expr, scope: Scope) -> bool:
        """Return whether an expression is a text, whose methods change nothing."""
        if isinstance(node, ast.Constant | ast.JoinedStr):
            return True
        return isinstance(node, ast.Name) and isinstance(scope.find(node.id)[1], str | int | float)

    def values_of(self, node: ast.AST, scope: Scope) -> list[Value]:
        """Return the values of all names in an expression."""
        names = {n.id for n in nodes_inside([node]) if isinstance(n, ast.Name)}
        return [value for found, value in map(scope.find, sorted(names)) if found]


def _only_computes(function: Value) -> bool:
    """Return whether it is a layer or model of Keras: calling it leaves it what it is."""
    from signs_lightning.translate.layer_records import LayerRecord
    from signs_lightning.translate.model_records import ModelRecord
    from signs_lightning.translate.sequential_records import SequentialRecord

    return type(function) in (LayerRecord, ModelRecord, SequentialRecord)


def _owners(method: Method) -> list[Value]:
    """Return the objects that a method of a record may change: those that its function holds."""
    perform = method.perform
    cells = getattr(perform, "__closure__", None) or ()
    return [getattr(perform, "__self__", None), *(cell.cell_contents for cell in cells)]


_PARAMETER = None


def _is_harmless(name: str) -> bool:
    if name.startswith("builtins."):
        return name.rpartition(".")[2] not in _CHANGING_BUILTINS
    last = name.rpartition(".")[2]
    if last == "shuffle" or last.startswith("set_"):
        return without_effect.has_no_effect(name)
    return is_installed_package(name)
