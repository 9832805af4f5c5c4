"""An HDF5 file (or a pair of arrays) of images and labels, opened and checked.

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

from signs_lightning.data.global_heap import read_texts
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import DAMAGE, open_hdf5
from signs_lightning.data.image_and_label_checks import (
    check_class_names,
    check_image_shape,
    find_value_range,
    read_labels,
)
from signs_lightning.data.layouts import find_keys, list_datasets
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import os_error_message

MAX_LABEL_BYTES = 2**29  # of all labels, which are read at once
MAX_CLASSES, MAX_NAME_BYTES = 2**16, 2**24  # of a class list


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, checked.

    Attributes:
        name: what messages call it: the file's path, or "the arrays".
        shape: N, height, width (pixels), channels, as the model sees them.
        is_unit_range: whether the values are floats in 0..1 (they are rounded to 8 bits when read);
            else 0..255.
        labels: int64 (N,) in 0..K-1.
        class_names: the K names where the file lists them, else None.
        num_classes: K; without a list, one more than the largest label.
        path: the HDF5 file, None for arrays.
        images_key: the dataset inside it.
        array: the images themselves when they came as an array (N, H, W, C).
        note: what to tell the user about the values, or an empty string.
        axes: what the stored axes are, one letter each: "NHWC", "NCHW", "NHW" (one channel), "NCWH"
            (MATLAB's order), "HWCN" and so on. Images in flat rows (N, D) have the axes that a row
            unfolds to, such as "NCHW".
        is_encoded: whether each image is a picture file's bytes (JPEG or PNG); `images_key` is then
            a dataset of N of them, or the group of N datasets.
    """

    name: str
    shape: tuple[int, int, int, int]
    is_unit_range: bool
    labels: np.ndarray = field(repr=False)
    class_names: list[str] | None
    num_classes: int
    path: Path | None = None
    images_key: str = ""
    array: np.ndarray | None = field(default=None, repr=False)
    note: str = ""
    axes: str = "NHWC"
    is_encoded: bool = False

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the images in the order of `axes`."""
        sizes = dict(zip("NHWC", self.shape, strict=True))
        return tuple(sizes[axis] for axis in self.axes)


def check_file(
    path: str | Path,
    images_key: str | None = None,
    labels_key: str | None = None,
    classes_key: str | None = None,
) -> ImageSet:
    """Open an HDF5 data file, find its keys and check what they hold.

    Args:
        path: the file.
        images_key: dataset of the images; found by its name (`*_set_x`, `x`, `images`, …) when
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
        datasets = list_datasets(file)
        images_key, labels_key, classes_key = find_keys(
            path, file, datasets, images_key, labels_key, classes_key
        )
        images, labels = datasets[images_key], datasets[labels_key]
        where = f"'{shorten(images_key)}' in {path}", f"'{shorten(labels_key)}' in {path}"
        check_dataset_header(where[0], images, unpacks=images.dtype != np.uint8)
        check_dataset_header(where[1], labels, MAX_LABEL_BYTES)
        names = None
        if classes_key is not None:
            names = _read_class_list(path, classes_key, datasets[classes_key])
        return _check(str(path), where, images, labels, names, path=path, images_key=images_key)


def check_arrays(images: Any, labels: Any) -> ImageSet:
    """Check NumPy arrays: images (N, H, W, C), and labels as in a file."""
    images, labels, where = np.asarray(images), np.asarray(labels), ("images", "labels")
    return _check("the arrays", where, images, labels, None, images_key="images", array=images)


def _check(
    name: str, where: tuple[str, str], images: Any, labels: Any, classes: list | None, **source: Any
) -> ImageSet:
    """Check images and labels, called `where` in messages and read from `source`."""
    shape = check_image_shape(where[0], images.shape)
    class_names = None if classes is None else check_class_names(name, classes)
    num_classes, numbers = read_labels(where[1], labels, shape[0], class_names)
    if class_names is None and num_classes > max(shape[0], 1000):
        raise InputError(
            f"{where[1]} holds the label {num_classes - 1:,} for {shape[0]:,} images, and the file "
            "lists no classes. Expected class numbers from 0 up."
        )
    num_classes = len(class_names) if class_names else num_classes
    is_unit_range, note = find_value_range(where[0], images)
    return ImageSet(
        name, shape, is_unit_range, numbers, class_names, num_classes, note=note, **source
    )


def _read_class_list(path: Path, key: str, classes: h5py.Dataset) -> list[Any]:
    """Return the values, flat."""
    where = f"'{shorten(key)}' in {path}"
    check_dataset_header(where, classes, MAX_NAME_BYTES)
    count = 0 if classes.shape is None else math.prod(classes.shape)
    if count > MAX_CLASSES or classes.dtype.kind not in "SUOiub":
        raise InputError(
            f"{where} holds {count:,} values of type {shorten(str(classes.dtype))}, expected the "
            "names of the classes."
        )
    if classes.dtype.kind != "O":
        return [] if count == 0 else np.ravel(classes[()]).tolist()
    return read_texts(path, key, MAX_NAME_BYTES, "the names of the classes")


@contextmanager
def translate_read_errors(images: ImageSet) -> Iterator[None]:
    """Raise an `InputError` for bytes that cannot be read or unpacked."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        raise os_error_message(error, images.name) or damaged_data_error(images, error) from error


def damaged_data_error(images: ImageSet, reason: object) -> InputError:
    """Return the error for images whose bytes cannot be read."""
    return InputError(
        f"'{images.images_key}' in {images.name} is damaged: {reason}. Fetch or write it again."
    )
