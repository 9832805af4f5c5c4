"""Flags that are looked at before the parser of a verb is made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from signs_lightning.errors import InputError

GROUPS = {"config", "c", "trainer", "model", "data", "checkpoint"}  # options that stand for others
MAX_FILE = 2**20  # bytes of a configuration


def resolve_packaged_config(before: str, arg: str) -> str:
    """`--config configs/NAME.yaml` where there is no such file means the one that comes with the package."""
    flag, equals, value = arg.partition("=")
    value = arg if before in {"--config", "-c"} else value if equals and flag == "--config" else ""
    if not value.startswith("configs/") or Path(value).exists():
        return arg
    # Installed, the configs lie inside the package; in a clone, beside it.
    package = Path(__file__).parents[1]
    found = next(
        (folder / value for folder in (package, package.parent) if (folder / value).is_file()), None
    )
    return arg if found is None else arg.removesuffix(value) + str(found)


RENAMED_OPTIONS: dict[str, str] = {}  # of any verb, `--old` → `--new`, for one release


def rename_deprecated_options(args: list[str]) -> list[str]:
    """The arguments with every option under its new name; each old one is said on standard error."""
    current = []
    for arg in args:
        flag, equals, value = arg.partition("=")
        if flag in RENAMED_OPTIONS:
            new = RENAMED_OPTIONS[flag]
            print(f"{flag} is now {new}; the old name goes with the next release.", file=sys.stderr)
            arg = f"{new}{equals}{value}"
        current.append(arg)
    return current


def flag_value(flag: str, args: list[str]) -> str | None:
    """The last value of a flag, given as `--flag value` or `--flag=value`.

    Raises:
        InputError: the flag is the last word.
    """
    if args and args[-1] == flag:
        raise InputError(f"{flag} has no value. Write one after it.")
    value = None
    for position, arg in enumerate(args):
        if arg == flag:
            value = args[position + 1]
        elif arg.startswith(f"{flag}="):
            value = arg.partition("=")[2]
    return value


def remove_flag(flag: str, args: list[str]) -> list[str]:
    """The arguments less a flag and its value, wherever they stand."""
    kept, skip = [], False
    for arg in args:
        if not skip and arg != flag and not arg.startswith(f"{flag}="):
            kept.append(arg)
        skip = arg == flag and not skip
    return kept


def given_options(args: list[str]) -> list[tuple[str, str]]:
    """Every option with its value, in order; its name without dashes, with a `+` at its end where it adds to a list."""
    found, rest = [], list(args)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if option.startswith("-"):
            value = (
                value if equals else rest.pop(0) if rest and not rest[0].startswith("--") else ""
            )
            found.append((option.lstrip("-"), value))
    return found


class GivenOptions:
    """What the user says on this command line, and in the configurations given there.

    Attributes:
        replaced: options that are given as a whole, such as trainer.callbacks or model.loss, and
            what is given for them.
        appended: lists that something is added to, as `--trainer.callbacks+=…` does, and what is
            added.
        names: every text in their values; the user answers for what these name.
    """

    def __init__(self, args: list[str]) -> None:
        self.replaced: dict[str, list[Any]] = {}
        self.appended: dict[str, list[Any]] = {}
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
        ):  # a mapping without one changes the remembered one
            options = self.appended if option.endswith("+") else self.replaced
            options.setdefault(name, []).extend(value if isinstance(value, list) else [value])


def _document(text: str) -> Any:
    """What a value stands for: the YAML file that it names, or the list or mapping that it is, else the text itself."""
    try:
        file = Path(text)
        if file.is_file() and file.stat().st_size <= MAX_FILE:
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
