"""Labels that name no single class: several classes an image, or numbers to be predicted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.labels import MAX_NAMED, has_rows, to_rows
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import format_shape, list_names, shorten

Task = Literal["multilabel", "regression"]
WANTED = {"multilabel": "a 0 or 1 for each class", "regression": "one number or more"}


def read_task_labels(
    where: str, labels: Any, count: int, names: list[str] | None, offset: int, task: Task
) -> dict[str, Any]:
    """Return an `ImageSet`'s labels, num_classes, class_names and is_one_hot.

    Labels are float32 (N, K) of 0 and 1 for "multilabel", float64 (N, D) in the file's own units
    for "regression"; K, or D, is the number of columns.

    Args:
        where: what messages call the labels.
        labels: a dataset or an array: a column, or a row of columns for each image.
        count: number N of images.
        names: that the file lists, or the user gives; left out where they are not one a column.
        offset: that would be added to class numbers.
        task: what the labels are for.

    Raises:
        InputError: they are none for this task.
    """
    shape, dtype = labels.shape, labels.dtype
    wanted = f"expected {WANTED[task]} for each of {count:,} images, as `--model.task {task}` asks"
    if offset:
        raise InputError(
            f"--data.label_offset is {offset}, and there are no class numbers: the task is {task}. "
            "Leave it out."
        )
    if dtype.kind not in "iufb":
        held = "words" if dtype.kind in "SUO" else f"values of type {shorten(str(dtype))}"
        raise InputError(f"{where} holds {held}, {wanted}. Name others with `--data.labels_key`.")
    is_column = shape is not None and int(np.prod(shape)) == count
    if not (is_column or has_rows(shape, count)):
        found = "is an empty dataset" if shape is None else f"has shape {format_shape(shape)}"
        raise InputError(f"{where} {found}, {wanted}. Name others with `--data.labels_key`.")
    values = np.asarray(labels[()])
    values = values.reshape(count, 1) if is_column else to_rows(values, count)
    if task == "multilabel":
        others = values[~np.isin(values, (0, 1))]
        if others.size:
            raise InputError(f"{where} holds the value {others[0]:g}, {wanted}. Correct it.")
        values = np.ascontiguousarray(values, np.float32)
    else:
        values = np.ascontiguousarray(values, np.float64)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise InputError(
                f"{where} holds NaN or infinite numbers, first that of image {row:,} (from 0). "
                "Leave such images out, or give them a number."
            )
    columns = values.shape[1]
    return {
        "labels": values,
        "words": None,
        "num_classes": columns,
        "class_names": names if names is not None and len(names) == columns else None,
        "is_one_hot": True,
    }


def describe_task_labels(labels: np.ndarray, names: list[str] | None) -> str | None:
    """Return a line about columns that have one value in all training images; None for none.

    Args:
        labels: float (N, K) of all training images.
        names: of the K columns, where they are known.
    """
    if labels.ndim == 1:
        return None
    alike = np.flatnonzero((labels == labels[:1]).all(axis=0)).tolist()
    if not alike:
        return None
    listed = list_names([names[k] if names else str(k) for k in alike], "", MAX_NAMED)
    values = list_names([f"{labels[0, k]:g}" for k in alike], "", MAX_NAMED)
    return f"All training images have the same value for {listed} ({values}): nothing is learned."


def check_given_names(
    names: list[str] | None, image_sets: Sequence[ImageSet], task: Task | None
) -> None:
    """Check that names which the user gives are one for each column of the labels.

    Raises:
        InputError: they are not.
    """
    columns = image_sets[0].num_classes
    if task is not None and names is not None and len(names) != columns:
        raise InputError(
            f"The run has {len(names)} names (--data.class_names, or its checkpoint's), the labels "
            f"of {image_sets[0].name} have {columns} columns. Name another file, or give one for "
            "each."
        )


def check_no_folders(paths: Sequence[str], task: Task | None) -> None:
    """Check that no folder of pictures is asked for labels that folders cannot tell.

    Raises:
        InputError: one is.
    """
    folder = next(filter(os.path.isdir, paths), None)
    if task is not None and folder is not None:
        raise InputError(
            f"{folder} is a folder, whose folders give each picture one class, expected "
            f"{WANTED[task]} for each image, as `--model.task {task}` asks. Name an HDF5 file."
        )


def check_same_task(task: str | None, given: str | None) -> None:
    """Check that data which are given a task are read for a model of that task.

    Raises:
        InputError: they are not.
    """
    if given not in (None, task):
        raise InputError(
            f"The data are read for the task {given}, and the model's is "
            f"{task or 'to tell single classes'}. Give the model `--model.task {given}`, or leave "
            "the data's out."
        )
