"""A network of one's own, `module.py:Class`, with weights from a file."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.models import weights_file
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.escaping import list_names, shorten
from signs_lightning.runtime.own_code import import_file

SPELLING = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")


def is_own_module(text: str) -> bool:
    """Return whether a side is spelled `module.py:Class`."""
    return SPELLING.fullmatch(text) is not None


def make_own_module(
    text: str, known: dict[str, Any], metadata: dict[str, Any] | None = None
) -> nn.Module:
    """Import a user's file and make an object of its class; its own errors are not caught.

    Args:
        text: `module.py:Class`; a function that makes a module will do as well.
        known: arguments that the other side tells, given where the class takes them.
        metadata: what a safetensors file has of the model whose weights it holds.

    Raises:
        InputError: there is no such file or class, or it needs further arguments.
    """
    found = SPELLING.fullmatch(text)
    if found is None:
        raise InputError(f"'{text}' is no network, expected FILE.py:CLASS such as net.py:Net.")
    file = found["file"]
    make = import_file(Path(file), found["name"])
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
    is_classifier = inspect.isclass(make) and issubclass(make, ImageClassifier)
    if is_classifier and metadata:
        return weights_file.make_model(make, metadata, known, text)
    network = make(**{k: v for k, v in known.items() if is_classifier or k in parameters})
    if not isinstance(network, nn.Module):
        raise InputError(f"{text} makes a {type(network).__name__}, expected a torch.nn.Module.")
    return network


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
    if file.suffix == ".safetensors":
        return weights_file.read_weights(file)[0]
    try:
        stored: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead to any
        reason = shorten(" ".join(str(error).split()), 120)
        raise InputError(
            f"{file} cannot be read as weights ({reason}). Save `network.state_dict()` with "
            "torch.save."
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
