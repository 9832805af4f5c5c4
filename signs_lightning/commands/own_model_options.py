"""The options that name the user's own model: --model, and --model.network with its arguments."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.commands.argv import GivenOptions, iterate_options
from signs_lightning.commands.borrowed_options import CONFIGS, MODEL_FILES
from signs_lightning.errors import InputError
from signs_lightning.runtime.own_code import import_object

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

    from signs_lightning.checkpoints.own_model import OwnModel

DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
CLASS_OPTIONS: tuple[str, ...] = ("trainer.callbacks", "trainer.logger", "trainer.profiler")
CLASS_OPTIONS += ("model.loss", "model.optimizer", "model.lr_scheduler", "model.metrics")
CLASS_OPTIONS += ("model.augmentation", "trainer.plugins", "trainer.strategy")
NETWORK_ARGUMENT = re.compile(r"--model\.network\.(\w+)(?:=|$)")


def rename_network_arguments(args: list[str]) -> list[str]:
    """Return the arguments with `--model.network.NAME` as `--model.network_args.NAME`."""
    given = ((arg, NETWORK_ARGUMENT.match(arg)) for arg in args)
    return [
        f"--model.network_args.{arg[match.start(1) :]}" if match else arg for arg, match in given
    ]


def take_model_options(args: list[str]) -> tuple[OwnModel | None, list[str]]:
    """Take what names the user's own model from the arguments of a verb with a checkpoint.

    Returns:
        The model, or None where none is named; and the other arguments.

    Raises:
        InputError: an option has no value, or says what the checkpoint knows.
    """
    names: dict[str, str] = {}
    network_args: dict[str, Any] = {}
    rest, waiting = [], rename_network_arguments(args)
    while waiting:
        arg = waiting.pop(0)
        option, equals, value = arg.partition("=")
        if option != "--model" and not option.startswith("--model."):
            rest.append(arg)
            continue
        if not equals and not waiting:
            raise InputError(f"{option} has no value. Write one after it.")
        value = value if equals else waiting.pop(0)
        name = option.removeprefix("--model").removeprefix(".")
        if name.startswith("network_args."):
            import yaml  # start-up

            network_args[name.removeprefix("network_args.")] = yaml.safe_load(value)
        elif not name and value.endswith(MODEL_FILES):
            raise InputError(f"Unknown option '--model'. Write --ckpt_path {shlex.quote(value)}")
        elif name in ("", "network"):
            names[name or "model"] = value
        else:
            raise InputError(
                f"{option} has no meaning here: the checkpoint remembers what its model was made "
                "with. Leave it out."
            )
    if not names and not network_args:
        return None, rest
    from signs_lightning.checkpoints.own_model import OwnModel  # start-up: it imports torch

    join_import_path(args)
    return OwnModel(**names, network_args=network_args), rest


def find_named_class(args: list[str]) -> type[LightningModule] | None:
    """Import the model that a command line or a configuration on it names by its path.

    Returns:
        The class; None where none is named, or one of this package by its bare name.

    Raises:
        InputError: it is no LightningModule. What its module raises passes through.
    """
    join_import_path(args)
    names = [name for name in GivenOptions(args).replaced.get("model", []) if isinstance(name, str)]
    is_class = names and DOTTED.fullmatch(names[-1]) and not names[-1].endswith(CONFIGS)
    if not is_class:
        return None
    from lightning.pytorch import LightningModule  # start-up

    path, kind = names[-1], import_object(names[-1])
    if isinstance(kind, type) and issubclass(kind, LightningModule):
        return kind
    raise InputError(
        f"{path} is no LightningModule. If it makes a network, write --model ImageClassifier "
        f"--model.network {path}"
    )


def import_named_classes(args: list[str]) -> None:
    """Import again what a parser could not, which does not say why.

    What a module of the user's raises passes through.
    """
    given = GivenOptions(args)
    for option in CLASS_OPTIONS:
        for value in [*given.replaced.get(option, []), *given.appended.get(option, [])]:
            path = value.get("class_path") if isinstance(value, dict) else value
            if isinstance(path, str) and DOTTED.fullmatch(path):
                with contextlib.suppress(InputError):
                    import_object(path)


def join_import_path(args: list[str]) -> None:
    """Let Python find modules that the arguments name, beside the configuration that names them.

    A folder joins the path only if a module of that name is in it: the working directory for the
    command line, and before it a configuration's own folder for what is in it. Both come behind
    packages, so that no file of a folder hides one.
    """
    end = len(sys.path)
    for _, option, value in iterate_options(args):
        names = filter(DOTTED.fullmatch, GivenOptions([f"--{option}={value}"]).names)
        places = [name.split(".")[:2] for name in names]
        folders = [Path.cwd()]
        if option in ("config", "c") and os.path.isfile(value):
            folders.append(Path(value).resolve().parent)
        for folder in folders:
            is_needed = any((folder / f"{module}.py").is_file() for module, _ in places) or any(
                (folder / module / name).exists()
                for module, part in places
                for name in ("__init__.py", f"{part}.py", part)
            )
            if is_needed and str(folder) not in sys.path:
                sys.path.insert(end, str(folder))
