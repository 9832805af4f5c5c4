"""`def` and `class`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from signs_lightning.translate.bound_methods import Wrapped
from signs_lightning.translate.classes import UserClass
from signs_lightning.translate.functions import Function
from signs_lightning.translate.scopes import Scope
from signs_lightning.translate.values import LibraryName, NotUnderstoodError, Unknown, Value
from signs_lightning.translate.without_effect import HARMLESS_DECORATORS

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

# Methods that Python calls where no call is written.
_HOOKS = (
    *("__getattribute__", "__init_subclass__", "__set_name__", "__del__", "__get__", "__set__"),
    *("__delete__", "__class_getitem__", "__instancecheck__", "__subclasscheck__", "__missing__"),
    *("__prepare__", "__hash__", "__delattr__", "__subclasshook__", "__mro_entries__"),
    *("__iadd__", "__isub__", "__imul__", "__itruediv__", "__format__"),
)
_CLASS_DECORATORS = frozenset({"dataclasses.dataclass"})


def define_function(interpreter: Interpreter, node: ast.FunctionDef, scope: Scope) -> None:
    """Bind a function, under its decorators."""
    value: Value = Function.define(interpreter, node, scope)
    for decorator in reversed(node.decorator_list):
        value = _decorated(interpreter, decorator, value, scope)
    scope.bind(node.name, value)


def _decorated(interpreter: Interpreter, decorator: ast.expr, value: Value, scope: Scope) -> Value:
    if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter", "getter"):
        raise NotUnderstoodError("a property that can be set")
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    kind = interpreter.evaluate(called, scope)
    place = interpreter.place(decorator, scope)
    if isinstance(kind, LibraryName):
        if kind.name in HARMLESS_DECORATORS:
            return value
        if kind.name in _CLASS_DECORATORS and isinstance(value, UserClass):
            value.is_dataclass = True
            return value
        if kind.name in ("builtins.staticmethod", "builtins.classmethod", "builtins.property"):
            return Wrapped(kind.name.rpartition(".")[2], value)
        if kind.name == "functools.cached_property":
            return Wrapped("cached_property", value)
        unknown = interpreter.new_unknown(f"the decorator {kind.name}", place)
        interpreter.taint([value], unknown)
        return unknown
    return interpreter.call(interpreter.evaluate(decorator, scope), [value], {}, place)


def define_class(interpreter: Interpreter, node: ast.ClassDef, scope: Scope) -> None:
    """Bind a class, after running its body."""
    if node.keywords:
        raise NotUnderstoodError(f"the metaclass or keywords of class {node.name}")
    bases: list[UserClass] = []
    library_base = None
    for base_node in node.bases:
        base = interpreter.evaluate(base_node, scope)
        if isinstance(base, Unknown):
            scope.bind(node.name, base)
            return
        if isinstance(base, UserClass):
            bases.append(base)
        elif isinstance(base, LibraryName):
            if base.name not in ("builtins.object", "abc.ABC"):
                library_base = library_base or base.name
        else:
            raise NotUnderstoodError(f"what class {node.name} derives from")
    is_plain = library_base is not None and library_base.startswith(("builtins.", "enum."))
    if library_base and is_plain and not _is_exception(library_base):
        raise NotUnderstoodError(f"class {node.name}, which derives from {library_base}")
    inner = Scope(scope.module, scope, is_class=True)
    cls = UserClass(interpreter, node.name, bases, library_base, inner.variables)
    inner.owner = cls
    interpreter.run_block(node.body, inner)
    hooks = [inner.variables[name] for name in _HOOKS if name in inner.variables]
    if hooks or any("__init_subclass__" in base.namespace for base in cls.order):
        place = interpreter.place(node, scope)
        unknown = Unknown(f"the special methods of class {node.name}", place)
        interpreter.taint(hooks, unknown)
        raise NotUnderstoodError(unknown.reason)
    cls.fields = [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
    ]
    value: Value = cls
    for decorator in reversed(node.decorator_list):
        value = _decorated(interpreter, decorator, value, scope)
    scope.bind(node.name, value)


def _is_exception(name: str) -> bool:
    return name.endswith(("Error", "Exception", "Warning"))
