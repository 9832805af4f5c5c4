"""What is known of one file, and how its name is written in a command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

VERB = "python -m signs_lightning"
MAX_ROWS = 60  # of a table that is shown


@dataclass(frozen=True)
class TextTable:
    """A table: column headings (those that end in ">" are numbers), rows of text, and how many rows there are besides."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    title: str = ""
    more: int = 0


@dataclass(frozen=True)
class DataSummary:
    """What two files of images are compared by.

    Attributes:
        split: "train", "val", "test", or "" where neither key nor name tells.
        keys: options that name the keys, as they were given.
        shape: (N, H, W, C).
        class_names: the K names, or None.
        fingerprints: uint64 (n,) of the images that were read.
    """

    split: str
    keys: dict[str, str]
    shape: tuple[int, int, int, int]
    class_names: list[str] | None
    fingerprints: np.ndarray


@dataclass
class FileReport:
    """What is known of one file; all of it is text that still has to be escaped.

    Attributes:
        path: as it was given.
        what: the kind of file, in a few words.
        facts: (what, value) pairs.
        listings: tables.
        problem: why the project cannot use it, in a sentence or two; empty when it can.
        commands: what to type next.
        data: for a file of images that can be used.
    """

    path: str
    what: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    listings: list[TextTable] = field(default_factory=list)
    problem: str = ""
    commands: list[str] = field(default_factory=list)
    data: DataSummary | None = None


def quoted(path: Path | str) -> str:
    """A file's name as a shell takes it, also one that begins with a dash or has characters that cannot be printed."""
    name = str(path)
    if name.startswith("-"):
        name = f"./{name}"
    if name.isprintable():
        return shlex.quote(name)
    octets = (
        chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}"
        for b in os.fsencode(name)
    )
    return f"$'{''.join(octets)}'"
