"""Folders of pictures, one for each class, to HDF5 files in the course's schema and back; one picture in memory at a time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from signs_lightning.data.file_roles import split_of
from signs_lightning.data.image_files import UnreadableImageError, find_images, read_image
from signs_lightning.data.image_set import check_file
from signs_lightning.data.readers import ImageReader
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import printable

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
NO_CLASS = {"__MACOSX", "__pycache__"}
RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE
)  # no file of Windows can be called so
MAX_NAME_LENGTH = 100  # characters of a class's folder
OnProgress = Callable[[int, int], None]  # is told how many of how many pictures are done


@dataclass(frozen=True)
class ConversionResult:
    """What became of a folder of pictures.

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
    """A sorting key by which `2` comes before `10`, and `Cat` beside `cat`."""
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
    """Pictures in a folder for each class → `train_NAME.h5` and `test_NAME.h5`, both in an order of their own.

    Each becomes square (or what `image_size` says) as `predict` does it, see `read_image`. Where
    the folder has `train` and `test` (or `val`) in it, with the classes below these, that is the
    split; else it is made, and every class has its share on both sides.

    Args:
        folder: of class folders; they sort naturally, and their place is the label.
        output: folder of the files, which is made where it does not exist.
        image_size: height, width (pixels) and channels, 1 (grey) or 3 (RGB).
        test_fraction: share of the test file, 0 for none, below 1.
        seed: of split and order.
        name: in the files' names; the folder's own when omitted.
        advance: is told about the progress.

    Raises:
        InputError: there are no classes, a class has no picture that can be read, or the files
            cannot be written.
    """
    name = name or safe_name(folder.resolve().name)
    pictures, class_names = _find(folder)
    total, done = sum(map(len, pictures.values())), 0
    unreadable: list[tuple[str, str]] = []
    row_bytes = int(np.prod(image_size))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {output} cannot be made ({error}). Choose another --output."
        ) from error
    labels: dict[str, np.ndarray] = {}
    with ExitStack() as stack:
        spools = {}
        for split, found in pictures.items():
            # How many pictures are sound is known only when all are read, and a dataset in one
            # piece is written once.
            spool = spools[split] = stack.enter_context(tempfile.TemporaryFile(dir=output))
            kept = []
            for path, label in found:
                try:
                    spool.write(read_image(path, image_size).tobytes())
                    kept.append(label)
                except UnreadableImageError as error:
                    unreadable.append((path, str(error)))
                done += 1
                if advance is not None:
                    advance(done, total)
            spool.flush()
            labels[split] = np.array(kept, np.int64)
        _require_every_class(labels, class_names, pictures, unreadable)
        parts = _parts(labels, test_fraction, seed)
        files = {split: output / f"{split}_{name}.h5" for split in parts}
        places = {split: stack.enter_context(atomic_write(path)) for split, path in files.items()}
        for split, (source, order) in parts.items():
            rows = np.memmap(spools[source], np.uint8, "r", shape=(len(labels[source]), row_bytes))
            _write(places[split], split, rows, image_size, order, labels[source], class_names)
    return ConversionResult(
        files, {split: len(order) for split, (_, order) in parts.items()}, class_names, unreadable
    )


def _find(folder: Path) -> tuple[dict[str, list[tuple[str, int]]], list[str]]:
    """Split → (picture, label) pairs, and the class names; the split is "all" where the folders tell of none."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is {'a file' if folder.exists() else 'not there'}, expected a folder with "
            "one folder for each class."
        )
    splits = {
        SPLITS[child.name.lower()]: child
        for child in _subfolders(folder)
        if child.name.lower() in SPLITS
    }
    if not (
        "train" in splits
        and len(splits) > 1
        and all(_subfolders(child) for child in splits.values())
    ):
        splits = {"all": folder}
    train = splits.get("train", folder)
    class_names = [child.name for child in _subfolders(train)]
    if len(class_names) < 2:
        held = f"the folder {class_names[0]} only" if class_names else "no folders"
        raise InputError(
            f"{train} holds {held}, expected one folder for each class with its pictures in it."
        )
    number = {name: k for k, name in enumerate(class_names)}
    pictures = {}
    for split, place in splits.items():
        if unknown := [child.name for child in _subfolders(place) if child.name not in number]:
            raise InputError(
                f"{place} has the class {printable(unknown[0])}, which {train} does not have. "
                "Rename it, or add it there."
            )
        pictures[split] = [
            (path, number[child.name])
            for child in _subfolders(place)
            for path in find_images([str(child)])
        ]
    return pictures, class_names


def _subfolders(folder: Path) -> list[Path]:
    children = [
        p
        for p in folder.iterdir()
        if p.is_dir() and not p.name.startswith(".") and p.name not in NO_CLASS
    ]
    return sorted(children, key=lambda child: natural_key(child.name))


def _require_every_class(
    labels: dict[str, np.ndarray],
    class_names: list[str],
    pictures: dict[str, list[tuple[str, int]]],
    unreadable: list[tuple[str, str]],
) -> None:
    for split, found in labels.items():
        wanted = {label for _, label in pictures[split]}
        if missing := sorted(wanted - set(found.tolist())):
            label_of = dict(pictures[split])
            path, reason = next(
                entry for entry in unreadable if label_of.get(entry[0]) == missing[0]
            )
            raise InputError(
                f"No picture of the class {printable(class_names[missing[0]])} can be read: "
                f"{printable(path)} is {reason}, for one. "
                "Replace them, or take the folder away."
            )


def _parts(
    labels: dict[str, np.ndarray], test_fraction: float, seed: int
) -> dict[str, tuple[str, np.ndarray]]:
    """File → the split whose pictures it takes, and which of them in which order."""
    rng = np.random.default_rng(seed)
    if "all" not in labels:
        return {
            split: (split, rng.permutation(len(labels[split])))
            for split in ("train", "val", "test")
            if split in labels
        }
    everything = labels["all"]
    if test_fraction == 0:
        return {"train": ("all", rng.permutation(len(everything)))}
    from signs_lightning.data.sampler import stratified_split  # brings torch

    train, test = stratified_split(everything, test_fraction, seed)
    if len(test) == 0:
        raise InputError(
            f"--test_fraction {test_fraction:g} of {len(everything)} pictures leaves none to test "
            "on. Raise it, or set it to 0."
        )
    return {"train": ("all", rng.permutation(train)), "test": ("all", rng.permutation(test))}


def _write(
    place: Path,
    split: str,
    rows: np.ndarray,
    image_size: tuple[int, int, int],
    order: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
) -> None:
    """One file: images uint8 (N, H, W, C) in one piece, so that any can be read alone; labels int64 (N,); class names."""
    with h5py.File(
        place, "w", locking=False
    ) as file:  # a temporary of our own, maybe on a disk without locks
        images = file.create_dataset(f"{split}_set_x", (len(order), *image_size), np.uint8)
        step = max(1, 2**24 // rows.shape[1])
        for start in range(0, len(order), step):
            block = rows[order[start : start + step]]
            images[start : start + len(block)] = block.reshape(-1, *image_size)
        file[f"{split}_set_y"] = labels[order]
        file["list_classes"] = np.array([os.fsencode(name) for name in class_names])


def h5_to_folder(
    files: list[Path], output: Path, advance: OnProgress | None = None
) -> tuple[dict[str, int], dict[str, str]]:
    """HDF5 files → a folder of PNGs for each class, below `train`, `test` or `val` where there is more than one split.

    Args:
        files: in any schema that training takes.
        output: a folder that does not exist yet, or is empty.
        advance: is told about the progress.

    Returns:
        Split (or "" where the file does not say) → number of pictures; and class name → folder,
        where the two differ.

    Raises:
        InputError: a file cannot be used, the files disagree on the classes, or the folder cannot
            be written or holds something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is not an empty folder. Choose another --output.")
    sets = [check_file(path) for path in files]
    names = next((s.class_names for s in sets if s.class_names), None) or [
        str(k) for k in range(max(s.num_classes for s in sets))
    ]
    for images in sets:
        if (images.class_names or names) != names or images.num_classes > len(names):
            raise InputError(
                f"{images.name} has other classes than {sets[0].name}. Write them "
                "to folders of their own."
            )
    folders = _folder_names(names)
    splits = [split_of(images.images_key, path) for images, path in zip(sets, files, strict=True)]
    below = len(set(splits)) > 1
    total, done, counts = sum(len(images.labels) for images in sets), 0, dict.fromkeys(splits, 0)
    digits = len(str(total - 1))
    temporary = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
        for images, split in zip(sets, splits, strict=True):
            place = temporary / (split or "other") if below else temporary
            for folder in folders:
                (place / folder).mkdir(parents=True, exist_ok=True)
            for picture, label in zip(_pictures(images), images.labels.tolist(), strict=True):
                picture.save(place / folders[label] / f"{counts[split]:0{digits}}.png")
                counts[split], done = counts[split] + 1, done + 1
                if advance is not None:
                    advance(done, total)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)  # mkdtemp makes it private
        os.replace(temporary, output)  # takes the place of an empty folder, too
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({error}). Choose another --output."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return counts, {
        name: folder for name, folder in zip(names, folders, strict=True) if name != folder
    }


def _pictures(images) -> Iterator[Image.Image]:  # type: ignore[no-untyped-def]
    reader = ImageReader(images)
    count, step = images.shape[0], reader.layout.block
    for start in range(0, count, step):
        for array in reader.read(start, min(start + step, count)):
            yield Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def safe_name(name: str) -> str:
    """A class name as one folder's name on any system: no separators, no control characters, nothing that leads elsewhere."""
    name = re.sub(r'[<>:"/\\|?*]', "_", "".join(c if c.isprintable() else "_" for c in name))
    name = name[:MAX_NAME_LENGTH].strip(" .")
    return f"_{name}" if not name or RESERVED.match(name) or name in NO_CLASS else name


def _folder_names(names: list[str]) -> list[str]:
    """One folder for each class, also where two names differ in case only or become alike."""
    taken: set[str] = set()
    folders = []
    for name in names:
        folder, number = safe_name(name), 2
        while folder.casefold() in taken:
            folder, number = f"{safe_name(name)}_{number}", number + 1
        taken.add(folder.casefold())
        folders.append(folder)
    return folders
