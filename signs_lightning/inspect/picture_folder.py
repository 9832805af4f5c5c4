"""What is in a folder of pictures: classes, sizes, modes, and what cannot be read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from signs_lightning.data.picture_folders import (
    PictureFolder,
    SkippedFile,
    find_class_pictures,
    find_split_folders,
    subfolders,
    suggest_size,
)
from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import FileReport
from signs_lightning.runtime.escaping import format_shape, quote_path
from signs_lightning.runtime.image_files import UnreadableImageError, find_images, read_image

SECONDS = 20.0  # for which pictures are unpacked, to find those that are cut off
PROBE_SIZE = (8, 8, 3)  # that they are unpacked to


def describe_picture_folder(path: Path, report: FileReport, seconds: float = SECONDS) -> None:
    """Describe a folder of pictures, with all that stands in the way at once.

    Args:
        path: a folder, of class folders, of splits, or of pictures only.
        report: is filled.
        seconds: for which pictures are unpacked; of further ones only the headers are read.
    """
    report.what = "folder of pictures"
    if not subfolders(path):
        report.add_fact("pictures", f"{len(find_images([str(path)])):,}, without classes")
        report.suggest(f"predict RUN_FOLDER {quote_path(path)}")
        return
    problems: list[str] = []
    splits = _find_splits(path, problems)
    end, unpacked = time.monotonic() + seconds, 0
    for pictures in splits.values():
        unpacked += _check_pictures(pictures, end, problems)
    headers = [header for pictures in splits.values() for header in pictures.headers]
    skipped = [skip for pictures in splits.values() for skip in pictures.skipped]
    if headers:
        sizes = sorted({header.size for header in headers}, key=min)
        varied = f"{len(sizes):,} different, shorter side {min(sizes[0]):,} to {min(sizes[-1]):,}"
        report.add_fact("pictures", f"{len(headers):,}")
        report.add_fact("formats", _count(header.format for header in headers))
        report.add_fact("modes", _count(header.mode for header in headers))
        size = format_shape(sizes[0]) if len(sizes) == 1 else varied
        report.add_fact("pixels", f"{size} (height×width)" if len(sizes) == 1 else size)
        if unpacked < len(headers):
            text = f"the first {unpacked:,} pictures were unpacked, of the others only the headers"
            report.add_fact("checked", text)
    if skipped:
        report.add_fact("skipped", _count(skip.kind for skip in skipped))
    _add_classes(splits, report)
    if skipped:
        rows = [(skip.path, skip.reason) for skip in skipped]
        report.add_table(("skipped file", "why"), rows)
    report.problem = " ".join(dict.fromkeys(problems))
    if splits and headers and not problems:
        size = "" if len(sizes) == 1 else f" --data.image_size {suggest_size(headers)}"
        report.suggest(f"fit {_data_options(path, splits)}{size}")


def _find_splits(path: Path, problems: list[str]) -> dict[str, PictureFolder]:
    """Return role (or "" without splits) → pictures; what is wrong goes to `problems`."""
    found: dict[str, PictureFolder] = {}
    try:
        places = find_split_folders(path) or {"": path}
    except InputError as error:
        problems.append(str(error))
        return found
    names = None
    for role in sorted(places, key=("", "train", "val", "test").index):
        try:
            found[role] = find_class_pictures(places[role], names)
            names = found[role].class_names
        except InputError as error:
            problems.append(str(error))
    return found


def _check_pictures(pictures: PictureFolder, end: float, problems: list[str]) -> int:
    """Read all headers, unpack pictures until `end`; return how many were unpacked."""
    kept, headers, unpacked = [], [], 0
    try:
        pictures.read_headers()
    except InputError as error:
        problems.append(str(error))
    for entry, header in zip(pictures.pictures, pictures.headers, strict=True):
        try:
            if time.monotonic() < end:
                read_image(entry[0], PROBE_SIZE)
                unpacked += 1
            kept.append(entry)
            headers.append(header)
        except UnreadableImageError as error:
            pictures.skipped.append(SkippedFile(entry[0], error.kind, str(error)))
    pictures.headers = headers
    try:
        pictures.keep(kept)
    except InputError as error:
        problems.append(str(error))
    return unpacked


def _count(values: Iterable[str]) -> str:
    """Return how often each value occurs, such as `JPEG 250, PNG 2`."""
    return ", ".join(f"{value} {count:,}" for value, count in Counter(values).most_common())


def _add_classes(splits: dict[str, PictureFolder], report: FileReport) -> None:
    """Add a table of the number of pictures of each class in each split."""
    counts = {
        role: Counter(label for _, label in pictures.pictures) for role, pictures in splits.items()
    }
    names = next(iter(splits.values())).class_names if splits else []
    rows = [
        (str(label), name, *(f"{counts[role][label]:,}" for role in counts))
        for label, name in enumerate(names)
    ]
    if rows:
        report.add_table(("label>", "class", *(f"{role or 'pictures'}>" for role in counts)), rows)


def _data_options(path: Path, splits: dict[str, PictureFolder]) -> str:
    """Return the options that name the folder, and what to validate on."""
    held_out = "" if splits.keys() & {"val", "test"} else " --data.val_fraction 0.2"
    option = "train_file" if "" in splits else "file"
    return f"--data.{option} {quote_path(path)}{held_out}"
