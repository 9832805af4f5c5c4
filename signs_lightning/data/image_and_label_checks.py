"""Checks of images, labels and class names, read from a file or given as arrays."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

SCAN_BYTES = 32 * 2**20  # of images looked at in one go when their range must be known
MAX_IMAGE_VALUES = 2**27  # of one image, such as 6,600×6,600 RGB


def check_image_shape(where: str, shape: tuple[int, ...] | None) -> tuple[int, int, int, int]:
    """Return the shape N, height, width, channels of images.

    Args:
        where: what messages call the images.
        shape: of the dataset or array; None for HDF5's dataset without any value.

    Raises:
        InputError: they are no images, or too large ones.
    """
    if shape is None or len(shape) != 4:
        hint = " Add an axis of length 1 for grey images." if shape and len(shape) == 3 else ""
        raise InputError(
            f"{where} {_describe(shape)}, expected images (N, height, width, channels).{hint}"
        )
    text = "×".join(map(str, shape))
    count, height, width, channels = shape
    if channels not in (1, 3):
        if height in (1, 3):
            raise InputError(
                f"{where} has shape {text}: channels first (NCHW), expected channels last (NHWC). "
                "Transpose it with `images.transpose(0, 2, 3, 1)` and write it again."
            )
        raise InputError(
            f"{where} has images of {channels} channels (shape {text}), expected 1 or 3. "
            "Convert them to grey or RGB."
        )
    if 0 in shape:
        raise InputError(f"{where} holds zero images (shape {text}), expected at least one.")
    if height * width * channels > MAX_IMAGE_VALUES:
        raise InputError(
            f"{where} claims to hold images of {height:,}×{width:,} pixels, which cannot be read. "
            "Scale them down."
        )
    return count, height, width, channels


def _describe(shape: tuple[int, ...] | None) -> str:
    """Return a dataset's shape in words; None is HDF5's dataset without a value."""
    if not shape:
        return "is an empty dataset" if shape is None else "is a single value"
    return f"has shape {'×'.join(map(str, shape))}"


def check_class_names(name: str, values: list[Any]) -> list[str]:
    """Return the entries of a class list as different names.

    Raises:
        InputError: there are none, or two are the same.
    """
    names = [
        value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        for value in values
    ]
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"The class list in {name} is {shorten(str(names), 150)}, expected different names, "
            "one for each class."
        )
    return names


def read_labels(
    where: str, labels: h5py.Dataset | np.ndarray, count: int, class_names: list[str] | None
) -> tuple[int, np.ndarray]:
    """Return the number of classes in the labels, and the labels as int64 (N,).

    Args:
        where: what messages call the labels.
        labels: numbers (N,), (1, N) or (N, 1), or one-hot (N, K).
        count: number N of images.
        class_names: the K names where the file lists them.

    Raises:
        InputError: they are no labels of these images.
    """
    shape = labels.shape
    is_one_hot = bool(shape) and len(shape) == 2 and shape[0] == count
    has_numbers = shape in {(count,), (1, count), (count, 1)}
    if not has_numbers and not is_one_hot:
        if shape and len(shape) in (1, 2) and 0 not in shape:
            length = max(shape) if 1 in shape or len(shape) == 1 else shape[0]
            raise InputError(
                f"{where} has {length:,} labels for {count:,} images, expected one for each."
            )
        raise InputError(
            f"{where} {_describe(shape)}, expected ({count},), (1, {count}), ({count}, 1) or "
            f"one-hot ({count}, K)."
        )
    expected = "expected class numbers from 0 up. Correct them, or name others with `labels_key`."
    if labels.dtype.kind not in "iufb":
        raise InputError(f"{where} holds values of type {shorten(str(labels.dtype))}, {expected}")
    values = np.asarray(labels[()])
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{where} holds NaN or infinite labels, {expected}")
    num_classes = 0
    if has_numbers:
        values = values.reshape(count)
        is_fractional = values != np.floor(values) if values.dtype.kind == "f" else np.False_
        if is_fractional.any():
            value = values[is_fractional][0]
            raise InputError(f"{where} holds the fractional label {value:g}, {expected}")
    else:
        if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
            raise InputError(
                f"{where} {_describe(shape)} but is not one-hot: expected a single 1 in each row, "
                "else 0. Write class numbers instead, such as `labels.argmax(axis=1)`."
            )
        values, num_classes = values.argmax(axis=1), shape[1]
    numbers = values.astype(np.int64)
    if numbers.min() < 0:
        raise InputError(f"{where} holds the negative label {numbers.min()}, {expected}")
    if class_names and numbers.max() >= len(class_names):
        raise InputError(
            f"{where} holds the label {numbers.max()}, but the file lists {len(class_names)} "
            f"classes (0 to {len(class_names) - 1}). Correct the label or the list."
        )
    return max(num_classes, int(numbers.max()) + 1), numbers


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
    if low < 0 or high > 255:
        expected = "0..255 or 0..1" if is_float else "0..255"
        raise InputError(
            f"{where} holds values from {low:g} to {high:g}, expected {expected}. Rescale them."
        )
    if not is_float:
        return False, ""
    if 1 < high < 2:
        raise InputError(
            f"{where} holds values up to {high:g}: neither 0..1 nor plausibly 0..255. Rescale them."
        )
    is_unit_range = high <= 1
    found = f"{dtype} images in {'0..1' if is_unit_range else '0..255'} (largest value {high:g})"
    return is_unit_range, f"{where}: {found}, rounded to 8 bits."
