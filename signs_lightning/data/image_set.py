"""One HDF5 file (or a pair of arrays) → images, labels, class names: opened, checked, explained.

Nothing is read beyond headers, labels and class names, except where only the values can tell what
an image's numbers mean. Links and datasets that lead out of the file are never followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.hdf5_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import DAMAGE, open_hdf5
from signs_lightning.data.layouts import datasets_of, find_keys
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.os_errors import os_error_message
from signs_lightning.runtime.sandbox import run_sandboxed

SCAN_BYTES = 32 * 2**20  # of images looked at in one go when their range must be known
MAX_IMAGE = 2**27  # values of one image, such as 6,600×6,600 RGB
MAX_LABELS = 2**29  # bytes that they may take, which are read at once
HEAP_SECONDS = 8  # of computing that reading class names may take which lie in HDF5's heap
MAX_CLASSES, MAX_NAMES = 2**16, 2**24  # names in a class list, bytes that they may take


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, checked.

    Attributes:
        name: what messages call it: the file's path, or "the arrays".
        shape: N, height, width (pixels), channels.
        unit: whether the values are floats in 0..1 (they are rounded to 8 bits when read); else
            0..255.
        labels: int64 (N,) in 0..K-1.
        class_names: the K names where the file lists them, else None.
        num_classes: K; without a list, one more than the largest label.
        path: the HDF5 file, None for arrays.
        images_key: the dataset inside it.
        array: the images themselves when they came as an array (N, H, W, C).
        note: what to tell the user about the values, or an empty string.
    """

    name: str
    shape: tuple[int, int, int, int]
    unit: bool
    labels: np.ndarray = field(repr=False)
    class_names: list[str] | None
    num_classes: int
    path: Path | None = None
    images_key: str = ""
    array: np.ndarray | None = field(default=None, repr=False)
    note: str = ""


def check_file(
    path: str | Path,
    images_key: str | None = None,
    labels_key: str | None = None,
    classes_key: str | None = None,
) -> ImageSet:
    """Opens an HDF5 data file, finds its keys and checks what they hold.

    Args:
        path: the file.
        images_key: dataset of the images; found by the schema (`*_set_x`, `x`, `images`, …) when
            omitted.
        labels_key: dataset of the labels; the images' partner (`*_set_y`, `y`, `labels`, …) when
            omitted.
        classes_key: dataset of the class names; `list_classes` or the like when omitted, and there
            need not be one.

    Raises:
        InputError: the file or what it holds cannot be used; the message says why.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        datasets = datasets_of(file)
        images_key, labels_key, classes_key = find_keys(
            path, file, datasets, images_key, labels_key, classes_key
        )
        for key, most in ((images_key, None), (labels_key, MAX_LABELS), (classes_key, MAX_NAMES)):
            if key is not None:
                through_hdf5 = key != images_key or datasets[key].dtype != np.uint8
                check_dataset_header(
                    f"'{shorten(key)}' in {path}", datasets[key], most, bombs=through_hdf5
                )
        classes = (
            None if classes_key is None else _class_list(path, classes_key, datasets[classes_key])
        )
        return _check(
            str(path),
            datasets[images_key],
            datasets[labels_key],
            classes,
            images_key,
            labels_key,
            path=path,
        )


def check_arrays(images: Any, labels: Any) -> ImageSet:
    """The same checks for NumPy arrays: images (N, H, W, C) and labels as in a file."""
    images, labels = np.asarray(images), np.asarray(labels)
    return _check("the arrays", images, labels, None, "images", "labels", array=images)


def _check(
    name: str,
    images: h5py.Dataset | np.ndarray,
    labels: h5py.Dataset | np.ndarray,
    classes: Any,
    images_key: str,
    labels_key: str,
    path: Path | None = None,
    array: np.ndarray | None = None,
) -> ImageSet:
    where = f"'{shorten(images_key)}' in {name}" if path else f"{images_key}"
    shape = _image_shape(where, images.shape)
    class_names = None if classes is None else _class_names(name, classes)
    where_labels = f"'{shorten(labels_key)}' in {name}" if path else labels_key
    classes_in_labels, label_array = _labels(where_labels, labels, shape[0], class_names)
    if class_names is None and classes_in_labels > max(shape[0], 1000):
        raise InputError(
            f"{where_labels} holds the label {classes_in_labels - 1:,} for {shape[0]:,} images, "
            "and the file lists no classes. "
            "Expected class numbers from 0 up."
        )
    unit, note = _value_range(where, images)
    return ImageSet(
        name=name,
        shape=shape,
        unit=unit,
        labels=label_array,
        class_names=class_names,
        num_classes=len(class_names) if class_names else classes_in_labels,
        path=path,
        images_key=images_key,
        array=array,
        note=note,
    )


def _image_shape(where: str, shape: tuple[int, ...] | None) -> tuple[int, int, int, int]:
    if shape is None or len(shape) != 4:
        hint = " Add an axis of length 1 for grey images." if shape and len(shape) == 3 else ""
        raise InputError(
            f"{where} {_described(shape)}, expected images (N, height, width, channels).{hint}"
        )
    text = "×".join(map(str, shape))
    if shape[3] not in (1, 3):
        if shape[1] in (1, 3):
            raise InputError(
                f"{where} has shape {text}: channels first (NCHW), expected channels last (NHWC). "
                "Transpose it with `images.transpose(0, 2, 3, 1)` and write it again."
            )
        raise InputError(
            f"{where} has images of {shape[3]} channels (shape {text}), expected 1 or 3. Convert "
            "them to grey or RGB."
        )
    if 0 in shape:
        raise InputError(f"{where} holds zero images (shape {text}), expected at least one.")
    if math.prod(shape[1:]) > MAX_IMAGE:
        raise InputError(
            f"{where} claims to hold images of {shape[1]:,}×{shape[2]:,} pixels, which cannot be "
            "read. Scale them down."
        )
    return shape[0], shape[1], shape[2], shape[3]


def _described(shape: tuple[int, ...] | None) -> str:
    """What a dataset has for a shape; None is HDF5's dataset without any value."""
    if not shape:
        return "is an empty dataset" if shape is None else "is a single value"
    return f"has shape {'×'.join(map(str, shape))}"


def _class_list(path: Path, key: str, classes: h5py.Dataset) -> list[Any]:
    """The values, flat. Texts of any length lie in a heap, and HDF5 may never come back from one that is damaged: a child reads it."""
    where = f"'{shorten(key)}' in {path}"
    count = 0 if classes.shape is None else math.prod(classes.shape)
    if count > MAX_CLASSES or classes.dtype.kind not in "SUOiub":
        kind = shorten(str(classes.dtype))
        raise InputError(
            f"{where} holds {count:,} values of type {kind}, expected the names of the classes."
        )
    if classes.dtype.kind != "O":
        return [] if count == 0 else np.ravel(classes[()]).tolist()
    return run_sandboxed(
        f"{__name__}:read_texts", str(path), key, about=where, processor_seconds=HEAP_SECONDS
    )


def read_texts(path: str, key: str) -> list[Any]:
    """The texts of a dataset, flat; read one by one, because all may lead to one that is huge.

    Raises:
        InputError: they are no texts, or take more than `MAX_NAMES` bytes.
    """
    values, size = [], 0
    with open_hdf5(Path(path)) as file:
        for index in np.ndindex(file[key].shape):
            values.append(file[key][index])
            if (
                not isinstance(values[-1], str | bytes)
                or (size := size + len(values[-1])) > MAX_NAMES
            ):
                raise InputError(
                    f"'{shorten(key)}' in {path} holds no text, or too much of it, expected the "
                    "names of the classes."
                )
    return values


def _class_names(name: str, values: list[Any]) -> list[str]:
    names = [
        v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else str(v) for v in values
    ]
    if not names or len(set(names)) != len(names):
        listed = shorten(str(names), 150)
        raise InputError(
            f"The class list in {name} is {listed}, expected different names, one for each class."
        )
    return names


def _labels(
    where: str, labels: h5py.Dataset | np.ndarray, count: int, class_names: list[str] | None
) -> tuple[int, np.ndarray]:
    """Number of classes that the labels themselves tell of, and the labels as int64 (N,)."""
    shape = labels.shape
    single = shape in {(count,), (1, count), (count, 1)}
    if not single and not (shape and len(shape) == 2 and shape[0] == count):
        if shape and len(shape) in (1, 2) and 0 not in shape:
            found = max(shape) if 1 in shape or len(shape) == 1 else shape[0]
            raise InputError(
                f"{where} has {found:,} labels for {count:,} images, expected one for each."
            )
        raise InputError(
            f"{where} {_described(shape)}, expected ({count},), (1, {count}), ({count}, 1) or "
            f"one-hot ({count}, K)."
        )
    expected = "expected class numbers from 0 up. Correct them, or name others with `labels_key`."
    if labels.dtype.kind not in "iufb":
        raise InputError(f"{where} holds values of type {shorten(str(labels.dtype))}, {expected}")
    values = np.asarray(labels[()])
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{where} holds NaN or infinite labels, {expected}")
    if single:
        numbers, classes = values.reshape(count), 0
        if values.dtype.kind == "f" and (fractional := numbers != np.floor(numbers)).any():
            raise InputError(
                f"{where} holds the fractional label {numbers[fractional][0]:g}, {expected}"
            )
    else:
        if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
            raise InputError(
                f"{where} {_described(shape)} but is not one-hot: expected a single 1 in each "
                "row, else 0. "
                "Write class numbers instead, such as `labels.argmax(axis=1)`."
            )
        numbers, classes = values.argmax(axis=1), shape[1]
    numbers = numbers.astype(np.int64)
    if numbers.min() < 0:
        raise InputError(f"{where} holds the negative label {numbers.min()}, {expected}")
    if class_names and numbers.max() >= len(class_names):
        raise InputError(
            f"{where} holds the label {numbers.max()}, but the file lists {len(class_names)} "
            f"classes (0 to {len(class_names) - 1}). "
            "Correct the label or the list."
        )
    return max(classes, int(numbers.max()) + 1), numbers


def _value_range(where: str, images: h5py.Dataset | np.ndarray) -> tuple[bool, str]:
    """Whether the values are 0..1 instead of 0..255, and what to tell the user about it."""
    kind = images.dtype.kind
    if images.dtype == np.uint8:
        return False, ""
    if kind not in "iuf":
        raise InputError(
            f"{where} holds values of type {shorten(str(images.dtype))}, expected uint8, or "
            "numbers in 0..255 or 0..1."
        )
    low, high = np.inf, -np.inf
    step = max(1, SCAN_BYTES // (images.dtype.itemsize * math.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        block = images[start : start + step]
        if kind == "f" and not np.isfinite(block).all():
            raise InputError(
                f"{where} holds NaN or infinite values, expected 0..255 or 0..1. Replace them."
            )
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    if low < 0 or high > 255:
        raise InputError(
            f"{where} holds values from {low:g} to {high:g}, expected "
            f"0..255{' or 0..1' if kind == 'f' else ''}. Rescale them."
        )
    if kind != "f":
        return False, ""
    if high <= 1:
        return (
            True,
            f"{where}: {images.dtype} images in 0..1 (largest value {high:g}), rounded to 8 bits.",
        )
    if high < 2:
        raise InputError(
            f"{where} holds values up to {high:g}: neither 0..1 nor plausibly 0..255. Clip or "
            "rescale them."
        )
    return (
        False,
        f"{where}: {images.dtype} images in 0..255 (largest value {high:g}), rounded to 8 bits.",
    )


@contextmanager
def translate_read_errors(images: ImageSet) -> Iterator[None]:
    """Bytes that cannot be read or unpacked become a sentence."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        raise os_error_message(error, images.name) or damaged_data_error(images, error) from error


def damaged_data_error(images: ImageSet, why: object) -> InputError:
    """The sentence for images whose bytes cannot be read."""
    return InputError(
        f"'{images.images_key}' in {images.name} is damaged: {why}. Fetch or write it again."
    )
