"""Which part of a checkpoint's configuration `fit`, `validate` and `test` follow.

A remembered class is made if it is one of PyTorch, torchvision's transforms, torchmetrics,
Lightning or this package, or if the user names it on the command line or in a configuration given
there. Where a file lies, and who owns it, proves nothing.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from lightning.pytorch import Trainer

from signs_lightning.callbacks.run_config import remove_unknown_defaults
from signs_lightning.checkpoints.files import run_folder
from signs_lightning.commands.argv import GivenOptions
from signs_lightning.commands.known_models import find_model
from signs_lightning.commands.remembered_places import find_overwriting, sends_data
from signs_lightning.commands.trusted_types import (
    PLAIN_WORD,
    class_to_make,
    default_arguments,
    is_below,
    is_data,
    library_class,
    trusted_class,
    type_hints,
)
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.rank_zero_print import rank_zero_print

# a model's arguments that are no plain values
OBJECTS = {"optimizer", "lr_scheduler", "loss", "metrics", "augmentation"}
TRAINING_ONLY = {  # what evaluating a model does not use
    "trainer": {"callbacks", "logger", "profiler"},
    "model": {"optimizer", "lr_scheduler", "augmentation"},
}
MAX_OPTION_LENGTH = 500  # characters of an option that is suggested
MAX_NAMED = 10  # rejected values in one sentence
DROPPED = object()
Texts = Literal["plain", "below", "any"]


def trusted_options(
    config: dict[str, Any], verb: str, args: list[str], path: Path
) -> dict[str, Any]:
    """Return the part of a remembered configuration that a verb follows.

    Args:
        config: what `checkpoint_config` returns.
        verb: fit, validate or test.
        args: the user's own options, which come after it and win.
        path: the checkpoint, for messages.

    Raises:
        InputError: it would import, call or write what neither this package nor the user names; the
            message says which option allows it.
    """
    given, rejected = GivenOptions(args), RejectedOptions(path)
    config = remove_unknown_defaults(config)
    model: dict[str, Any] = config["model"]
    sections = {
        "trainer": (config.get("trainer") or {}, type_hints(Trainer)),
        "model": (model["init_args"], type_hints(_model_class(str(model["class_path"])))),
    }
    result: dict[str, Any] = {"model": model, "trainer": {}}
    for section, (values, hints) in sections.items():
        if not isinstance(values, dict):
            raise InputError(
                f"{path} has '{shorten(str(values))}' for the options of '{section}', expected "
                "lines NAME: VALUE. Put its own text back, or begin a new run."
            )
        kept = {}
        for key, value in values.items():
            if verb != "fit" and key in TRAINING_ONLY[section]:
                continue
            texts: Texts = "plain" if key in OBJECTS else "any" if section == "model" else "below"
            check = OptionCheck(f"{section}.{key}", given, rejected, texts)
            if key == "model_registry" and value and check.option not in given.replaced:
                rejected.add(check.option, value, f"--{check.option} NAME")  # a server's
            optional = verb != "fit" and key == "metrics"
            kept[key] = check.keep(value, hints.get(key, object), optional)
        kept = {key: value for key, value in kept.items() if value is not DROPPED}
        result[section] = {**model, "init_args": kept} if section == "model" else kept
    for section in ("data", "checkpoint") if verb == "fit" else ("data",):
        result[section] = _plain_settings(config, section, given, rejected)
    name = config.get("name") if verb == "fit" and "name" not in given.replaced else None
    if name is not None and not is_below(name):
        rejected.add("name", name, "--name NAME")
    seed = config.get("seed_everything")
    if not isinstance(seed, bool | int | None):
        rejected.add("seed_everything", seed, "--seed_everything NUMBER")
    rejected.raise_if_any()
    result |= {"name": name, "seed_everything": seed}
    return {key: value for key, value in result.items() if value not in (None, {})}


class RejectedOptions:
    """The options of a checkpoint's configuration that are not trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.own = path.parent if path.name == "config.yaml" else run_folder(path)
        self.values: list[str] = []
        self.remedies: list[str] = []

    def add(self, option: str, value: Any, remedy: str) -> None:
        """Note an option's value, and the option that the user can add instead."""
        self.values.append(f"{shorten(option)} '{shorten(str(value))}'")
        self.remedies.append(remedy)

    def raise_if_any(self) -> None:
        """Raise an `InputError` if there is any."""
        if self.values:
            raise InputError(
                f"{self.path} remembers {', '.join(self.values[:MAX_NAMED])}, which could run code "
                "or write elsewhere: refused. "
                f"If you trust it, add {' '.join(self.remedies[:MAX_NAMED])}."
            )


class OptionCheck:
    """Whether a remembered option may be followed.

    Args:
        option: such as trainer.callbacks.
        given: the user's own options.
        rejected: where values that may not are noted.
        texts: which texts are taken where the parser does not import them: "any", only "plain"
            words, or also paths "below" the working directory.
    """

    def __init__(
        self, option: str, given: GivenOptions, rejected: RejectedOptions, texts: Texts
    ) -> None:
        self.option, self.given, self.rejected, self.texts = option, given, rejected, texts

    def keep(self, value: Any, hint: Any, optional: bool) -> Any:
        """Return the value without what the user replaces; `DROPPED` if nothing is left.

        Args:
            value: of the option.
            hint: its type.
            optional: whether parts that are not trusted are left out with a line on the screen.
        """
        is_replaced = self.option in self.given.replaced
        if not isinstance(value, list):
            untrusted = self.find_untrusted(value, hint)
            if untrusted is None:
                return value
            if is_replaced:
                self._print_replaced(value)
            else:
                self.rejected.add(self.option, untrusted, self._remedy(value, untrusted))
            return DROPPED
        kept = []
        for part in value:
            untrusted, own = self.find_untrusted(part, hint), _class_path(part)
            if untrusted is not None and is_replaced:
                return DROPPED
            is_own = own in self.given.names and (untrusted or not trusted_class(str(own)))
            if is_own and self.option in self.given.appended:
                self._print_replaced(part)
            elif untrusted is None:
                kept.append(part)
            elif optional:
                remedy = f"to have it, add {self._remedy(part, untrusted, '+=')}"
                rank_zero_print(f"{self.option} leaves out '{shorten(untrusted)}'; {remedy}.")
            else:
                self.rejected.add(self.option, untrusted, self._remedy(part, untrusted, "+="))
        return kept

    def _print_replaced(self, value: Any) -> None:
        """Print a remembered value whose arguments the user's value does not take over."""
        given = self.given.replaced.get(self.option, []) + self.given.appended.get(self.option, [])
        if isinstance(value, dict) and value.get("init_args") and value not in given:
            remembered = shorten(json.dumps(value), 300)
            rank_zero_print(
                f"{self.option} is what is given here, not the remembered {remembered}."
            )

    def find_untrusted(self, value: Any, hint: Any) -> str | None:
        """Return the first part of a value that is not trusted, or None."""
        if isinstance(value, dict) and "class_path" in value:
            kind = class_to_make(value["class_path"], self.given.names)
            if kind is None:
                return str(value["class_path"])
            arguments = value.get("init_args") or {}
            if not isinstance(arguments, dict):
                return str(arguments)
            hints, arguments = type_hints(kind), _without_defaults(arguments, kind)
            others = {k: part for k, part in value.items() if k not in {"class_path", "init_args"}}
            if sends_data(kind, arguments | others):
                return str(value["class_path"])
            if place := find_overwriting(kind, arguments, self.rejected.own):
                return place
            parts = [(part, object) for part in others.values()]
            parts += [(part, hints.get(key, object)) for key, part in arguments.items()]
        elif isinstance(value, dict):
            fields = type_hints(hint) if is_dataclass(hint) else {}
            types = {key: hint if is_data(hint) else fields.get(key, object) for key in value}
            parts = [(part, types[key]) for key, part in value.items()]
        elif isinstance(value, list | tuple):
            parts = [(part, hint if is_data(hint) else object) for part in value]
        elif isinstance(value, str) and not PLAIN_WORD.fullmatch(value):
            is_harmless = self.texts == "any" or (self.texts == "below" and is_below(value))
            return None if is_harmless and is_data(hint) else value
        else:
            return None
        untrusted = (self.find_untrusted(part, kind) for part, kind in parts)
        return next((text for text in untrusted if text is not None), None)

    def _remedy(self, value: Any, untrusted: Any, sign: str = " ") -> str:
        """Return the option with which the user takes responsibility for a value."""
        is_class = isinstance(value, dict) and value.get("class_path") == untrusted
        arguments = value.get("init_args") if isinstance(value, dict) else None
        has_arguments = bool(arguments) and "class_path" in value
        is_bare = is_class and (sign == " " or not has_arguments)
        kind = library_class(str(value["class_path"])) if has_arguments else None
        if isinstance(arguments, dict) and kind is not None:
            arguments = _without_defaults(arguments, kind)
            value = {"class_path": value["class_path"], "init_args": arguments}
        whole = isinstance(value, dict | list) and not is_bare
        option = (
            f"--{self.option}{sign}{shlex.quote(json.dumps(value) if whole else str(untrusted))}"
        )
        if len(option) <= MAX_OPTION_LENGTH:
            return option
        return f"--config with a file that says what {self.option} is"


def _plain_settings(
    config: dict[str, Any], section: str, given: GivenOptions, rejected: RejectedOptions
) -> dict[str, Any]:
    """Return settings of texts, numbers and lists of these; note the others.

    The parser would take a mapping for a class to make, also one that is written as a text.
    """
    values = config.get(section) or {}
    settings = {k: v for k, v in values.items() if f"{section}.{k}" not in given.replaced}
    for key, value in settings.items():
        if key == "class_names" and all(isinstance(name, str) for name in value or ()):
            continue  # any text is a name, and is taken as no more
        for part in value if isinstance(value, list) and key.isidentifier() else [value]:
            parsed = _parse_yaml(part) if isinstance(part, str) else part
            if not key.isidentifier() or isinstance(parsed, dict | list):
                rejected.add(f"{section}.{key}", part, f"--{section}.{key} VALUE")
    return settings


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text


def _without_defaults(arguments: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Return the arguments of a class that are other than its defaults."""
    defaults = default_arguments(kind)
    return {k: v for k, v in arguments.items() if k not in defaults or v != defaults[k]}


def _class_path(value: Any) -> str | None:
    path = value.get("class_path") if isinstance(value, dict) else None
    return path if isinstance(path, str) else None


def _model_class(path: str) -> Any:
    """Return a known model by its bare name, or the user's own by its path."""
    return class_to_make(path, {path}) if "." in path else find_model(path) or ImageClassifier
