"""Python's built-in functions on the values of the interpreter."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.classes import Instance
from signs_lightning.translate.iterator_builtins import ITERATOR_BUILTINS
from signs_lightning.translate.numpy_numbers import computed
from signs_lightning.translate.object_builtins import OBJECT_BUILTINS
from signs_lightning.translate.operators import compare, first_unknown, is_plain
from signs_lightning.translate.source_errors import SourceError, perform_safely
from signs_lightning.translate.text_formats import as_text, format_value
from signs_lightning.translate.values import (
    LibraryName,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

Builtin = Callable[[Any, list[Value], dict[str, Value], Place], Value]


def _length(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    value = args[0]
    return value.length(place) if isinstance(value, Record) else perform_safely(len, value)


def _range(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return first_unknown(args) or perform_safely(range, *args)


def sort(
    interpreter: Interpreter, items: list[Value], kwargs: dict[str, Value], place: Place
) -> Value:
    """Return items sorted, as `sorted(items, key=…, reverse=…)`."""
    key = kwargs.get("key")
    keys = [interpreter.call(key, [i], {}, place) for i in items] if key is not None else items
    unknown = first_unknown(keys, kwargs.get("reverse", False))
    if unknown:
        return unknown
    if any(isinstance(k, Record | LibraryName) for k in keys):
        raise NotUnderstoodError("the order of a library's objects")
    is_reverse = bool(kwargs.get("reverse", False))
    interpreter.budget.step(len(items))
    order = perform_safely(
        lambda: sorted(range(len(items)), key=lambda i: keys[i], reverse=is_reverse)
    )
    return [items[i] for i in order]


def _sorted(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) > 1:
        raise NotUnderstoodError("sorted() with a function that compares")
    is_by_itself = kwargs.get("key") is None
    items = (interpreter.unordered if is_by_itself else interpreter.items)(args[0], place)
    return sort(interpreter, items, kwargs, place)


def _container(kind: type) -> Builtin:
    def make(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        if kind not in (set, frozenset):
            return kind(interpreter.items(args[0], place) if args else [])
        items = interpreter.unordered(args[0], place) if args else []
        return first_unknown(items) or perform_safely(kind, items)

    return make


def _dict(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    result: dict[Value, Value] = {}
    if args and isinstance(args[0], dict):
        result.update(args[0])
    elif args:
        for pair in interpreter.items(args[0], place):
            key, value = perform_safely(tuple, interpreter.items(pair, place))
            unknown = first_unknown(key)
            if unknown:
                return unknown
            perform_safely(result.__setitem__, key, value)
    result.update(kwargs)
    interpreter.budget.make(len(result))
    return result


def _scalar(kind: type) -> Builtin:
    def make(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        value = args[0] if args else kind()
        if len(args) > 1 or kwargs:
            unknown = first_unknown(args, kwargs)
            return unknown or perform_safely(kind, *args, **kwargs)
        if isinstance(value, Instance):
            return value.call_method(f"__{kind.__name__}__", [], {}, place)
        if isinstance(value, Record):
            return value.operate(kind.__name__, None, False, place)
        if not is_plain(value):
            raise SourceError("TypeError", f"{kind.__name__}() of a {type(value).__name__}")
        return perform_safely(kind, value)

    return make


def _text(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) > 1 or kwargs:
        raise NotUnderstoodError("str() of bytes")
    return _own_text(interpreter, args[0], "s", place) if args else ""


def _repr(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return _own_text(interpreter, args[0], "r", place)


def _own_text(interpreter: Interpreter, value: Value, conversion: str, place: Place) -> Value:
    own = interpreter.own_text(value, place, conversion)
    return first_unknown(value) or (
        own if own is not None else as_text(value, conversion, interpreter.budget)
    )


def _bool(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return interpreter.truth(args[0], place) if args else False


def _sum(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    total = args[1] if len(args) > 1 else kwargs.get("start", 0)
    for item in interpreter.items(args[0], place):
        total = interpreter.binary(ast.Add, total, item, place)
    return total


def _extreme(kind: type[ast.cmpop]) -> Builtin:
    def find(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        key = kwargs.get("key")
        taken = interpreter.items if key else interpreter.unordered
        items = args if len(args) > 1 else taken(args[0], place)
        if not items:
            if "default" in kwargs:
                return kwargs["default"]
            raise SourceError("ValueError", "min() or max() of nothing")
        keys = [interpreter.call(key, [i], {}, place) for i in items] if key else items
        best = 0
        for i in range(1, len(items)):
            is_better = compare(kind, keys[i], keys[best], place)
            if isinstance(is_better, Unknown):
                return is_better
            best = i if is_better else best
        return items[best] if not isinstance(keys[0], Unknown) else keys[0]

    return find


def _power(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) != 2 or kwargs:
        raise NotUnderstoodError("pow() with a modulus")
    return interpreter.binary(ast.Pow, args[0], args[1], place)


def _plain(function: Callable[..., Any]) -> Builtin:
    def call(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        if args and isinstance(args[0], Record):
            return args[0].operate(function.__name__, None, False, place)
        if not all(map(is_plain, (*args, *kwargs.values()))):
            raise SourceError("TypeError", f"{function.__name__}() of what is no number")
        return computed(perform_safely(function, *args, **kwargs), *args)

    return call


def _round(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    """Return a rounded number; Python 2 rounds halves away from zero, to a fraction."""
    result = _plain(round)(interpreter, args, kwargs, place)
    if not interpreter.is_python2 or not is_plain(result):
        return result
    digits = args[1] if len(args) > 1 else 0
    if (args[0] * 10**digits * 2) % 2 == 1:
        raise NotUnderstoodError("round() of a half in Python 2")
    return float(result)


def _slice(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return perform_safely(slice, *args)


def _format(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    spec = args[1] if len(args) > 1 else ""
    return first_unknown(args) or perform_safely(
        format_value, args[0], "", spec, interpreter.budget
    )


def _exit(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    raise SourceError("SystemExit")


BUILTINS: dict[str, Builtin] = {
    "len": _length, "range": _range, "xrange": _range, "sorted": _sorted,
    "list": _container(list), "tuple": _container(tuple), "set": _container(set),
    "frozenset": _container(frozenset), "dict": _dict, "str": _text, "unicode": _text,
    "repr": _repr, "int": _scalar(int), "long": _scalar(int), "float": _scalar(float),
    "complex": _scalar(complex), "bool": _bool, "sum": _sum, "min": _extreme(ast.Lt),
    "max": _extreme(ast.Gt),
    "pow": _power, "abs": _plain(abs),
    "round": _round, "divmod": _plain(divmod), "ord": _plain(ord), "chr": _plain(chr),
    "bin": _plain(bin), "hex": _plain(hex), "oct": _plain(oct), "slice": _slice,
    "format": _format, "exit": _exit, "quit": _exit,
    **ITERATOR_BUILTINS, **OBJECT_BUILTINS,
}  # fmt: skip
# An unknown argument makes the result of the others unknown.
TAKES_UNKNOWN = frozenset({"setattr", "slice", "min", "max", "staticmethod", "isinstance"})
# Names that are Python's and that nothing is known of.
OTHER_BUILTINS = frozenset(
    [
    "print", "input", "open", "help", "display", "get_ipython", "exit", "quit", "dir", "vars",
    "id", "hash", "super", "object", "globals", "locals", "eval", "exec", "compile",
    "__import__", "Exception", "BaseException", "ValueError", "TypeError", "KeyError",
    "IndexError", "RuntimeError", "ImportError", "ModuleNotFoundError", "AttributeError",
    "NameError", "OSError", "IOError", "FileNotFoundError", "NotImplementedError",
    "KeyboardInterrupt", "StopIteration", "ZeroDivisionError", "AssertionError",
    "ArithmeticError", "OverflowError", "UnicodeDecodeError", "EnvironmentError", "SystemExit",
    "NotImplemented", "property", "staticmethod", "classmethod", "ArgumentError", "LookupError",
    "Warning", "UserWarning", "DeprecationWarning", "FutureWarning", "MemoryError",
    "RecursionError", "EOFError", "memoryview", "bytearray",
]
)  # fmt: skip
