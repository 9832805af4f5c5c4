"""An HDF5 file (or a pair of arrays) of images and labels, opened and checked.

Nothing is read beyond headers, labels and class names, except where only the values can tell what
an image's numbers mean. Links and datasets that lead out of the file are never followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data import layouts
from signs_lightning.data.class_names import read_class_list
from signs_lightning.data.encoded_pictures import (
    EncodedPictures,
    find_picture_shape,
    is_encoded_dataset,
)
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import DAMAGE, open_hdf5
from signs_lightning.data.image_axes import find_axes, is_matlab
from signs_lightning.data.label_files import locate_labels
from signs_lightning.data.labels import number_words, read_labels
from signs_lightning.data.value_range import find_value_range
from signs_lightning.errors import CollectedInputError, InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.resize import DEFAULT_FIT, DEFAULT_RESIZE
from signs_lightning.runtime.resize_weights import Fit, Resize


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, checked.

    Attributes:
        name: what messages call it: the file's path, or "the arrays".
        shape: N, height, width (pixels), channels, as the model sees them.
        is_unit_range: whether the values are floats in 0..1 (they are rounded to 8 bits when read);
            else 0..255.
        labels: int64 (N,) in 0..K-1.
        class_names: the K names where they are known, else None.
        num_classes: K; without names, one more than the largest label.
        path: the HDF5 file, None for arrays.
        images_key: the dataset inside it.
        array: the images themselves when they came as an array (N, H, W, C).
        note: what to tell the user about the values, or an empty string.
        axes: what the stored axes are, one letter each: "NHWC", "NCHW", "NHW" (one channel), "NCWH"
            (MATLAB's order), "HWCN" and so on. Images in flat rows (N, D) have the axes that a row
            unfolds to, such as "NCHW".
        is_encoded: whether each image is a picture file's bytes (JPEG or PNG); `images_key` is then
            a dataset of N of them, or the group of N datasets.
        layout: where things were found, such as "images X_train, labels y_train".
        other_roles: the roles of other images in the file.
        words: the labels as the file has them, object (N,) of str, where they are words.
        resizing: method and fit by which encoded pictures are brought to `shape`; None where all of
            them must have it.
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
    layout: str = ""
    other_roles: tuple[str, ...] = ()
    words: np.ndarray | None = field(default=None, repr=False)
    resizing: tuple[Resize, Fit] | None = None

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the images in the order of `axes`."""
        sizes = dict(zip("NHWC", self.shape, strict=True))
        return tuple(sizes[axis] for axis in self.axes)


class Problems:
    """What stands in the way of using a file: the first raised, or all collected.

    Args:
        collect: whether to collect them.
    """

    def __init__(self, collect: bool) -> None:
        self.collect, self.texts = collect, list[str]()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            if not self.collect:
                raise
            self.texts.append(str(error))

    def raise_if_any(self) -> None:
        """Raise all that was collected."""
        if self.texts:
            raise CollectedInputError(self.texts)


def check_file(
    path: str | Path,
    images_key: str | None = None,
    labels_key: str | None = None,
    classes_key: str | None = None,
    *,
    role: str = "",
    labels_file: str | Path | None = None,
    label_offset: int = 0,
    class_names: Sequence[str] | None = None,
    axes: str | None = None,
    row_shape: Sequence[int] | None = None,
    image_size: tuple[int, int] | None = None,
    resizing: tuple[Resize, Fit] = (DEFAULT_RESIZE, DEFAULT_FIT),
    collect: bool = False,
) -> ImageSet:
    """Open an HDF5 data file, find its keys and check what they hold.

    Args:
        path: the file.
        images_key: dataset of the images; found by `layouts.LAYOUTS` when omitted.
        labels_key: dataset of the labels, by its full name or within the images' group; found like
            the images when omitted.
        classes_key: dataset of the class names; `list_classes` or the like when omitted, and there
            need not be one.
        role: "train", "val" or "test": which images to take where a file has several.
        labels_file: HDF5 or CSV file of the labels; where the images' file has none, the one beside
            it whose name says so.
        label_offset: to add to every label.
        class_names: the K names; those of the file, or its sorted words, when omitted.
        axes: of one stored image, such as "C,H,W"; found by the shape when omitted.
        row_shape: height and width (pixels) of images in flat rows; square when omitted.
        image_size: height and width (pixels) that pictures stored as JPEG or PNG files are brought
            to; they must have one size when omitted.
        resizing: method and fit by which they are, see `runtime.resize`.
        collect: whether to look on after a problem, and to raise all of them at once.

    Raises:
        InputError: the file or what it holds cannot be used; the message says why.
    """
    path, problems = Path(path), Problems(collect)
    names = list(class_names) if class_names is not None else None
    with open_hdf5(path) as file:
        datasets = layouts.list_datasets(file)
        roles = {"": images_key}
        if images_key is None:
            roles = layouts.find_images(path, file, datasets)
            images_key = layouts.choose_role(path, roles, role)
        else:
            images_key = layouts.named_key(path, datasets, images_key, "images_key")
        where = f"'{shorten(images_key)}' in {path}"
        images = datasets.get(images_key)
        pictures = None
        with problems():
            if images is None or is_encoded_dataset(images):
                pictures = EncodedPictures(path, file, images_key)
            else:
                check_dataset_header(where, images, unpacks=images.dtype != np.uint8)
        labels = label_where = None
        with problems():
            label_where, layout, labels = locate_labels(
                path, datasets, images_key, labels_key, labels_file, pictures
            )
        with problems():
            classes_key = _find_classes(path, datasets, images_key, label_where, classes_key)
            if classes_key is not None:
                names = read_class_list(path, classes_key, datasets[classes_key])
        shape = None
        with problems():
            if pictures is not None:
                size = find_picture_shape(pictures, image_size)
                letters, shape = "NHWC", (len(pictures), *size)
            else:
                count = _common_length(images.shape, labels)
                reading = (axes, row_shape, is_matlab(path), count)
                letters, shape = find_axes(where, images.shape, *reading)
        is_unit_range, note = False, ""
        if pictures is None:
            with problems():
                is_unit_range, note = find_value_range(where, images)
        with problems():
            if labels is not None and shape is not None:
                found = _check_labels(str(path), label_where, labels, shape[0], names, label_offset)
        problems.raise_if_any()
        return ImageSet(
            str(path),
            shape,
            is_unit_range,
            path=path,
            images_key=images_key,
            note=note,
            axes=letters,
            is_encoded=pictures is not None,
            resizing=resizing if image_size is not None else None,
            layout=layout,
            other_roles=tuple(name for name, key in roles.items() if key != images_key),
            **found,
        )


def find_images_key(path: Path, options: dict[str, Any]) -> str:
    """Return the key that `check_file` takes the images of a role from.

    Args:
        path: of the file.
        options: images_key and role, of those of `check_file`.

    Raises:
        InputError: there is none, or the file cannot be read.
    """
    if options["images_key"] is not None:
        return str(options["images_key"])
    with open_hdf5(path) as file:
        roles = layouts.find_images(path, file, layouts.list_datasets(file))
    return layouts.choose_role(path, roles, options["role"])


def check_arrays(
    images: Any,
    labels: Any,
    *,
    label_offset: int = 0,
    class_names: Sequence[str] | None = None,
    axes: str | None = None,
    row_shape: Sequence[int] | None = None,
) -> ImageSet:
    """Check NumPy arrays: images (N, H, W, C), and labels, with the options of `check_file`."""
    images, labels, name = np.asarray(images), np.asarray(labels), "the arrays"
    count = _common_length(images.shape, labels)
    letters, shape = find_axes("images", images.shape, axes, row_shape, count=count)
    names = list(class_names) if class_names is not None else None
    found = _check_labels(name, "labels", labels, shape[0], names, label_offset)
    is_unit_range, note = find_value_range("images", images)
    return ImageSet(
        name, shape, is_unit_range, images_key="images", array=images, note=note, axes=letters,
        layout=name, **found,
    )  # fmt: skip


def _find_classes(
    path: Path,
    datasets: dict[str, h5py.Dataset],
    images_key: str,
    label_where: str | None,
    classes_key: str | None,
) -> str | None:
    """Return the key of the class names, or None."""
    if classes_key is not None:
        return layouts.named_key(path, datasets, classes_key, "classes_key")
    keys = (images_key, (label_where or "").removeprefix("'").partition("'")[0])
    return layouts.find_classes(path, datasets, keys)


def _common_length(shape: tuple[int, ...] | None, labels: Any) -> int | None:
    """Return the length that images and labels share, None where that is unknown."""
    label_shape = getattr(labels, "shape", None)
    if not shape or not label_shape:
        return None
    lengths = {math.prod(label_shape), *label_shape}
    return next((size for size in (shape[0], shape[-1]) if size in lengths), None)


def _check_labels(
    name: str, where: str, labels: Any, count: int, names: list[str] | None, offset: int
) -> dict[str, Any]:
    """Return the `ImageSet`'s labels, words, num_classes and class_names."""
    num_classes, numbers = read_labels(where, labels, count, names, offset)
    words = None
    if numbers.dtype == object:
        words, names = numbers, names or sorted(set(numbers.tolist()))
        numbers = number_words(where, words, names)
    elif names is None and num_classes > max(count, 1000):
        raise InputError(
            f"{where} holds the label {num_classes - 1:,} for {count:,} images, and the file "
            "lists no classes. Expected class numbers from 0 up."
        )
    num_classes = len(names) if names else num_classes
    return {"labels": numbers, "words": words, "num_classes": num_classes, "class_names": names}


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
