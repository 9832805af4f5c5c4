"""One pass over the images of a file, for their range and for copies."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from signs_lightning.runtime.value_ranges import to_bytes

if TYPE_CHECKING:
    from signs_lightning.data.hdf5_storage_readers import ImageReader
    from signs_lightning.data.value_range import Values

ROUNDING = 1e-3  # grey levels that floats of a byte may be beside it


@dataclass(frozen=True)
class Scan:
    """What one pass found.

    Attributes:
        fingerprints: uint64 (n,), BLAKE2 of each image, so that equal ones mean equal images: among
            a million different images two would agree once in 37 million tries.
        low: smallest value.
        high: largest value.
        is_complete: whether n is all images, or time ran out.
    """

    fingerprints: np.ndarray
    low: float
    high: float
    is_complete: bool


def scan(reader: ImageReader, seconds: float) -> Scan:
    """Read the images of a file once, some at a time.

    Args:
        reader: of the images.
        seconds: after which no further images are read.

    Raises:
        InputError: images cannot be read.
    """
    end = time.monotonic() + seconds
    count, done, low, high = reader.images.shape[0], 0, math.inf, -math.inf
    fingerprints = np.empty(count, np.uint64)
    while done < count and (done == 0 or time.monotonic() < end):
        block = reader.read(done, min(done + reader.layout.block, count))
        low, high = min(low, block.min().item()), max(high, block.max().item())
        for image in _as_bytes(reader.images.values, block):
            digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest()
            fingerprints[done] = int.from_bytes(digest, "little")
            done += 1
    return Scan(fingerprints[:done], low, high, done == count)


def _as_bytes(values: Values, block: np.ndarray) -> Iterator[np.ndarray]:
    """Yield images, those as uint8 that are bytes in other numbers: in another file they may be."""
    for image in block:
        if values.meaning is None or image.dtype == np.uint8:
            yield image
            continue
        low, high = values.meaning
        levels = (image.astype(np.float64) - low) * (255 / (high - low))
        is_byte = np.abs(levels - np.rint(levels)).max() < ROUNDING
        yield to_bytes(image, values.meaning) if is_byte else image


def count_copies_within(fingerprints: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """Count the copies of earlier images, and those of them with another label.

    Args:
        fingerprints: uint64 (n,).
        labels: int64 (n,).
    """
    _, first, place = np.unique(fingerprints, return_index=True, return_inverse=True)
    return len(fingerprints) - len(first), int((labels != labels[first[place]]).sum())


def count_copies_between(fingerprints: np.ndarray, others: np.ndarray) -> int:
    """Count the images, uint64 (n,), that are also among others, uint64 (m,)."""
    return int(np.isin(fingerprints, others).sum())
