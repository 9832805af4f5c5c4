"""What `fit`, `validate` and `test` make of the configuration that a checkpoint remembers: nothing that a stranger chose alone.

A remembered class is made if it is one of PyTorch, torchvision's transforms, torchmetrics, Lightning or this package, or if the
user names it on the command line or in a configuration given there. Where a file lies, and who owns it, proves nothing.
"""

from __future__ import annotations

import collections.abc
import importlib
import json
import re
import shlex
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment, Precision
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from signs_lightning.data.module import say
from signs_lightning.errors import InputError
from signs_lightning.escaping import shortened
from signs_lightning.flags import given_options
from signs_lightning.models.classifier import ImageClassifier

TRUSTED = re.compile(  # classes that a remembered configuration may make
    r"(torch\.optim|torch\.nn|torchvision\.transforms\.v2|torchmetrics|lightning\.pytorch|lightning\.fabric|pytorch_lightning"
    r"|signs_lightning)(\.\w+)+",
    re.ASCII,
)
KINDS: tuple[type, ...] = (
    Callback,
    Logger,
    Profiler,
    RichProgressBarTheme,
    Strategy,
    Accelerator,
    Precision,
)  # and of these kinds
KINDS += (ClusterEnvironment, CheckpointIO, LayerSync, nn.Module, Optimizer, LRScheduler)
PLAIN_WORD = re.compile(
    r"[\w,:+ -]*|\d+(\.\d+)*|[+-]?\d+\.?\d*([eE][+-]?\d+)?", re.ASCII
)  # never the name of a module, nor a path
FIELD = re.compile(r"\{([\w /-]*)(:[\d.]*[a-z%]?)?\}", re.ASCII)  # of a file name such as {epoch}-{val_loss:.2f}
OBJECTS = {
    "optimizer",
    "lr_scheduler",
    "loss",
    "metrics",
    "augmentation",
}  # a model's arguments that are no plain values
OF_TRAINING = {  # what evaluating a model has no use for
    "trainer": {"callbacks", "logger", "profiler"},
    "model": {"optimizer", "lr_scheduler", "augmentation"},
}
TEXTS = (str, int, float, bool, type(None), Path, timedelta)  # types whose values the parser takes as they are
CONTAINERS: tuple[Any, ...] = (
    Union,
    types.UnionType,
    list,
    tuple,
    set,
    dict,
    collections.abc.Sequence,
    collections.abc.Iterable,
)
CONTAINERS += (collections.abc.Mapping,)
GROUPS = {"config", "c", "trainer", "model", "data", "checkpoint"}  # options that stand for others
LARGEST_FILE = 2**20  # bytes of a configuration
LONGEST_OPTION = 500  # letters of an option that is suggested


def followed(config: dict[str, Any], verb: str, args: list[str], path: Path) -> dict[str, Any]:
    """The part of a remembered configuration that a verb follows.

    Args:
        config: as `checkpoint_config` gives it.
        verb: fit, validate or test.
        args: what the user says, which comes after it and wins.
        path: the checkpoint, for messages.

    Raises:
        InputError: there is something in it that would import, call or write what neither this package nor the user names; the
            message says which option allows it.
    """
    given = GivenOptions(args)
    model = config["model"]
    kind = _model_class(str(model["class_path"]))
    result: dict[str, Any] = {"model": {**model, "init_args": {}}}
    groups = {
        "trainer": (config.get("trainer") or {}, _hints(Trainer), {}),
        "model": (model["init_args"], _hints(kind), result["model"]["init_args"]),
    }
    for group, (values, hints, kept) in groups.items():
        for key, value in values.items():
            if verb != "fit" and key in OF_TRAINING[group]:
                continue
            texts: Texts = "plain" if key in OBJECTS else "any" if group == "model" else "below"
            check = _Check(f"{group}.{key}", given, path, texts)
            part = check.followed(value, hints.get(key, object), may_be_left_out=verb != "fit" and key == "metrics")
            if part is not LEFT_OUT:
                kept[key] = part
    result["trainer"] = groups["trainer"][2]
    for group in ("data", "checkpoint") if verb == "fit" else ("data",):
        result[group] = _plain_settings(config, group, given, path)
    if verb == "fit":
        name = config.get("name")
        if name is not None and "name" not in given.replaced:
            if not _is_harmless(name):
                raise _refusal(path, "name", name, "--name NAME")
            result["name"] = name
    seed = config.get("seed_everything")
    if not isinstance(seed, bool | int | None):
        raise _refusal(path, "seed_everything", seed, "--seed_everything NUMBER")
    result["seed_everything"] = seed
    return {key: value for key, value in result.items() if value not in (None, {})}


def read_config(path: Path) -> dict[str, Any]:
    """A run folder's config.yaml, as it is; plain values under model, trainer, data and so on."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} is not valid YAML. Begin a new run, with the configuration that this one had."
        ) from error
    model = config.get("model") if isinstance(config, dict) else None
    groups = [config.get(key) or {} for key in ("trainer", "data", "checkpoint")] if isinstance(config, dict) else []
    if not (isinstance(model, dict) and "class_path" in model and all(isinstance(group, dict) for group in groups)):
        raise InputError(f"{path} is not what a fit writes. Begin a new run, with the configuration that this one had.")
    name, trainer = str(model["class_path"]), config.get("trainer") or {}
    if _trusted_class(name) is not None:
        name = name.rpartition(".")[2]
    trainer = {key: value for key, value in trainer.items() if key != "default_root_dir"}  # its folder tells
    return {**config, "model": {"class_path": name, "init_args": model.get("init_args") or {}}, "trainer": trainer}


class GivenOptions:
    """What the user says on this command line, and in the configurations given there.

    Attributes:
        replaced: options that are given as a whole, such as trainer.callbacks or model.loss.
        appended: lists that something is added to, as `--trainer.callbacks+=…` does.
        names: every text in their values; the user answers for what these name.
    """

    def __init__(self, args: list[str]) -> None:
        self.replaced: set[str] = set()
        self.appended: set[str] = set()
        self.names: set[str] = set()
        for option, value in given_options(args):
            self._take(option, _document(value) if option.partition(".")[0] in GROUPS else value)

    def _take(self, option: str, value: Any) -> None:
        self.names |= set(_texts(value))
        name = option.removesuffix("+").replace(".init_args", "").removesuffix(".class_path")
        if name in GROUPS and isinstance(value, dict):
            before = "" if name in {"config", "c"} else f"{name}."
            for key, part in value.items():
                self._take(f"{before}{key}", part)
        elif (
            not isinstance(value, dict) or "class_path" in value
        ):  # else it is a part of the remembered one that changes
            (self.appended if option.endswith("+") else self.replaced).add(name)


def _document(text: str) -> Any:
    """What a value stands for: the YAML file that it names, or the list or mapping that it is, else the text itself."""
    try:
        file = Path(text)
        if file.is_file() and file.stat().st_size <= LARGEST_FILE:
            text = file.read_text(encoding="utf-8")
        value = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return text
    return value if isinstance(value, dict | list) else text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


# ---------------------------------------------------------------------- one option


LEFT_OUT = object()
Texts = Literal["plain", "below", "any"]


class _Check:
    """Whether a remembered option may be followed.

    Args:
        option: such as trainer.callbacks.
        given: what the user says.
        path: the checkpoint.
        texts: which texts are taken for what the parser does not import: "any", those that are "plain" words, or also what is
            no place but one "below" the working directory.
    """

    def __init__(self, option: str, given: GivenOptions, path: Path, texts: Texts) -> None:
        self.option, self.given, self.path, self.texts = option, given, path, texts

    def followed(self, value: Any, hint: Any, may_be_left_out: bool) -> Any:
        """The value, without what the user gives instead; `LEFT_OUT` where nothing of it is left."""
        if not isinstance(value, list):
            found = self.foreign(value, hint)
            if found is not None and self.option not in self.given.replaced:
                raise _refusal(self.path, self.option, found, self._way_on(value, found))
            return value if found is None else LEFT_OUT
        kept = []
        for part in value:
            found = self.foreign(part, hint)
            own = _class_path(part)
            if self.option in self.given.replaced and found is not None:
                return LEFT_OUT
            if self.option in self.given.appended and own in self.given.names and not _is_trusted(own):
                continue  # it is made as the user says
            if self.option in self.given.appended and own in self.given.names and found is not None:
                continue
            if found is None:
                kept.append(part)
            elif may_be_left_out:
                say(
                    f"{self.option} leaves out '{shortened(str(found))}'; to have it, add {self._way_on(part, found, '+=')}."
                )
            else:
                raise _refusal(self.path, self.option, found, self._way_on(part, found, "+="))
        return kept

    def foreign(self, value: Any, hint: Any) -> Any | None:
        """The first thing in a value of such a type that may not be followed, or None."""
        if isinstance(value, dict) and "class_path" in value:
            name = value["class_path"]
            kind = _class(name, self.given.names)
            if kind is None:
                return name
            parts = [(part, object) for key, part in value.items() if key not in {"class_path", "init_args"}]
            arguments = value.get("init_args") or {}
            if not isinstance(arguments, dict):
                return arguments
            hints = _hints(kind)
            parts += [(part, hints.get(key, object)) for key, part in arguments.items()]
        elif isinstance(value, dict):
            parts = [(part, hint if _is_data(hint) else object) for part in value.values()]
        elif isinstance(value, list | tuple):
            parts = [(part, hint if _is_data(hint) else object) for part in value]
        elif isinstance(value, str) and not PLAIN_WORD.fullmatch(value):
            harmless = self.texts == "any" or (self.texts == "below" and _is_harmless(value))
            return None if harmless and _is_data(hint) else value
        else:
            return None
        return next((found for part, of in parts if (found := self.foreign(part, of)) is not None), None)

    def _way_on(self, value: Any, found: Any, sign: str = " ") -> str:
        """The option with which the user takes the value upon himself."""
        bare = (
            isinstance(value, dict) and value.get("class_path") == found and (sign == " " or not value.get("init_args"))
        )
        text = str(found) if bare or not isinstance(value, dict | list) else json.dumps(value)
        option = f"--{self.option}{sign}{shlex.quote(text)}"
        return option if len(option) <= LONGEST_OPTION else f"--config with a file that says what {self.option} is"


def _refusal(path: Path, option: str, found: Any, way_on: str) -> InputError:
    return InputError(
        f"{path} remembers {option} '{shortened(str(found))}', which could run code or write elsewhere: refused. "
        f"If you trust it, add {way_on}."
    )


def _plain_settings(config: dict[str, Any], group: str, given: GivenOptions, path: Path) -> dict[str, Any]:
    """Settings that are texts, numbers and lists of these.

    The parser would take a mapping for a class to make, also one that is written as a text.
    """
    settings = {
        key: value for key, value in (config.get(group) or {}).items() if f"{group}.{key}" not in given.replaced
    }
    for key, value in settings.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict | list) or (isinstance(part, str) and isinstance(_yaml(part), dict | list)):
                raise _refusal(path, f"{group}.{key}", part, f"--{group}.{key} VALUE")
    return settings


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text


# ---------------------------------------------------------------------- types and texts


def _class_path(value: Any) -> str | None:
    path = value.get("class_path") if isinstance(value, dict) else None
    return path if isinstance(path, str) else None


def _is_trusted(path: Any) -> bool:
    return isinstance(path, str) and _trusted_class(path) is not None


def _trusted_class(path: str) -> type | None:
    """A class by its place, if it is one of those that may be made; its module must be its own, not one that it merely imports."""
    if not TRUSTED.fullmatch(path) or "Lambda" in path:
        return None
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    if not isinstance(found, type) or not issubclass(found, KINDS):
        return None
    return found if TRUSTED.fullmatch(f"{found.__module__}.{found.__qualname__}") else None


def _class(path: Any, names: set[str]) -> Any:
    """The class that may be made, or None; `object` for one of the user's own that does not show what it takes."""
    if not isinstance(path, str):
        return None
    if path not in names:
        return _trusted_class(path)
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, object)
    except (ImportError, ValueError):  # the parser says what is wrong with it
        return object


def _model_class(path: str) -> Any:
    """A model's class: one of the known ones by its bare name, or the user's own as he names it."""
    from signs_lightning.arguments import known_models

    return _class(path, {path}) if "." in path else known_models().get(path, ImageClassifier)


def _hints(kind: Any) -> dict[str, Any]:
    """The types of what a class is made with, its bases' included; without those that cannot be told."""
    hints: dict[str, Any] = {}
    for part in reversed(getattr(kind, "__mro__", ())):
        try:
            hints |= get_type_hints(part.__init__)
        except (NameError, TypeError, AttributeError):
            for name in getattr(part.__init__, "__annotations__", {}):
                hints.pop(name, None)
    return hints


def _is_data(hint: Any) -> bool:
    """Whether values of a type are texts, numbers and collections of these, which the parser never imports."""
    origin = get_origin(hint)
    if origin in CONTAINERS:
        return all(_is_data(part) for part in get_args(hint) if part is not Ellipsis)
    return hint in TEXTS or origin is Literal


def _is_harmless(text: Any) -> bool:
    """Whether it is no place but one below the working directory, after `{epoch}` and the like are filled in."""
    if not isinstance(text, str):
        return False
    place = FIELD.sub(r"\1", text)
    windows = PureWindowsPath(place)
    ok = not (PurePath(place).is_absolute() or windows.anchor or ".." in (*PurePath(place).parts, *windows.parts))
    return ok and place.isprintable() and not any(sign in place for sign in "{}$~%") and "://" not in place
