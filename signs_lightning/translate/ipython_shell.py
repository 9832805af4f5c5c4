"""IPython's shell: its magic commands that run code, as lines of a notebook or as calls."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.translate.cells import read_cells
from signs_lightning.translate.code_texts import CallSite
from signs_lightning.translate.magic_lines import CHANGES_NAMES
from signs_lightning.translate.scopes import Module, Scope
from signs_lightning.translate.values import Method, NoEffect, Place, Record, Value

_MAX_FILES = 20  # that run each other


class Shell(Record):
    """What `get_ipython()` returns."""

    def __init__(self, site: CallSite) -> None:
        self._site = site

    def describe(self) -> str:
        return "IPython's shell"

    def attribute(self, name: str, place: Place) -> Value:
        methods: dict[str, Callable[..., Value]] = {
            "run_line_magic": lambda args, kwargs, at: self._line(args[0], _second(args, kwargs)),
            "magic": lambda args, kwargs, at: self._whole_line(args[0]),
            "run_cell_magic": lambda args, kwargs, at: self._cell(args),
            "run_cell": lambda args, kwargs, at: self._site.run(args[0]),
            "ex": lambda args, kwargs, at: self._site.run(args[0]),
            "ev": lambda args, kwargs, at: self._site.evaluate(args[0]),
        }
        if name in methods:
            return Method(name, methods[name])
        if name in ("user_ns", "user_global_ns"):
            return self._site.scope.module.variables
        if name in ("push", "reset", "drop_by_id", "del_var", "run_code", "safe_execfile"):
            raise self._site.hidden_change(f".{name} of {self.describe()}")
        return NoEffect(f".{name} of {self.describe()}", place)

    def length(self, place: Place) -> Value:
        return NoEffect(self.describe(), place)  # a script has none

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        return NoEffect(self.describe(), place)

    def _whole_line(self, line: Value) -> Value:
        if not isinstance(line, str):
            raise self._site.hidden_change("a magic command that is not known")
        name, _, rest = line.lstrip("%").partition(" ")
        return self._line(name, rest)

    def _line(self, name: Value, rest: Value) -> Value:
        """Do `%name rest`."""
        if name in ("time", "prun", "memit"):
            return self._site.evaluate(rest)
        if name == "timeit":
            return self._perhaps(rest)
        if name == "run":
            return _run_file(self._site, rest)
        is_listing = name == "store" and "-r" not in str(rest)
        if not isinstance(name, str) or (name in CHANGES_NAMES and not is_listing):
            raise self._site.hidden_change(f"%{name}")
        return NoEffect(f"%{name}", self._site.place)

    def _cell(self, args: list[Value]) -> Value:
        """Do `%%name` with the rest of a cell."""
        name, body = args[0], args[2] if len(args) > 2 else ""
        if name in ("time", "capture", "prun"):
            self._site.run(body)
            return None
        if name == "timeit":
            return self._perhaps(body)
        if not isinstance(name, str) or name in CHANGES_NAMES:
            raise self._site.hidden_change(f"%%{name}")
        return NoEffect(f"%%{name}", self._site.place)

    def _perhaps(self, text: Value) -> Value:
        if isinstance(text, str):
            text = text.lstrip()
            while text.startswith("-"):  # such as -n 3
                text = text.partition(" ")[2].lstrip().lstrip("0123456789 ")
        self._site.perhaps_run(text, "%timeit, which runs code some times")
        return NoEffect("%timeit", self._site.place)


def _second(args: list[Value], kwargs: dict[str, Value]) -> Value:
    return args[1] if len(args) > 1 else kwargs.get("line", "")


def _run_file(site: CallSite, line: Value) -> None:
    """Do `%run file`: run a script or notebook, whose names become those of the source.

    Raises:
        NotUnderstoodError: it is not there, or cannot be read.
    """
    interpreter = site.interpreter
    try:
        words = shlex.split(line)
    except (ValueError, AttributeError):
        words = []
    names = [word for word in words if not word.startswith("-")]
    if not names or interpreter.folder is None or len(interpreter.running) >= _MAX_FILES:
        raise site.hidden_change("%run of what is not known")
    path = Path(interpreter.folder, names[0])
    path = path if path.suffix in (".py", ".ipynb", ".ipy") else path.with_name(f"{path.name}.py")
    if path in interpreter.running:
        raise site.hidden_change(f"%run of {names[0]} inside itself")
    interpreter.budget.make(100_000)  # it is read and parsed each time
    try:
        cells = read_cells(path)
    except InputError:
        raise site.hidden_change(f"%run of {names[0]}, which is not beside the source") from None
    own = site.scope.module
    is_shared = path.suffix == ".ipynb" or "-i" in words
    module = Module("__main__" if "-n" not in words else path.stem, names[0])
    if is_shared:
        module.variables, module.stars = own.variables, own.stars
    interpreter.running.append(path)
    depth, interpreter.statement_depth = interpreter.statement_depth, 0
    try:
        for cell in cells:
            body: list[ast.stmt] = [] if cell.tree is None else cell.tree.body
            if cell.tree is None and not cell.problem.startswith("%%"):
                raise site.hidden_change(f"%run of {names[0]}, which does not parse")
            interpreter.run_block(body, Scope(module))
    finally:
        interpreter.statement_depth = depth
        interpreter.running.pop()
    if not is_shared:
        own.variables.update(module.variables)
        own.stars += [star for star in module.stars if star not in own.stars]
