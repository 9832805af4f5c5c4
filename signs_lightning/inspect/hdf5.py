"""HDF5 files, described: datasets, keys, classes, range, copies, and how they will be read. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data import layouts
from signs_lightning.data.file_roles import split_of
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.image_set import ImageSet, check_file
from signs_lightning.data.readers import ImageReader
from signs_lightning.errors import InputError
from signs_lightning.inspect.duplicates import Scan, copies_within, scan
from signs_lightning.inspect.file_report import (
    MAX_ROWS,
    VERB,
    DataSummary,
    FileReport,
    TextTable,
    quoted,
)

KERAS_GROUPS = ("model_weights", "layers", "_layer_checkpoint_dependencies")
KERAS_ATTRIBUTES = ("model_config", "layer_names", "layer_names0")
OPTIONS = ("images_key", "labels_key", "classes_key")
MAX_CLASSES = 48  # in one picture of samples
LARGEST = 160  # pixels of a picture in it
BAR = 24  # characters of the largest class's bar


def describe_hdf5(path: Path, report: FileReport, keys: dict[str, str], seconds: float) -> None:
    """Describes an HDF5 file: a Keras file by its layers, any other by its datasets."""
    report.what = "HDF5 file"
    with open_hdf5(path) as file:
        keras = any(name in file.attrs for name in KERAS_ATTRIBUTES) or any(
            name in file for name in KERAS_GROUPS
        )
        if not keras:
            _list_datasets(file, report, keys)
    if keras:
        from signs_lightning.inspect.model_files import describe_keras_file

        describe_keras_file(path, report)
        return
    images = check_file(path, **keys)
    report.what = "HDF5 data set"
    reader = ImageReader(images)
    found = scan(reader, seconds)
    _facts(reader, found, report)
    report.listings.append(_balance(images))
    split = split_of(images.images_key, path)
    report.data = DataSummary(split, keys, images.shape, images.class_names, found.fingerprints)
    options = options_for(keys)
    if split in ("test", "val"):
        report.commands.append(
            f"{VERB} test --ckpt_path RUN_FOLDER --data.test_file {quoted(path)}{options}"
        )
    else:
        report.commands.append(
            f"{VERB} fit --data.train_file {quoted(path)} --data.val_fraction 0.2{options}"
        )
    if found.complete and found.high == 0:
        report.problem = (
            f"Every image in {path} is black: whatever wrote them stopped before it "
            "filled them. Write the file again."
        )
        report.commands.clear()


def options_for(keys: dict[str, str]) -> str:
    """The keys that were named, as options of a further command."""
    return "".join(f" --data.{name} {quoted(key)}" for name, key in keys.items())


def _list_datasets(file: h5py.File, report: FileReport, keys: dict[str, str]) -> None:
    """Lists every dataset with what it serves as, and links, which are not followed."""
    rows: list[tuple[str, ...]] = []
    roles = _roles(file, keys)
    listed = layouts.datasets_of(file)
    for name, dataset in list(listed.items())[:MAX_ROWS]:
        try:
            rows.append(
                (
                    name,
                    shape_text(dataset.shape),
                    str(dataset.dtype),
                    _storage(dataset),
                    roles.get(name, ""),
                )
            )
        except (
            TypeError,
            ValueError,
            OSError,
            RuntimeError,
        ) as error:  # a type that NumPy lacks, a damaged header
            rows.append((name, "?", "?", f"cannot be read ({error})", ""))
    report.listings.append(
        TextTable(
            ("dataset", "shape", "type", "stored", "serves as"),
            rows,
            more=max(0, len(listed) - MAX_ROWS),
        )
    )
    links = [name for name in file if not isinstance(file.get(name, getlink=True), h5py.HardLink)]
    if links:
        report.facts.append(
            ("links", f"{', '.join(links[:12])} lead elsewhere and are not followed")
        )


def _roles(file: h5py.File, keys: dict[str, str]) -> dict[str, str]:
    """Dataset → images, labels or classes; with a question mark where several could be it."""
    datasets = layouts.datasets_of(file)
    try:
        found = layouts.find_keys(
            Path(file.filename), file, datasets, *(keys.get(name) for name in OPTIONS)
        )
        return {
            key: role
            for key, role in zip(found, ("images", "labels", "classes"), strict=True)
            if key
        }
    except InputError:
        likely = (("images?", layouts.IMAGE_KEYS, "x"), ("labels?", layouts.LABEL_KEYS, "y"))
        return {
            key: role
            for key in datasets
            for role, names, letter in likely
            if layouts.guess_role(key, names, letter)
        }


def shape_text(shape: tuple[int, ...] | None) -> str:
    """`1080×64×64×3`, ungrouped."""
    return "no values" if shape is None else "×".join(map(str, shape)) or "one value"


def _storage(dataset: h5py.Dataset) -> str:
    """How the bytes lie: `contiguous`, `chunks 100×64×64×3, gzip`, …"""
    if dataset.is_virtual:
        return "in other files (virtual)"
    if dataset.external:
        return "in other files (external)"
    properties = dataset.id.get_create_plist()
    if dataset.chunks is None:
        layout = "compact" if properties.get_layout() == h5py.h5d.COMPACT else "contiguous"
        written = dataset.nbytes == 0 or layout == "compact" or dataset.id.get_storage_size() > 0
        return layout if written else "never written"
    names = {
        1: "gzip",
        2: "shuffle",
        3: "checksum",
        4: "szip",
        5: "nbit",
        6: "scale-offset",
        32000: "lzf",
    }
    filters = [properties.get_filter(k) for k in range(properties.get_nfilters())]
    words = [
        names.get(code, f"{text.decode(errors='replace') or 'filter'} ({code})")
        for code, _, _, text in filters
    ]
    return f"chunks {shape_text(dataset.chunks)}" + "".join(f", {word}" for word in words)


def _facts(reader: ImageReader, found: Scan, report: FileReport) -> None:
    images = reader.images
    count, height, width, channels = images.shape
    report.facts.append(
        ("images", f"{count} of {height}×{width} pixels, {'RGB' if channels == 3 else 'grey'}")
    )
    names = (
        ", ".join(images.class_names)
        if images.class_names
        else "the file lists none; they are numbered"
    )
    report.facts.append(
        (
            "classes",
            f"{images.num_classes} ({names})" if len(names) < 400 else f"{images.num_classes}",
        )
    )
    seen = len(found.fingerprints)
    partly = (
        ""
        if found.complete
        else f" among the first {seen} images (time ran out; --seconds gives more)"
    )
    report.facts.append(("values", f"{found.low} to {found.high}{partly}"))
    if images.note:
        report.facts.append(("stored as", images.note))
    copies, contradicting = copies_within(found.fingerprints, images.labels[:seen])
    text = "none"
    if copies:
        text = "1 image is an exact copy" if copies == 1 else f"{copies} images are exact copies"
        text += " of an earlier one" + (
            f", {contradicting} of them with another label" if contradicting else ""
        )
    report.facts.append(("duplicates", text + partly))
    how = "mapped: any image is read alone, at its place in the file"
    if not reader.layout.mapped:
        how = f"streamed, or kept in memory where they fit ({reader.layout.description})"
    report.facts.append(("reading", how))


def _balance(images: ImageSet) -> TextTable:
    counts = np.bincount(images.labels, minlength=images.num_classes)
    names = images.class_names or [str(k) for k in range(images.num_classes)]
    rows = [
        (
            str(k),
            names[k],
            str(counts[k]),
            f"{counts[k] / counts.sum():.1%}",
            "█" * round(BAR * counts[k] / counts.max()),
        )
        for k in range(min(images.num_classes, MAX_ROWS))
    ]
    columns = ("label>", "class", "images>", "share>", "")
    return TextTable(columns, rows, more=max(0, images.num_classes - MAX_ROWS))


def draw_data_samples(path: str, keys: dict[str, str], output: str, per_class: int = 8) -> int:
    """Draws the first pictures of every class of a data file, as a PNG; nothing but these pictures is read.

    Args:
        path: the HDF5 file.
        keys: images_key, labels_key, classes_key, as far as they were named.
        output: the PNG.
        per_class: pictures of each class.

    Returns:
        The number of classes that are drawn: all, or the first `MAX_CLASSES`.

    Raises:
        InputError: the file cannot be used, or the PNG cannot be written.
    """
    from signs_lightning.inspect.samples import draw_samples

    images = check_file(path, **keys)
    classes = min(images.num_classes, MAX_CLASSES)
    chosen = np.concatenate(
        [np.flatnonzero(images.labels == k)[:per_class] for k in range(classes)]
    )
    reader = ImageReader(images)
    pictures = np.stack([_small(reader.read(index, index + 1)[0]) for index in chosen.tolist()])
    counts = np.bincount(images.labels, minlength=images.num_classes)
    per_class = min(per_class, max(4, int(counts[:classes].max())))  # no empty paper
    names = images.class_names or [str(k) for k in range(images.num_classes)]
    titles = [f"{name} ({count})" for name, count in zip(names[:classes], counts, strict=False)]
    draw_samples(
        pictures,
        images.labels[chosen],
        titles,
        Path(output),
        per_class,
        columns=1 if classes < 4 else 2,
    )
    return classes


def _small(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, C), larger ones scaled down: they are drawn small, and there may be hundreds."""
    height, width, channels = picture.shape
    if max(height, width) <= LARGEST:
        return picture
    from PIL import Image

    scale = LARGEST / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture).resize(
        size, Image.Resampling.BOX
    )
    return np.asarray(image).reshape(size[1], size[0], channels)
