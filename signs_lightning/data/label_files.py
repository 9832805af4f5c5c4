"""Labels that lie in another file than their images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from signs_lightning.data import find_keys, layouts
from signs_lightning.data.encoded_pictures import EncodedPictures, list_class_folders
from signs_lightning.data.global_heap import read_texts
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_links import open_dataset
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.label_table import (
    find_label_table,
    is_label_table,
    read_label_columns,
)
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

MAX_LABEL_BYTES = 2**29  # of all labels, which are read at once
SIBLINGS = {"x": "y", "images": "labels", "image": "label", "imgs": "labels", "img": "label"}
SIBLINGS |= {"data": "labels", "features": "targets", "X": "Y"}


class FoundLabels(NamedTuple):
    """Where the labels of some images are, and their values.

    Attributes:
        where: what messages call them.
        layout: where images and labels are, in words.
        values: a dataset or an array.
        key: of the labels, where the file of the images has them.
        columns: names of several columns of a table.
    """

    where: str
    layout: str
    values: Any
    key: str = ""
    columns: list[str] | None = None


def locate_labels(
    path: Path,
    datasets: dict[str, h5py.Dataset],
    images_key: str,
    labels_key: str | None,
    labels_file: str | Path | None,
    pictures: EncodedPictures | None = None,
    follow_links: bool = False,
    role: str = "",
) -> FoundLabels:
    """Return where the labels of some images are, and their values.

    Args:
        path: the file of the images.
        datasets: all its datasets.
        images_key: of the images.
        labels_key: of the labels, as the user names it.
        labels_file: of the labels, as the user names it.
        pictures: the images, where they are JPEG or PNG files.
        follow_links: see `check_file`.
        role: see `check_file`; for messages.

    Raises:
        InputError: there are none, or several that could be they.
    """
    option = f"--data.{role or 'train'}_labels_file"
    names = pictures.names if pictures is not None else None
    if pictures is not None:
        counts = {len(pictures)}
    else:
        counts = layouts.possible_counts(datasets[images_key])
    if labels_file is None:
        folders = list_class_folders(names) if names is not None and labels_key is None else None
        if folders is not None:
            layout = f"{_name('images', images_key)}, labels by group"
            return FoundLabels(f"The groups in {path}", layout, np.array(folders, object))
        is_column = names is not None and labels_key is not None and labels_key not in datasets
        found: str | None = None
        if labels_key is None:
            found = find_keys.find_labels(path, datasets, images_key, counts)
        elif not is_column:
            group = images_key.rpartition("/")[0]
            found = find_keys.named_key(path, datasets, labels_key, "labels_key", group)
        if found is not None:
            _check_order(path, names, option)
            where = f"'{shorten(found)}' in {path}"
            layout = f"{_name('images', images_key)}, {_name('labels', found)}"
            labels = load_labels(where, datasets[found], follow_links)
            if labels_key is not None or layouts.is_label_name(found) or not _are_names(labels):
                return FoundLabels(where, layout, labels, found)
        labels_file = None if is_column else find_label_file(path)
        if labels_file is not None and _has_images(labels_file):
            labels_file = None  # a data set of its own
        if labels_file is None and names is not None:
            labels_file = find_label_table(path, names, option)
    if labels_file is None:
        raise find_keys.no_labels_error(path, datasets, images_key, option)
    labels_file, columns = Path(labels_file), None
    if is_label_table(labels_file):
        labels_key, labels, columns = read_label_columns(labels_file, names, counts, labels_key)
    else:
        _check_order(path, names, option)
        labels_key, labels = read_label_file(labels_file, labels_key, images_key, counts, option)
    where = f"'{shorten(labels_key)}' in {labels_file}"
    layout = f"{_name('images', images_key)}, {_name('labels', labels_key)} in {labels_file}"
    return FoundLabels(where, layout, labels, columns=columns)


def _name(purpose: str, key: str) -> str:
    """Return what serves as what: `images X_train`, but `images 'images'`."""
    return f"{purpose} '{key}'" if key == purpose else f"{purpose} {key}"


def find_label_file(images: Path) -> Path | None:
    """Return the file beside one of images whose name says labels where that says images.

    Such as `train_y.h5` beside `train_x.h5`, and `labels_test.h5` beside `images_test.h5`.
    """
    parts = re.split(r"([^\W_]+)", images.name)
    for k in range(len(parts) - 1, -1, -1):
        if parts[k] in SIBLINGS:
            names = [SIBLINGS[parts[k]], SIBLINGS[parts[k]].lower()]
            paths = [images.with_name("".join([*parts[:k], n, *parts[k + 1 :]])) for n in names]
            for path in paths:
                if path != images and path.is_file():
                    return path
    return None


def _check_order(path: Path, names: list[str] | None, option: str) -> None:
    """Check that pictures have one order, which their labels follow: that of text, or of numbers.

    Raises:
        InputError: they have two, such as 1, 10, 2.
    """
    by_number = sorted(
        names or [],
        key=lambda name: [
            int(part) if k % 2 else part for k, part in enumerate(re.split("([0-9]+)", name))
        ],
    )
    for name, other in zip(names or [], by_number, strict=True):
        if name != other:
            raise InputError(
                f"{path} has labels in the order of its pictures, and does not tell whether "
                f"'{shorten(name)}' or '{shorten(other)}' comes first. Name each picture and its "
                f"label in a CSV file with `{option}`."
            )


def _are_names(labels: np.ndarray | h5py.Dataset) -> bool:
    """Whether values tell the images apart, as numbers and names of files do."""
    values = np.ravel(labels[()])
    return len(values) > find_keys.MAX_TINY and len(set(values.tolist())) == len(values)


def _has_images(path: Path) -> bool:
    """Whether an HDF5 file holds what can be images, and no rows of labels."""
    with open_hdf5(path) as file:
        found = filter(layouts.can_hold_images, find_keys.list_datasets(file).values())
        return any(len(x.shape) < 3 or sorted(x.shape[1:])[-2] > 1 for x in found)


def find_image_file(labels: Path) -> Path | None:
    """Return the file of images whose labels `find_label_file` finds in this one."""
    others = sorted(labels.parent.glob(f"*{labels.suffix}"))
    return next((path for path in others if find_label_file(path) == labels), None)


def read_label_file(
    path: Path, labels_key: str | None, images_key: str, counts: set[int], option: str
) -> tuple[str, np.ndarray]:
    """Return the key of the labels in a file of their own, and their values.

    Args:
        path: the file.
        labels_key: their key; found by its name, or as the only one of that length, when None.
        images_key: of the images in the other file, whose partner they may be.
        counts: how many images there may be.
        option: that names such a file.

    Raises:
        InputError: the file cannot be read, or holds no labels, or several.
    """
    with open_hdf5(path) as file:
        datasets = find_keys.list_datasets(file)
        if labels_key is None:
            labels_key = find_keys.find_labels(path, datasets, images_key, counts)
            if labels_key is None:
                raise InputError(
                    f"{path} has no dataset of labels for {max(counts):,} images. Name another "
                    f"with `{option}`, or the dataset with `--data.labels_key`."
                )
        else:
            labels_key = find_keys.named_key(path, datasets, labels_key, "labels_key")
        where = f"'{shorten(labels_key)}' in {path}"
        return labels_key, np.asarray(load_labels(where, datasets[labels_key]))


def load_labels(
    where: str, labels: h5py.Dataset, follow_links: bool = False
) -> np.ndarray | h5py.Dataset:
    """Return a dataset of labels, checked; texts as an array of objects.

    Raises:
        InputError: they cannot be read.
    """
    labels = open_dataset(labels.file, labels.name, follow_links)
    check_dataset_header(where, labels, MAX_LABEL_BYTES)
    if labels.dtype.kind != "O" or labels.shape is None:
        return labels
    texts = read_texts(labels.file.filename, labels.name, MAX_LABEL_BYTES)
    return np.array(texts, object).reshape(labels.shape)
