"""Folders of pictures → HDF5 files, with one picture in memory at a time."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.folder_export import safe_name
from signs_lightning.data.picture_folders import (
    PictureFolder,
    SkippedFile,
    choose_shape,
    find_class_pictures,
    find_split_folders,
)
from signs_lightning.data.stratified_split import stratified_split
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write, make_folder
from signs_lightning.runtime.image_files import Differences, UnreadableImageError, read_image
from signs_lightning.runtime.progress import OnProgress
from signs_lightning.runtime.resize_options import DEFAULT_FIT, DEFAULT_RESIZE, Fit, Resize

WRITE_BYTES = 2**24  # of images that are written at a time


@dataclass(frozen=True)
class ConversionResult:
    """What `folder_to_h5` made of a folder of pictures.

    Attributes:
        files: split ("train", "test", "val") → the file that was written.
        counts: split → number of images.
        class_names: in label order.
        image_size: height, width (pixels) and channels.
        skipped: every file that no image was made of.
        differences: pictures of which Keras would have made another image.
    """

    files: dict[str, Path]
    counts: dict[str, int]
    class_names: list[str]
    image_size: tuple[int, int, int]
    skipped: list[SkippedFile] = field(default_factory=list)
    differences: Differences = field(default_factory=dict)


def folder_to_h5(
    folder: Path,
    output: Path,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    test_fraction: float = 0.1,
    seed: int = 0,
    name: str | None = None,
    resize: Resize = DEFAULT_RESIZE,
    fit: Fit = DEFAULT_FIT,
    advance: OnProgress | None = None,
) -> ConversionResult:
    """Write pictures, in a folder for each class, to HDF5 files, shuffled.

    The files are `train_NAME.h5` and `test_NAME.h5`. Each picture gets the size of `image_size` as
    `predict` does it, see `read_image`. Where the folder has `train` and `test` (or `val`) in it,
    with the classes below these, that is the split; else it is made, and every class has its share
    on both sides.

    Args:
        folder: of class folders; sorted as Keras sorts them, their place is the label.
        output: folder of the files, which is made where it does not exist.
        image_size: height and width (pixels); when omitted, the size that all pictures have.
        channels: 1 (grey) or 3 (RGB); when omitted, 1 where all pictures are grey.
        test_fraction: share of the test file, 0 for none, below 1.
        seed: of split and order.
        name: in the files' names; the folder's own when omitted.
        resize: how pictures are resized, see `read_image`.
        fit: what becomes of another aspect ratio, see `read_image`.
        advance: called after each picture.

    Raises:
        InputError: there are no classes, a class has no picture that can be read, no size is given
            and the pictures have several, or the files cannot be written.
    """
    name = name or safe_name(folder.resolve().name)
    splits = _find_splits(folder)
    for pictures in splits.values():
        pictures.read_headers()
    first = next(iter(splits.values()))
    headers = [header for pictures in splits.values() for header in pictures.headers]
    size = choose_shape(folder, headers, image_size, channels, "--size")
    total, done = sum(len(pictures.pictures) for pictures in splits.values()), 0

    def advance_all(_: int, __: int | None) -> None:
        nonlocal done
        done += 1
        if advance is not None:
            advance(done, total)

    make_folder(output)
    with ExitStack() as stack:
        spooled: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for split, pictures in splits.items():
            # How many pictures are sound is known only when all are read, and a contiguous dataset
            # is written once.
            spool = stack.enter_context(tempfile.TemporaryFile(dir=output))
            spooled[split] = spool_pictures(pictures, size, spool, resize, fit, advance_all)
        labels = {split: labels for split, (_, labels) in spooled.items()}
        orders = _choose_orders(labels, test_fraction, seed)
        files = {split: output / f"{split}_{name}.h5" for split in orders}
        temporary = {split: stack.enter_context(atomic_write(files[split])) for split in orders}
        for split, (source, order) in orders.items():
            keys = f"{split}_set_x", f"{split}_set_y"
            write_images(temporary[split], keys, *spooled[source], order, first.class_names)
    counts = {split: len(order) for split, (_, order) in orders.items()}
    skipped = [skip for pictures in splits.values() for skip in pictures.skipped]
    differences: Differences = {}
    for pictures in splits.values():
        for difference, paths in pictures.differences.items():
            differences.setdefault(difference, []).extend(paths)
    return ConversionResult(files, counts, first.class_names, size, skipped, differences)


def _find_splits(folder: Path) -> dict[str, PictureFolder]:
    """Return split → pictures, of which those of "all" are still to be split."""
    splits = find_split_folders(folder) if folder.is_dir() else {}
    if not splits:
        return {"all": find_class_pictures(folder)}
    if "train" not in splits:
        names = ", ".join(place.name for place in splits.values())
        raise InputError(f"{folder} has {names} and no train. Name a folder of classes in it.")
    train = find_class_pictures(splits["train"])
    found = {"train": train}
    for split in ("val", "test"):
        if split in splits:
            found[split] = find_class_pictures(splits[split], train.class_names)
    return found


def spool_pictures(
    pictures: PictureFolder,
    image_size: tuple[int, int, int],
    spool: Any,
    resize: Resize,
    fit: Fit,
    advance: OnProgress,
) -> tuple[np.ndarray, np.ndarray]:
    """Write the pixels of all pictures to a file, one after another.

    Pictures that cannot be read are skipped: `pictures` then has those that were written.

    Args:
        pictures: whose headers were read.
        image_size: height, width (pixels) and channels.
        spool: the file, open for bytes: uint8 (N, H, W, C).
        resize: see `read_image`.
        fit: see `read_image`.
        advance: called after each picture.

    Returns:
        The images, mapped, and their labels int64 (N,).

    Raises:
        InputError: no picture of a class can be read.
    """
    kept = []
    for done, (path, label) in enumerate(pictures.pictures, 1):
        try:
            image = read_image(path, image_size, resize, fit, pictures.differences)
            spool.write(image.tobytes())
            kept.append((path, label))
        except UnreadableImageError as error:
            pictures.skipped.append(SkippedFile(path, error.kind, str(error)))
        advance(done, len(pictures.pictures))
    spool.flush()
    pictures.keep(kept)
    labels = np.array([label for _, label in kept], np.int64)
    return np.memmap(spool, np.uint8, "r", shape=(len(labels), *image_size)), labels


def _choose_orders(
    labels: dict[str, np.ndarray], test_fraction: float, seed: int
) -> dict[str, tuple[str, np.ndarray]]:
    """Return file → the split whose pictures it takes, and their indices in order."""
    rng = np.random.default_rng(seed)
    if "all" not in labels:
        return {split: (split, rng.permutation(len(labels[split]))) for split in labels}
    count = len(labels["all"])
    if test_fraction == 0:
        return {"train": ("all", rng.permutation(count))}
    train, test = stratified_split(labels["all"], test_fraction, seed)
    if len(test) == 0:
        raise InputError(
            f"--test_fraction {test_fraction:g} of {count} pictures leaves none to test on. "
            "Raise it, or set it to 0."
        )
    return {"train": ("all", rng.permutation(train)), "test": ("all", rng.permutation(test))}


def write_images(
    path: Path,
    keys: tuple[str, str],
    images: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    class_names: list[str],
) -> None:
    """Write contiguous images uint8 (N, H, W, C), labels and class names.

    Args:
        path: of the HDF5 file.
        keys: of images and labels.
        images: uint8 (M, H, W, C), of which those in `order` are written.
        labels: int64 (M,).
        order: int64 (N,).
        class_names: in label order.
    """
    shape = images.shape[1:]
    with h5py.File(path, "w", locking=False) as file:  # a temporary file, maybe without locks
        dataset = file.create_dataset(keys[0], (len(order), *shape), np.uint8)
        step = max(1, WRITE_BYTES // int(np.prod(shape)))
        for start in range(0, len(order), step):
            dataset[start : start + step] = images[order[start : start + step]]
        file[keys[1]] = labels[order]
        file["list_classes"] = np.array([os.fsencode(name) for name in class_names])
