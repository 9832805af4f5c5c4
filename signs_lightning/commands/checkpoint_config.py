"""What `fit`, `validate` and `test` make of the configuration that a checkpoint remembers: nothing that a stranger chose alone.

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
from signs_lightning.commands.argv import GivenOptions
from signs_lightning.commands.known_models import find_model
from signs_lightning.commands.trusted_types import (
    PLAIN_WORD,
    class_to_make,
    is_below,
    is_data,
    trusted_class,
    type_hints,
)
from signs_lightning.data.datamodule import rank_zero_print
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.escaping import shorten

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
MAX_OPTION_LENGTH = 500  # letters of an option that is suggested
MAX_NAMED = 10  # things that are refused in one sentence


def trusted_options(
    config: dict[str, Any], verb: str, args: list[str], path: Path
) -> dict[str, Any]:
    """The part of a remembered configuration that a verb follows.

    Args:
        config: as `checkpoint_config` gives it.
        verb: fit, validate or test.
        args: what the user says, which comes after it and wins.
        path: the checkpoint, for messages.

    Raises:
        InputError: there is something in it that would import, call or write what neither this
            package nor the user names; the message says which option allows it.
    """
    given, refused, config = (
        GivenOptions(args),
        RejectedOptions(path),
        remove_unknown_defaults(config),
    )
    model = config["model"]
    kind = _model_class(str(model["class_path"]))
    result: dict[str, Any] = {"model": {**model, "init_args": {}}}
    groups = {
        "trainer": (config.get("trainer") or {}, type_hints(Trainer), {}),
        "model": (model["init_args"], type_hints(kind), result["model"]["init_args"]),
    }
    for group, (values, hints, kept) in groups.items():
        for key, value in values.items():
            if verb != "fit" and key in OF_TRAINING[group]:
                continue
            texts: Texts = "plain" if key in OBJECTS else "any" if group == "model" else "below"
            check = _Check(f"{group}.{key}", given, refused, texts)
            part = check.followed(
                value, hints.get(key, object), may_be_left_out=verb != "fit" and key == "metrics"
            )
            if part is not LEFT_OUT:
                kept[key] = part
    result["trainer"] = groups["trainer"][2]
    for group in ("data", "checkpoint") if verb == "fit" else ("data",):
        result[group] = _plain_settings(config, group, given, refused)
    if verb == "fit":
        name = config.get("name")
        if name is not None and "name" not in given.replaced:
            if not is_below(name):
                refused.add("name", name, "--name NAME")
            result["name"] = name
    seed = config.get("seed_everything")
    if not isinstance(seed, bool | int | None):
        refused.add("seed_everything", seed, "--seed_everything NUMBER")
    refused.end()
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
    groups = (
        [config.get(key) or {} for key in ("trainer", "data", "checkpoint")]
        if isinstance(config, dict)
        else []
    )
    if not (
        isinstance(model, dict)
        and "class_path" in model
        and all(isinstance(group, dict) for group in groups)
    ):
        raise InputError(
            f"{path} is not what a fit writes. Begin a new run, with the "
            "configuration that this one had."
        )
    name, trainer = str(model["class_path"]), config.get("trainer") or {}
    if trusted_class(name) is not None:
        name = name.rpartition(".")[2]
    trainer = {
        key: value for key, value in trainer.items() if key != "default_root_dir"
    }  # its folder tells
    return {
        **config,
        "model": {"class_path": name, "init_args": model.get("init_args") or {}},
        "trainer": trainer,
    }


class RejectedOptions:
    """What is refused of a checkpoint's configuration, all of it in one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []
        self.ways_on: list[str] = []

    def add(self, option: str, found: Any, way_on: str) -> None:
        """Notes what is found in an option, and the option that the user can add."""
        self.found.append(f"{shorten(option)} '{shorten(str(found))}'")
        self.ways_on.append(way_on)

    def end(self) -> None:
        """Raises an `InputError` if there is anything."""
        if self.found:
            raise InputError(
                f"{self.path} remembers {', '.join(self.found[:MAX_NAMED])}, which could run "
                "code or write elsewhere: refused. "
                f"If you trust it, add {' '.join(self.ways_on[:MAX_NAMED])}."
            )


LEFT_OUT = object()
Texts = Literal["plain", "below", "any"]


class _Check:
    """Whether a remembered option may be followed.

    Args:
        option: such as trainer.callbacks.
        given: what the user says.
        refused: where to note what is not.
        texts: which texts are taken for what the parser does not import: "any", those that are
            "plain" words, or also what is no place but one "below" the working directory.
    """

    def __init__(
        self, option: str, given: GivenOptions, refused: RejectedOptions, texts: Texts
    ) -> None:
        self.option, self.given, self.refused, self.texts = option, given, refused, texts

    def followed(self, value: Any, hint: Any, may_be_left_out: bool) -> Any:
        """The value, without what the user gives instead; `LEFT_OUT` where nothing of it is left."""
        if not isinstance(value, list):
            found = self.foreign(value, hint)
            if found is None:
                return value
            if self.option in self.given.replaced:
                self._say_instead(value)
            else:
                self.refused.add(self.option, found, self._way_on(value, found))
            return LEFT_OUT
        kept = []
        for part in value:
            found, own = self.foreign(part, hint), _class_path(part)
            if found is not None and self.option in self.given.replaced:
                return LEFT_OUT
            if (
                self.option in self.given.appended
                and own in self.given.names
                and (found or not trusted_class(str(own)))
            ):
                self._say_instead(part)
            elif found is None:
                kept.append(part)
            elif may_be_left_out:
                way_on = self._way_on(part, found, "+=")
                rank_zero_print(
                    f"{self.option} leaves out '{shorten(found)}'; to have it, add {way_on}."
                )
            else:
                self.refused.add(self.option, found, self._way_on(part, found, "+="))
        return kept

    def _say_instead(self, value: Any) -> None:
        """What is given here takes a value's place; where it lacks the arguments of the remembered one, that is said."""
        given = self.given.replaced.get(self.option, []) + self.given.appended.get(self.option, [])
        if isinstance(value, dict) and value.get("init_args") and value not in given:
            rank_zero_print(
                f"{self.option} is what is given here, not the remembered "
                f"{shorten(json.dumps(value), 300)}."
            )

    def foreign(self, value: Any, hint: Any) -> str | None:
        """The first thing in a value of such a type that may not be followed, or None."""
        if isinstance(value, dict) and "class_path" in value:
            name = value["class_path"]
            kind = class_to_make(name, self.given.names)
            if kind is None:
                return str(name)
            parts = [
                (part, object)
                for key, part in value.items()
                if key not in {"class_path", "init_args"}
            ]
            arguments = value.get("init_args") or {}
            if not isinstance(arguments, dict):
                return str(arguments)
            hints = type_hints(kind)
            parts += [(part, hints.get(key, object)) for key, part in arguments.items()]
        elif isinstance(value, dict):
            fields = type_hints(hint) if is_dataclass(hint) else {}
            parts = [
                (part, hint if is_data(hint) else fields.get(key, object))
                for key, part in value.items()
            ]
        elif isinstance(value, list | tuple):
            parts = [(part, hint if is_data(hint) else object) for part in value]
        elif isinstance(value, str) and not PLAIN_WORD.fullmatch(value):
            harmless = self.texts == "any" or (self.texts == "below" and is_below(value))
            return None if harmless and is_data(hint) else value
        else:
            return None
        return next(
            (found for part, of in parts if (found := self.foreign(part, of)) is not None), None
        )

    def _way_on(self, value: Any, found: Any, sign: str = " ") -> str:
        """The option with which the user takes the value upon himself."""
        bare = (
            isinstance(value, dict)
            and value.get("class_path") == found
            and (sign == " " or not value.get("init_args"))
        )
        text = str(found) if bare or not isinstance(value, dict | list) else json.dumps(value)
        option = f"--{self.option}{sign}{shlex.quote(text)}"
        return (
            option
            if len(option) <= MAX_OPTION_LENGTH
            else f"--config with a file that says what {self.option} is"
        )


def _plain_settings(
    config: dict[str, Any], group: str, given: GivenOptions, refused: RejectedOptions
) -> dict[str, Any]:
    """Settings that are texts, numbers and lists of these.

    The parser would take a mapping for a class to make, also one that is written as a text.
    """
    settings = {
        key: value
        for key, value in (config.get(group) or {}).items()
        if f"{group}.{key}" not in given.replaced
    }
    for key, value in settings.items():
        for part in value if isinstance(value, list) and key.isidentifier() else [value]:
            if (
                not key.isidentifier()
                or isinstance(part, dict | list)
                or (isinstance(part, str) and isinstance(_yaml(part), dict | list))
            ):
                refused.add(f"{group}.{key}", part, f"--{group}.{key} VALUE")
    return settings


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text


def _class_path(value: Any) -> str | None:
    path = value.get("class_path") if isinstance(value, dict) else None
    return path if isinstance(path, str) else None


def _model_class(path: str) -> Any:
    """A model's class: one of the known ones by its bare name, or the user's own as he names it."""
    return class_to_make(path, {path}) if "." in path else find_model(path) or ImageClassifier
