"""What the values of stored images mean: 0..255 or 0..1."""

from __future__ import annotations

import math

import h5py
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

ROUNDED = 0.49  # grey levels beyond 0..255 that rounding takes back, as resized floats have them
SCAN_BYTES = 32 * 2**20  # of images looked at in one go when their range must be known


def find_value_range(where: str, images: h5py.Dataset | np.ndarray) -> tuple[bool, str]:
    """Return whether the values are 0..1 instead of 0..255, and a note for the user.

    Args:
        where: what messages call the images.
        images: (N, H, W, C); read as a whole where they are not uint8.

    Raises:
        InputError: the values are no brightness in one of these ranges.
    """
    dtype, is_float = images.dtype, images.dtype.kind == "f"
    if dtype == np.uint8:
        return False, ""
    if dtype.kind not in "iuf":
        raise InputError(
            f"{where} holds values of type {shorten(str(dtype))}, expected uint8, or numbers in "
            "0..255 or 0..1."
        )
    low, high = np.inf, -np.inf
    step = max(1, SCAN_BYTES // (dtype.itemsize * math.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        block = images[start : start + step]
        if is_float and not np.isfinite(block).all():
            raise InputError(
                f"{where} holds NaN or infinite values, expected 0..255 or 0..1. Replace them."
            )
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    slack = ROUNDED if is_float else 0
    is_unit_range = is_float and high <= 1 + slack / 255
    if low < -slack / (255 if is_unit_range else 1) or high > 255 + slack:
        expected = "0..255 or 0..1" if is_float else "0..255"
        raise InputError(
            f"{where} holds values from {low:g} to {high:g}, expected {expected}. Rescale them."
        )
    if not is_float:
        return False, ""
    if not is_unit_range and high < 2:
        raise InputError(
            f"{where} holds values up to {high:g}: neither 0..1 nor plausibly 0..255. Rescale them."
        )
    found = f"{dtype} images in {'0..1' if is_unit_range else '0..255'} (largest value {high:g})"
    return is_unit_range, f"{where}: {found}, rounded to 8 bits."
