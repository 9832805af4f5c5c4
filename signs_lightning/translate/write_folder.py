"""Writes the folder of a translation."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.models.weights_file import save_weights
from signs_lightning.runtime.atomic_write import (
    atomic_write,
    check_edited,
    encode_text,
    make_folder,
)
from signs_lightning.translate.initial_weights import TRANSLATED
from signs_lightning.translate.translation import WEIGHTS, Translation
from signs_lightning.translate.translation_page import PAGE, write_page

MARK = "\n<!-- written by translate, SHA-256: "  # by which an edited file is told
OWN = ("model*.py", "config*.yaml", WEIGHTS, PAGE)  # what a translation may write


def check_folder(folder: Path, source: Path) -> None:
    """Check that a translation can be written into a folder, before any work is done for it.

    Raises:
        InputError: it cannot, or would replace the source.
    """
    # os.path: a name that is too long is none, and no error
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"--output {folder} is a file, expected a folder. Name another one.")
    inside = os.path.exists(folder) and source.resolve().parent == folder.resolve()
    if inside and source.exists() and any(source.match(pattern) for pattern in OWN):
        raise InputError(
            f"{source} would be replaced: it is in the folder --output {folder} and has a name "
            "that a translation writes. Name another folder."
        )


def write_folder(made: Translation, folder: Path, overwrite: bool = False) -> list[Path]:
    """Write what a source became; remove what an earlier translation into the folder left.

    Args:
        made: what the source became.
        folder: is made where it does not exist.
        overwrite: whether files are replaced and removed that were edited since they were written.

    Returns:
        The files.

    Raises:
        InputError: they cannot be written, or are there with other content.
    """
    texts = {**made.files, PAGE: write_page(made)}
    digests = ", ".join(f"{name} {_digest(text)}" for name, text in texts.items())
    texts[PAGE] += f"{MARK}{digests} -->\n"
    names = [*texts, WEIGHTS] if made.weights is not None else list(texts)
    left = [old for pattern in OWN for old in sorted(folder.glob(pattern))
            if old.name not in names and _is_ours(old)]  # fmt: skip
    if not overwrite:
        kept = {WEIGHTS, *_unedited(folder)}
        changed = {name: text for name, text in texts.items() if name not in kept}
        check_edited(folder, changed, [old for old in left if old.name not in kept])
    make_folder(folder)
    with contextlib.ExitStack() as stack:  # all of them appear, or none
        for name, text in texts.items():
            temporary = stack.enter_context(atomic_write(folder / name))
            temporary.write_bytes(encode_text(text))
        if made.weights is not None:
            temporary = stack.enter_context(atomic_write(folder / WEIGHTS))
            save_weights(temporary, made.weights.state, made.weights.metadata)
    for old in left:
        old.unlink()
    return [folder / name for name in names]


def _unedited(folder: Path) -> list[str]:
    """Return the names of files that are as an earlier translation wrote them."""
    texts = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if any(path.match(pattern) for pattern in OWN) and path.name != WEIGHTS:
                texts[path.name] = path.read_bytes().decode()
    page, start, digests = texts.get(PAGE, "").rpartition(MARK)
    texts[PAGE] = page
    return [name for name, text in texts.items() if start and f"{name} {_digest(text)}" in digests]


def _digest(text: str) -> str:
    return hashlib.sha256(encode_text(text)).hexdigest()[:16]


def _is_ours(path: Path) -> bool:
    """Return whether an earlier translation wrote a file."""
    try:
        start = path.read_text(encoding="utf-8", errors="replace")[:4000]
    except OSError:
        return False
    if path.suffix == ".safetensors":
        return TRANSLATED in start
    return "written as source by signs_lightning" in start or "\n# Translated from " in start
