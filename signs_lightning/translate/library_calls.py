"""Calls: of functions of the source, of Python's own, and of libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from signs_lightning.translate import without_effect
from signs_lightning.translate.bound_methods import BoundMethod
from signs_lightning.translate.classes import Instance, UserClass
from signs_lightning.translate.dict_views import DictView
from signs_lightning.translate.functions import Function, Partial
from signs_lightning.translate.iterators import ValueIterator
from signs_lightning.translate.library_names import is_installed_package
from signs_lightning.translate.numpy_numbers import is_typed, untyped
from signs_lightning.translate.python_builtins import BUILTINS, TAKES_UNKNOWN
from signs_lightning.translate.source_errors import SourceError
from signs_lightning.translate.standard_library import CONSTANTS, FUNCTIONS
from signs_lightning.translate.values import (
    LibraryName,
    Method,
    NeedsFactError,
    NoEffect,
    Place,
    Record,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


_OWN = (Function, ValueIterator, DictView, Partial, Instance, UserClass, BoundMethod)


def call(
    interpreter: Interpreter,
    function: Value,
    args: list[Value],
    kwargs: dict[str, Value],
    place: Place,
) -> Value:
    """Return what a call gives.

    Raises:
        NotUnderstoodError: if it is not understood.
        SourceError: if it raises an exception.
    """
    if isinstance(function, Unknown):
        if not isinstance(function, NoEffect):
            interpreter.taint([*args, *kwargs.values()], function)
        return function
    if isinstance(function, LibraryName):
        return _library(interpreter, function.name, args, kwargs, place)
    if not isinstance(function, Record):
        raise SourceError("TypeError", f"calling a {type(function).__name__}")
    if isinstance(function, Function):
        return function.call(args, kwargs, place)
    args, kwargs = _told(interpreter, args, kwargs)
    if not isinstance(function, _OWN):
        args, kwargs = _with_plain_numbers(args, kwargs)
    if isinstance(function, Method) and function.name in without_effect.METHODS:
        result = function.call(args, kwargs, place)
        is_unknown = isinstance(result, Unknown) and not result.fact
        return NoEffect(f"{function.name}()", place) if is_unknown else result
    return _noted(interpreter, lambda: function.call(args, kwargs, place), place)


def _told(
    interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value]
) -> tuple[list[Value], dict[str, Value]]:
    """Return the arguments with the facts that are known in them."""
    if not interpreter.facts:
        return args, kwargs
    return (
        [_with_facts(interpreter, arg) for arg in args],
        {name: _with_facts(interpreter, arg) for name, arg in kwargs.items()},
    )


def _with_plain_numbers(
    args: list[Value], kwargs: dict[str, Value]
) -> tuple[list[Value], dict[str, Value]]:
    """Return the arguments of a library with Python's numbers in place of NumPy's."""

    def plain(value: Value) -> Value:
        return untyped(value) if is_typed(value) or isinstance(value, tuple) else value

    return [plain(arg) for arg in args], {name: plain(arg) for name, arg in kwargs.items()}


def _with_facts(interpreter: Interpreter, value: Value) -> Value:
    if isinstance(value, tuple) and any(isinstance(item, Unknown) for item in value):
        return tuple(interpreter.checked(item) for item in value)
    return interpreter.checked(value)


def _noted(interpreter: Interpreter, perform: Callable[[], Value], place: Place) -> Value:
    """Return what an operation of a library gives, after noting what it does not know."""
    try:
        result = perform()
    except NeedsFactError as error:
        if error.fact in interpreter.facts:
            return interpreter.facts[error.fact]
        return interpreter.new_unknown(f"{error.fact}, which only the data tell", place, error.fact)
    if isinstance(result, Unknown) and interpreter.checked(result) is result:
        interpreter.note_unknown(result)
    return result


def _library(
    interpreter: Interpreter,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    place: Place,
) -> Value:
    interpreter.budget.step()
    module, _, last = name.rpartition(".")
    if module == "builtins" and last in BUILTINS:
        return _builtin(interpreter, last, args, kwargs, place)
    args, kwargs = _told(interpreter, args, kwargs)
    own = FUNCTIONS.get(name)
    if own is not None:
        result = own(interpreter, args, kwargs, place)
        if result is not NotImplemented:
            return result
    if module != "numpy":
        args, kwargs = _with_plain_numbers(args, kwargs)
    result = _noted(
        interpreter, lambda: interpreter.libraries.call(name, args, kwargs, place), place
    )
    if result is not NotImplemented:
        return result
    if without_effect.reaches_everything(name):
        unknown = interpreter.new_unknown(f"{name.removeprefix('builtins.')}()", place)
        interpreter.effects.everything.append(unknown)
        interpreter.taint([*args, *kwargs.values()], unknown)
        return unknown
    if without_effect.has_no_effect(name):
        _taint_functions(interpreter, name, [*args, *kwargs.values()], place)
        return NoEffect(f"{name}()", place)
    if module == "builtins" and (last.endswith("Error") or last.endswith("Exception")):
        return LibraryName(name)
    reason = f"{name.removeprefix('builtins.')}()"
    if not is_installed_package(name):
        reason += ", of a module that is not beside the file"
    unknown = interpreter.new_unknown(reason, place)
    changed = [*args, *kwargs.values()]
    if is_installed_package(name) and last != "shuffle":
        changed = [arg for arg in changed if isinstance(arg, Record)]
    interpreter.taint(changed, unknown)
    if last.startswith("set_") and name.startswith(("keras", "tensorflow")):
        interpreter.effects.everything.append(unknown)
    return unknown


def _taint_functions(
    interpreter: Interpreter, name: str, values: list[Value], place: Place
) -> None:
    """Taint what functions change that a library may call, such as `timeit.timeit(train)`."""
    if name.startswith("atexit."):  # after everything else
        return
    for value in values:
        function = value.function if isinstance(value, BoundMethod) else value
        if isinstance(function, Function) and interpreter.effects.changes_something(function):
            interpreter.taint([value], Unknown(f"{name}() of {function.describe()}", place))


def _builtin(
    interpreter: Interpreter,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    place: Place,
) -> Value:
    first = args[0] if args else None
    if isinstance(first, Record) and not isinstance(first, _OWN):
        full = f"builtins.{name}"
        result = _noted(
            interpreter, lambda: interpreter.libraries.call(full, args, kwargs, place), place
        )
        if result is not NotImplemented:
            return result
    if name not in TAKES_UNKNOWN:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Unknown):
                return value
    try:
        return _noted(interpreter, lambda: BUILTINS[name](interpreter, args, kwargs, place), place)
    except IndexError:
        raise SourceError("TypeError", f"{name}() without arguments") from None
    except ValueError as error:
        raise SourceError("TypeError", f"{name}(): {error}") from None


def attribute(interpreter: Interpreter, name: str, place: Place) -> Value:
    """Return the value of a library's name that is read."""
    if name in CONSTANTS:
        return CONSTANTS[name]
    result = interpreter.libraries.attribute(name, place)
    if result is not NotImplemented:
        return result
    return LibraryName(name)
