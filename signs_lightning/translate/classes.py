"""Classes of the source and their instances."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.bound_methods import BoundMethod, Wrapped
from signs_lightning.translate.functions import Function
from signs_lightning.translate.source_errors import SourceError, perform_safely
from signs_lightning.translate.values import (
    Method,
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

_OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "**": "pow",
    "@": "matmul", "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
    "in": "contains", "&": "and", "|": "or", "^": "xor", "<<": "lshift", ">>": "rshift",
}  # fmt: skip
_UNARY = {"-": "__neg__", "+": "__pos__", "~": "__invert__"}


class UserClass(Record):
    """A class of the source.

    Attributes:
        name: its name.
        bases: classes of the source that it derives from.
        library_base: name of the library's class that it or one of these derives from, if any.
        namespace: what its body binds.
        fields: annotated names of its body, in order, for `@dataclass`.
        is_dataclass: whether it has that decorator.
        is_tuple: whether its fields are the items of its instances, as of a namedtuple.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        name: str,
        bases: list[UserClass],
        library_base: str | None,
        namespace: dict[str, Value],
    ) -> None:
        self._interpreter = interpreter
        self.name = name
        self.bases = bases
        inherited = [base.library_base for base in bases if base.library_base]
        self.library_base: str | None = library_base or next(iter(inherited), None)
        self.namespace = namespace
        self.fields: list[str] = []
        self.is_dataclass = False
        self.is_tuple = False
        found = [cls for base in bases for cls in base.order]
        unique = [cls for i, cls in enumerate(found) if cls not in found[i + 1 :]]
        self.order: list[UserClass] = [self, *unique]  # of look-up

    def describe(self) -> str:
        return f"class {self.name}"

    def find(self, name: str, after: UserClass | None = None) -> tuple[bool, Value]:
        """Return whether it or a class it derives from binds a name, and the value."""
        order = self.order
        if after in order:
            order = order[order.index(after) + 1 :]
        for cls in order:
            if name in cls.namespace:
                return True, cls.namespace[name]
        return False, None

    def attribute(self, name: str, place: Place) -> Value:
        found, value = self.find(name)
        if found:
            return self._bound(value)
        if name in ("__name__", "__qualname__"):
            return self.name
        if name == "__dict__":
            return self.namespace
        return super().attribute(name, place)

    def _bound(self, value: Value) -> Value:
        if isinstance(value, Wrapped) and value.kind == "classmethod":
            return BoundMethod(self._interpreter, value.function, self)
        return value.function if isinstance(value, Wrapped) else value

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        self.namespace[name] = value

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        found, _ = self.find("__new__")
        if found:
            raise NotUnderstoodError(f"__new__ of {self.describe()}")
        instance = Instance(self._interpreter, self)
        if self.library_base and not self.library_base.startswith("builtins."):
            instance.base = self._interpreter.subclass(self.library_base, instance, place)
        found, initialise = self.find("__init__")
        if found:
            self._interpreter.call(initialise, [instance, *args], kwargs, place)
        elif self.is_dataclass:
            self._set_fields(instance, args, kwargs)
        elif instance.base is not None:
            method = instance.base_attribute("__init__", place)
            self._interpreter.call(method, args, kwargs, place)
        elif self.library_base:
            instance.attributes["args"] = tuple(args)
        elif args or kwargs:
            raise SourceError("TypeError", f"{self.name}() takes no arguments")
        return instance

    def _set_fields(self, instance: Instance, args: list[Value], kwargs: dict[str, Value]) -> None:
        owners = [cls for cls in reversed(self.order) if cls.is_dataclass]
        names = list(dict.fromkeys(name for cls in owners for name in cls.fields))
        if len(args) > len(names) or kwargs.keys() - set(names[len(args) :]):
            raise SourceError("TypeError", f"{self.name}() got other arguments than its fields")
        values = {**dict(zip(names, args, strict=False)), **kwargs}
        for name in names:
            found, default = self.find(name)
            if name not in values and not found:
                raise SourceError("TypeError", f"{self.name}() misses the argument {name}")
            instance.attributes[name] = values.get(name, default)
        found, after = self.find("__post_init__")
        if found:
            self._interpreter.call(after, [instance], {}, Place(0, 0))


class Instance(Record):
    """An instance of a class of the source.

    Attributes:
        cls: its class.
        attributes: its own.
        base: what it is for the library whose class it derives from, as `Libraries.subclass`
            gives it; None if it derives from none.
    """

    def __init__(self, interpreter: Interpreter, cls: UserClass) -> None:
        self._interpreter = interpreter
        self.cls = cls
        self.attributes: dict[str, Value] = {}
        self.base: Any = None
        self._unknown: Unknown | None = None

    def describe(self) -> str:
        return f"an instance of {self.cls.describe()}"

    @property
    def has_own_equality(self) -> bool:
        """Whether it may be equal to another object."""
        return self.has_method("__eq__") or any(cls.is_dataclass for cls in self.cls.order)

    def has_method(self, name: str) -> bool:
        """Return whether its class, or one of the source that it derives from, has a method."""
        return self.cls.find(name)[0]

    def call_method(
        self, name: str, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        """Return what a method of its class returns."""
        method = self.attribute(name, place)
        return self._interpreter.call(method, args, kwargs, place)

    def attribute(self, name: str, place: Place) -> Value:
        if self._unknown:
            return self._unknown
        found, value = self.cls.find(name)
        if found and isinstance(value, Wrapped) and value.kind == "property":
            return self._interpreter.call(value.function, [self], {}, place)
        if found and isinstance(value, Unknown) and not isinstance(value, NoEffect):
            return value  # perhaps a property that is not understood
        if name in self.attributes:
            return self.attributes[name]
        if found and isinstance(value, Wrapped) and value.kind == "cached_property":
            self.attributes[name] = self._interpreter.call(value.function, [self], {}, place)
            return self.attributes[name]
        if found:
            if isinstance(value, Function):
                return BoundMethod(self._interpreter, value, self)
            if isinstance(value, Wrapped) and value.kind == "classmethod":
                return BoundMethod(self._interpreter, value.function, self.cls)
            return value.function if isinstance(value, Wrapped) else value
        if name == "__class__":
            return self.cls
        if name == "__dict__":
            return self.attributes
        if name == "__init__" and self.base is None:
            return Method("__init__", lambda args, kwargs, place: None)
        if self.base is not None:
            return self.base_attribute(name, place)
        found, fallback = self.cls.find("__getattr__")
        if found:
            return self._interpreter.call(fallback, [self, name], {}, place)
        raise SourceError("AttributeError", f"{self.describe()} has no {name}")

    def base_attribute(self, name: str, place: Place) -> Value:
        """Return what the library's class has under a name."""
        return self.base if isinstance(self.base, Unknown) else self.base.attribute(name, place)

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        found, _ = self.cls.find("__setattr__")
        if found:
            raise NotUnderstoodError(f"__setattr__ of {self.cls.describe()}")
        # What the library's class knows, such as `trainable`, is told to it as well.
        if isinstance(self.base, Record):
            with contextlib.suppress(NotUnderstoodError):
                self.base.set_attribute(name, value, place)
        self.attributes[name] = value

    def _special(self, name: str, args: list[Value], place: Place) -> Value:
        found, method = self.cls.find(name)
        if not found:
            raise NotUnderstoodError(f"{name} of {self.describe()}")
        return self._interpreter.call(method, [self, *args], {}, place)

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        found, method = self.cls.find("__call__")
        if found:
            return self._interpreter.call(method, [self, *args], kwargs, place)
        if isinstance(self.base, Record):
            return self.base.call(args, kwargs, place)
        return super().call(args, kwargs, place)

    def item(self, index: Value, place: Place) -> Value:
        if self.cls.is_tuple and isinstance(index, int | slice):
            return perform_safely(tuple(self._items()).__getitem__, index)
        return self._special("__getitem__", [index], place)

    def set_item(self, index: Value, value: Value, place: Place) -> None:
        self._special("__setitem__", [index, value], place)

    def _items(self) -> list[Value]:
        return [self.attributes[name] for name in self.cls.fields]

    def length(self, place: Place) -> Value:
        if self.cls.is_tuple:
            return len(self.cls.fields)
        return self._special("__len__", [], place)

    def iterate(self, place: Place) -> Iterator[Value]:
        if self.cls.is_tuple:
            return iter(self._items())
        values = self._special("__iter__", [], place)
        if isinstance(values, Instance):
            raise NotUnderstoodError(f"__next__ of {values.describe()}")
        return self._interpreter.taken(values, place)

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        if other is None and not is_reflected and operator in _UNARY:
            return self._special(_UNARY[operator], [], place)
        name = _OPERATORS.get(operator, operator)
        if operator == "!=" and not self.has_method("__ne__") and self.has_method("__eq__"):
            is_same = self._interpreter.truth(self._special("__eq__", [other], place), place)
            return is_same if isinstance(is_same, Unknown) else not is_same
        if operator in ("==", "!=") and not self.has_own_equality:
            return (self is other) is (operator == "==")
        prefix = "r" if is_reflected and operator != "in" else ""
        return self._special(f"__{prefix}{name}__", [other], place)

    def taint(self, unknown: Unknown) -> None:
        self._unknown = unknown


class Super(Record):
    """`super()` in a method of `owner`."""

    def __init__(self, interpreter: Interpreter, owner: UserClass, receiver: Value) -> None:
        self._interpreter = interpreter
        self._owner = owner
        self._receiver = receiver

    def attribute(self, name: str, place: Place) -> Value:
        receiver = self._receiver
        cls = receiver.cls if isinstance(receiver, Instance) else receiver
        found, value = cls.find(name, self._owner)
        if found:
            if isinstance(value, Wrapped):
                return value.function
            return BoundMethod(self._interpreter, value, receiver)
        if isinstance(receiver, Instance) and receiver.base is not None:
            return receiver.base_attribute(name, place)
        if name == "__init__":
            return Method(name, lambda args, kwargs, place: None)
        return super().attribute(name, place)
