"""Folders of pictures: which pictures they hold, of which classes and splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from signs_lightning.data.layouts import ROLE_OF
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.file_read_errors import translate_os_errors
from signs_lightning.runtime.file_signatures import describe_non_hdf5
from signs_lightning.runtime.image_files import (
    SUFFIXES,
    Differences,
    ImageHeader,
    UnreadableImageError,
    is_picture,
    read_header,
)
from signs_lightning.runtime.progress import OnProgress

IGNORED_FOLDERS = {"__MACOSX", "__pycache__"}
IGNORED_FILES = {"thumbs.db", "desktop.ini"}
# What lies beside pictures and is none; files of other endings are looked into.
NO_PICTURES = "txt md rst csv tsv json xml yaml yml html log py ipynb"
IGNORED_SUFFIXES = {f".{name}" for name in NO_PICTURES.split()}
HDF5_SUFFIXES = {".h5", ".hdf5"}
MAX_LISTED = 20  # skipped files that are named
SUGGESTED_SIZES = ((48, 32), (96, 64), (192, 128))  # up to this median side, this size; else 224


class SkippedFile(NamedTuple):
    """A file of a folder that no image was made of.

    Attributes:
        path: of the file.
        kind: in one or two words, as `UnreadableImageError` has it.
        reason: to follow "PATH is", or "PATH:".
    """

    path: str
    kind: str
    reason: str


@dataclass
class PictureFolder:
    """The pictures of one split, class by class.

    Attributes:
        folder: with one folder for each class.
        class_names: in label order.
        pictures: (path, label) of every file that may be a picture.
        skipped: files that are left out.
        headers: of the pictures, once `read_headers` has read them.
        differences: pictures of which Keras would have made another image, once they are read.
    """

    folder: Path
    class_names: list[str]
    pictures: list[tuple[str, int]]
    skipped: list[SkippedFile] = field(default_factory=list)
    headers: list[ImageHeader] = field(default_factory=list)
    differences: Differences = field(default_factory=dict)

    def read_headers(self, advance: OnProgress | None = None) -> None:
        """Read the header of every picture, and skip what has none that can be read."""
        kept = []
        for done, (path, label) in enumerate(self.pictures, 1):
            try:
                self.headers.append(read_header(path))
                kept.append((path, label))
            except UnreadableImageError as error:
                self.skipped.append(SkippedFile(path, error.kind, str(error)))
            if advance is not None:
                advance(done, len(self.pictures))
        self.keep(kept)

    def keep(self, kept: list[tuple[str, int]]) -> None:
        """Drop all pictures but some, and check that each class still has one.

        Raises:
            InputError: a class has none that can be read.
        """
        label_of, self.pictures = dict(self.pictures), kept
        lost = [skip for skip in self.skipped if skip.path in label_of]
        reasons = {label_of[skip.path]: skip for skip in reversed(lost)}  # the first of a class
        if missing := sorted(reasons.keys() - {label for _, label in kept}):
            skip = reasons[missing[0]]
            raise InputError(
                f"No picture of the class {printable(self.class_names[missing[0]])} can be read: "
                f"{printable(skip.path)} is {skip.reason}, for one. Replace them, or remove the "
                "folder."
            )


def choose_shape(
    folder: Path,
    headers: Sequence[ImageHeader],
    image_size: tuple[int, int] | None,
    channels: int | None,
    option: str,
) -> tuple[int, int, int]:
    """Return height, width (pixels) and channels of the images to make of pictures.

    Args:
        folder: of the pictures, for the message.
        headers: of all pictures.
        image_size: height and width; those that all pictures have when None.
        channels: 1 or 3; 1 where every picture is grey, else 3, when None.
        option: that names another size.

    Raises:
        InputError: the pictures have several sizes; the message says what to add.
    """
    sizes = {header.size for header in headers}
    if image_size is None and len(sizes) > 1:
        sides = [min(size) for size in sizes]
        raise InputError(
            f"The pictures in {folder} have {len(sizes):,} different sizes (shorter side "
            f"{min(sides):,} to {max(sides):,} pixels). Choose the size that the model sees: add "
            f"{option} {suggest_size(headers)}, for one."
        )
    is_grey = all(header.is_grey for header in headers)
    return (*(image_size or sizes.pop()), channels or (1 if is_grey else 3))


def suggest_size(headers: Sequence[ImageHeader]) -> int:
    """Return a usual side for pictures, from the median of their shorter sides."""
    sides = sorted(min(header.size) for header in headers)
    median = sides[len(sides) // 2]
    return next((size for largest, size in SUGGESTED_SIZES if median <= largest), 224)


def find_split_folders(folder: Path) -> dict[str, Path]:
    """Return a folder's `train`, `val` and `test`, under any of their names, by role.

    Args:
        folder: without such folders, which have a folder for each class, the result is empty.

    Raises:
        InputError: two folders are of the same split.
    """
    found: dict[str, Path] = {}
    for child in subfolders(folder):
        role = ROLE_OF.get(child.name.lower())
        if role is None or not subfolders(child):
            continue
        if role in found:
            raise InputError(
                f"{folder} has {found[role].name} and {child.name}, which are both of the {role} "
                "split. Rename one of them."
            )
        found[role] = child
    is_split = any(len(subfolders(child)) > 1 for child in found.values())
    return found if is_split else {}


def find_class_pictures(folder: Path, class_names: Sequence[str] | None = None) -> PictureFolder:
    """Find the pictures in a folder that has a folder for each class.

    Args:
        folder: a class's pictures may lie at any depth in its folder.
        class_names: of the training data or a model; a folder that is not among them is refused, a
            class without a folder is not. When None, the folders' names, sorted as Keras sorts
            them, and every folder must have pictures.

    Raises:
        InputError: there are no classes or no pictures, or a class that training lacks.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise InputError(f"{folder} is {found}, expected a folder with one folder for each class.")
    with translate_os_errors(folder):
        children = subfolders(folder)
        names = [child.name for child in children]
        if not children or (class_names is None and len(children) < 2):
            raise _no_classes(folder, children)
        known = list(class_names) if class_names is not None else names
        if unknown := [name for name in names if name not in known]:
            raise InputError(
                f"{folder} has the class {printable(unknown[0])}, which training does not have "
                f"({printable(', '.join(known[:MAX_LISTED]))}). Rename the folder, or remove it."
            )
        pictures: list[tuple[str, int]] = []
        label_of = {name: label for label, name in enumerate(known)}
        for child in children:
            files = _find_files(child)
            if not files and class_names is None:
                raise InputError(
                    f"{child} holds no pictures. Put some into it, or remove the folder."
                )
            pictures += [(path, label_of[child.name]) for path in files]
        if not pictures:
            raise InputError(f"{folder} holds no pictures. Put some into its classes' folders.")
        beside = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
        loose = sorted(str(path) for path in beside if is_picture(path))
    skipped = [SkippedFile(path, "outside the class folders", "in no class") for path in loose]
    return PictureFolder(folder, known, pictures, skipped)


def _no_classes(folder: Path, children: list[Path]) -> InputError:
    """Return the error for a folder with fewer than two folders in it."""
    kind = describe_non_hdf5(folder, "data") or ""
    if not kind.startswith("a directory"):  # a SavedModel, a Zarr array and the like
        return InputError(f"{folder} is {kind}")
    if not children:
        suffixes = {path.suffix for path in folder.iterdir()}
        if found := suffixes & HDF5_SUFFIXES:
            pattern = folder / f"*{found.pop()}"
            return InputError(
                f"{folder} is a folder of HDF5 files. Name them all with '{pattern}'."
            )
        held = "pictures, but no folders" if suffixes & SUFFIXES else "no folders"
    else:
        held = f"the folder {printable(children[0].name)} only"
    is_wrapped = bool(children) and len(subfolders(children[0])) > 1
    inner = f" Name {children[0]}?" if is_wrapped else ""
    return InputError(
        f"{folder} holds {held}, expected one folder for each class with its pictures in it.{inner}"
    )


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted as Keras sorts them, without hidden ones."""
    children = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    kept = (child for child in children if child.name not in IGNORED_FOLDERS)
    return sorted(kept, key=lambda child: child.name)


def _find_files(folder: Path) -> list[str]:
    """Return the files at any depth that may be pictures, sorted."""

    def fail(error: OSError) -> None:
        raise error

    found = []
    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in IGNORED_FOLDERS]
        found += [os.path.join(place, name) for name in files if _may_be_picture(name)]
    return sorted(found)


def _may_be_picture(name: str) -> bool:
    is_ignored = name.startswith(".") or name.lower() in IGNORED_FILES
    return not is_ignored and os.path.splitext(name)[1].lower() not in IGNORED_SUFFIXES


def describe_skipped(skipped: Sequence[SkippedFile], count: int) -> list[str]:
    """Return lines that count the skipped files by kind, and name them.

    Args:
        skipped: the files.
        count: number of pictures that were taken.
    """
    if not skipped:
        return []
    kinds = Counter(skip.kind for skip in skipped)
    counted = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    total = len(skipped) + count
    lines = [f"{len(skipped):,} of {total:,} files were skipped ({counted}):"]
    lines += [
        f"  {printable(skip.path)}: {printable(skip.reason)}" for skip in skipped[:MAX_LISTED]
    ]
    if len(skipped) > MAX_LISTED:
        lines.append(f"  … and {len(skipped) - MAX_LISTED:,} more")
    return lines


def has_split_folders(value: Any) -> bool:
    """Whether an option names a folder of pictures with folders `train`, `val` or `test` in it."""
    return (
        isinstance(value, str | Path)
        and Path(value).is_dir()
        and bool(find_split_folders(Path(value)))
    )
