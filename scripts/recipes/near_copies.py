"""Images of one file that look like those of another."""

from __future__ import annotations

import math

import numpy as np


def find_near_copies(images: np.ndarray, others: np.ndarray, tolerance: float = 4.0) -> np.ndarray:
    """Return which images look like one of the others.

    They may be the same shot, or the frame before it. Both are averaged down to at most 16×16
    pixels and compared by their mean absolute difference.

    Args:
        images: uint8 (n, H, W, C).
        others: uint8 (m, H, W, C), of the same size.
        tolerance: largest difference of a near copy, in grey levels of 0..255.

    Returns:
        bool (n,).
    """
    is_near = np.zeros(len(images), dtype=bool)
    if len(others) == 0:
        return is_near
    small_others = _thumbnails(others)
    for k, image in enumerate(_thumbnails(images)):
        is_near[k] = np.abs(small_others - image).mean(axis=1).min() <= tolerance
    return is_near


def _thumbnails(images: np.ndarray, size: int = 16) -> np.ndarray:
    """Return means over at most `size` × `size` equal parts, float32 (n, h·w·C)."""
    for axis in (1, 2):
        edges = np.unique(np.linspace(0, images.shape[axis], size + 1).astype(int))
        lengths = np.diff(edges).reshape((-1, 1, 1) if axis == 1 else (-1, 1))
        images = np.add.reduceat(images.astype(np.float32), edges[:-1], axis=axis) / lengths
    return images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float32)
