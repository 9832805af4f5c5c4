"""`argparse`: the defaults of a script's options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signs_lightning.translate.values import (
    LibraryName,
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

_FLAGS = {"store_true": False, "store_false": True, "count": None, "append": None}
_FACT = "set by an option of the script"


class Namespace(Record):
    """What `parse_args()` returns."""

    def __init__(self, values: dict[str, Value]) -> None:
        self.values = values

    def describe(self) -> str:
        return "the options of the script"

    def attribute(self, name: str, place: Place) -> Value:
        if name == "__dict__":
            return self.values
        if name in self.values:
            return self.values[name]
        return super().attribute(name, place)

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        self.values[name] = value


class ArgumentParser(Record):
    """A parser, or a group of its options; a script is read with the defaults."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._values: dict[str, Value] = {}

    def describe(self) -> str:
        return "an argument parser"

    def attribute(self, name: str, place: Place) -> Value:
        methods = {
            "add_argument": self._add,
            "parse_args": lambda args, kwargs, at: self._parse(args, kwargs),
            "parse_known_args": lambda args, kwargs, at: (self._parse(args, kwargs), []),
            "add_argument_group": lambda args, kwargs, at: self,
            "add_mutually_exclusive_group": lambda args, kwargs, at: self,
            "set_defaults": lambda args, kwargs, at: self._values.update(kwargs),
        }
        if name in methods:
            return Method(name, methods[name])
        if name in ("print_help", "print_usage", "format_help", "error", "exit"):
            return NoEffect(f".{name} of {self.describe()}", place)
        return super().attribute(name, place)

    def _parse(self, args: list[Value], kwargs: dict[str, Value]) -> Namespace:
        """Return the defaults, which a script without options has."""
        given = args[0] if args else kwargs.get("args")
        is_own = isinstance(given, LibraryName | NoEffect) or given is None  # sys.argv[1:]
        if not is_own and given not in ([], ()):
            raise NotUnderstoodError("options that the source gives itself")
        if len(args) > 1 or kwargs.keys() - {"args"}:
            raise NotUnderstoodError("options that are added to others")
        return Namespace(dict(self._values))

    def _add(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        options = [arg for arg in args if isinstance(arg, str)]
        if not options or len(options) != len(args):
            raise NotUnderstoodError("an option without a name")
        longest = next((o for o in options if o.startswith("--")), options[0])
        name = kwargs.get("dest") or longest.lstrip("-").replace("-", "_")
        if not isinstance(name, str):
            raise NotUnderstoodError("an option without a name")
        self._values[name] = self._default(name, options[0].startswith("-"), kwargs, place)
        return NoEffect("an option", place)

    def _default(self, name: str, is_option: bool, kwargs: Any, place: Place) -> Value:
        facts = self._interpreter.facts
        if name in facts:
            return facts[name]
        action = kwargs.get("action")
        if action == "store_const":
            return kwargs.get("default")
        if isinstance(action, LibraryName):
            action = "other"
        optional = kwargs.get("nargs") in ("?", "*")
        if "default" in kwargs or action in _FLAGS or (is_option and not kwargs.get("required")):
            default = kwargs.get("default", _FLAGS.get(action))
            kind = kwargs.get("type")
            if isinstance(default, str) and isinstance(kind, Record | LibraryName):
                return self._interpreter.call(kind, [default], {}, place)
            return default
        if optional:
            return None
        return Unknown(f"'{name}', {_FACT}", place, name)


def make_parser(interpreter: Interpreter, args: Any, kwargs: Any, place: Place) -> Value:
    """Return `argparse.ArgumentParser(…)`."""
    return ArgumentParser(interpreter)
