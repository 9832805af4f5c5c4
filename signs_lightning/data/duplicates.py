"""One pass over the images of a file: the range of their values, and a fingerprint of each to find copies by."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import numpy as np

from signs_lightning.data.storage import ImageReader


@dataclass(frozen=True)
class Scan:
    """What one pass found.

    Attributes:
        fingerprints: uint64 (n,), BLAKE2 of each image, so that equal ones mean equal images: among a million different images two
            would agree once in 37 million tries.
        low: smallest value, in 0..255.
        high: largest value.
        complete: whether n is all images, or time ran out.
    """

    fingerprints: np.ndarray
    low: int
    high: int
    complete: bool


def scan(reader: ImageReader, seconds: float) -> Scan:
    """Reads the images of a file once, some at a time.

    Args:
        reader: of the images, which it gives as the model sees them.
        seconds: after which no further images are read.

    Raises:
        InputError: images cannot be read.
    """
    end = time.monotonic() + seconds
    count, done, low, high = reader.images.shape[0], 0, 255, 0
    fingerprints = np.empty(count, np.uint64)
    while done < count and (done == 0 or time.monotonic() < end):
        block = reader.read(done, min(done + reader.layout.block, count))
        low, high = min(low, int(block.min())), max(high, int(block.max()))
        for image in block:
            digest = hashlib.blake2b(image, digest_size=8).digest()
            fingerprints[done] = int.from_bytes(digest, "little")
            done += 1
    return Scan(fingerprints[:done], low, high, done == count)


def copies_within(fingerprints: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """How many images are copies of an earlier one, and how many of these have another label than it.

    Args:
        fingerprints: uint64 (n,).
        labels: int64 (n,).
    """
    _, first, place = np.unique(fingerprints, return_index=True, return_inverse=True)
    return len(fingerprints) - len(first), int((labels != labels[first[place]]).sum())


def copies_between(fingerprints: np.ndarray, others: np.ndarray) -> int:
    """How many images of the first set, uint64 (n,), also are in the second, uint64 (m,)."""
    return int(np.isin(fingerprints, others).sum())
