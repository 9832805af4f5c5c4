"""A network of one's own, `module.py:Class`, with weights from a file."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import signs_lightning
from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.escaping import list_names, shorten

SPELLING = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")


def is_own_module(text: str) -> bool:
    """Return whether a side is spelled `module.py:Class`."""
    return SPELLING.fullmatch(text) is not None


def make_own_module(text: str, known: dict[str, Any]) -> nn.Module:
    """Import a user's file and make an object of its class; its own errors are not caught.

    Args:
        text: `module.py:Class`; a function that makes a module will do as well.
        known: arguments that the other side tells, given where the class takes them.

    Raises:
        InputError: there is no such file or class, or it needs further arguments.
    """
    found = SPELLING.fullmatch(text)
    if found is None:
        raise InputError(f"'{text}' is no network, expected FILE.py:CLASS such as net.py:Net.")
    file, name = Path(found["file"]), found["name"]
    if not file.is_file():
        raise InputError(f"{file} does not exist. Name the Python file that has the class {name}.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} cannot be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)  # for dataclasses and pickles in it
    sys.path.insert(0, os.fspath(file.resolve().parent))  # what lies beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    make = getattr(module, name, None)
    if not callable(make):
        names = [n for n, value in vars(module).items() if inspect.isclass(value)]
        raise InputError(f"{file} has no class {name}.{did_you_mean(name, names)}")
    parameters = inspect.signature(make).parameters
    needed = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and key not in known
    ]
    if needed:
        raise InputError(
            f"{text} needs {list_names(needed)}, which nothing tells. Give them defaults, or add "
            f"to {file} a function without arguments that makes the network, and name that."
        )
    takes_all = inspect.isclass(make) and issubclass(make, ImageClassifier)
    network = make(**{k: v for k, v in known.items() if takes_all or k in parameters})
    if not isinstance(network, nn.Module):
        raise InputError(f"{text} makes a {type(network).__name__}, expected a torch.nn.Module.")
    return network


def make_package_model(name: str, settings: dict[str, Any]) -> nn.Module:
    """Make one of this package's models.

    Raises:
        InputError: there is none of that name.
    """
    kind = getattr(signs_lightning, name) if name in signs_lightning.__all__ else None
    if not (inspect.isclass(kind) and issubclass(kind, ImageClassifier)):
        raise InputError(
            f"--model is '{shorten(name)}', expected FILE.py:CLASS, or a model of this package "
            "such as SignsFunctional."
        )
    return kind(**settings)


def read_settings(file: Path) -> tuple[str, dict[str, Any]]:
    """Return class and settings that a safetensors file keeps of a model; empty for another's."""
    try:
        from safetensors import safe_open  # start-up

        with safe_open(file, framework="pt") as opened:
            kept = json.loads((opened.metadata() or {}).get("signs_lightning", "{}"))
        settings = kept.get("settings", {})
        name = str(kept.get("model", ""))
    except Exception:  # `read_weights` says what is wrong with it
        return "", {}
    size = settings.get("image_size")
    return name, settings | ({"image_size": tuple(size)} if isinstance(size, list) else {})


def load_weights(network: nn.Module, file: str) -> str:
    """Load weights by their names; return a line on what was done.

    Args:
        network: takes them.
        file: `.safetensors`, or what `torch.save` or Lightning wrote; it runs no code.

    Raises:
        InputError: the file cannot be read, or has other names or shapes.
    """
    stored = _remove_prefix(read_weights(Path(file)), network)
    own = network.state_dict()
    missing = [key for key in own if key not in stored and not key.endswith("num_batches_tracked")]
    others = [key for key in stored if key not in own]
    if missing or others:
        parts = [f"it lacks {list_names(missing, most=4)}"] if missing else []
        parts += [f"it has {list_names(others, most=4)}, which the network lacks"] if others else []
        raise InputError(
            f"{file} does not fit the network: {'; '.join(parts)}. Save `network.state_dict()` of "
            "this very class."
        )
    for key, value in stored.items():
        if value.shape != own[key].shape:
            raise InputError(
                f"{file} does not fit the network: '{shorten(key)}' has shape "
                f"{tuple(value.shape)}, expected {tuple(own[key].shape)}."
            )
    network.load_state_dict(stored, strict=False)
    return f"weights of {file}"


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by their names, without running code.

    Raises:
        InputError: it is missing, or is no such file.
    """
    if not file.is_file():
        raise InputError(f"{file} does not exist. Name a .safetensors file or a checkpoint.")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file  # start-up

            return load_file(file)
        stored: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead both to any
        reason = shorten(" ".join(str(error).split()), 120)
        raise InputError(
            f"{file} cannot be read as weights ({reason}). Save `network.state_dict()`, with "
            "torch.save or as safetensors."
        ) from error
    if isinstance(stored, dict) and isinstance(stored.get("state_dict"), dict):
        stored = stored["state_dict"]
    if not isinstance(stored, dict) or not all(isinstance(v, Tensor) for v in stored.values()):
        raise InputError(f"{file} holds no weights. Save `network.state_dict()` in it.")
    return stored


def _remove_prefix(stored: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return weights without a prefix that all names share and the network lacks.

    A LightningModule that holds a network as `self.model` saves "model.conv.weight".
    """
    own = network.state_dict().keys()
    if stored.keys() & own:
        return stored
    prefix = next(iter(stored), "").partition(".")[0] + "."
    if not all(key.startswith(prefix) for key in stored):
        return stored
    return {key.removeprefix(prefix): value for key, value in stored.items()}
