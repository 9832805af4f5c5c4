"""Flags that are looked at before the parser of a verb is made."""

from __future__ import annotations

from pathlib import Path

from signs_lightning.errors import InputError


def packaged(before: str, arg: str) -> str:
    """`--config configs/NAME.yaml` where there is no such file means the one that comes with the package."""
    flag, equals, value = arg.partition("=")
    value = arg if before in {"--config", "-c"} else value if equals and flag == "--config" else ""
    if not value.startswith("configs/") or Path(value).exists():
        return arg
    package = Path(__file__).parent  # installed, the configs lie inside the package; in a clone, beside it
    found = next((folder / value for folder in (package, package.parent) if (folder / value).is_file()), None)
    return arg if found is None else arg.removesuffix(value) + str(found)


def value_of(flag: str, args: list[str]) -> str | None:
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


def without(flag: str, args: list[str]) -> list[str]:
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
            value = value if equals else rest.pop(0) if rest and not rest[0].startswith("--") else ""
            found.append((option.lstrip("-"), value))
    return found
