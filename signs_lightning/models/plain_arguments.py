"""Arguments of a model as a checkpoint keeps them: numbers, texts, and collections of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from signs_lightning.errors import InputError

PLAIN = (type(None), bool, int, float, str)


def plain_arguments(values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return arguments that load with `weights_only=True`.

    Args:
        values: the arguments by their names; NumPy's numbers become Python's.
        owner: the class that takes them, for the message.

    Raises:
        InputError: one of them holds anything else.
    """
    return {name: _plain(value, name, owner) for name, value in values.items()}


def _plain(value: Any, name: str, owner: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in PLAIN:
        return value
    if isinstance(value, list | tuple):
        parts = [_plain(part, name, owner) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {key: _plain(part, name, owner) for key, part in value.items()}
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    raise InputError(
        f"{owner} is made with {name}={kind}, which no checkpoint can hold: expected numbers, "
        "texts, and lists of these. Give it a text or a number, and let the code choose by that."
    )
