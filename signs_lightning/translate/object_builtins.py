"""Python's built-in functions on objects and classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.bound_methods import BoundMethod, Wrapped
from signs_lightning.translate.classes import Instance, Super, UserClass
from signs_lightning.translate.dict_views import DictView
from signs_lightning.translate.functions import Function, Partial
from signs_lightning.translate.iterators import ValueIterator
from signs_lightning.translate.layer_arguments import layer_class
from signs_lightning.translate.numpy_numbers import is_typed
from signs_lightning.translate.operators import first_unknown
from signs_lightning.translate.source_errors import SourceError
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


_TYPES = {
    "int": int, "float": float, "str": str, "bool": bool, "list": list, "tuple": tuple,
    "dict": dict, "set": set, "complex": complex, "bytes": bytes, "frozenset": frozenset,
    "range": range, "slice": slice, "NoneType": type(None),
}  # fmt: skip
_TYPE_NAMES = {kind: name for name, kind in _TYPES.items()}


def keras_class(value: Record) -> LibraryName | None:
    """Return the class of a layer or Sequential of Keras, None for other records."""
    name = getattr(value, "class_name", None)
    if not isinstance(name, str) or name == "Functional" or hasattr(value, "kind"):
        return None
    return LibraryName(f"keras.{'models' if name in _MODELS else 'layers'}.{name}")


def type_of(value: Value, place: Place) -> Value:
    """Return `type(value)`."""
    if isinstance(value, Instance):
        return value.cls
    if isinstance(value, Record):
        return keras_class(value) or value.attribute("__class__", place)
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
    if isinstance(value, Instance) and value.cls.is_tuple and kind.name == "builtins.tuple":
        return True
    if module == "builtins" and name in _TYPES:
        is_other = isinstance(value, Record | LibraryName) or is_typed(value)
        return not is_other and isinstance(value, _TYPES[name])
    if isinstance(value, ValueIterator | DictView):
        raise NotUnderstoodError(f"isinstance() of {value.describe()} and {kind.name}")
    if isinstance(value, Instance):
        if value.cls.library_base is None:
            return False
        if value.cls.library_base == kind.name:
            return True
    if isinstance(value, Record):
        check = getattr(value, "is_instance", None)
        if check is not None:
            return check(kind.name)
        if isinstance(value, Function | BoundMethod | UserClass):
            return False
        own = getattr(value, "class_name", None)
        if isinstance(own, str) and module.startswith("keras."):
            return _is_of_keras(own, name)
        if value.attribute("__class__", place) == kind:
            return True
        raise NotUnderstoodError(f"isinstance() of {value.describe()} and {kind.name}")
    return False


_MODELS = frozenset({"Functional", "Sequential", "Model"})
# Classes that derive from Conv2D in some releases of Keras.
_PERHAPS_CONV2D = frozenset({"DepthwiseConv2D", "Conv2DTranspose", "SeparableConv2D"})


def _is_of_keras(class_name: str, name: str) -> bool:
    """Return whether an object of a class of Keras is an instance of the class `name`."""
    wanted = layer_class(name)
    if wanted == "Conv2D" and class_name in _PERHAPS_CONV2D:
        raise NotUnderstoodError(f"isinstance() of a {class_name} and Conv2D")
    if wanted == "Model":
        return class_name in _MODELS
    return wanted == "Layer" or layer_class(class_name) == wanted


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
    if isinstance(args[0], ValueIterator):
        return args[0]
    return ValueIterator(interpreter.taken(args[0], place), args[:1])


def _next(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if not isinstance(args[0], ValueIterator):
        if isinstance(args[0], Record):
            return interpreter.call(args[0].attribute("__next__", place), [], {}, place)
        raise SourceError("TypeError", "next() of what is no iterator")
    try:
        return args[0].next()
    except SourceError as error:
        if len(args) > 1 and error.name == "StopIteration":
            return args[1]
        raise


def _variables(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if not args:
        raise NotUnderstoodError("vars()")
    return interpreter.attribute(args[0], "__dict__", place)


def _super(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    if len(args) != 2 or not isinstance(args[0], UserClass):
        raise NotUnderstoodError("super()")
    return Super(interpreter, args[0], args[1])


def _wrapped(kind: str) -> Callable[..., Value]:
    return lambda interpreter, args, kwargs, place: Wrapped(kind, args[0])


def _object(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return Instance(interpreter, UserClass(interpreter, "object", [], None, {}))


OBJECT_BUILTINS: dict[str, Callable[..., Value]] = {
    "type": _type, "isinstance": _is_instance, "callable": _callable, "getattr": _get,
    "setattr": _set, "hasattr": _has, "iter": _iterator, "next": _next, "vars": _variables,
    "super": _super, "object": _object, "staticmethod": _wrapped("staticmethod"),
    "classmethod": _wrapped("classmethod"), "property": _wrapped("property"),
}  # fmt: skip
