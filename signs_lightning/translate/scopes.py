"""The variables of a module, function, class or comprehension."""

from __future__ import annotations

import builtins
from typing import Any

from signs_lightning.translate.library_names import ALIASES, star_name
from signs_lightning.translate.values import Place, Record, Value


class Module(Record):
    """The source itself, or a module beside it.

    Attributes:
        name: as it is imported; "__main__" for the source itself.
        file: that messages name; empty for the source itself.
        variables: its names and their values.
        stars: modules whose names it imported by `*`, the last one last.
    """

    def __init__(self, name: str, file: str = "") -> None:
        self.name = name
        self._file = file
        self.variables: dict[str, Value] = {}
        self.stars: list[str | Module] = []

    @property
    def file(self) -> str:
        return self._file or ("" if self.name == "__main__" else f"{self.name}.py")

    def describe(self) -> str:
        return f"module {self.name}"

    def find(self, name: str) -> tuple[bool, Value]:
        """Return whether it has a name, and the name's value."""
        if name in self.variables:
            return True, self.variables[name]
        # A module that is missing may have any name, so the known ones are asked first.
        may_be_missing = not hasattr(builtins, name) and name not in ALIASES
        for is_known in (True, False) if may_be_missing else (True,):
            for star in reversed(self.stars):
                if isinstance(star, Module):
                    found, value = star.find(name) if is_known else (False, None)
                    if found:
                        return True, value
                elif _is_listed(star) == is_known and not name.startswith("_"):
                    known = star_name(star, name)
                    if known:
                        return True, known
        return False, None

    def attribute(self, name: str, place: Place) -> Value:
        if name == "__dict__":
            return self.variables
        found, value = self.find(name)
        return value if found else super().attribute(name, place)

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        self.variables[name] = value


def _is_listed(module: str) -> bool:
    return module.startswith("keras") or module in ("tensorflow",)


class Scope:
    """Where names are looked up and bound.

    Attributes:
        module: that its code is in.
        variables: its own.
        parent: of the function or class around it; None for a module.
        is_class: whether functions inside it do not see its names.
        outer: names that `global` or `nonlocal` bind elsewhere, and where.
        owner: class of the method it is the scope of, for `super()`.
        receiver: the method's first argument.
    """

    __slots__ = ("is_class", "module", "outer", "owner", "parent", "receiver", "variables")

    def __init__(self, module: Module, parent: Scope | None = None, is_class: bool = False) -> None:
        self.module = module
        self.parent = parent
        self.is_class = is_class
        self.variables: dict[str, Value] = module.variables if parent is None else {}
        self.outer: dict[str, dict[str, Value]] = {}
        self.owner: Any = parent.owner if parent else None
        self.receiver: Value = parent.receiver if parent else None

    def find(self, name: str) -> tuple[bool, Value]:
        """Return whether a name is bound, and its value."""
        if name in self.outer:
            variables = self.outer[name]
            return (True, variables[name]) if name in variables else (False, None)
        if name in self.variables:
            return True, self.variables[name]
        scope = self.parent
        while scope is not None and scope.parent is not None:
            if not scope.is_class and name in scope.variables:
                return True, scope.variables[name]
            scope = scope.parent
        return self.module.find(name)

    def bind(self, name: str, value: Value) -> None:
        self.outer.get(name, self.variables)[name] = value

    def unbind(self, name: str) -> bool:
        """Forget a name, and return whether it was bound."""
        variables = self.outer.get(name, self.variables)
        if name not in variables:
            return False
        del variables[name]
        return True

    def make_global(self, name: str) -> None:
        self.outer[name] = self.module.variables

    def make_nonlocal(self, name: str) -> None:
        scope = self.parent
        while scope is not None and scope.parent is not None:
            if not scope.is_class and name in scope.variables:
                self.outer[name] = scope.variables
                return
            scope = scope.parent
