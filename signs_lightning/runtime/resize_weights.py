"""Which pixels make up those of a resized image, and with what weights."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from signs_lightning.runtime.resize_options import Fit, Resize

BITS = 22  # of Pillow's weights for images of 8 bits
TF_BITS = 20  # of the weights of tf-bilinear


class Placement(NamedTuple):
    """Which part of an image goes where.

    Attributes:
        box: left, top, right, bottom of the part, in pixels of the image.
        size: height and width that it is resized to.
        corner: row and column of its top left pixel in the result, which is black around it.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    corner: tuple[int, int]


def place(source: tuple[int, int], size: tuple[int, int], fit: Fit) -> Placement:
    """Return which part of an image goes where, as Keras's loaders do it.

    Args:
        source: height and width of the image.
        size: height and width of the result.
        fit: "stretch" is the whole image; "crop" is `load_img(keep_aspect_ratio=True)` and
            `crop_to_aspect_ratio`, "pad" is `pad_to_aspect_ratio`.
    """
    (height, width), (rows, columns) = source, size
    whole = (0, 0, width, height)
    if fit == "stretch":
        return Placement(whole, size, (0, 0))
    if fit == "crop":
        tall = max(1, min(height, width * rows // columns))
        wide = max(1, min(width, height * columns // rows))
        top, left = (height - tall) // 2, (width - wide) // 2
        return Placement((left, top, left + wide, top + tall), size, (0, 0))
    # float32, as TensorFlow's `resize_with_pad` has it: a side may come out a pixel short
    two = np.float32(2)
    ratio = max(np.float32(width) / np.float32(columns), np.float32(height) / np.float32(rows))
    down, across = np.float32(height) / ratio, np.float32(width) / ratio
    gaps = (np.float32(rows) - down) / two, (np.float32(columns) - across) / two
    corner = max(0, math.floor(gaps[0])), max(0, math.floor(gaps[1]))
    return Placement(whole, (max(1, int(down)), max(1, int(across))), corner)


@functools.lru_cache(maxsize=16)
def pillow_weights(length: int, start: int, stop: int, size: int, resize: Resize) -> np.ndarray:
    """Return Pillow's weights of a row's (or column's) pixels in each of the resized ones.

    Args:
        length: of the row.
        start: first pixel of the part that is resized; the filters see those beside it.
        stop: pixel after its last one.
        size: of the resized row.
        resize: "bilinear", "bicubic" or "lanczos".

    Returns:
        float64 (size, length), whole numbers: fixed point with `BITS` bits.
    """
    if length == size and (start, stop) == (0, length):  # Pillow leaves this pass out
        return np.eye(length) * 2**BITS
    table = np.zeros((size, length))
    scale = (stop - start) / size
    weigh, radius = FILTERS[resize]
    stretch = max(scale, 1.0)
    support = radius * stretch
    for row in range(size):  # as in Pillow's Resample.c, in the same order of operations
        center = start + (row + 0.5) * scale
        first = max(int(center - support + 0.5), 0)
        last = min(int(center + support + 0.5), length)
        values = [weigh((k - center + 0.5) * (1.0 / stretch)) for k in range(first, last)]
        total = 0.0
        for value in values:  # `sum` is more accurate than Pillow from Python 3.12 on
            total += value
        shares = [(value / total if total else value) * 2**BITS for value in values]
        table[row, first:last] = [int(x - 0.5) if x < 0 else int(x + 0.5) for x in shares]
    return table


def nearest_positions(length: int, start: int, stop: int, size: int) -> np.ndarray:
    """Return int64 (size,): the pixels of a row that Pillow's nearest neighbour takes.

    Arguments are those of `pillow_weights`.
    """
    if length == size and (start, stop) == (0, length):
        return np.arange(length)
    step = (stop - start) / size
    # added up one by one, with Pillow's rounding errors
    places = np.cumsum([start + step * 0.5, *[step] * (size - 1)])
    return np.minimum(places.astype(np.int64), length - 1)


def tf_weights(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two pixels of a row that TensorFlow mixes for each resized one.

    Args:
        length: of the row.
        size: of the resized row.

    Returns:
        First and second pixel, and the second one's share with `TF_BITS` bits: int64 (size,) each.
    """
    half = np.float32(0.5)
    step = np.float32(length) / np.float32(size)
    places = (np.arange(size, dtype=np.float32) + half) * step - half
    first = np.floor(places)
    share = np.rint((places - first).astype(np.float64) * 2**TF_BITS).astype(np.int64)
    first = first.astype(np.int64)
    return np.maximum(first, 0), np.minimum(first + 1, length - 1), share


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


FILTERS = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0), "lanczos": (_lanczos, 3.0)}
