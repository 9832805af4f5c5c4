"""Options that are read before the parser of a verb is made."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.runtime.terminal import print_message

OPTION = re.compile(r"(--?)([A-Za-z][^\s=]*)(=?)(.*)", re.DOTALL)
GROUPS = {"config", "c", "trainer", "model", "data", "checkpoint"}  # options that stand for others
MAX_FILE = 2**20  # bytes of a configuration
KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")
TAKES_FILE = ("validate", "test")  # the parsers of others do it themselves
RENAMED_OPTIONS: dict[str, str] = {}  # of any verb, `--old` → `--new`, for one release


def resolve_packaged_config(before: str, arg: str) -> str:
    """Replace `--config configs/NAME.yaml` by the package's file of that name.

    Args:
        before: the argument before it, which may be `--config`.
        arg: the argument; it stays where the file exists, or the package has none.
    """
    flag, equals, value = arg.partition("=")
    value = arg if before in {"--config", "-c"} else value if equals and flag == "--config" else ""
    if not value.startswith("configs/") or os.path.exists(value):
        return arg
    file = packaged_file(value)
    return arg if file is None else arg.removesuffix(value) + str(file)


def packaged_file(name: str) -> Path | None:
    """Return a file of `configs/`, which is inside the package if installed, else beside it."""
    package = Path(__file__).parents[1]
    files = (folder / name for folder in (package, package.parent))
    return next((file for file in files if os.path.isfile(file)), None)


def rename_deprecated_options(args: list[str]) -> list[str]:
    """Return the arguments under new names, and warn about each old one."""
    current = []
    for arg in args:
        flag, equals, value = arg.partition("=")
        if flag in RENAMED_OPTIONS:
            new = RENAMED_OPTIONS[flag]
            print_message(
                f"{flag} is now {new}; the old name goes with the next release.", sys.stderr
            )
            arg = f"{new}{equals}{value}"
        current.append(arg)
    return current


def name_first_file(verb: str, args: list[str]) -> list[str]:
    """Return the arguments with `--ckpt_path` before the file that a verb is about.

    `test RUN` means `test --ckpt_path RUN`. The file is the first word, or the only one that is no
    value of an option.
    """
    is_given = any(x.partition("=")[0] == "--ckpt_path" for x in args)
    if verb not in TAKES_FILE or is_given:
        return args
    if args and not args[0].startswith("-"):
        return ["--ckpt_path", *args]
    pairs = enumerate(pairwise(args), 1)
    place = next((k for k, pair in pairs if _is_file_of_its_own(*pair)), None)
    return args if place is None else [*args[:place], "--ckpt_path", *args[place:]]


def _is_file_of_its_own(before: str, word: str) -> bool:
    """Return whether a word is no option, no value of the one before it, and none of a list."""
    is_value = before.startswith("-") and "=" not in before
    is_listed = Path(word).suffix != "" and Path(word).suffix == Path(before).suffix
    return not (word.startswith("-") or is_value or is_listed)


def flag_value(flag: str, args: list[str]) -> str | None:
    """Return the last value of a flag, given as `--flag value` or `--flag=value`.

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
    """Return the arguments without a flag and its value."""
    kept, skip = [], False
    for arg in args:
        if not skip and arg != flag and not arg.startswith(f"{flag}="):
            kept.append(arg)
        skip = arg == flag and not skip
    return kept


def iterate_options(args: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the dashes, the name and the value of every option.

    A `+` ends the name of one that adds to a list.
    """
    rest = list(args)
    while rest:
        match = OPTION.fullmatch(rest.pop(0))
        if match is None:
            continue
        dashes, option, equals, value = match.groups()
        if dashes == "-" and option[0] == "c" and os.path.isfile(option[1:]):  # -cFILE
            dashes, option, equals, value = "-", "c", "", option[1:]
        elif not equals and rest and OPTION.fullmatch(rest[0]) is None:
            value = rest.pop(0)
        yield dashes, option, value


class GivenOptions:
    """The options on this command line, and in the configurations that it names.

    Attributes:
        replaced: options that are given as a whole, such as trainer.callbacks or model.loss, and
            their values.
        appended: lists that are added to, as by `--trainer.callbacks+=…`, and what is added.
        names: every text in the values; the user answers for what these name.
    """

    def __init__(self, args: list[str]) -> None:
        self.replaced: dict[str, list[Any]] = {}
        self.appended: dict[str, list[Any]] = {}
        self.names: set[str] = set()
        for _, option, value in iterate_options(args):
            self._add(option, _parse(value) if option.partition(".")[0] in GROUPS else value)

    def _add(self, option: str, value: Any) -> None:
        self.names |= set(_texts(value))
        name = option.removesuffix("+").replace(".init_args", "").removesuffix(".class_path")
        if name in GROUPS and isinstance(value, dict):
            prefix = "" if name in {"config", "c"} else f"{name}."
            for key, part in value.items():
                self._add(f"{prefix}{key}", part)
        elif not isinstance(value, dict) or "class_path" in value:
            # a mapping without a class changes the remembered one
            options = self.appended if option.endswith("+") else self.replaced
            options.setdefault(name, []).extend(value if isinstance(value, list) else [value])


def mapping_of(text: str) -> dict[str, Any]:
    """Return the options and their values in a text or in the YAML file it names, or none."""
    value = _parse(text)
    return value if isinstance(value, dict) else {}


def _parse(text: str) -> Any:
    """Return the list or mapping in a text or in the YAML file it names, or the text."""
    import yaml  # start-up

    try:
        # os.path: a long text is no name of a file, and no error
        if os.path.isfile(text) and os.path.getsize(text) <= MAX_FILE:
            text = Path(text).read_text(encoding="utf-8")
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
