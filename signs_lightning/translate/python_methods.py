"""Methods of Python's texts, lists, dicts and sets, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.dict_views import view_of
from signs_lightning.translate.operators import check_equality, first_unknown
from signs_lightning.translate.source_errors import SourceError, perform_safely
from signs_lightning.translate.values import (
    LibraryName,
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

# Whose result is no longer than the text.
_SHORT_TEXT = frozenset(
    [
    "lower", "upper", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines",
    "startswith", "endswith", "title", "capitalize", "swapcase", "count", "find", "rfind",
    "index", "rindex", "isdigit", "isnumeric", "isalpha", "isalnum", "isupper", "islower",
    "isspace", "isidentifier", "partition", "rpartition", "casefold", "removeprefix",
    "removesuffix", "encode",
]
)  # fmt: skip
_ENCODINGS = {"utf-8", "utf8", "ascii", "latin-1", "latin1"}
_PADDING = frozenset({"center", "ljust", "rjust", "zfill"})
_PURE = {
    tuple: frozenset({"index", "count"}),
    list: frozenset({"index", "count", "copy"}),
    dict: frozenset({"copy"}),
    set: frozenset(
        ["union", "intersection", "difference", "issubset", "issuperset", "copy", "isdisjoint"]
    ),
    frozenset: frozenset(["union", "intersection", "difference", "issubset", "issuperset", "copy"]),
    bytes: frozenset({"decode"}),
    float: frozenset({"is_integer"}),
    int: frozenset({"bit_length"}),
    bool: frozenset(),
    str: _SHORT_TEXT,
}


def attribute(interpreter: Interpreter, value: Value, name: str, place: Place) -> Value:
    """Return `value.name` of one of Python's own values: a bound method.

    Raises:
        NotUnderstoodError: for one that is not known here.
        SourceError: if it has no such attribute.
    """
    kind = type(value)
    special = _SPECIAL.get((kind, name))
    if special is not None:
        return Method(
            name, lambda args, kwargs, at: _checked(special, interpreter, value, args, kwargs, at)
        )
    if kind is str and name in _PADDING:
        return Method(name, lambda args, kwargs, at: _pad(interpreter, value, name, args))
    if name in _PURE.get(kind, ()):
        return Method(name, lambda args, kwargs, at: _pure(interpreter, value, name, args, kwargs))
    if name == "__class__":
        from signs_lightning.translate.object_builtins import type_of

        return type_of(value, place)
    if hasattr(value, name):
        raise NotUnderstoodError(f".{name} of a {kind.__name__}")
    raise SourceError("AttributeError", f"a {kind.__name__} has no .{name}")


def _checked(
    special: Callable[..., Value], interpreter: Interpreter, value: Value, args: Any, *rest: Any
) -> Value:
    try:
        return special(interpreter, value, args, *rest)
    except IndexError:
        raise SourceError("TypeError", "a method without arguments") from None


def _pure(
    interpreter: Interpreter, value: Value, name: str, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    unknown = first_unknown(value, args, kwargs)
    if unknown and name != "copy":
        return unknown
    if any(isinstance(arg, Record | LibraryName) for arg in args):
        raise NotUnderstoodError(f".{name}() of a library's object")
    if name in ("index", "count"):
        check_equality(args, value)
    if name in ("encode", "decode") and not {*args, *kwargs.values()} <= _ENCODINGS:
        raise NotUnderstoodError(f".{name}() with options")  # of which some take long
    result = perform_safely(getattr(value, name), *args, **kwargs)
    if hasattr(result, "__len__"):
        interpreter.budget.make(len(result))
    return result


def _pad(interpreter: Interpreter, value: str, name: str, args: list[Value]) -> Value:
    unknown = first_unknown(args)
    if unknown:
        return unknown
    if args and isinstance(args[0], int):
        interpreter.budget.make_text(max(args[0], 0))
    return perform_safely(getattr(value, name), *args)


def _join(interpreter: Interpreter, text: str, args: Any, kwargs: Any, place: Place) -> Value:
    items = interpreter.items(args[0], place)
    unknown = first_unknown(items)
    if unknown:
        return unknown
    lengths = sum(len(item) for item in items if isinstance(item, str))
    interpreter.budget.make_text(lengths + len(text) * len(items))
    return perform_safely(text.join, items)


def _replace(interpreter: Interpreter, text: str, args: Any, kwargs: Any, place: Place) -> Value:
    unknown = first_unknown(args)
    if unknown:
        return unknown
    if len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
        count = text.count(args[0]) if args[0] else len(text) + 1
        interpreter.budget.make_text(len(text) + count * len(args[1]))
    return perform_safely(text.replace, *args)


def _format(interpreter: Interpreter, text: str, args: Any, kwargs: Any, place: Place) -> Value:
    from signs_lightning.translate.text_formats import format_method

    own = [interpreter.own_text(arg, place) for arg in args]
    args = [arg if text is None else text for arg, text in zip(args, own, strict=True)]
    return first_unknown(args, kwargs) or perform_safely(
        format_method,
        text,
        args,
        kwargs,
        interpreter.budget,
        lambda value, name: interpreter.attribute(value, name, place),
    )


def _append(interpreter: Interpreter, items: list[Value], args: Any, kwargs: Any, at: Any) -> Value:
    interpreter.budget.make(1)
    interpreter.budget.check(len(items))
    return perform_safely(items.append, *args)


def _extend(interpreter: Interpreter, items: list[Value], args: Any, kwargs: Any, at: Any) -> Value:
    more = interpreter.items(args[0], at)
    interpreter.budget.check(len(items) + len(more))
    interpreter.budget.make(len(more))
    items.extend(more)
    return None


def _insert(interpreter: Interpreter, items: list[Value], args: Any, kwargs: Any, at: Any) -> Value:
    if isinstance(args[0], Unknown):
        interpreter.taint([items], args[0])
        return None
    interpreter.budget.make(1)
    return perform_safely(items.insert, *args)


def _pop(interpreter: Interpreter, items: list[Value], args: Any, kwargs: Any, at: Any) -> Value:
    unknown = first_unknown(args)
    if unknown:
        interpreter.taint([items], unknown)
        return unknown
    return perform_safely(items.pop, *args)


def _removal(name: str) -> Callable[..., Value]:
    def perform(
        interpreter: Interpreter, items: Any, args: Any, kwargs: Any, place: Place
    ) -> Value:
        unknown = first_unknown(items, args)
        if unknown:
            interpreter.taint([items], unknown)
            return None
        check_equality(args, items)
        return perform_safely(getattr(items, name), *args)

    return perform


def _simple(name: str) -> Callable[..., Value]:
    def perform(
        interpreter: Interpreter, value: Value, args: Any, kwargs: Any, place: Place
    ) -> Value:
        return perform_safely(getattr(value, name), *args)

    return perform


def _sort(interpreter: Interpreter, items: list[Value], args: Any, kwargs: Any, at: Any) -> Value:
    from signs_lightning.translate.python_builtins import sort

    result = sort(interpreter, list(items), kwargs, at)
    if isinstance(result, Unknown):
        interpreter.taint([items], result)
    else:
        items[:] = result
    return None


def _get(interpreter: Interpreter, value: Any, args: Any, kwargs: Any, place: Place) -> Value:
    return first_unknown(args[:1]) or perform_safely(value.get, *args)


def _update(interpreter: Interpreter, value: Any, args: Any, kwargs: Any, place: Place) -> Value:
    from signs_lightning.translate.python_builtins import BUILTINS

    more = BUILTINS["dict"](interpreter, args, kwargs, place)
    if isinstance(more, Unknown):
        interpreter.taint([value], more)
    else:
        value.update(more)
    return None


def _set_default(
    interpreter: Interpreter, value: Any, args: Any, kwargs: Any, place: Place
) -> Value:
    unknown = first_unknown(args[:1])
    if unknown:
        interpreter.taint([value], unknown)
        return unknown
    interpreter.budget.make(1)
    return perform_safely(value.setdefault, *args)


def _add(interpreter: Interpreter, value: Any, args: Any, kwargs: Any, place: Place) -> Value:
    unknown = first_unknown(args)
    if unknown:
        interpreter.taint([value], unknown)
        return None
    interpreter.budget.make(1)
    return perform_safely(value.add, *args)


def _set_update(
    interpreter: Interpreter, value: Any, args: Any, kwargs: Any, place: Place
) -> Value:
    items = [item for arg in args for item in interpreter.unordered(arg, place)]
    unknown = first_unknown(items)
    if unknown:
        interpreter.taint([value], unknown)
        return None
    return perform_safely(value.update, items)


_SPECIAL: dict[tuple[type, str], Callable[..., Value]] = {
    (str, "join"): _join,
    (str, "replace"): _replace,
    (str, "format"): _format,
    (list, "append"): _append,
    (list, "extend"): _extend,
    (list, "insert"): _insert,
    (list, "pop"): _pop,
    (list, "remove"): _removal("remove"),
    (list, "reverse"): _simple("reverse"),
    (list, "clear"): _simple("clear"),
    (list, "sort"): _sort,
    (dict, "get"): _get,
    (dict, "keys"): view_of("keys"),
    (dict, "values"): view_of("values"),
    (dict, "items"): view_of("items"),
    (dict, "iteritems"): view_of("items"),
    (dict, "update"): _update,
    (dict, "pop"): _pop,
    (dict, "setdefault"): _set_default,
    (dict, "clear"): _simple("clear"),
    (dict, "popitem"): _simple("popitem"),
    (set, "add"): _add,
    (set, "discard"): _removal("discard"),
    (set, "remove"): _removal("remove"),
    (set, "update"): _set_update,
    (set, "clear"): _simple("clear"),
}
