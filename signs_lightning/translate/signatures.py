"""Signatures as text, and the arguments of a call bound to their names."""

from __future__ import annotations

import ast
import re
from typing import Any

from signs_lightning.translate.values import NotUnderstoodError

REQUIRED = object()  # instead of a default
Signature = dict[str, Any]  # name of an argument → default or REQUIRED, in their order


def parse_signatures(text: str) -> dict[str, Signature]:
    """Return signatures by name of lines such as `Dropout(rate, seed=None)`.

    A line that begins with a blank continues the one before.
    """
    lines = re.sub(r"\n\s+", " ", text.strip("\n")).splitlines()
    signatures = {}
    for line in lines:
        function: Any = ast.parse(f"def {line}: pass").body[0]
        names = [argument.arg for argument in function.args.args]
        values = [ast.literal_eval(default) for default in function.args.defaults]
        missing = [REQUIRED] * (len(names) - len(values))
        signatures[function.name] = dict(zip(names, missing + values, strict=True))
    return signatures


def bind(
    signature: Signature, args: list[Any], kwargs: dict[str, Any], what: str
) -> dict[str, Any]:
    """Return the arguments of a call by name, defaults included.

    Args:
        signature: of what is called.
        args: the positional arguments.
        kwargs: the others; those that are no part of the signature are the caller's to take away.
        what: is called, for messages.

    Raises:
        NotUnderstoodError: there are too many arguments, too few, or some of another name, as with
            a TypeError of Python.
    """
    if len(args) > len(signature):
        raise NotUnderstoodError(f"{what} with {len(args)} positional arguments")
    given = dict(zip(signature, args, strict=False))
    if twice := given.keys() & kwargs.keys():
        raise NotUnderstoodError(f"{what} with {min(twice)} given twice")
    if unknown := kwargs.keys() - signature.keys():
        raise NotUnderstoodError(f"{what} with the argument {min(unknown)}")
    bound = signature | given | kwargs
    if missing := [name for name, value in bound.items() if value is REQUIRED]:
        raise NotUnderstoodError(f"{what} without {', '.join(missing)}")
    return bound
