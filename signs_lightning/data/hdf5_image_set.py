"""An HDF5 file (or a pair of arrays) of images and labels, opened and checked.

Nothing is read beyond headers, labels and class names, except where only the values can tell what
an image's numbers mean. Links and datasets that lead out of the file are followed as
`hdf5_links` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data import find_keys
from signs_lightning.data.class_names import read_class_list
from signs_lightning.data.encoded_pictures import (
    EncodedPictures,
    find_picture_shape,
    is_encoded_dataset,
    is_picture_group,
)
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_links import open_dataset
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.image_axes import find_axes, is_matlab
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.label_files import FoundLabels, locate_labels
from signs_lightning.data.labels import has_rows, number_words, read_labels
from signs_lightning.data.task_labels import Task, read_task_labels
from signs_lightning.data.value_range import Values, describe_meaning, find_values, with_option
from signs_lightning.errors import CollectedInputError, InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.resize_options import DEFAULT_FIT, DEFAULT_RESIZE, Fit, Resize
from signs_lightning.runtime.value_ranges import Range


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
    value_range: str | Range | None = None,
    follow_links: bool = False,
    image_size: tuple[int, int] | None = None,
    resizing: tuple[Resize, Fit] = (DEFAULT_RESIZE, DEFAULT_FIT),
    task: Task | None = None,
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
        value_range: the numbers that are black and white, or "minmax"; what the values show when
            omitted.
        follow_links: whether to follow links, external storage and virtual datasets to files
            elsewhere.
        image_size: height and width (pixels) that pictures stored as JPEG or PNG files are brought
            to; they must have one size when omitted.
        resizing: method and fit by which they are, see `runtime.resize`.
        task: what the labels are for, where they name no single class.
        collect: whether to look on after a problem, and to raise all of them at once.

    Raises:
        InputError: the file or what it holds cannot be used; the message says why.
    """
    path, problems = Path(path), Problems(collect)
    names = list(map(str, class_names)) if class_names is not None else None
    with open_hdf5(path) as file:
        datasets = find_keys.list_datasets(file, follow_links)
        images_key, other_roles = _find_images(path, file, datasets, images_key, role)
        where = found_in = f"'{shorten(images_key)}' in {path}"
        if images_key in datasets and (fields := datasets[images_key].dtype.names):
            raise InputError(
                f"{where} is a table with the fields {', '.join(map(shorten, fields[:12]))}, "
                "expected a dataset of images and one of labels. Write each field into a dataset "
                "of its own."
            )
        images = None
        pictures = None
        with problems():
            if images_key in datasets:
                images = open_dataset(file, images_key, follow_links)
            if images is None or is_encoded_dataset(images):
                pictures = EncodedPictures(path, file, images_key)
            else:
                check_dataset_header(where, images, unpacks=images.dtype != np.uint8)
        labels: FoundLabels | None = None
        with problems():
            labels = locate_labels(
                path, datasets, images_key, labels_key, labels_file, pictures, follow_links, role
            )
        values = None if labels is None else labels.values
        with problems():
            if classes_key is not None:
                classes_key = find_keys.named_key(path, datasets, classes_key, "classes_key")
            else:
                keys = images_key, "" if labels is None else labels.key
                label_shape = getattr(values, "shape", None)
                classes_key = find_keys.find_classes(path, datasets, keys, label_shape)
            if classes_key is not None:
                classes = open_dataset(file, classes_key, follow_links)
                names = read_class_list(path, classes_key, classes)
        letters, shape, stored = "NHWC", None, Values()
        with problems():
            if pictures is not None:
                shape = (len(pictures), *find_picture_shape(pictures, image_size))
            elif images is not None:
                count = _common_length(images.shape, values)
                reading = (axes, row_shape, is_matlab(path), count)
                letters, shape = find_axes(where, images.shape, *reading)
        with problems():
            if images is not None and pictures is None:
                stored = with_option(find_values(where, images), value_range)
        with problems():
            if labels is not None and shape is not None:
                where = labels.where
                given = names or labels.columns, label_offset, task
                found = _check_labels(str(path), where, values, shape[0], *given)
        problems.raise_if_any()
        assert shape is not None  # or there was a problem
        assert labels is not None
        return ImageSet(
            str(path),
            shape,
            stored,
            path=path,
            images_key=images_key,
            note=describe_meaning(found_in, stored),
            axes=letters,
            is_encoded=pictures is not None,
            resizing=resizing if pictures is not None and image_size is not None else None,
            layout=labels.layout,
            follow_links=follow_links,
            other_roles=other_roles,
            **found,
        )


def find_images_key(path: Path, options: dict[str, Any]) -> str:
    """Return the key that `check_file` takes the images of a role from.

    Args:
        path: of the file.
        options: images_key, role and follow_links, of those of `check_file`.

    Raises:
        InputError: there is none, or the file cannot be read.
    """
    if options["images_key"] is not None:
        return str(options["images_key"])
    with open_hdf5(path) as file:
        roles = find_keys.find_images(
            path, file, find_keys.list_datasets(file, options["follow_links"])
        )
    return find_keys.choose_role(path, roles, options["role"])


def check_arrays(
    images: Any,
    labels: Any,
    *,
    label_offset: int = 0,
    class_names: Sequence[str] | None = None,
    axes: str | None = None,
    row_shape: Sequence[int] | None = None,
    task: Task | None = None,
) -> ImageSet:
    """Check NumPy arrays: images (N, H, W, C), and labels, with the options of `check_file`."""
    images, labels, name = np.asarray(images), np.asarray(labels), "the arrays"
    count = _common_length(images.shape, labels)
    letters, shape = find_axes("images", images.shape, axes, row_shape, count=count)
    names = list(map(str, class_names)) if class_names is not None else None
    found = _check_labels(name, "labels", labels, shape[0], names, label_offset, task)
    stored = find_values("images", images)
    return ImageSet(
        name, shape, stored, images_key="images", array=images, axes=letters, layout=name,
        note=describe_meaning("images", stored), **found,
    )  # fmt: skip


def _find_images(
    path: Path,
    file: h5py.File,
    datasets: dict[str, h5py.Dataset],
    images_key: str | None,
    role: str,
) -> tuple[str, tuple[str, ...]]:
    """Return the key of the images, and the roles of others that the file has."""
    if images_key is not None:
        if is_picture_group(file, images_key):
            return images_key, ()
        return find_keys.named_key(path, datasets, images_key, "images_key"), ()
    roles = find_keys.find_images(path, file, datasets)
    images_key = find_keys.choose_role(path, roles, role)
    return images_key, tuple(name for name, key in roles.items() if key != images_key)


def _common_length(shape: tuple[int, ...] | None, labels: Any) -> int | None:
    """Return the length that images and labels share, None where that is unknown."""
    label_shape = getattr(labels, "shape", None)
    if not shape or not label_shape:
        return None
    lengths = {math.prod(label_shape), *label_shape}
    return next((size for size in (shape[0], shape[-1]) if size in lengths), None)


def _check_labels(
    name: str, where: str, labels: Any, count: int, names: list[str] | None, offset: int,
    task: Task | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the `ImageSet`'s labels, words, num_classes, class_names and is_one_hot."""
    if task is not None:
        return read_task_labels(where, labels, count, names, offset, task)
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
    is_one_hot = has_rows(labels.shape, count)
    if is_one_hot and names and num_classes != len(names):
        raise InputError(
            f"{where} has one-hot rows of {num_classes} classes, expected {len(names)}: "
            f"{shorten(', '.join(map(shorten, names)), 300)}. Write class numbers instead."
        )
    return {
        "labels": numbers,
        "words": words,
        "num_classes": len(names) if names else num_classes,
        "class_names": names,
        "is_one_hot": is_one_hot,
    }
