"""What the values of stored images mean, as far as they show it, and how they are given."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import h5py
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.value_ranges import (
    BYTES,
    Range,
    native_dtype,
    number_text,
    parse_range,
    range_option,
    range_text,
)

ROUNDED = 0.49  # grey levels beyond 0..255 that rounding takes back, as resized floats have them
SCAN_BYTES = 4 * 2**20  # looked at in one go, in whole chunks: what a processor's cache holds
CLEAR = 0.9  # floats that reach beyond it on both sides of 0 show that they mean -1..1


BYTE = np.dtype(np.uint8)


@dataclass(frozen=True)
class Values:
    """The values of stored images, and how they are given.

    Attributes:
        dtype: as the file has them, in this machine's byte order.
        low: the smallest; of bytes, which are not looked at, 0.
        high: the largest; of bytes 255.
        meaning: the numbers that are black and white; None where nothing tells.
        given: "raw" is as the file has them. "bytes" are uint8, rounded, 0 for black; a range is
            float32, with other numbers for black and white than the file's.
    """

    dtype: np.dtype = BYTE
    low: float = 0
    high: float = 255
    meaning: Range | None = BYTES
    given: Literal["raw", "bytes"] | Range = "raw"

    @property
    def are_bytes(self) -> bool:
        """Whether the file has bytes."""
        return self.dtype == np.uint8

    @property
    def are_float(self) -> bool:
        """Whether the file has floats."""
        return self.dtype.kind == "f"

    @property
    def given_dtype(self) -> np.dtype:
        """The dtype of the images as they are given."""
        if self.given == "raw":
            return self.dtype
        return np.dtype(np.uint8 if self.given == "bytes" else np.float32)

    def convert(self, values: np.ndarray) -> np.ndarray:
        """Return values of a file as they are given."""
        if self.given == "raw":
            return values.astype(self.dtype, copy=False)
        if self.given == "bytes" and values.dtype == np.uint8:
            return values
        assert self.meaning is not None  # or there would have been a question
        if self.given == "bytes" and self.meaning == BYTES:
            return np.rint(values).astype(np.uint8)
        if self.given == "bytes" and self.meaning == (0, 1):
            return np.rint(values * 255).astype(np.uint8)
        low, high = self.meaning
        black, white = BYTES if self.given == "bytes" else self.given
        found = (values.astype(np.float64) - low) * ((white - black) / (high - low)) + black
        if self.given == "bytes":
            return np.rint(found.clip(0, 255)).astype(np.uint8)
        return found.astype(np.float32)


def find_values(where: str, images: h5py.Dataset | np.ndarray) -> Values:
    """Return the values of images, read as a whole where they are not uint8.

    Args:
        where: what messages call the images.
        images: (N, H, W, C), of axes in any order.

    Raises:
        InputError: the values are no numbers, or not all finite.
    """
    dtype = images.dtype
    if dtype == np.uint8:
        return Values()
    if dtype.kind not in "iuf":
        raise InputError(
            f"{where} holds values of type {shorten(str(dtype))}, expected uint8, or numbers."
        )
    low, high = np.inf, -np.inf
    step = max(1, SCAN_BYTES // (dtype.itemsize * math.prod(images.shape[1:])))
    rows = (getattr(images, "chunks", None) or (1,))[0]
    step = -(-step // rows) * rows
    for start in range(0, len(images), step):
        block = images[start : start + step]
        least, most = float(block.min()), float(block.max())
        if not math.isfinite(least) or not math.isfinite(most):  # also where one is NaN
            raise InputError(
                f"{where} holds NaN or infinite values, expected numbers. Replace them."
            )
        low, high = min(low, least), max(high, most)
    if dtype.kind != "f" and high >= 2**63:
        raise InputError(f"{where} holds numbers up to {high:g}, expected less than 2**63.")
    return Values(native_dtype(dtype), low, high, infer_meaning(dtype, low, high))


def with_option(values: Values, option: str | Range | None) -> Values:
    """Return values that mean what the user says of them.

    Raises:
        InputError: the option is no range.
    """
    found = parse_range(option)
    if found is None:
        return values
    low, high = (values.low, values.high) if found == "minmax" else found
    return replace(values, meaning=(low, high)) if low < high else values


def infer_meaning(dtype: np.dtype, low: float, high: float) -> Range | None:
    """Return the range that values show by themselves, None where they show none.

    Args:
        dtype: whole numbers, or floats.
        low: the smallest value.
        high: the largest.
    """
    if dtype.kind != "f":
        return BYTES if low >= 0 and high <= 255 else None
    slack = ROUNDED / 255
    if -slack <= low and high <= 1 + slack:
        return 0.0, 1.0
    if -1 - 2 * slack <= low <= -CLEAR and CLEAR <= high <= 1 + 2 * slack:
        return -1.0, 1.0
    return BYTES if low >= -ROUNDED and 2 <= high <= 255 + ROUNDED else None


def goes_beyond(values: Values, limits: Range) -> bool:
    """Whether some values are darker than black or lighter than white, by more than half a level"""
    slack = ROUNDED * (limits[1] - limits[0]) / 255
    return values.low < limits[0] - slack or values.high > limits[1] + slack


def range_question(where: str, values: Values, is_training: bool = True) -> InputError:
    """Return the question what the values of images mean, which later files cannot answer."""
    return InputError(
        f"{where} holds {describe_extremes(values)}, and nothing tells which numbers are black and "
        f"white. Say so: {suggest_range(values, is_training)}."
    )


def suggest_range(values: Values, is_training: bool = True) -> str:
    """Return the options that say what values mean."""
    bits = next((n for n in (8, 10, 12, 14, 16, 24, 32) if values.high < 2**n), None)
    minmax = "; --data.value_range minmax takes the training files' extremes"
    minmax = minmax if is_training else ""
    if values.are_float or values.low < 0 or bits is None:
        return f"`{range_option((values.low, values.high))}` or other two numbers{minmax}"
    return f"`{range_option((0, 2**bits - 1))}` if they have {bits} bits{minmax}"


def describe_extremes(values: Values) -> str:
    """Return type and extremes: "uint16 values from 12 to 4012"."""
    low, high = number_text(values.low), number_text(values.high)
    return f"{values.dtype} values from {low} to {high}"


def describe_meaning(where: str, values: Values) -> str:
    """Return a line on what values were taken for; empty for bytes in 0..255."""
    if values.meaning is None or (values.are_bytes and values.meaning == BYTES):
        return ""
    what = f"{values.dtype} images in {range_text(values.meaning)}"
    largest = "" if values.are_bytes else f" (largest value {values.high:g})"
    is_rounded = values.given == "bytes" and (values.dtype.kind == "f" or values.meaning != BYTES)
    line = f"{where}: {what}{largest}{', rounded to 8 bits' if is_rounded else ''}."
    if goes_beyond(values, values.meaning) and not values.are_bytes:
        ends = f"{number_text(values.low)} to {number_text(values.high)}"
        line += f" Values go beyond that, {ends}: darker than black or lighter than white."
    return line
