"""The files of a run: which an option names, and whether they fit together."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from signs_lightning.data.hdf5_image_set import ImageSet, check_arrays, check_file
from signs_lightning.errors import InputError

Role = Literal["train", "val", "test"]
ARRAYS = "(arrays)"  # what a checkpoint remembers of a run on arrays instead of a file's name
SPLITS = {
    "train": {"train", "training"},
    "val": {"val", "valid", "validation", "dev"},
    "test": {"test", "testing"},
}


def guess_split(key: str, path: Path) -> str:
    """Return the split that the images' key or else the file's name tells, or ""."""
    for text in (key, path.stem):
        words = set(re.findall("[a-z]+", text.lower()))
        for split, names in SPLITS.items():
            if words & names:
                return split
    return ""


def expand_paths(value: str | Path | Iterable[str | Path]) -> list[str]:
    """Return a path, what a pattern matches (sorted), or those of a list.

    Raises:
        InputError: a pattern matches nothing.
    """
    if not isinstance(value, str | Path):
        return [path for item in value for path in expand_paths(item)]
    pattern = str(value)
    if os.path.exists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise InputError(f"No file matches '{pattern}'. Check the pattern.")
    return paths


def is_named(value: Any) -> bool:
    """Whether an option holds names of files, and not a pair of arrays."""
    if isinstance(value, list | tuple):
        return all(isinstance(item, str | Path) for item in value)
    return isinstance(value, str | Path)


def to_plain_paths(value: Any) -> Any:
    """Return an option for a checkpoint: paths as strings, arrays as `ARRAYS`."""
    if value is None:
        return None
    if not is_named(value):
        return ARRAYS
    return [str(path) for path in value] if isinstance(value, list | tuple) else str(value)


def names_files(files: dict[Role, Any]) -> bool:
    """Whether a run has data of its own."""
    return any(value is not None for value in files.values())


def no_file_error(role: Role, files: dict[Role, Any]) -> InputError:
    """Return the error for a role without a file, among the options of a run."""
    options = "--data.val_file or --data.test_file" if role == "val" else f"--data.{role}_file"
    purpose = {"train": "train on", "val": "validate on", "test": "test on"}[role]
    drawn = "" if names_files(files) else ", or take drawn pictures with --data.drawn DrawnSigns"
    return InputError(f"There is nothing to {purpose}. Name a file with {options}{drawn}.")


def open_role(role: Role, files: dict[Role, Any], keys: dict[str, str | None]) -> list[ImageSet]:
    """Open and check what a role's option names.

    Args:
        role: "train", "val" or "test".
        files: the options, each a path, a pattern, a list of them, or a pair of arrays (images,
            labels).
        keys: images_key, labels_key and classes_key, see `check_file`.

    Raises:
        InputError: there is no file, or a file or the arrays cannot be used.
    """
    value, option = files[role], f"--data.{role}_file"
    if value is None:
        raise no_file_error(role, files)
    if isinstance(value, str | list) and not value:
        raise InputError(f"{option} is empty. Name a file.")
    if isinstance(value, str) and value == ARRAYS:
        raise InputError(
            f"The model saw arrays, which are not at hand any more. Name a file with {option}."
        )
    is_sequence = isinstance(value, Sequence) and len(value) == 2
    if is_sequence and all(hasattr(part, "shape") for part in value):
        return [check_arrays(*value)]
    paths = expand_paths(value)
    image_sets = [check_file(path, **keys) for path in paths]
    if repeated := find_repeated_file(paths):
        message = f"{repeated} is named twice by {option}: its images count twice."
        warnings.warn(message, stacklevel=2)
    return image_sets


def check_same_data(image_sets: Sequence[ImageSet]) -> None:
    """Check that the files of a run have images of one size and the same classes.

    Raises:
        InputError: two of them differ.
    """
    first = image_sets[0]
    lister = next((images for images in image_sets if images.class_names), first)
    names = lister.class_names or []
    for images in image_sets:
        if images.shape[1:] != first.shape[1:]:
            size, first_size = ("×".join(map(str, s.shape[1:])) for s in (images, first))
            raise InputError(
                f"{images.name} has images of {size}, {first.name} of {first_size}. "
                "Files of one run must agree."
            )
        if images.class_names and images.class_names != names:
            raise InputError(
                f"{images.name} lists the classes {', '.join(images.class_names)}, {lister.name} "
                f"lists {', '.join(names)}. Files of one run must agree."
            )
        if names and (label := images.labels.max()) >= len(names):
            raise InputError(
                f"{images.name} holds the label {label}, but there are {len(names)} classes."
            )


def identify_files(value: Any) -> dict[tuple[int, int], str]:
    """Return device and inode of each file that exists → the first name it is given.

    Links and other ways of writing a path lead to the same file.
    """
    identities: dict[tuple[int, int], str] = {}
    # Files and patterns that cannot be found are reported where they are read.
    with contextlib.suppress(InputError):
        for path in expand_paths(value) if is_named(value) else ():
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(path)
                identities.setdefault((status.st_dev, status.st_ino), path)
    return identities


def find_shared_file(first: Any, second: Any) -> str | None:
    """Return the name of the first file that two options share, or None."""
    names = identify_files(first)
    for identity, name in identify_files(second).items():
        if identity in names:
            other = names[identity]
            return name if name == other else f"{name}, which is {other} under another name,"
    return None


def find_repeated_file(paths: list[str]) -> str | None:
    """Return the first path to a file that an earlier path leads to."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        new = set(identify_files(path))
        if new & seen:
            return path
        seen |= new
    return None


def warn_of_shared_files(files: dict[Role, Any], stage: str, is_split: bool) -> None:
    """Warn of figures from images that trained the model or chose its checkpoint.

    Args:
        files: the options, by role.
        stage: what is being set up: "fit", "validate", "test" or "predict".
        is_split: whether validation is a part of the training file.
    """
    train, val, test = files["train"], files["val"], files["test"]
    no_meaning = "the test figures mean nothing"
    chosen_by = "the test figures are of images that chose the checkpoint"
    pairs: list[tuple[Any, Any, str, str]] = []
    if stage in ("fit", "validate") and not is_split:
        validation, consequence = (
            test if val is None else val,
            "the validation figures mean nothing",
        )
        pairs.append((train, validation, "training and for validation", consequence))
    if stage in ("test", "predict") or (stage == "fit" and (is_split or val is not None)):
        pairs.append((train, test, "training and for the test", no_meaning))
        pairs.append((val, test, "validation and for the test", chosen_by))
    for first, second, roles, consequence in pairs:
        if name := find_shared_file(first, second):
            warnings.warn(f"{name} serves for {roles}: {consequence}.", stacklevel=4)
