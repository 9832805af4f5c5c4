"""`import` and `from … import`: names of libraries, and modules beside the source."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from signs_lightning.translate.cells import parse_module, read_module
from signs_lightning.translate.library_names import canonical, is_installed_package
from signs_lightning.translate.scopes import Module, Scope
from signs_lightning.translate.source_errors import SourceError
from signs_lightning.translate.values import LibraryName, NotUnderstoodError, Place, Value

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter

_MAX_MODULES = 20


def import_modules(interpreter: Interpreter, node: ast.Import, scope: Scope) -> None:
    """Bind the modules of `import a.b as c`."""
    for alias in node.names:
        interpreter.imports.append(alias.name)
        module = _module(interpreter, alias.name)
        if alias.asname:
            scope.bind(alias.asname, module)
        elif isinstance(module, Module) and "." in alias.name:
            raise NotUnderstoodError(f"import {alias.name}, a file in a folder, without 'as'")
        elif isinstance(module, Module):
            scope.bind(alias.name, module)
        else:
            top = alias.name.split(".", 1)[0]
            scope.bind(top, LibraryName(canonical(top)))


def import_from(interpreter: Interpreter, node: ast.ImportFrom, scope: Scope) -> None:
    """Bind the names of `from a.b import c as d`."""
    name = node.module or ""
    if name == "__future__":
        if any(alias.name == "division" for alias in node.names):
            interpreter.true_division.add(scope.module.file)
        return
    module = _module(interpreter, name) if name else Module("")
    for alias in node.names:
        interpreter.imports.append(f"{name}.{alias.name}")
        if alias.name == "*":
            _import_all(module, name, scope)
            continue
        scope.bind(alias.asname or alias.name, _member(interpreter, module, name, alias.name))


def _import_all(module: Value, name: str, scope: Scope) -> None:
    star = module if isinstance(module, Module) else canonical(name)
    scope.module.stars.append(star)
    if isinstance(module, Module):
        public = {k: v for k, v in module.variables.items() if not k.startswith("_")}
        scope.variables.update(public)


def _member(interpreter: Interpreter, module: Value, name: str, member: str) -> Value:
    if isinstance(module, Module):
        found, value = module.find(member)
        if found:
            return value
        inner = _module(interpreter, f"{name}.{member}" if name else member)
        if isinstance(inner, Module | LibraryName):
            return inner
        raise SourceError("ImportError", f"{name} has no {member}")
    return interpreter.library_attribute(canonical(f"{name}.{member}"), Place(0, 0))


def _module(interpreter: Interpreter, name: str) -> Value:
    """Return the module of a dotted name: one beside the source, or a library's name.

    Raises:
        SourceError: if it is neither beside it nor published, and the source catches that.
    """
    beside = _beside(interpreter, name)
    if beside is not None:
        return beside
    if interpreter.import_guards and not is_installed_package(name):
        raise SourceError("ModuleNotFoundError", f"no module {name}")
    return LibraryName(canonical(name))


def _beside(interpreter: Interpreter, name: str) -> Module | None:
    """Return the module beside the source, after interpreting it once."""
    if name in interpreter.modules:
        return interpreter.modules[name]
    if interpreter.folder is None or len(interpreter.modules) >= _MAX_MODULES:
        return None
    interpreter.modules[name] = None  # while it is read, for modules that import each other
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    names = [f"{'/'.join(parts)}.py", f"{'/'.join(parts)}/__init__.py"]
    written = next((name for name in names if name in interpreter.written), None)
    found = next((path for name in names if (path := interpreter.folder / name).is_file()), None)
    if written is not None:
        tree = parse_module(interpreter.written[written])
    else:
        tree = read_module(found) if found else None
    if tree is None:
        return None
    module = Module(name)
    interpreter.modules[name] = module
    depth, interpreter.statement_depth = interpreter.statement_depth, 0
    try:
        interpreter.run_block(tree.body, Scope(module))
    finally:
        interpreter.statement_depth = depth
    return module
