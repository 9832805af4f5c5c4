"""Names for the source: identifiers that hide nothing, whatever a file calls its layers."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

from torch import nn

# What a class of ours has besides the attributes of nn.Module.
TAKEN = {"penalty", "network", "images", *dir(nn.Module()), *vars(nn.Module)}
MAX_LENGTH = 60


def identifier(name: str) -> str:
    """Return an ASCII identifier like a name; it begins with no underscore."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_")[:MAX_LENGTH]
    if plain[:1].isdigit():
        number, _, rest = plain.partition("_")
        plain = f"{rest}_{number}" if rest and number.isdigit() else f"layer_{plain}"
    plain = plain if plain[:1].isalpha() else f"layer_{plain}".rstrip("_")
    return f"{plain}_" if keyword.iskeyword(plain) or keyword.issoftkeyword(plain) else plain


def unique(name: str, taken: Iterable[str]) -> str:
    """Return a name that is not taken."""
    used = set(taken)
    while name in used:
        name += "_"
    return name


def attribute_names(wanted: dict[str, str]) -> dict[str, str]:
    """Return an attribute for each module's key, as like as may be to the wanted names."""
    names: dict[str, str] = {}
    for key, name in wanted.items():
        names[key] = unique(identifier(name), TAKEN | set(names.values()))
    return names


def variable_names(names: Iterable[str]) -> list[str]:
    """Return local variables for the inputs of a model."""
    found: list[str] = []
    for name in names:
        taken = {*found, *dir(builtins), "self", "x", "F", "nn", "torch", "math", "partial"}
        found.append(unique(identifier(name).lower(), taken))
    return found


def words(value: str, length: int = 60) -> str:
    """Return a text for a docstring or comment: letters, digits and a few signs alone."""
    return " ".join(re.sub(r"[^A-Za-z0-9_.,:/ -]", " ", value).split())[:length]
