"""Labels in a CSV file: a line for each picture by its name, or for each image in their order."""

from __future__ import annotations

import csv
import os.path
import re
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.runtime.escaping import list_names, shorten
from signs_lightning.runtime.file_read_errors import translate_os_errors

SUFFIXES = (".csv", ".tsv")
LABEL_COLUMNS = ("label", "labels", "target", "targets", "class", "category", "class_name", "y")
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", re.IGNORECASE)  # e as NumPy writes it
LOOKED_AT = 20  # lines that tell which column has the names


def is_label_table(path: Path) -> bool:
    """Whether a file's name says that it is a table."""
    return path.suffix.lower() in SUFFIXES


def find_label_table(images: Path, names: list[str], option: str) -> Path | None:
    """Return the only table beside a file of pictures that has their names in a column.

    Args:
        images: the file of the pictures.
        names: of the pictures.
        option: that names a table.

    Raises:
        InputError: there are several.
    """
    known = {_short_name(name): k for k, name in enumerate(names)}
    fitting = []
    for path in sorted(filter(is_label_table, images.parent.iterdir())):
        try:
            head = list(islice(_read_lines(path), LOOKED_AT))
        except InputError:  # a file that has nothing to do with the pictures
            continue
        if _find_name_column(head, known) is not None:
            fitting.append(path)
    if len(fitting) > 1:
        raise InputError(
            f"{images} has several tables beside it that name its pictures: "
            f"{list_names([path.name for path in fitting])}. Name the one of the labels with "
            f"`{option}`."
        )
    return fitting[0] if fitting else None


def read_label_columns(
    path: Path, names: list[str] | None, counts: set[int], column: str | None
) -> tuple[str, np.ndarray, list[str] | None]:
    """Return the column of the labels in a table, the labels, and the names of several columns.

    Args:
        path: as the others of `read_label_table`.
        names: of the images, or None.
        counts: how many images there may be.
        column: of the labels, or several with commas between them; found when None.

    Returns:
        The column, labels (N,) or of several columns int64 or float64 (N, K), and these columns.

    Raises:
        InputError: as of `read_label_table`; or one of several columns holds words.
    """
    parts = [part.strip() for part in (column or "").split(",")]
    header = [cell.strip() for cell in next(_read_lines(path), [])]
    if len(parts) == 1 or column in header:
        return *read_label_table(path, names, counts, column), None
    found = [read_label_table(path, names, counts, part)[1] for part in parts]
    for part, labels in zip(parts, found, strict=True):
        if labels.dtype == object:
            raise InputError(
                f"{path} has words in the column '{shorten(part)}', expected numbers in each of "
                "several columns (labels_key). Name columns of numbers, or a single one."
            )
    return ",".join(parts), np.column_stack(found), parts


def read_label_table(
    path: Path, names: list[str] | None, counts: set[int], column: str | None
) -> tuple[str, np.ndarray]:
    """Return the column of the labels in a table, and the labels of some images.

    Args:
        path: the table, separated by commas, semicolons or tabs.
        names: of the images, which a column of the table has in any order, besides others; None
            where the table has one line for each image, in their order.
        counts: how many images there may be; one number where they have names.
        column: of the labels; found by its name, or as the only one besides the names, when None.

    Returns:
        The column, and (N,) int64 or float64 where all labels are numbers, else object of str.

    Raises:
        InputError: it is not known which column has the labels, or an image has none, or two.
    """
    head = list(islice(_read_lines(path), LOOKED_AT))
    if not head:
        raise InputError(f"{path} is empty, expected labels of {max(counts):,} images.")
    first = [cell.strip() for cell in head[0]]
    if names is None:
        known, name_column = {}, None
        lines = sum(1 for _ in _read_lines(path))
        is_one_more = lines not in counts and lines - 1 in counts
        has_header = any(cell.lower() in LABEL_COLUMNS for cell in first) or is_one_more
    else:
        known = _number_names(path, names)
        name_column = _find_name_column(head, known)
        if name_column is None:
            raise InputError(
                f"{path} has no column with the names of the pictures, such as "
                f"'{shorten(names[0])}'. Name another file of labels."
            )
        has_header = _short_name(first[name_column]) not in known
    header = first if has_header else [f"{k + 1}" for k in range(len(first))]
    place = _choose_column(path, header, name_column, column)
    if names is None:
        _check_order(path, header, place, int(has_header))
    labels: list[str] = [] if names is None else [""] * len(names)
    for number, cells in enumerate(islice(_read_lines(path), int(has_header), None), 1):
        if len(cells) != len(header):
            raise InputError(
                f"{path} has {len(cells)} columns instead of {len(header)} in line {number:,} of "
                "its labels. Correct it."
            )
        label = cells[place].strip()
        name = "" if name_column is None else _short_name(cells[name_column])
        if not label and (names is None or name in known):
            raise InputError(f"{path} has no label in line {number:,} of its labels. Fill it in.")
        if names is None:
            labels.append(label)
        elif (row := known.get(name)) is not None:
            if labels[row] not in ("", label):
                raise InputError(
                    f"{path} gives '{shorten(names[row])}' the labels '{shorten(labels[row])}' and "
                    f"'{shorten(label)}'. Keep one."
                )
            labels[row] = label
    if len(labels) not in counts:
        found = f"{len(labels):,} lines of labels for {max(counts):,} images"
        raise InputError(f"{path} has {found}, expected one for each.")
    if names is not None and (missing := labels.count("")):
        raise InputError(
            f"{path} has no line for {missing:,} of {len(names):,} pictures, such as "
            f"'{shorten(names[labels.index('')])}'. Add them, or name another file of labels."
        )
    return header[place], parse_labels(labels)


def _read_lines(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line that is not empty."""
    with (
        translate_os_errors(path),
        open(path, encoding="utf-8-sig", errors="replace", newline="") as file,
    ):
        first = file.readline(2**20)
        file.seek(0)
        try:
            for cells in csv.reader(file, delimiter=max(",;\t", key=first.count)):
                if any(cell.strip() for cell in cells):
                    yield cells
        except csv.Error as error:
            raise InputError(f"{path} is no table of labels ({error}).") from error


def _check_order(path: Path, header: list[str], place: int, skipped: int) -> None:
    """Check that lines without names of pictures are not numbered in another order.

    Raises:
        InputError: they are.
    """
    lines = islice(_read_lines(path), skipped, None)
    columns = zip(*lines, strict=False)
    for name, cells in zip(header, columns, strict=False):
        if name == header[place]:
            continue
        numbers = [int(cell) for cell in cells if re.fullmatch(" *[0-9]{1,18} *", cell)]
        expected = range(min(numbers, default=0), max(numbers, default=0) + 1)
        is_numbering = len(numbers) == len(cells) == len(expected) > 1 and expected[0] <= 1
        if is_numbering and sorted(numbers) == list(expected) != numbers:
            raise InputError(
                f"{path} has a line for each image, and its column '{shorten(name)}' numbers them "
                "in another order. Sort the lines by it; or drop it, where they follow the images."
            )


def _short_name(text: str) -> str:
    """Return a picture's name without folders and without the suffix of its format."""
    name, suffix = os.path.splitext(text.strip().rpartition("/")[2])
    return name if suffix.lower() in (".jpg", ".jpeg", ".png") else name + suffix


def _number_names(path: Path, names: list[str]) -> dict[str, int]:
    """Return the place of each picture by its short name."""
    places = {_short_name(name): k for k, name in enumerate(names)}
    if len(places) < len(names):
        raise InputError(
            f"{path} cannot tell the pictures apart: in several groups they have the same name. "
            "Write the labels into the file of the pictures, in the order of their names."
        )
    return places


def _find_name_column(lines: list[list[str]], known: dict[str, int]) -> int | None:
    """Return the column in which most lines, besides a first one, have a picture's name."""
    width = min(map(len, lines), default=0)
    hits = [sum(_short_name(cells[k]) in known for cells in lines) for k in range(width)]
    most = max(hits, default=0)
    return hits.index(most) if most and 2 * most >= len(lines) - 1 else None


def _choose_column(
    path: Path, header: list[str], name_column: int | None, column: str | None
) -> int:
    """Return the place of the labels' column."""
    others = [k for k in range(len(header)) if k != name_column]
    if column is not None:
        if column not in header:
            raise InputError(
                f"{path} has no column '{shorten(column)}' (labels_key); it has "
                f"{list_names(header)}." + did_you_mean(column, header)
            )
        return header.index(column)
    named = [k for k in others if header[k].lower() in LABEL_COLUMNS]
    if len(named) == 1 or len(others) == 1:
        return (named or others)[0]
    raise InputError(
        f"{path} has the columns {list_names([header[k] for k in others])}. Name that of the "
        f"labels: `--data.labels_key {shlex.quote(header[(named or others)[-1]])}` or another."
    )


def parse_labels(texts: list[str]) -> np.ndarray:
    """Return labels as int64 or float64 (N,) where all are numbers, else as object of str."""
    if not all(map(NUMBER.fullmatch, texts)):
        return np.array(texts, object)
    numbers = np.array(texts, np.float64)
    return numbers.astype(np.int64) if (numbers == np.rint(numbers)).all() else numbers
