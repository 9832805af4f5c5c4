"""HDF5 files: datasets, keys, classes, range, copies. Imports no torch."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data import find_keys, layouts
from signs_lightning.data.hdf5_attributes import has_attribute
from signs_lightning.data.hdf5_filters import describe_filters
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_links import list_external_links
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.label_files import find_image_file
from signs_lightning.data.labels import describe_missing_labels
from signs_lightning.data.layouts import guess_split
from signs_lightning.data.value_range import describe_extremes, suggest_range
from signs_lightning.errors import CollectedInputError, InputError
from signs_lightning.inspect.file_report import (
    MAX_ROWS,
    DataSummary,
    FileReport,
    format_options,
)
from signs_lightning.inspect.image_scan import Scan, count_copies_within, scan
from signs_lightning.inspect.keras_files import describe_keras_file
from signs_lightning.runtime.escaping import format_shape, quote_path
from signs_lightning.runtime.value_ranges import BYTES

KERAS_GROUPS = ("model_weights", "layers", "_layer_checkpoint_dependencies")
KERAS_ATTRIBUTES = ("model_config", "layer_names", "layer_names0")
MULTILABEL = "--model.task multilabel"
BAR = 24  # characters of the largest class's bar


def describe_hdf5(path: Path, report: FileReport, options: dict[str, Any], seconds: float) -> None:
    """Describe an HDF5 file: a Keras file by its layers, any other by its datasets.

    Args:
        path: the file.
        report: to add to.
        options: how it is read, see `check_file`, as far as it was given.
        seconds: for which its images may be read.

    Raises:
        InputError: the project cannot use the file; a line for each thing in the way.
    """
    report.what = "HDF5 file"
    with open_hdf5(path) as file:
        has_name = any(has_attribute(file, name) for name in KERAS_ATTRIBUTES)
        is_keras = has_name or any(name in file for name in KERAS_GROUPS)
        follow_links = options.get("follow_links", False)
        datasets = find_keys.list_datasets(file, follow_links)
        found = None if is_keras else _find_keys(path, file, datasets, options)
        if found is not None:
            _list_datasets(file, datasets, found, report, follow_links)
    if is_keras:
        describe_keras_file(path, report)
        return
    if not found and (images := find_image_file(path)) is not None:
        report.what = "HDF5 file of labels"
        report.add_fact("labels of", f"{images}, which is read together with it")
        return
    roles = sorted(found or {"": {}}, key=["", *layouts.ROLES].index)
    problems: list[str] = []
    for role in roles:
        try:
            _describe_images(path, role, len(roles) > 1, report, options, seconds / len(roles))
        except CollectedInputError as errors:
            problems += errors.messages
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise CollectedInputError(problems)
    name, words = quote_path(path), format_options(options)
    if report.data and report.data[-1].lacks_range:
        words += " --data.value_range minmax"
    words += f" {MULTILABEL}" if any(MULTILABEL in told for _, told in report.facts) else ""
    if len(roles) > 1:
        report.suggest(f"fit --data.file {name}{words}")
    elif report.data[0].role in ("test", "val"):
        words = format_options(options, "test")
        report.suggest(f"test RUN_FOLDER --data.test_file {name}{words}")
    else:
        report.suggest(f"fit --data.train_file {name} --data.val_fraction 0.2{words}")


def _describe_images(
    path: Path,
    role: str,
    is_one_of_several: bool,
    report: FileReport,
    options: dict[str, Any],
    seconds: float,
) -> None:
    """Describe the images of a role.

    Raises:
        InputError: they cannot be used; a line for each thing in the way.
    """
    images = _open(path, role, options)
    report.what = "HDF5 data set"
    reader = ImageReader(images)
    found = scan(reader, seconds)
    if found.is_complete and found.high == 0:
        raise InputError(
            f"Every image in {path} is black: whatever wrote them stopped before it filled them. "
            "Write the file again."
        )
    prefix = f"{role} " if is_one_of_several else ""
    role = role or guess_split(images.images_key, path)
    _add_facts(reader, found, report, prefix)
    offset = options.get("label_offset", 0)
    missing = None
    if images.labels.ndim == 1:
        missing = describe_missing_labels(images.labels, images.num_classes, offset)
    if missing is not None and role not in ("val", "test"):
        report.add_fact(prefix + "labels", missing)
    _list_classes(images, report, prefix)
    report.data.append(
        DataSummary(
            report.path,
            role,
            options,
            images.shape,
            images.class_names,
            found.fingerprints,
            is_one_of_several,
            images.values.meaning is None,
        )
    )


def _open(path: Path, role: str, options: dict[str, Any]) -> ImageSet:
    """Return the images of a role; rows of 0 and 1 that are not one-hot are several labels each.

    Raises:
        InputError: they cannot be used; a line for each thing in the way.
    """
    try:
        return check_file(path, role=role, collect=True, **options)
    except CollectedInputError as errors:
        if len(errors.messages) != 1 or f"`{MULTILABEL}`" not in errors.messages[0]:
            raise
        return check_file(path, role=role, collect=True, task="multilabel", **options)


def _list_datasets(
    file: h5py.File,
    datasets: dict[str, h5py.Dataset],
    found: dict[str, dict[str, str]],
    report: FileReport,
    follow_links: bool,
) -> None:
    """List every dataset with what it serves as, and links to other files."""
    serves = {
        key: f"{role} {purpose}" if len(found) > 1 else purpose
        for role, keys in found.items()
        for key, purpose in keys.items()
    }
    if not found:
        serves = {
            k: "images?" for k, dataset in datasets.items() if layouts.can_hold_images(dataset)
        }
    rows: list[tuple[str, ...]] = []
    for name, dataset in list(datasets.items())[:MAX_ROWS]:
        try:
            shape = _describe_shape(dataset.shape)
            storage = _describe_storage(dataset)
            rows.append((name, shape, _describe_type(dataset), storage, serves.get(name, "")))
        except (TypeError, ValueError, OSError, RuntimeError) as error:  # a damaged header, mostly
            rows.append((name, "?", "?", f"cannot be read ({error})", ""))
    report.add_table(("dataset", "shape", "type", "stored", "serves as"), rows, len(datasets))
    if links := list_external_links(file):
        how = "are followed" if follow_links else "are not followed"
        report.add_fact("links", f"{', '.join(links[:12])} lead elsewhere and {how}")


def _find_keys(
    path: Path, file: h5py.File, datasets: dict[str, h5py.Dataset], options: dict[str, Any]
) -> dict[str, dict[str, str]]:
    """Return role → key → what it serves as; empty where no images can be told."""
    images_key = options.get("images_key")
    try:
        roles = {"": images_key} if images_key else find_keys.find_images(path, file, datasets)
    except InputError:
        return {}
    found = {}
    for role, key in roles.items():
        labels_key, classes_key = options.get("labels_key"), options.get("classes_key")
        with contextlib.suppress(InputError, KeyError):  # reported where they are read
            counts = layouts.possible_counts(datasets[key])
            labels_key = labels_key or find_keys.find_labels(path, datasets, key, counts)
            keys = (key, labels_key or "")
            shape = datasets[labels_key].shape if labels_key in datasets else None
            classes_key = classes_key or find_keys.find_classes(path, datasets, keys, shape)
        purposes = {key: "images", labels_key: "labels", classes_key: "classes"}
        found[role] = {name: purpose for name, purpose in purposes.items() if name}
    return found


def _describe_shape(shape: tuple[int, ...] | None) -> str:
    return "no values" if shape is None else format_shape(shape) or "one value"


def _describe_type(dataset: h5py.Dataset) -> str:
    """Return the type of the values, in words where h5py's is an object of Python."""
    if h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.kind == "O":
        return "text"
    item = h5py.check_vlen_dtype(dataset.dtype)
    return str(dataset.dtype) if item is None else f"rows of {item}"


def _describe_storage(dataset: h5py.Dataset) -> str:
    """Return how the bytes lie: `contiguous`, `chunks 100×64×64×3, gzip`, …"""
    if dataset.is_virtual:
        return "in other files (virtual)"
    if dataset.external:
        return "in other files (external)"
    if dataset.chunks is None:
        is_compact = dataset.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
        is_written = is_compact or dataset.nbytes == 0 or dataset.id.get_storage_size() > 0
        return "compact" if is_compact else "contiguous" if is_written else "never written"
    return ", ".join([f"chunks {format_shape(dataset.chunks)}", *describe_filters(dataset)])


def _add_facts(reader: ImageReader, found: Scan, report: FileReport, prefix: str) -> None:
    images = reader.images
    count, height, width, channels = images.shape
    color = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    report.add_fact(prefix + "found", images.layout)
    report.add_fact(prefix + "images", f"{count} of {height}×{width} pixels, {color}")
    names = ", ".join(images.class_names or ["the file lists none; they are numbered"])
    listed = f" ({names})" if len(names) < 400 else ""
    if images.labels.ndim == 2:
        listed += f", several each: {MULTILABEL}"
    kind = "classes" if images.labels.ndim == 1 else "labels"
    report.add_fact(prefix + kind, f"{images.num_classes}{listed}")
    seen = len(found.fingerprints)
    limit = f" among the first {seen} images (time ran out; --seconds gives more)"
    limit = "" if found.is_complete else limit
    if images.values.are_bytes:
        report.add_fact(prefix + "values", f"{found.low} to {found.high}{limit}")
    else:
        report.add_fact(prefix + "values", describe_extremes(images.values))
    if images.note:
        report.add_fact(prefix + "stored as", images.note)
    if images.values.meaning is None:
        text = f"nothing tells which numbers are black and white: {suggest_range(images.values)}"
        report.add_fact(prefix + "range", text)
    if found.high == 1 and found.is_complete and images.values.meaning == BYTES:
        report.add_fact(
            prefix + "dark", "0 and 1 only, nearly black; if they mean 0..1, write them as floats"
        )
    labels = images.labels
    if labels.ndim == 2:  # equal rows have equal numbers
        labels = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    copies, contradicting = count_copies_within(found.fingerprints, labels[:seen])
    text = "1 image is an exact copy" if copies == 1 else f"{copies} images are exact copies"
    others = f", {contradicting} of them with another label" if contradicting else ""
    text = f"{text} of an earlier one{others}" if copies else "none"
    report.add_fact(prefix + "duplicates", text + limit)
    reading = "mapped: any image is read alone, at its place in the file"
    if not reader.layout.is_mapped:
        reading = f"streamed, or kept in memory where they fit ({reader.layout.description})"
    report.add_fact(prefix + "reading", reading)


def _list_classes(images: ImageSet, report: FileReport, prefix: str) -> None:
    """List how many images each class has."""
    counts = images.labels.sum(axis=0).astype(int)
    if images.labels.ndim == 1:
        counts = np.bincount(images.labels, minlength=images.num_classes)
    names = images.class_names or map(str, range(images.num_classes))
    rows = []
    for k, (name, count) in enumerate(zip(names, counts.tolist(), strict=True)):
        bar = "█" * round(BAR * count / max(1, counts.max()))
        rows.append((str(k), name, str(count), f"{count / len(images.labels):.1%}", bar))
    report.add_table(("label>", "class", f"{prefix}images>", "share>", ""), rows)
