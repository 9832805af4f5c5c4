"""Labels as files have them: class numbers, one-hot rows, truth values or words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import format_shape, list_names, shorten

EXPECTED = (
    "expected class numbers from 0 up. Correct them, or name others with `--data.labels_key`."
)
PADDING = " \t\r\n\0"  # around words: fixed lengths are filled up
MAX_NAMED = 6  # labels or words in a message


def read_labels(
    where: str, labels: Any, count: int, class_names: list[str] | None, offset: int = 0
) -> tuple[int, np.ndarray]:
    """Return the number of classes in the labels, and the labels.

    Args:
        where: what messages call the labels.
        labels: a dataset or an array of numbers, truth values or words, one for each image along
            whatever axis, or one-hot rows (N, K) of any type.
        count: number N of images.
        class_names: the K names where the file lists them.
        offset: to add to every number.

    Returns:
        K of one-hot rows, else one more than the largest label; and int64 (N,), or the words as
        object (N,) of str.

    Raises:
        InputError: they are no labels of these images.
    """
    shape, dtype = labels.shape, labels.dtype
    has_one_each = shape is not None and math.prod(shape) == count
    is_one_hot = has_rows(shape, count)
    if not (has_one_each or is_one_hot):
        raise _count_error(where, shape, count)
    if dtype.kind in "SUO":
        if is_one_hot:
            raise InputError(
                f"{where} has shape {format_shape(shape)}, expected one word for each image."
            )
        return 0, read_words(where, labels)
    if dtype.kind not in "iufb":
        raise InputError(f"{where} holds values of type {shorten(str(dtype))}, {EXPECTED}")
    values = np.asarray(labels[()])
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{where} holds NaN or infinite labels, {EXPECTED}")
    num_classes = 0
    if has_one_each:
        values = values.reshape(count)
        is_fractional = values != np.floor(values) if dtype.kind == "f" else np.False_
        if is_fractional.any():
            value = values[is_fractional][0]
            raise InputError(
                f"{where} holds the fractional label {value:g}, expected class numbers from 0 up. "
                "Correct them; or, to train on numbers instead of classes, add `--model.task "
                "regression`."
            )
    else:
        values = to_rows(values, count)
        is_zero_or_one = bool(np.isin(values, (0, 1)).all())
        if not (is_zero_or_one and (values.sum(axis=1) == 1).all()):
            raise _one_hot_error(f"{where} has shape {format_shape(shape)}", values, is_zero_or_one)
        values, num_classes = values.argmax(axis=1), values.shape[1]
    numbers = values.astype(np.int64) + offset
    _check_range(where, numbers, class_names, offset)
    return max(num_classes + offset, int(numbers.max()) + 1), numbers


def to_rows(values: np.ndarray, count: int) -> np.ndarray:
    """Return values of which `has_rows` is true as (N, K); MATLAB's order is (K, N)."""
    is_first = count == 1 or next(size for size in values.shape if size != 1) == count
    # (K, N) -> (N, K): MATLAB's order
    return values.reshape(count, -1) if is_first else values.reshape(-1, count).T


def has_rows(shape: tuple[int, ...] | None, count: int) -> bool:
    """Whether a shape says a row of values for each image, besides axes of length 1."""
    long_axes = [size for size in shape or () if size != 1]
    if count == 1:  # a single image
        return shape is not None and len(shape) == 2 and shape[0] == 1 < shape[1]
    return len(long_axes) == 2 and count in long_axes


def read_words(where: str, labels: Any) -> np.ndarray:
    """Return words as object (N,) of str, without what pads them."""
    values = np.ravel(labels[()]).tolist()
    if not all(isinstance(value, str | bytes) for value in values):
        raise InputError(f"{where} holds values that are no words, {EXPECTED}")
    texts = (v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v for v in values)
    return np.array([text.strip(PADDING) for text in texts], object)


def number_words(where: str, words: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Return words, object (N,), as their places in the class names, int64 (N,).

    Raises:
        InputError: a word is none of the names.
    """
    place = {name.strip(PADDING): k for k, name in enumerate(class_names)}
    unknown = sorted(set(words.tolist()) - place.keys())
    if unknown:
        raise InputError(
            f"{where} holds the label '{shorten(unknown[0])}', which is none of the classes "
            f"{list_names(class_names, '', MAX_NAMED)}. Correct it, or train on files that have it."
        )
    return np.array([place[word] for word in words.tolist()], np.int64)


def describe_missing_labels(labels: np.ndarray, num_classes: int, offset: int) -> str | None:
    """Return a line about classes that no training image has, None where there are none.

    Args:
        labels: int64 (N,) of all training images.
        num_classes: number K of classes.
        offset: that was added to them.
    """
    missing = np.setdiff1d(np.arange(num_classes), labels)
    if not len(missing):
        return None
    has, is_one = "No training image has label", len(missing) == 1
    which = (
        f"output {missing[0]} is" if is_one else f"outputs {list_names(missing, '', MAX_NAMED)} are"
    )
    line = f"{has} {list_names(missing, '', MAX_NAMED, ' or ')}: {which} never trained."
    if labels.min() > 0:
        first = int(labels.min()) - offset  # as it is stored
        line += f" If labels begin at {first}, add --data.label_offset {-first}."
    return line


def _check_range(
    where: str, numbers: np.ndarray, class_names: list[str] | None, offset: int
) -> None:
    low, high = int(numbers.min()), int(numbers.max())
    added = f" with --data.label_offset {offset}" if offset else ""
    if low < 0:
        raise InputError(f"{where} holds the negative label {low}{added}, {EXPECTED}")
    if class_names and high >= len(class_names):
        count = len(class_names)
        way_out = "Correct the label or the list."
        if low == 1 and high == count:
            way_out = f"Where labels begin at 1, add `--data.label_offset {offset - 1}`."
        raise InputError(
            f"{where} holds the label {high}{added}, but the file lists {count} classes (0 to "
            f"{count - 1}). {way_out}"
        )


def _one_hot_error(found: str, values: np.ndarray, is_zero_or_one: bool) -> InputError:
    """Return the error for rows (N, K) that are not one-hot, with what they could be instead."""
    single = (
        f"{found} but is not one-hot: expected a single 1 in each row, else 0. Write class numbers "
        "instead, such as `labels.argmax(axis=1)`"
    )
    if is_zero_or_one:
        sums = values.sum(axis=1)
        several, none = int((sums > 1).sum()), int((sums == 0).sum())
        return InputError(
            f"{found} of 0 and 1 but is not one-hot: {several:,} rows have several 1s, {none:,} "
            "have none. To train on several labels an image, add `--model.task multilabel`; where "
            "each has one, write class numbers."
        )
    return InputError(
        f"{single}; or, to train on numbers instead of classes, add `--model.task regression`."
    )


def _count_error(where: str, shape: tuple[int, ...] | None, count: int) -> InputError:
    if shape and len(shape) in (1, 2) and 0 not in shape:
        length = max(shape) if 1 in shape or len(shape) == 1 else shape[0]
        found = f"has {length:,} labels for {count:,} images"
        return InputError(f"{where} {found}, expected one for each.")
    found = f"has shape {format_shape(shape)}" if shape else "is a single value"
    found = "is an empty dataset" if shape is None else found
    return InputError(
        f"{where} {found}, expected one label for each of {count:,} images, or one-hot "
        f"({count}, K)."
    )
