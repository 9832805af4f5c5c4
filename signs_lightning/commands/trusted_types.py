"""Which classes and which texts of a stranger's configuration do no harm: nothing of his is imported, called or written elsewhere."""

from __future__ import annotations

import collections.abc
import importlib
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

TRUSTED_CLASSES = re.compile(  # classes that a remembered configuration may make
    r"(torch\.optim|torch\.nn|torchvision\.transforms\.v2|torchmetrics|lightning\.pytorch|lightning\.fabric|pytorch_lightning"
    r"|signs_lightning)(\.\w+)+",
    re.ASCII,
)
KINDS: tuple[type, ...] = (
    Callback,
    Logger,
    Profiler,
    Strategy,
    Accelerator,
    Precision,
)  # and of these, such ones
KINDS += (
    RichProgressBarTheme,
    ClusterEnvironment,
    CheckpointIO,
    LayerSync,
    nn.Module,
    Optimizer,
    LRScheduler,
)
PLAIN_WORD = re.compile(
    r"[\w,:+ -]*|\d+(\.\d+)*|[+-]?\d+\.?\d*([eE][+-]?\d+)?|#[0-9a-fA-F]{6}", re.ASCII
)  # never the name of a module, nor a path
FIELD = re.compile(
    r"\{([\w /-]*)(:[\d.]*[dfeg%]?)?\}", re.ASCII
)  # of a file name such as {epoch}-{val_loss:.2f}
TEXTS = (
    str,
    int,
    float,
    bool,
    type(None),
    Path,
    timedelta,
)  # types whose values the parser takes as they are
CONTAINERS: tuple[Any, ...] = (Union, types.UnionType, list, tuple, set, dict)
CONTAINERS += (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Mapping)


def trusted_class(path: str) -> type | None:
    """A class by its place, if it is one of those that may be made; its module must be its own, not one that it merely imports."""
    if not TRUSTED_CLASSES.fullmatch(path) or "Lambda" in path:
        return None
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    if not isinstance(found, type) or not issubclass(found, KINDS):
        return None
    return found if TRUSTED_CLASSES.fullmatch(f"{found.__module__}.{found.__qualname__}") else None


def class_to_make(path: Any, names: set[str]) -> Any:
    """The class that may be made, or None; `object` for one of the user's own that does not show what it takes."""
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
    """The types of what a class is made with, its bases' included; without those that cannot be told."""
    hints: dict[str, Any] = {}
    for part in reversed(getattr(kind, "__mro__", ())):
        try:
            hints |= get_type_hints(part.__init__)
        except (NameError, TypeError, AttributeError):
            for name in getattr(part.__init__, "__annotations__", {}):
                hints.pop(name, None)
    return hints


def is_data(hint: Any) -> bool:
    """Whether values of a type are texts, numbers and collections of these, which the parser never imports."""
    origin = get_origin(hint)
    if origin in CONTAINERS:
        return all(is_data(part) for part in get_args(hint) if part is not Ellipsis)
    return hint in TEXTS or origin is Literal


def is_below(text: Any) -> bool:
    """Whether it is no place but one below the working directory, after `{epoch}` and the like are filled in."""
    if not isinstance(text, str):
        return False
    place = FIELD.sub(r"\1", text)
    windows = PureWindowsPath(place)
    ok = not (
        PurePath(place).is_absolute()
        or windows.anchor
        or ".." in (*PurePath(place).parts, *windows.parts)
    )
    expanded = re.search(
        r"[{}$]|%\w+%|://|^~", place
    )  # by Lightning, the system or a library for file systems
    return ok and place.isprintable() and expanded is None
