"""HDF5 files: datasets, keys, classes, range, copies. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data import layouts
from signs_lightning.data.file_roles import guess_split
from signs_lightning.data.hdf5_image_set import ImageSet, check_file
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import (
    MAX_ROWS,
    DataSummary,
    FileReport,
    format_key_options,
    format_shape,
    quote_path,
)
from signs_lightning.inspect.image_scan import Scan, count_copies_within, scan
from signs_lightning.inspect.model_files import describe_keras_file

KERAS_GROUPS = ("model_weights", "layers", "_layer_checkpoint_dependencies")
KERAS_ATTRIBUTES = ("model_config", "layer_names", "layer_names0")
FILTERS = {1: "gzip", 2: "shuffle", 3: "checksum", 4: "szip", 5: "nbit", 6: "scale-offset"}
FILTERS[32000] = "lzf"
BAR = 24  # characters of the largest class's bar


def describe_hdf5(path: Path, report: FileReport, keys: dict[str, str], seconds: float) -> None:
    """Describe an HDF5 file: a Keras file by its layers, any other by its datasets.

    Args:
        path: the file.
        report: to add to.
        keys: images_key, labels_key, classes_key, as far as they were named.
        seconds: for which its images may be read.

    Raises:
        InputError: the project cannot use the file.
    """
    report.what = "HDF5 file"
    with open_hdf5(path) as file:
        has_attribute = any(name in file.attrs for name in KERAS_ATTRIBUTES)
        is_keras = has_attribute or any(name in file for name in KERAS_GROUPS)
        if not is_keras:
            _list_datasets(file, report, keys)
    if is_keras:
        describe_keras_file(path, report)
        return
    images = check_file(path, **keys)
    report.what = "HDF5 data set"
    reader = ImageReader(images)
    found = scan(reader, seconds)
    _add_facts(reader, found, report)
    _list_classes(images, report)
    split = guess_split(images.images_key, path)
    report.data = DataSummary(
        report.path, split, keys, images.shape, images.class_names, found.fingerprints
    )
    name, options = quote_path(path), format_key_options(keys)
    if found.is_complete and found.high == 0:
        report.problem = (
            f"Every image in {path} is black: whatever wrote them stopped before it filled them. "
            "Write the file again."
        )
    elif split in ("test", "val"):
        report.suggest(f"test --ckpt_path RUN_FOLDER --data.test_file {name}{options}")
    else:
        report.suggest(f"fit --data.train_file {name} --data.val_fraction 0.2{options}")


def _list_datasets(file: h5py.File, report: FileReport, keys: dict[str, str]) -> None:
    """List every dataset with its role, and links, which are not followed."""
    datasets = layouts.list_datasets(file)
    roles = _find_roles(file, datasets, keys)
    rows: list[tuple[str, ...]] = []
    for name, dataset in list(datasets.items())[:MAX_ROWS]:
        try:
            shape = _describe_shape(dataset.shape)
            storage = _describe_storage(dataset)
            rows.append((name, shape, str(dataset.dtype), storage, roles.get(name, "")))
        except (TypeError, ValueError, OSError, RuntimeError) as error:  # a damaged header, mostly
            rows.append((name, "?", "?", f"cannot be read ({error})", ""))
    report.add_table(("dataset", "shape", "type", "stored", "serves as"), rows, len(datasets))
    links = [name for name in file if not isinstance(file.get(name, getlink=True), h5py.HardLink)]
    if links:
        report.add_fact("links", f"{', '.join(links[:12])} lead elsewhere and are not followed")


def _find_roles(
    file: h5py.File, datasets: dict[str, h5py.Dataset], keys: dict[str, str]
) -> dict[str, str]:
    """Return dataset → images, labels or classes, with "?" for candidates."""
    roles = ("images", "labels", "classes")
    given = [keys.get(f"{role}_key") for role in roles]
    try:
        found = layouts.find_keys(Path(file.filename), file, datasets, *given)
    except InputError:
        guesses = (("images?", layouts.IMAGE_KEYS, "x"), ("labels?", layouts.LABEL_KEYS, "y"))
        return {
            key: role
            for key in datasets
            for role, names, letter in guesses
            if layouts.guess_role(key, names, letter)
        }
    return {key: role for key, role in zip(found, roles, strict=True) if key}


def _describe_shape(shape: tuple[int, ...] | None) -> str:
    return "no values" if shape is None else format_shape(shape) or "one value"


def _describe_storage(dataset: h5py.Dataset) -> str:
    """Return how the bytes lie: `contiguous`, `chunks 100×64×64×3, gzip`, …"""
    if dataset.is_virtual:
        return "in other files (virtual)"
    if dataset.external:
        return "in other files (external)"
    properties = dataset.id.get_create_plist()
    if dataset.chunks is None:
        is_compact = properties.get_layout() == h5py.h5d.COMPACT
        is_written = is_compact or dataset.nbytes == 0 or dataset.id.get_storage_size() > 0
        return "compact" if is_compact else "contiguous" if is_written else "never written"
    filters = [properties.get_filter(k) for k in range(properties.get_nfilters())]
    names = [
        FILTERS.get(code, f"{text.decode(errors='replace') or 'filter'} ({code})")
        for code, _, _, text in filters
    ]
    return ", ".join([f"chunks {format_shape(dataset.chunks)}", *names])


def _add_facts(reader: ImageReader, found: Scan, report: FileReport) -> None:
    images = reader.images
    count, height, width, channels = images.shape
    color = "RGB" if channels == 3 else "grey"
    report.add_fact("images", f"{count} of {height}×{width} pixels, {color}")
    names = ", ".join(images.class_names or ["the file lists none; they are numbered"])
    listed = f" ({names})" if len(names) < 400 else ""
    report.add_fact("classes", f"{images.num_classes}{listed}")
    seen = len(found.fingerprints)
    limit = f" among the first {seen} images (time ran out; --seconds gives more)"
    limit = "" if found.is_complete else limit
    report.add_fact("values", f"{found.low} to {found.high}{limit}")
    if images.note:
        report.add_fact("stored as", images.note)
    copies, contradicting = count_copies_within(found.fingerprints, images.labels[:seen])
    text = "1 image is an exact copy" if copies == 1 else f"{copies} images are exact copies"
    others = f", {contradicting} of them with another label" if contradicting else ""
    text = f"{text} of an earlier one{others}" if copies else "none"
    report.add_fact("duplicates", text + limit)
    reading = "mapped: any image is read alone, at its place in the file"
    if not reader.layout.is_mapped:
        reading = f"streamed, or kept in memory where they fit ({reader.layout.description})"
    report.add_fact("reading", reading)


def _list_classes(images: ImageSet, report: FileReport) -> None:
    """List how many images each class has."""
    counts = np.bincount(images.labels, minlength=images.num_classes)
    names = images.class_names or map(str, range(images.num_classes))
    rows = []
    for k, (name, count) in enumerate(zip(names, counts.tolist(), strict=True)):
        bar = "█" * round(BAR * count / counts.max())
        rows.append((str(k), name, str(count), f"{count / counts.sum():.1%}", bar))
    report.add_table(("label>", "class", "images>", "share>", ""), rows)
