"""Which classes and texts of an untrusted configuration are safe to use.

Safe means that nothing of its author's is imported or called, and nothing is written elsewhere.
"""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import re
import types
from datetime import timedelta
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment, Precision
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

TRUSTED_CLASSES = re.compile(  # where the classes are defined that a configuration may make
    r"(torch\.optim|torch\.nn|torchvision\.transforms\.v2|torchmetrics|lightning\.pytorch"
    r"|lightning\.fabric|signs_lightning)(\.\w+)+",
    re.ASCII,
)
# metrics of other things than classes and numbers: they fetch networks
FETCHING = re.compile(r"torchmetrics\.(audio|detection|image|multimodal|text|video)\b")
BASES: tuple[type, ...] = (nn.Module, Optimizer, LRScheduler)  # of one of which they must be
BASES += (Callback, Logger, Profiler, Strategy, Accelerator, Precision, RichProgressBarTheme)
BASES += (ClusterEnvironment, CheckpointIO, LayerSync)
PLAIN_WORD = re.compile(  # neither the name of a module nor a path
    r"[\w,:+ -]*|\d+(\.\d+)*|[+-]?\d+\.?\d*([eE][+-]?\d+)?|#[0-9a-fA-F]{6}", re.ASCII
)
FIELD = re.compile(r"\{([\w /-]*)(:[\d.]*[dfeg%]?)?\}", re.ASCII)  # as in {epoch}-{val_loss:.2f}
EXPANDED = re.compile(r"[{}$]|%\w+%|://|^~")  # by Lightning, the system or a file system library
PLAIN_TYPES = (str, int, float, bool, type(None), Path, timedelta)  # which the parser never imports
CONTAINERS: tuple[Any, ...] = (Union, types.UnionType, list, tuple, set, dict)
CONTAINERS += (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Mapping)


def trusted_class(path: str) -> type | None:
    """Return a trusted class, or None; its module must define it, not just import it."""
    return None if "Lambda" in path else library_class(path)


def library_class(path: str) -> type | None:
    """Return a class of the libraries that a configuration may import, or None.

    It is not made: one with "Lambda" in its name would call what it is given.
    """
    if not TRUSTED_CLASSES.fullmatch(path):
        return None
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name, None)
    except Exception:  # some parts of PyTorch can be imported only where they are of use
        return None
    if not isinstance(kind, type) or not issubclass(kind, BASES):
        return None
    home = f"{kind.__module__}.{kind.__qualname__}"
    return kind if TRUSTED_CLASSES.fullmatch(home) and not FETCHING.match(home) else None


def class_to_make(path: Any, names: set[str]) -> Any:
    """Return the class that may be made, or None.

    Args:
        path: the class path in a configuration.
        names: what the user names; such a class is `object` if it cannot be imported.
    """
    if not isinstance(path, str):
        return None
    if path not in names:
        return trusted_class(path)
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, object)
    except (ImportError, ValueError):  # the parser says what is wrong with it
        return object


def type_hints(kind: Any) -> dict[str, Any]:
    """Return the types of a class's arguments, as far as they can be resolved."""
    hints: dict[str, Any] = {}
    for part in reversed(getattr(kind, "__mro__", ())):
        try:
            hints |= get_type_hints(part.__init__)
        except (NameError, TypeError, AttributeError):
            for name in getattr(part.__init__, "__annotations__", {}):
                hints.pop(name, None)
    return hints


def is_data(hint: Any) -> bool:
    """Return whether a type holds only texts, numbers and collections of these."""
    origin = get_origin(hint)
    if origin in CONTAINERS:
        return all(is_data(part) for part in get_args(hint) if part is not Ellipsis)
    return hint in PLAIN_TYPES or origin is Literal


def default_arguments(kind: Any) -> dict[str, Any]:
    """Return the defaults of a class's arguments as a configuration has them."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):  # a class of C
        return {}
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {
        name: f"{value.__module__}.{value.__qualname__}" if inspect.isfunction(value) else value
        for name, value in defaults.items()
    }


def is_below(text: Any) -> bool:
    """Return whether a path, with `{epoch}` or not, is below the working directory."""
    if not isinstance(text, str):
        return False
    place = FIELD.sub(r"\1", text)
    path, windows = PurePath(place), PureWindowsPath(place)
    leaves = path.is_absolute() or windows.anchor or ".." in (*path.parts, *windows.parts)
    return not leaves and place.isprintable() and EXPANDED.search(place) is None
