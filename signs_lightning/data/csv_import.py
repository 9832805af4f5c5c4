"""CSV files of pixels → HDF5 files, some thousand lines in memory at a time."""

from __future__ import annotations

import csv
import gzip
import math
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import h5py
import numpy as np

from signs_lightning.data.array_import import WrittenArrays
from signs_lightning.data.label_table import LABEL_COLUMNS, parse_labels
from signs_lightning.data.labels import number_words
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import translate_os_errors
from signs_lightning.runtime.progress import OnProgress

LINES = 2048  # that are read at a time
AXES = ("H,W", "H,W,C", "C,H,W")


def csv_to_h5(
    source: Path,
    output: Path,
    axes: str | None = None,
    row_shape: Sequence[int] | None = None,
    advance: OnProgress | None = None,
) -> WrittenArrays:
    """Write a CSV file of one image a line to an HDF5 file.

    The label is the column of that name, else the first one; all others are pixels. The datasets
    are `x` (N, H, W, C), uint8 or float32, `y`, and `list_classes` where labels are words.

    Args:
        source: with or without a line of names; `.gz` is unpacked.
        output: the HDF5 file.
        axes: the order of a line's pixels, one of `AXES`; "H,W" when omitted.
        row_shape: height and width; a square when omitted.
        advance: called after each part, with lines.

    Raises:
        InputError: lines are no images with labels, or an option is asked for.
    """
    with _open(source) as file:
        first = next(csv.reader(file), [])
        has_header = bool(first) and not _is_number(first[-1])
        total = sum(1 for line in file if line.strip()) + (not has_header)
    if len(first) < 2 or total == 0:
        raise InputError(f"{source} holds no lines of pixels separated by commas.")
    names = [name.strip().lower() for name in first] if has_header else []
    if "pixels" in names:
        raise InputError(
            f"{source} has all pixels of an image in its column 'pixels', expected a column for "
            "each. Split that column at the spaces."
        )
    column = next((names.index(name) for name in LABEL_COLUMNS if name in names), None)
    side = math.isqrt(len(first))
    if column is None and side**2 == len(first) and axes is None and row_shape is None:
        raise InputError(
            f"{source} has {len(first):,} columns, {side}×{side} pixels without a column of "
            "labels: nothing can be trained or tested on it. If the first column is the label, "
            "name height and width of the images with --data.row_shape."
        )
    notes = []
    if column is None:
        column, notes = 0, ["The first column is taken for the label: none is called `label`."]
    shape, order = _find_shape(source, len(first) - 1, axes, row_shape)
    written, texts, start = WrittenArrays(notes=notes), [], 0
    with (
        _open(source) as file,
        atomic_write(output) as temporary,
        h5py.File(temporary, "w", locking=False) as h5,
    ):
        for labels, pixels in _read_blocks(source, file, has_header, column, len(first)):
            if start == 0:
                images = h5.create_dataset("x", (total, *shape), _choose_dtype(pixels))
            if images.dtype == np.uint8 and _choose_dtype(pixels) != np.uint8:
                raise InputError(
                    f"{source} begins with whole pixels in 0..255, and has others after image "
                    f"{start:,}. Correct them."
                )
            # (n, H * W * C) -> (n, H, W, C)
            block = pixels.reshape(len(pixels), *(shape[axis] for axis in order))
            images[start : start + len(block)] = block.transpose(
                0, *(1 + order.index(axis) for axis in range(3))
            )
            texts += labels
            start += len(block)
            if advance is not None:
                advance(start, total)
        written.shapes["x"] = images.shape
        numbers = parse_labels(texts)
        if numbers.dtype == object:
            classes = sorted(set(texts))
            numbers = number_words(str(source), numbers, classes)
            written.add(h5, "list_classes", np.array(classes))
        written.add(h5, "y", numbers)
    return written


@contextmanager
def _open(source: Path) -> Iterator[TextIO]:
    """Open a CSV file, unpacked where its name ends in `.gz`."""
    opener: Any = gzip.open if source.suffix.lower() == ".gz" else open
    try:
        with (
            translate_os_errors(source),
            opener(source, "rt", encoding="utf-8-sig", errors="replace", newline="") as file,
        ):
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{source} is damaged ({error}). Fetch or write it again.") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _find_shape(
    source: Path, count: int, axes: str | None, row_shape: Sequence[int] | None
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return (H, W, C), and the order of these axes in a line."""
    if axes not in (None, *AXES):
        raise InputError(f"--data.axes is {axes}, expected {', '.join(AXES[:-1])} or {AXES[-1]}.")
    channels = 3 if axes and "C" in axes else 1
    side = math.isqrt(count // channels)
    height, width = row_shape or (side, side)
    if height * width * channels == count:
        return (height, width, channels), (2, 0, 1) if axes == "C,H,W" else (0, 1, 2)
    third = math.isqrt(count // 3)
    if axes is None and 3 * (height * width if row_shape else third * third) == count:
        raise InputError(
            f"{source} has {count:,} pixels a line: three channels. Say how they lie: add "
            "--data.axes H,W,C (colour by colour in each pixel) or --data.axes C,H,W (all of red "
            "first)."
        )
    raise InputError(
        f"{source} has {count:,} pixels a line, expected height × width × {channels}. Name height "
        "and width, such as --data.row_shape 28,20."
    )


def _read_blocks(
    source: Path, file: TextIO, has_header: bool, column: int, columns: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield the labels and pixels (n, D) of some lines."""
    numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    if has_header:
        next(numbered)
    pixel_columns = [k for k in range(columns) if k != column]
    while block := list(islice(numbered, LINES)):
        for number, line in block:
            if line.count(",") != columns - 1:
                raise InputError(
                    f"{source} has {line.count(',') + 1:,} columns in line {number:,}, expected "
                    f"{columns:,}. Correct it."
                )
        lines = [line for _, line in block]
        labels = [line.split(",", column + 1)[column].strip(' "\r\n') for line in lines]
        try:
            pixels = _parse(lines, pixel_columns)
        except ValueError as error:
            raise InputError(
                f"{source} has a pixel that is no number between line {block[0][0]:,} and line "
                f"{block[-1][0]:,} ({shorten(str(error), 120)}). Correct it."
            ) from error
        yield labels, pixels


def _parse(lines: list[str], columns: list[int]) -> np.ndarray:
    """Return columns of some lines as int64, which is fast, or as float64.

    Raises:
        ValueError: there is something else.
    """
    options: dict[str, Any] = {"delimiter": ",", "comments": None, "quotechar": '"', "ndmin": 2}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy 1 cuts fractions off, and warns
            return np.loadtxt(lines, np.int64, usecols=columns, **options)
    except (ValueError, DeprecationWarning):
        pixels = np.loadtxt(lines, np.float64, usecols=columns, **options)
    if not np.isfinite(pixels).all():
        raise ValueError("it is NaN or infinite")
    return pixels


def _choose_dtype(pixels: np.ndarray) -> type[np.generic]:
    is_whole = pixels.dtype.kind == "i" or bool((pixels == np.floor(pixels)).all())
    is_byte = is_whole and pixels.min() >= 0 and pixels.max() <= 255
    return np.uint8 if is_byte else np.float32
