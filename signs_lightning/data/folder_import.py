"""Folders of pictures → HDF5 files, with one picture in memory at a time."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data.folder_export import IGNORED_FOLDERS, OnProgress, safe_name
from signs_lightning.data.image_files import UnreadableImageError, find_images, read_image
from signs_lightning.data.stratified_split import stratified_split
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import printable

SPLIT_FOLDERS = {"train": "train", "training": "train", "test": "test"}
SPLIT_FOLDERS |= dict.fromkeys(("val", "valid", "validation"), "val")
WRITE_BYTES = 2**24  # of images that are written at a time


@dataclass(frozen=True)
class ConversionResult:
    """What `folder_to_h5` made of a folder of pictures.

    Attributes:
        files: split ("train", "test", "val") → the file that was written.
        counts: split → number of images.
        class_names: in label order.
        unreadable: (path, reason) of every picture that was skipped.
    """

    files: dict[str, Path]
    counts: dict[str, int]
    class_names: list[str]
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key by which `2` comes before `10`, and `Cat` beside `cat`."""
    parts = (part for part in re.split(r"(\d+)", name) if part)
    key = [(1, int(part), "") if part.isdecimal() else (2, 0, part.casefold()) for part in parts]
    return [*key, (0, 0, name)]


def folder_to_h5(
    folder: Path,
    output: Path,
    image_size: tuple[int, int, int],
    test_fraction: float = 0.1,
    seed: int = 0,
    name: str | None = None,
    advance: OnProgress | None = None,
) -> ConversionResult:
    """Write pictures, in a folder for each class, to HDF5 files, shuffled.

    The files are `train_NAME.h5` and `test_NAME.h5`. Each picture gets the size of `image_size` as
    `predict` does it, see `read_image`. Where the folder has `train` and `test` (or `val`) in it,
    with the classes below these, that is the split; else it is made, and every class has its share
    on both sides.

    Args:
        folder: of class folders; they sort naturally, and their place is the label.
        output: folder of the files, which is made where it does not exist.
        image_size: height, width (pixels) and channels, 1 (grey) or 3 (RGB).
        test_fraction: share of the test file, 0 for none, below 1.
        seed: of split and order.
        name: in the files' names; the folder's own when omitted.
        advance: called after each picture.

    Raises:
        InputError: there are no classes, a class has no picture that can be read, or the files
            cannot be written.
    """
    name = name or safe_name(folder.resolve().name)
    pictures, class_names = _find_pictures(folder)
    total, done = sum(map(len, pictures.values())), 0
    unreadable: list[tuple[str, str]] = []
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {output} cannot be made ({error}). Choose another --output."
        ) from error
    labels: dict[str, np.ndarray] = {}
    with ExitStack() as stack:
        spools = {}
        for split, entries in pictures.items():
            # How many pictures are sound is known only when all are read, and a contiguous dataset
            # is written once.
            spool = spools[split] = stack.enter_context(tempfile.TemporaryFile(dir=output))
            kept: list[int] = []
            failed: dict[int, tuple[str, str]] = {}  # label → path and reason
            for path, label in entries:
                try:
                    spool.write(read_image(path, image_size).tobytes())
                    kept.append(label)
                except UnreadableImageError as error:
                    unreadable.append((path, str(error)))
                    failed.setdefault(label, unreadable[-1])
                done += 1
                if advance is not None:
                    advance(done, total)
            if missing := sorted(failed.keys() - set(kept)):
                path, reason = failed[missing[0]]
                raise InputError(
                    f"No picture of the class {printable(class_names[missing[0]])} can be read: "
                    f"{printable(path)} is {reason}, for one. Replace them, or remove the folder."
                )
            spool.flush()
            labels[split] = np.array(kept, np.int64)
        orders = _choose_orders(labels, test_fraction, seed)
        files = {split: output / f"{split}_{name}.h5" for split in orders}
        temporary = {split: stack.enter_context(atomic_write(files[split])) for split in orders}
        for split, (source, order) in orders.items():
            shape = (len(labels[source]), *image_size)
            images = np.memmap(spools[source], np.uint8, "r", shape=shape)
            _write(temporary[split], split, images, labels[source], order, class_names)
    counts = {split: len(order) for split, (_, order) in orders.items()}
    return ConversionResult(files, counts, class_names, unreadable)


def _find_pictures(folder: Path) -> tuple[dict[str, list[tuple[str, int]]], list[str]]:
    """Return split (or "all") → (picture, label) pairs, and the class names."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise InputError(f"{folder} is {found}, expected a folder with one folder for each class.")
    splits = {SPLIT_FOLDERS.get(child.name.lower(), ""): child for child in _subfolders(folder)}
    splits.pop("", None)
    is_split = "train" in splits and len(splits) > 1 and all(map(_subfolders, splits.values()))
    if not is_split:
        splits = {"all": folder}
    train = splits.get("train", folder)
    class_names = [child.name for child in _subfolders(train)]
    if len(class_names) < 2:
        found = f"the folder {class_names[0]} only" if class_names else "no folders"
        raise InputError(
            f"{train} holds {found}, expected one folder for each class with its pictures in it."
        )
    label_of = {name: k for k, name in enumerate(class_names)}
    pictures: dict[str, list[tuple[str, int]]] = {}
    for split, place in splits.items():
        children = _subfolders(place)
        if unknown := [child.name for child in children if child.name not in label_of]:
            raise InputError(
                f"{place} has the class {printable(unknown[0])}, which {train} does not have. "
                "Rename it, or add it there."
            )
        pictures[split] = []
        for child in children:
            paths = find_images([str(child)])
            pictures[split] += [(path, label_of[child.name]) for path in paths]
    return pictures, class_names


def _subfolders(folder: Path) -> list[Path]:
    children = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    kept = (child for child in children if child.name not in IGNORED_FOLDERS)
    return sorted(kept, key=lambda child: natural_key(child.name))


def _choose_orders(
    labels: dict[str, np.ndarray], test_fraction: float, seed: int
) -> dict[str, tuple[str, np.ndarray]]:
    """Return file → the split whose pictures it takes, and their indices in order."""
    rng = np.random.default_rng(seed)
    if "all" not in labels:
        splits = [split for split in ("train", "val", "test") if split in labels]
        return {split: (split, rng.permutation(len(labels[split]))) for split in splits}
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


def _write(
    path: Path,
    split: str,
    images: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    class_names: list[str],
) -> None:
    """Write contiguous images uint8 (N, H, W, C), labels and class names."""
    shape = images.shape[1:]
    with h5py.File(path, "w", locking=False) as file:  # a temporary file, maybe without locks
        dataset = file.create_dataset(f"{split}_set_x", (len(order), *shape), np.uint8)
        step = max(1, WRITE_BYTES // int(np.prod(shape)))
        for start in range(0, len(order), step):
            dataset[start : start + step] = images[order[start : start + step]]
        file[f"{split}_set_y"] = labels[order]
        file["list_classes"] = np.array([os.fsencode(name) for name in class_names])
