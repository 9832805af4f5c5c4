"""The user's own class or network for a checkpoint, imported only where the user names it."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import signs_lightning
from signs_lightning.errors import InputError, UnnamedModelError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.given_network import NamedFunction
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.own_code import find_below, import_object

STDLIB = sys.stdlib_module_names
IMPORTABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
WORD = re.compile(r"[\w,:+.-]*", re.ASCII)  # no path, no address


@dataclass(frozen=True)
class OwnModel:
    """What the user names of a model, on the command line or in a configuration given there.

    Attributes:
        model: a class by its path, such as model.Net, or a model of this package by its name.
        network: the path of what makes the network of an `ImageClassifier`.
        network_args: by which it is called; what is not given stays as the checkpoint has it.
    """

    model: str | None = None
    network: str | None = None
    network_args: dict[str, Any] = field(default_factory=dict)

    def require(self, name: str, network: str | None, source: Path) -> None:
        """Check that all is named that a checkpoint's model needs.

        Args:
            name: the class that the checkpoint names.
            network: the network that it names, or None.
            source: the checkpoint, for the message.

        Raises:
            UnnamedModelError: something is not.
        """
        missing, what = [], []
        if self.model is None and package_model(name) is None:
            what.append(f"a model of the class '{shorten(name)}'")
            bare = name if name.isidentifier() and name.isascii() else "CLASS"
            path = find_below(name) if _is_importable(name) else f"MODULE.{bare}"
            missing.append(f"--model {path}")
        if self.network is None and network is not None:
            what.append(f"a network of '{shorten(network)}'")
            path = network if _is_importable(network) else "MODULE.FUNCTION"
            missing.append(f"--model.network {path}")
        if missing:
            raise UnnamedModelError(
                f"{source} holds {' and '.join(what)}, which is imported only where you name it.",
                " ".join(missing),
            )

    def model_class(self, name: str) -> type[ImageClassifier]:
        """Return the class to make: the one that the user names, else the checkpoint's.

        Raises:
            InputError: there is no such class, or it is no image classifier.
        """
        path = self.model or name
        kind: Any = package_model(path)
        if kind is None and self.model is not None:
            kind = import_object(path)
        if not isinstance(kind, type) or not issubclass(kind, ImageClassifier):
            raise InputError(
                f"{path} is no subclass of ImageClassifier, expected one. Other LightningModules "
                "go through fit, validate and test alone."
            )
        return kind

    def network_arguments(self, remembered: dict[str, Any], source: Path) -> dict[str, Any]:
        """Return the arguments `network` and `network_args` of the model.

        Args:
            remembered: network_args of the checkpoint.
            source: the checkpoint, for the message.

        Raises:
            InputError: the checkpoint has a text in them that could lead to a file or an address.
        """
        if self.network is None:
            return {}
        for name, value in remembered.items():
            if name not in self.network_args and not _is_harmless(value):
                raise InputError(
                    f"{source} calls the network with {shorten(name)} '{shorten(str(value))}', "
                    "which could read a file or an address: refused. If you trust it, add "
                    f"--model.network.{shorten(name)} and the value."
                )
        arguments = {**remembered, **self.network_args}
        return {"network": NamedFunction(self.network), "network_args": arguments}


def package_model(name: str) -> type[ImageClassifier] | None:
    """Return a model of this package by its name, or None for any other."""
    kind = getattr(signs_lightning, name) if name in signs_lightning.__all__ else None
    return kind if isinstance(kind, type) and issubclass(kind, ImageClassifier) else None


def make_model(model_class: type[ImageClassifier], arguments: dict[str, Any]) -> ImageClassifier:
    """Return a model with a checkpoint's arguments, also of a class that takes only some of them.

    What the class raises passes through.
    """
    accepted = accepted_arguments(model_class, arguments)
    model = model_class(**accepted)
    rest = {key: value for key, value in arguments.items() if key not in accepted}
    if rest:
        num_classes, image_size = rest.pop("num_classes", None), rest.pop("image_size", None)
        model.hparams.update(rest)
        model.adopt(num_classes or model.num_classes, image_size or model.image_size)
    return model


def accepted_arguments(kind: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return those of a checkpoint's arguments that a class takes."""
    names = inspect.signature(kind).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values()):
        return arguments
    return {key: value for key, value in arguments.items() if key in names}


def without_pretraining(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a network without weights to fetch, which a checkpoint replaces."""
    return {**arguments, **({"pretrained": False} if arguments.get("pretrained") else {})}


def _is_harmless(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_harmless, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_harmless, value))
    is_path = isinstance(value, str) and bool(value) and Path(value).exists()
    return not is_path and (not isinstance(value, str) or WORD.fullmatch(value) is not None)


def _is_importable(path: str) -> bool:
    """Return whether a checkpoint's path is fit to be suggested: nothing of Python's own is."""
    return bool(IMPORTABLE.fullmatch(path)) and path.partition(".")[0] not in STDLIB
