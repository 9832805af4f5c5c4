"""What is known of one file, and how its name is written in a command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from signs_lightning.runtime.escaping import quote_path

if TYPE_CHECKING:
    import numpy as np

VERB = "python -m signs_lightning"
MAX_ROWS = 60  # of a table that is shown


@dataclass(frozen=True)
class TextTable:
    """A table.

    Attributes:
        columns: headings; those that end in ">" are of numbers.
        rows: of text.
        more: number of rows that are left out.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    more: int = 0


@dataclass(frozen=True)
class DataSummary:
    """What images of one role are compared by with others.

    Attributes:
        path: of their file, as it was given.
        role: "train", "val", "test", or "" where neither keys nor name tell.
        options: how they are read, as they were given; see `check_file`.
        shape: (N, H, W, C).
        class_names: the K names, or None.
        fingerprints: uint64 (n,) of the images that were read.
        is_one_of_several: whether the file has images for other roles, too.
        lacks_range: whether nothing tells which numbers are black and white.
    """

    path: str
    role: str
    options: dict[str, Any]
    shape: tuple[int, int, int, int]
    class_names: list[str] | None
    fingerprints: np.ndarray
    is_one_of_several: bool = False
    lacks_range: bool = False


@dataclass
class FileReport:
    """What is known of one file; all of it is text that still has to be escaped.

    Attributes:
        path: as it was given.
        what: the kind of file, in a few words.
        facts: (name, value) pairs.
        listings: tables.
        problem: why the project cannot use it, a line each; empty when it can.
        commands: what to type next.
        data: for a file of images that can be used, by role.
    """

    path: str
    what: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    listings: list[TextTable] = field(default_factory=list)
    problem: str = ""
    commands: list[str] = field(default_factory=list)
    data: list[DataSummary] = field(default_factory=list)

    def add_fact(self, name: str, value: object) -> None:
        """Add a pair to the facts."""
        self.facts.append((name, str(value)))

    def add_table(
        self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], count: int | None = None
    ) -> None:
        """Add a table of the first `MAX_ROWS` rows, of `count` or of as many as given."""
        more = max(0, (len(rows) if count is None else count) - MAX_ROWS)
        self.listings.append(TextTable(columns, rows[:MAX_ROWS], more))

    def suggest(self, arguments: str) -> None:
        """Add a command of the project: a verb and its options."""
        self.commands.append(f"{VERB} {arguments}")


def format_options(options: Mapping[str, Any], role: str = "train") -> str:
    """Return how files are read, as options of a further command.

    Args:
        options: those of `check_file` that were given.
        role: of the file, whose labels may lie in another.
    """
    words = ""
    for name, value in options.items():
        name = f"{role}_labels_file" if name == "labels_file" else name
        if name == "image_size":
            value = value[0] if len(set(value)) == 1 else f"[{value[0]},{value[1]}]"
        elif isinstance(value, list | tuple):
            is_size = all(isinstance(part, int) for part in value)
            value = ",".join(map(str, value)) if is_size else f"[{','.join(value)}]"
        if name == "value_range":  # which may begin with a minus
            words += f" --data.{name}={shlex.quote(str(value))}"
            continue
        words += f" --data.{name} {quote_path(str(value)) if value != -1 else value}"
    return words
