"""Source that stands alone: what it imports of this package is written into it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.models.exported_classifier import ExportedClassifier
from signs_lightning.source import standalone_classifier
from signs_lightning.source.expressions import Code, Ref, walk
from signs_lightning.source.imports import import_lines

PACKAGE = "signs_lightning"
# What takes the place of a definition.
INSTEAD = {
    (ExportedClassifier.__module__, ExportedClassifier.__name__): standalone_classifier.__name__
}
Definition = tuple[str, str]  # a module and a name in it


@dataclass
class _Module:
    """A module of this package.

    Attributes:
        source: its text.
        definitions: statements that define a name, in their order.
        imports: module and name that a name is imported from; no name for a module.
    """

    source: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)


@cache
def _read(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise InputError(f"{name} has no source here, so that nothing can be written out of it.")
    source = Path(spec.origin).read_text(encoding="utf-8")
    module = _Module(source)
    for statement in ast.parse(source).body:
        match statement:
            case ast.ImportFrom(module=origin, names=names) if origin:
                for alias in names:
                    module.imports[alias.asname or alias.name] = origin, alias.name
            case ast.Import(names=names):
                for alias in names:
                    module.imports[alias.asname or alias.name] = alias.name, ""
            case ast.FunctionDef(name=defined) | ast.ClassDef(name=defined):
                module.definitions.setdefault(defined, []).append(statement)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else None
                for target in targets or [statement.target]:  # type: ignore[union-attr]
                    if isinstance(target, ast.Name):
                        module.definitions.setdefault(target.id, []).append(statement)
    return module


class _Collector:
    """Collects definitions, each after those that it needs."""

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}  # of each name that is defined
        self.texts: list[str] = []
        self.references: list[Ref | Code] = []  # what is imported from elsewhere

    def add(self, module_name: str, name: str) -> None:
        module_name = INSTEAD.get((module_name, name), module_name)
        if (earlier := self.modules.get(name)) is not None:
            if earlier != module_name:
                raise InputError(
                    f"The model needs {name} of {earlier} and of {module_name}, and one file has "
                    "only one of that name. Leave --standalone out."
                )
            return
        module = _read(module_name)
        if name not in module.definitions:
            origin, original = module.imports[name]
            self.add(origin, original)
            return
        self.modules[name] = module_name
        statements = module.definitions[name]
        for used in dict.fromkeys(u for s in statements for u in _names(s)):
            if used in module.definitions and used != name:
                self.add(module_name, used)
            elif used in module.imports:
                self._add_import(*module.imports[used], used)
        for statement in statements:
            self.texts.append(_text(module.source, statement))

    def _add_import(self, origin: str, original: str, used: str) -> None:
        if origin.partition(".")[0] == PACKAGE:
            if not original or original != used:
                raise InputError(
                    f"The model needs {used} of {origin}, which cannot be written out of the "
                    "package. Leave --standalone out."
                )
            self.add(origin, original)
        elif original and not (origin == "torch" and original == "nn"):
            self.references.append(Ref(origin, original))
        else:
            self.references.append(_module_reference(origin, original, used))


def _module_reference(origin: str, original: str, used: str) -> Ref | Code:
    """Return what imports a module under the name that is usual for it."""
    if origin == "torch" and original == "nn":
        return Ref("torch.nn", "Module")
    if origin in ("torch", "math", "torch.nn.functional"):
        return Ref(origin, "module")
    return Ref(f"import {origin}" + (f" as {used}" if used != origin else ""), "")


def _names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement reads, also in annotations."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id


def _text(source: str, statement: ast.stmt) -> str:
    """Return the text of a definition, decorators and comments among its lines included."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(d.lineno for d in decorators)])
    lines = source.splitlines()[first - 1 : statement.end_lineno]
    return "\n".join(lines)


def stand_alone(nodes: list[Ref | object]) -> tuple[list[str], list[str]]:
    """Return the import lines and the definitions of source that needs nothing of this package.

    Args:
        nodes: the expressions of the source.
    """
    collector = _Collector()
    outside: list[object] = []
    for node in nodes:
        for part in walk(node):
            if isinstance(part, Ref) and part.module.partition(".")[0] == PACKAGE:
                collector.add(part.module, part.name.partition(".")[0])
            elif isinstance(part, Ref):
                outside.append(part)
    lines = import_lines([*outside, *collector.references])
    definitions: list[str] = []
    after_block = False
    for text in collector.texts:
        is_block = text.startswith(("def ", "class ", "@"))
        gap = ["", ""] if is_block or after_block else [""] if not definitions else []
        definitions += [*gap, *text.splitlines()]
        after_block = is_block
    return lines, definitions
