"""Python's built-in functions on the values of the interpreter."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.classes import BoundMethod, Instance, Super, UserClass
from signs_lightning.translate.functions import (
    Function,
    Generator,
    ListIterator,
    Partial,
)
from signs_lightning.translate.operators import compare, first_unknown, is_plain
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

Builtin = Callable[[Any, list[Value], dict[str, Value], Place], Value]

_TYPES = {
    "int": int, "float": float, "str": str, "bool": bool, "list": list, "tuple": tuple,
    "dict": dict, "set": set, "complex": complex, "bytes": bytes, "frozenset": frozenset,
    "range": range, "slice": slice, "NoneType": type(None),
}  # fmt: skip
_TYPE_NAMES = {kind: name for name, kind in _TYPES.items()}


def _length(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    value = args[0]
    return value.length(place) if isinstance(value, Record) else perform_safely(len, value)


def _range(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return first_unknown(args) or perform_safely(range, *args)


def _items(interpreter: Interpreter, args: list[Value], place: Place) -> list[list[Value]]:
    return [interpreter.items(arg, place) for arg in args]


def _enumerate(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    start = args[1] if len(args) > 1 else kwargs.get("start", 0)
    if isinstance(start, Unknown):
        return start
    pairs = perform_safely(lambda: list(enumerate(interpreter.items(args[0], place), start)))
    return interpreter.generator(pairs)


def _zip(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return interpreter.generator(list(zip(*_items(interpreter, args, place), strict=False)))


def _map(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    rows = zip(*_items(interpreter, args[1:], place), strict=False)
    return interpreter.generator([interpreter.call(args[0], list(r), {}, place) for r in rows])


def _filter(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    kept = []
    for item in interpreter.items(args[1], place):
        kind = args[0]
        result = item if kind is None else interpreter.call(kind, [item], {}, place)
        truth = interpreter.truth(result, place)
        if isinstance(truth, Unknown):
            return truth
        if truth:
            kept.append(item)
    return interpreter.generator(kept)


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
    return sort(interpreter, interpreter.items(args[0], place), kwargs, place)


def _reversed(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return interpreter.generator(interpreter.items(args[0], place)[::-1])


def _container(kind: type) -> Builtin:
    def make(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        items = interpreter.items(args[0], place) if args else []
        if kind in (set, frozenset):
            unknown = first_unknown(items)
            if unknown:
                return unknown
        return perform_safely(kind, items)

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
        if isinstance(value, Instance):
            return value.call_method(f"__{kind.__name__}__", [], {}, place)
        if isinstance(value, Record):
            return value.operate(kind.__name__, None, False, place)
        if not is_plain(value):
            raise SourceError("TypeError", f"{kind.__name__}() of a {type(value).__name__}")
        return perform_safely(kind, value, *args[1:])

    return make


def _text(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if not args:
        return ""
    return _own_text(interpreter, args[0], "s", place)


def _repr(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return _own_text(interpreter, args[0], "r", place)


def _own_text(interpreter: Interpreter, value: Value, conversion: str, place: Place) -> Value:
    from signs_lightning.translate.text_formats import as_text

    own = interpreter.own_text(value, place)
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
        items = args if len(args) > 1 else interpreter.items(args[0], place)
        if not items:
            if "default" in kwargs:
                return kwargs["default"]
            raise SourceError("ValueError", "min() or max() of nothing")
        key = kwargs.get("key")
        keys = [interpreter.call(key, [i], {}, place) for i in items] if key else items
        best = 0
        for i in range(1, len(items)):
            is_better = compare(kind, keys[i], keys[best], place)
            if isinstance(is_better, Unknown):
                return is_better
            best = i if is_better else best
        return items[best] if not isinstance(keys[0], Unknown) else keys[0]

    return find


def _any_all(wanted: bool) -> Builtin:
    def find(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        unknown = None
        for item in interpreter.items(args[0], place):
            truth = interpreter.truth(item, place)
            if isinstance(truth, Unknown):
                unknown = truth
            elif truth is wanted:
                return wanted
        return unknown or (not wanted)

    return find


def type_of(value: Value, place: Place) -> Value:
    """Return `type(value)`."""
    if isinstance(value, Instance):
        return value.cls
    if isinstance(value, Record):
        return value.attribute("__class__", place)
    if isinstance(value, LibraryName):
        return LibraryName("builtins.type")
    return LibraryName(f"builtins.{_TYPE_NAMES[type(value)]}")


def _type(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) != 1:
        raise NotUnderstoodError("a class made by type()")
    return type_of(args[0], place)


def _is_instance(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    value, kinds = args
    results = [
        _is_one(value, kind, place)
        for kind in (_flat(kinds) if isinstance(kinds, tuple) else [kinds])
    ]
    if True in results:
        return True
    return next((r for r in results if isinstance(r, Unknown)), False)


def _flat(kinds: tuple[Value, ...]) -> list[Value]:
    first_unknown(kinds)  # bounds its depth
    return [one for kind in kinds for one in (_flat(kind) if isinstance(kind, tuple) else [kind])]


def _is_one(value: Value, kind: Value, place: Place) -> Value:
    if isinstance(kind, Unknown):
        return kind
    if isinstance(kind, UserClass):
        return isinstance(value, Instance) and kind in value.cls.order
    if not isinstance(kind, LibraryName):
        raise NotUnderstoodError("isinstance() of what is no class")
    module, _, name = kind.name.rpartition(".")
    if name == "object" and module == "builtins":
        return True
    if module == "builtins" and name in _TYPES:
        return not isinstance(value, Record | LibraryName) and isinstance(value, _TYPES[name])
    if isinstance(value, Instance):
        if value.cls.library_base is None:
            return False
        if value.cls.library_base == kind.name:
            return True
    if isinstance(value, Record):
        check = getattr(value, "is_instance", None)
        if check is not None:
            return check(kind.name)
        if isinstance(value, Function | BoundMethod | UserClass | ListIterator | Generator):
            return False
        if value.attribute("__class__", place) == kind:
            return True
        raise NotUnderstoodError(f"isinstance() of {value.describe()} and {kind.name}")
    return False


def _callable(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    value = args[0]
    if isinstance(value, Function | LibraryName | Partial | BoundMethod | UserClass | Method):
        return True
    if isinstance(value, Instance):
        return value.has_method("__call__")
    if isinstance(value, Record):
        raise NotUnderstoodError(f"callable() of {value.describe()}")
    return False


def _get(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if not isinstance(args[1], str):
        raise SourceError("TypeError", "getattr() without a name")
    try:
        return interpreter.attribute(args[0], args[1], place)
    except SourceError as error:
        if len(args) > 2 and error.name == "AttributeError":
            return args[2]
        raise


def _set(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if not isinstance(args[1], str):
        raise SourceError("TypeError", "setattr() without a name")
    interpreter.set_attribute(args[0], args[1], args[2], place)
    return None


def _has(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    value, name = args
    if isinstance(value, Instance | Function) or not isinstance(value, Record | LibraryName):
        try:
            found = interpreter.attribute(value, name, place)
        except SourceError:
            return False
        return found if isinstance(found, Unknown) else True
    check = getattr(value, "has_attribute", None)
    if check is None:
        raise NotUnderstoodError("hasattr() of a library's object")
    return check(name)


def _iterator(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) > 1:
        raise NotUnderstoodError("iter() with a function")
    if isinstance(args[0], ListIterator | Generator):
        return args[0]
    return interpreter.generator(interpreter.items(args[0], place))


def _next(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if not isinstance(args[0], ListIterator | Generator):
        if isinstance(args[0], Record):
            return interpreter.call(args[0].attribute("__next__", place), [], {}, place)
        raise SourceError("TypeError", "next() of what is no iterator")
    try:
        return args[0].next()
    except SourceError:
        if len(args) > 1:
            return args[1]
        raise


def _power(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) != 2:
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
        return perform_safely(function, *args, **kwargs)

    return call


def _slice(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return perform_safely(slice, *args)


def _format(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    from signs_lightning.translate.text_formats import format_value

    spec = args[1] if len(args) > 1 else ""
    return first_unknown(args) or perform_safely(
        format_value, args[0], "", spec, interpreter.budget
    )


def _variables(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if not args:
        raise NotUnderstoodError("vars()")
    return interpreter.attribute(args[0], "__dict__", place)


def _super(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) != 2 or not isinstance(args[0], UserClass):
        raise NotUnderstoodError("super()")
    return Super(interpreter, args[0], args[1])


def _wrapped(kind: str) -> Builtin:
    from signs_lightning.translate.classes import Wrapped

    return lambda interpreter, args, kwargs, place: Wrapped(kind, args[0])


def _object(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return Instance(interpreter, UserClass(interpreter, "object", [], None, {}))


def _exit(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    raise SourceError("SystemExit")


# An unknown first argument makes the result unknown, except for those in `TAKES_UNKNOWN`.
BUILTINS: dict[str, Builtin] = {
    "len": _length, "range": _range, "xrange": _range, "enumerate": _enumerate, "zip": _zip,
    "map": _map, "filter": _filter, "sorted": _sorted, "reversed": _reversed,
    "list": _container(list), "tuple": _container(tuple), "set": _container(set),
    "frozenset": _container(frozenset), "dict": _dict, "str": _text, "unicode": _text,
    "repr": _repr, "int": _scalar(int), "long": _scalar(int), "float": _scalar(float),
    "complex": _scalar(complex), "bool": _bool, "sum": _sum, "min": _extreme(ast.Lt),
    "max": _extreme(ast.Gt), "any": _any_all(True), "all": _any_all(False), "type": _type,
    "isinstance": _is_instance, "callable": _callable, "getattr": _get, "setattr": _set,
    "hasattr": _has, "iter": _iterator, "next": _next, "pow": _power, "abs": _plain(abs),
    "round": _plain(round), "divmod": _plain(divmod), "ord": _plain(ord), "chr": _plain(chr),
    "bin": _plain(bin), "hex": _plain(hex), "oct": _plain(oct), "slice": _slice,
    "format": _format, "vars": _variables, "super": _super, "exit": _exit, "quit": _exit,
    "staticmethod": _wrapped("staticmethod"), "classmethod": _wrapped("classmethod"),
    "property": _wrapped("property"), "object": _object,
}  # fmt: skip
TAKES_UNKNOWN = frozenset({"setattr", "slice", "min", "max", "staticmethod", "isinstance"})
__all__ = ["BUILTINS", "TAKES_UNKNOWN", "sort", "type_of"]
