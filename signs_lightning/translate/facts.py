"""Facts that a source does not hold and its data do: from the command line, and from a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.errors import InputError
from signs_lightning.translate.findings import Finding

_NUMBERS = re.compile(r"\(?\s*\d+(\s*[,x]\s*\d+)+\s*,?\s*\)?")
_EXAMPLES = {"input_shape": "64,64,3", "classes": "6", "scale": "/255", "weights": "none"}
_OF_FILES = ("input_shape", "classes")  # which a data file tells, too
_MAX_SIZE = 100_000


def parse_facts(given: Iterable[str]) -> dict[str, Any]:
    """Return the values of `--fact NAME=VALUE` options.

    Raises:
        InputError: one is no such text, or its value cannot be one of its name.
    """
    facts = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(f"--fact is '{text}', expected NAME=VALUE, such as --fact classes=6.")
        facts[name.strip()] = _parse(name.strip(), value.strip())
    return facts


def _parse(name: str, text: str) -> Any:
    if name == "input_shape":
        sizes = [int(size) for size in re.findall(r"\d+", text)]
        is_shape = _NUMBERS.fullmatch(text) and all(0 < size <= _MAX_SIZE for size in sizes)
        if not is_shape or len(sizes) not in (2, 3):
            raise InputError(
                f"--fact input_shape={text} is no shape of an image, expected height, width and "
                "channels, such as --fact input_shape=64,64,3."
            )
        return tuple(sizes)
    if name == "classes":
        if not text.isdecimal() or not 0 < int(text) <= _MAX_SIZE:
            raise InputError(
                f"--fact classes={text} is no number of classes, expected such as --fact classes=6."
            )
        return int(text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, int | float | str | tuple | list | bool) else text


def facts_of_file(path: str) -> dict[str, Any]:
    """Return the facts that an HDF5 file of training images tells.

    Raises:
        InputError: it cannot be used.
    """
    images = check_file(Path(path), role="train")
    return {"input_shape": tuple(images.shape[1:]), "classes": images.num_classes}


def ask(findings: Sequence[Finding], source: str) -> str:
    """Return what is asked for when only the data know it.

    Args:
        findings: the statements that need a fact each.
        source: the file that is translated.
    """
    by_name: dict[str, list[Finding]] = {}
    for finding in findings:
        by_name.setdefault(finding.fact or "", []).append(finding)
    needs = [f"{name} ({_reasons(found)})" for name, found in by_name.items()]
    options = [f"--fact {name}={_EXAMPLES.get(name, 'VALUE')}" for name in by_name]
    text = f"Only the data of {source} know {'; '.join(needs)}. Say such as {' '.join(options)}"
    if by_name.keys() & set(_OF_FILES):
        what = " and ".join(name for name in _OF_FILES if name in by_name)
        text += f"; --data.train_file FILE.h5 tells {what}, too"
    return f"{text}."


def _reasons(findings: Sequence[Finding]) -> str:
    first = findings[0]
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{first.reason}, {first.place}{more}"
