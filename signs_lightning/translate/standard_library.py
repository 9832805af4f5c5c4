"""Functions and constants of Python's standard library on plain values."""

from __future__ import annotations

import ast
import itertools
import math
import posixpath
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from signs_lightning.translate.argument_parser import make_parser
from signs_lightning.translate.classes import UserClass
from signs_lightning.translate.functions import Partial
from signs_lightning.translate.iterators import ValueIterator
from signs_lightning.translate.limits import check_tree
from signs_lightning.translate.operators import binary, first_unknown, is_plain
from signs_lightning.translate.paths import call_path, join_paths
from signs_lightning.translate.source_errors import SourceError, perform_safely
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

CONSTANTS: dict[str, Value] = {
    "math.pi": math.pi,
    "math.e": math.e,
    "math.inf": math.inf,
    "math.nan": math.nan,
    "numpy.pi": math.pi,
    "numpy.e": math.e,
    "os.sep": "/",
    "os.path.sep": "/",
    "os.name": "posix",
    "sys.platform": "linux",
    "sys.version_info": (3, 11, 0, "final", 0),
    "typing.TYPE_CHECKING": False,
    "string.ascii_lowercase": "abcdefghijklmnopqrstuvwxyz",
    "string.ascii_uppercase": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "string.digits": "0123456789",
}
_INTEGER_FUNCTIONS = frozenset({"factorial", "comb", "perm"})


def _plain(function: Callable[..., Any]) -> Callable[..., Value]:
    def call(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        unknown = first_unknown(args, kwargs)
        if unknown:
            return unknown
        if args and isinstance(args[0], Record):
            return NotImplemented
        if not all(map(is_plain, (*args, *kwargs.values()))):
            raise NotUnderstoodError(f"{function.__name__}() of what is no number or text")
        if function.__name__ in _INTEGER_FUNCTIONS and any(a > 300 for a in args):
            raise NotUnderstoodError(f"{function.__name__}() of a large number")
        interpreter.budget.make_text(sum(len(a) for a in args if isinstance(a, str)))
        return perform_safely(function, *args, **kwargs)

    return call


def _copy(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    value = args[0]
    interpreter.budget.make(len(value) if hasattr(value, "__len__") else 1)
    return value.copy() if isinstance(value, list | dict | set) else _same(value)


def _deep_copy(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    check_tree(args[0])
    return _deep(args[0])


def _deep(value: Value) -> Value:
    if isinstance(value, list):
        return [_deep(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_deep(item) for item in value)
    if isinstance(value, dict):
        return {key: _deep(item) for key, item in value.items()}
    return set(value) if isinstance(value, set) else _same(value)


def _same(value: Value) -> Value:
    if isinstance(value, Record):
        raise NotUnderstoodError(f"a copy of {value.describe()}")
    return value


def _partial(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return Partial(interpreter, args[0], args[1:], kwargs)


def _reduce(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    items = interpreter.items(args[1], place)
    if len(args) < 3 and not items:
        raise SourceError("TypeError", "reduce() of nothing")
    total, rest = (args[2], items) if len(args) > 2 else (items[0], items[1:])
    for item in rest:
        total = interpreter.call(args[0], [total, item], {}, place)
    return total


def _combined(function: Callable[..., Any]) -> Callable[..., Value]:
    def call(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        unknown = first_unknown(kwargs) or next((a for a in args if isinstance(a, Unknown)), None)
        if unknown:
            return unknown
        items = [arg if is_plain(arg) else _counted(interpreter, arg, place) for arg in args]
        return ValueIterator(perform_safely(function, *items, **kwargs), args)

    return call


def _counted(interpreter: Interpreter, value: Value, place: Place) -> Iterator[Value]:
    for item in interpreter.taken(value, place):
        interpreter.budget.step()
        yield item


def _chain_all(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    parts = (_counted(interpreter, part, place) for part in interpreter.taken(args[0], place))
    return ValueIterator(itertools.chain.from_iterable(parts), args[:1])


def _product(*items: Any, repeat: int = 1) -> Any:
    parts = [list(part) for part in items]
    if math.prod(map(len, parts)) ** min(repeat, 50) > 50_000:
        raise NotUnderstoodError("product() of many items")
    return itertools.product(*parts, repeat=repeat)


def _operation(kind: str) -> Callable[..., Value]:
    node = {"mul": ast.Mult, "add": ast.Add, "sub": ast.Sub, "truediv": ast.Div}[kind]

    def perform(
        interpreter: Interpreter, args: list[Value], kwargs: dict[str, Value], place: Place
    ) -> Value:
        left, right = args
        return interpreter.checked(binary(node, left, right, place, interpreter.budget))

    return perform


def _product_of(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    total: Value = kwargs.get("start", 1)
    for item in interpreter.items(args[0], place):
        total = interpreter.binary(ast.Mult, total, item, place)
    return total


def _dictionary(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    from signs_lightning.translate.python_builtins import BUILTINS

    return BUILTINS["dict"](interpreter, args, kwargs, place)


def _exit(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    raise SourceError("SystemExit")


def _reload(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    """Return a library, which is the same again; a module beside the source may be another."""
    return args[0] if args and isinstance(args[0], LibraryName) else NotImplemented


def _first(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    return args[0] if args else NotImplemented


def _named_tuple(interpreter: Interpreter, args: list[Value], kwargs: Any, place: Place) -> Value:
    unknown = first_unknown(args, kwargs)
    if unknown:
        return unknown
    if len(args) != 2 or kwargs or not isinstance(args[0], str):
        raise NotUnderstoodError("a namedtuple with options")
    fields = args[1].replace(",", " ").split() if isinstance(args[1], str) else args[1]
    names = interpreter.items(fields, place)
    if not all(isinstance(name, str) for name in names):
        raise NotUnderstoodError("a namedtuple whose fields are no names")
    made = UserClass(interpreter, args[0], [], None, {})
    made.is_dataclass = made.is_tuple = True
    made.fields = names
    return made


FUNCTIONS: dict[str, Callable[..., Value]] = {
    **{
        f"math.{name}": _plain(getattr(math, name))
        for name in [
    "ceil", "floor", "sqrt", "log", "log2", "log10", "exp", "pow", "sin", "cos", "tan", "atan",
    "atan2", "fabs", "fmod", "gcd", "trunc", "hypot", "radians", "degrees", "isnan", "isinf",
    "isclose", "factorial", "comb", "perm", "log1p",
]
    },
    **{
        f"os.path.{name}": _plain(getattr(posixpath, name.replace("abspath", "normpath")))
        for name in ["basename", "dirname", "splitext", "split", "normpath", "isabs", "abspath"]
    },
    "os.path.join": join_paths,
    "pathlib.Path": call_path,
    "pathlib.PurePath": call_path,
    "argparse.ArgumentParser": make_parser,
    "math.prod": _product_of,
    "copy.copy": _copy,
    "copy.deepcopy": _deep_copy,
    "functools.partial": _partial,
    "functools.reduce": _reduce,
    "builtins.reduce": _reduce,
    "collections.OrderedDict": _dictionary,
    "itertools.chain": _combined(itertools.chain),
    "itertools.chain.from_iterable": _chain_all,
    "itertools.product": _combined(_product),
    "itertools.islice": _combined(itertools.islice),
    "itertools.repeat": _combined(itertools.repeat),
    "itertools.permutations": _combined(itertools.permutations),
    "itertools.combinations": _combined(itertools.combinations),
    "itertools.zip_longest": _combined(itertools.zip_longest),
    **{f"operator.{name}": _operation(name) for name in ("mul", "add", "sub", "truediv")},
    "collections.namedtuple": _named_tuple,
    **dict.fromkeys(
        ("tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.notebook.tqdm", "tqdm.tqdm_notebook"), _first
    ),
    "sys.exit": _exit,
    "importlib.reload": _reload,
    "os._exit": _exit,
}  # fmt: skip
