"""Facts that a source does not hold and its data do: from the command line, and from a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from signs_lightning.data.folder_cache import find_role_folder
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.picture_folders import find_class_pictures
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import SCALES
from signs_lightning.translate.findings import Finding
from signs_lightning.translate.pretrained import FACT, NONE, is_weights_fact

_NUMBERS = re.compile(r"\(?\s*\d+(\s*[,x]\s*\d+)+\s*,?\s*\)?")
_EXAMPLES = {"input_shape": "64,64,3", "classes": "6", "scale": "/255"}
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
    if name == "scale" and text not in SCALES:
        raise InputError(f"--fact scale={text} is no scale, expected one of {', '.join(SCALES)}.")
    if is_weights_fact(name):
        return _weights(name, text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, int | float | str | tuple | list | bool) else text


def _weights(name: str, text: str) -> str:
    """Return the file of weights that a fact names, or "none"."""
    if text.lower() == NONE:
        return NONE
    path = Path(text).expanduser()
    if not path.is_file():
        raise InputError(
            f"--fact {name}={text} is no file. Name a file of Keras (.h5, .weights.h5 or .keras), "
            f"or say --fact {name}={NONE} to start untrained."
        )
    return str(path)


def facts_of_file(path: str) -> dict[str, Any]:
    """Return the facts that an HDF5 file of training images tells, or a folder of pictures.

    Raises:
        InputError: it cannot be used.
    """
    if Path(path).is_dir():  # of pictures of any size
        pictures = find_class_pictures(find_role_folder(Path(path), "train"))
        return {"classes": len(pictures.class_names)}
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
    weights = [f for name, found in by_name.items() if is_weights_fact(name) for f in found]
    others = {name: found for name, found in by_name.items() if not is_weights_fact(name)}
    text = ""
    if others:
        needs = [f"{name} ({_reasons(found)})" for name, found in others.items()]
        options = [f"--fact {name}={_EXAMPLES.get(name, 'VALUE')}" for name in others]
        text = f"Only the data of {source} tell {'; '.join(needs)}. Say such as {' '.join(options)}"
        if others.keys() & set(_OF_FILES):
            what = " and ".join(name for name in _OF_FILES if name in others)
            file = "FILE.h5" if "input_shape" in others else "FILE.h5 or FOLDER"
            text += f"; --data.train_file {file} tells {what}, too"
        text += ". "
    if weights:
        asked = "; ".join(f"{f.reason} ({f.place}): --fact {f.fact}=FILE" for f in weights)
        text += f"{source} begins with {asked}. Name the Keras file, or say --fact {FACT}={NONE} "
        text += "to start untrained."
    return text.strip()


def _reasons(findings: Sequence[Finding]) -> str:
    first = findings[0]
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{first.reason}, {first.place}{more}"
