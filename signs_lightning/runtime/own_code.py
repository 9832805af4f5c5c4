"""The user's own code: importing what is named by its path, and whose error it is."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import signs_lightning
from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.runtime.escaping import shorten

PACKAGE = Path(signs_lightning.__file__).parent
LIBRARIES = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
FOLDERS: set[Path] = set()  # of files that `import_file` imported


def import_object(path: str) -> Any:
    """Import a class or function by its path, such as `model.Net`.

    Its module runs, so the user must have named it: never call this with a text from a file that
    was only opened. What the module raises passes through.

    Raises:
        InputError: there is no such module, or nothing of that name in it.
    """
    first, *parts = path.split(".")
    if not parts or not all(part.isidentifier() for part in (first, *parts)):
        raise InputError(f"'{shorten(path)}' is no path to a class or function such as model.Net.")
    found = _import_module(first)
    if found is None:
        below = _files_below(first)[:1]
        hint = "".join(f" {file} would be {file.parent.name}.{path}." for file in below)
        raise InputError(
            f"There is no module '{first}' to import {path} from: expected {first}.py in the "
            "working directory, beside the configuration that names it, or an installed package."
            f"{hint}"
        )
    name = first
    for part in parts:
        outer, name = name, f"{name}.{part}"
        if isinstance(found, ModuleType) and not hasattr(found, part):
            submodule = _import_module(name) if hasattr(found, "__path__") else None
            if submodule is None:
                hint = did_you_mean(part, [key for key in vars(found) if key[0] != "_"])
                raise InputError(f"The module {outer} has no '{part}'.{hint}")
            found = submodule
        elif not hasattr(found, part):
            raise InputError(f"{outer} has no '{part}'.")
        else:
            found = getattr(found, part)
    return found


def find_below(path: str) -> str:
    """Return `folder.model.Net` for `model.Net` where only that folder here has the module.

    It is `FOLDER.model.Net` where several have one. Nothing is imported.
    """
    first = path.partition(".")[0]
    below = _files_below(first)
    is_here = Path(f"{first}.py").exists() or Path(first).is_dir()
    if is_here or not below:
        return path
    return f"{below[0].parent.name if len(below) == 1 else 'FOLDER'}.{path}"


def _files_below(module: str) -> list[Path]:
    """Return the files of a module's name in the folders here."""
    found = Path().glob(f"*/{module}.py")
    return sorted(file for file in found if file.parent.name.isidentifier())


def _import_module(name: str) -> ModuleType | None:
    """Return a module, or None if there is none; its own missing imports are its own error."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise


def import_file(file: Path, name: str) -> Any:
    """Import a class or function of a Python file, which the user must have named.

    It finds the modules beside it, also where a file of another folder has imported others of
    their names. What it raises passes through.

    Raises:
        InputError: there is no such file, or nothing of that name in it.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist. Name the Python file that has the class {name}.")
    folder = file.resolve().parent
    _forget_namesakes(folder)
    FOLDERS.add(folder)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} cannot be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)  # for dataclasses and pickles in it
    sys.path.insert(0, os.fspath(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(os.fspath(folder))
    found = getattr(module, name, None)
    if not callable(found):
        names = [n for n, value in vars(module).items() if inspect.isclass(value)]
        raise InputError(f"{file} has no class {name}.{did_you_mean(name, names)}")
    return found


def _forget_namesakes(folder: Path) -> None:
    """Forget modules from the folders of other files that a folder has modules of the names of."""
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if not (folder / f"{top}.py").is_file() and not (folder / top).is_dir():
            continue
        others = FOLDERS - {folder}
        homes = {home for other in others for home in (other / f"{top}.py", other / top)}
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
        if any(place and homes & {Path(place), *Path(place).parents} for place in places):
            del sys.modules[name]


def object_path(value: Any) -> str | None:
    """Return the shortest path that a class or function can be imported by, or None."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not module or module == "__main__" or not name.isidentifier():
        return None
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        holder = ".".join(parts[:length])
        if getattr(sys.modules.get(holder), name, None) is value:
            return f"{holder}.{name}"
    return None


def is_own_error(error: BaseException, is_called: bool = False) -> bool:
    """Return whether code that is neither this package's nor a library's led to an error.

    Args:
        error: any.
        is_called: whether its traceback begins inside this package; else only what this package
            called counts, and not a script or a test that called it.
    """
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        is_package = PACKAGE in Path(file).parents
        if is_called and not is_package and not _is_library(file):
            return True
        is_called, trace = is_called or is_package, trace.tb_next
    return False


def is_own_code_imported() -> bool:
    """Return whether a module is neither Python's, nor this package's, nor installed."""
    modules = [module for name, module in list(sys.modules.items()) if name != "__main__"]
    files = [getattr(module, "__file__", None) for module in modules]
    own = f"{PACKAGE}{os.sep}"
    return any(
        isinstance(file, str) and not file.startswith(own) and not _is_library(file)
        for file in files
    )


def raise_own_error(error: BaseException) -> None:
    """Raise the error of the user's own code that a parser made another one of, if there is one."""
    seen: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and cause not in seen:
        if is_own_error(cause, is_called=True):
            cause.__suppress_context__ = True  # what the parser made of it
            raise cause
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__


def _is_library(file: str) -> bool:
    compiled = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "torchinductor_")  # by torch.compile
    if not os.path.isabs(file) or compiled in file:  # generated
        return True
    return "site-packages" in file or any(file.startswith(f"{place}/") for place in LIBRARIES)
