"""A folder of pictures as training data: converted once into a cached HDF5 file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data.folder_export import safe_name
from signs_lightning.data.folder_import import spool_pictures, write_images
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.picture_folders import (
    PictureFolder,
    SkippedFile,
    choose_shape,
    describe_skipped,
    find_class_pictures,
    find_split_folders,
    suggest_size,
)
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.cache_folders import find_cache_folder, lock_file
from signs_lightning.runtime.escaping import format_shape
from signs_lightning.runtime.file_guard import trust_own_file
from signs_lightning.runtime.image_files import check_picture_channels, describe_differences
from signs_lightning.runtime.progress import OnProgress, show_progress
from signs_lightning.runtime.resize_options import DEFAULT_FIT, DEFAULT_RESIZE, Fit, Resize

FORMAT_VERSION = 1  # of the cached files: raise it whenever the same pictures give other images
SIZE_OPTION = "--data.image_size"
MAX_NAMED = 6  # classes that a line names


@dataclass(frozen=True)
class ConvertedFolder:
    """The cached file of a folder.

    Attributes:
        path: HDF5, with the datasets `x` (contiguous uint8), `y`, `list_classes`, `paths` (of the
            pictures, within the folder).
        skipped: the folder's files that are not in it.
        differences: lines on pictures of which Keras would have made another image.
        is_resized: whether a picture had another size.
    """

    path: Path
    skipped: list[SkippedFile]
    differences: list[str]
    is_resized: bool


def open_folder(
    folder: Path,
    role: str,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    resize: Resize = DEFAULT_RESIZE,
    fit: Fit = DEFAULT_FIT,
    class_names: Sequence[str] | None = None,
) -> ImageSet:
    """Open a folder of pictures as the data of a role.

    Args:
        folder: with a folder for each class, or with the folders `train`, `val` and `test` that
            have these.
        role: "train", "val" or "test".
        image_size: height and width (pixels); when omitted, the size that all pictures have.
        channels: 1 (grey) or 3 (RGB); when omitted, 1 where all pictures are grey.
        resize: how pictures are resized, see `read_image`.
        fit: what becomes of another aspect ratio, see `read_image`.
        class_names: of the training data or the model; the folders' names when omitted.

    Returns:
        The images, called by the folder's name, with a note on what they are and what was skipped.

    Raises:
        InputError: the folder cannot be used, or asks for an option.
    """
    if channels is not None:
        check_picture_channels(channels)
    place = find_role_folder(folder, role)
    converted = convert_folder_once(place, image_size, channels, resize, fit, class_names)
    images = _open_cached(converted.path)
    count, *shape = images.shape
    names = images.class_names or []
    listed = ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
    grey = ", all of them grey" if channels is None and shape[2] == 1 else ""
    size = format_shape(shape)
    lines = [f"{place}: {count:,} pictures{grey}, {len(names)} classes ({listed}), as {size}."]
    lines += converted.differences + describe_skipped(converted.skipped, count)
    resizing = (resize, fit) if converted.is_resized else None
    note = "\n".join(lines)
    words = np.array(names, object)[images.labels]
    return replace(images, name=str(place), note=note, layout="", resizing=resizing, words=words)


def find_role_folder(folder: Path, role: str) -> Path:
    """Return the folder of a role in a folder with splits, else the folder itself.

    Raises:
        InputError: the folder has splits, and not this one.
    """
    splits = find_split_folders(folder) if folder.is_dir() else {}
    if splits and role not in splits:
        names = ", ".join(str(place) for place in splits.values())
        raise InputError(f"{folder} has no folder {role}; it has {names}. Name one of them.")
    return splits.get(role, folder)


def convert_folder_once(
    folder: Path,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    resize: Resize = DEFAULT_RESIZE,
    fit: Fit = DEFAULT_FIT,
    class_names: Sequence[str] | None = None,
) -> ConvertedFolder:
    """Return the cached HDF5 file of a folder of pictures, converted if need be.

    It is found again as long as names, sizes and modification times of all pictures stay the same,
    and replaced when they do not; also when size or channels are asked for that it got by itself.
    One process converts at a time; the others wait.

    Args:
        folder: with a folder for each class.
        image_size: as for `open_folder`, like all that follow.

    Raises:
        InputError: the folder cannot be used, or asks for an option, or there is no room.
    """
    if image_size is not None:
        image_size = image_size[0], image_size[1]  # a list would have another key
    pictures = find_class_pictures(folder, class_names)
    listing = _hash_pictures(pictures)
    folder_key, content_key = _cache_keys(folder, listing, image_size, channels, resize, fit)
    try:
        cache = find_cache_folder("folders")
    except OSError as error:
        raise InputError(
            f"There is no folder to convert {folder} into ({error}). Name one in the environment "
            "variable SIGNS_LIGHTNING_CACHE."
        ) from error
    name = safe_name(folder.resolve().name)[:40]
    stem = f"{name}-{folder_key}"
    path = cache / f"{stem}-{content_key}.h5"
    waiting = f"Waiting for another process, which converts {folder} …"
    with lock_file(cache / f"{stem}.lock", waiting):
        if (converted := _find_converted(path)) is not None:
            return converted
        for asked in ((image_size, None), (None, channels), (None, None)):
            keys = _cache_keys(folder, listing, *asked, resize, fit)
            other = cache / f"{'-'.join((name, *keys))}.h5"
            converted = _find_converted(other, image_size, channels)
            if converted is not None:
                return converted
        for old in (*cache.glob(f"{stem}-*.h5"), *cache.glob(f".{stem}-*")):
            with suppress(OSError):  # of the folder as it was, or left by a killed process
                old.unlink()
        text = f"Converting {len(pictures.pictures):,} pictures in {folder}"
        with show_progress(text) as advance:
            return _convert(pictures, path, image_size, channels, resize, fit, advance)


def _hash_pictures(pictures: PictureFolder) -> bytes:
    """Return what tells apart the states of one folder."""
    has_heic = importlib.util.find_spec("pillow_heif") is not None
    start_of_name = len(os.fsencode(pictures.folder))
    start = repr((FORMAT_VERSION, pictures.class_names, has_heic)).encode()
    listing = hashlib.blake2b(start, digest_size=8)
    for path, label in pictures.pictures:
        with suppress(OSError):  # a link to nothing is named where it is read
            status = os.stat(path)
            entry = (os.fsencode(path)[start_of_name:], label, status.st_size, status.st_mtime_ns)
            listing.update(repr(entry).encode())
    return listing.digest()


def _cache_keys(folder: Path, listing: bytes, *options: object) -> tuple[str, str]:
    """Return what tells apart folders with options, and the states of each."""
    place = repr((os.fsencode(folder.resolve()), *options)).encode()
    options_key = hashlib.blake2b(place, digest_size=6)
    content_key = hashlib.blake2b(place + listing, digest_size=8)
    return options_key.hexdigest(), content_key.hexdigest()


def _convert(
    pictures: PictureFolder,
    path: Path,
    image_size: tuple[int, int] | None,
    channels: int | None,
    resize: Resize,
    fit: Fit,
    advance: OnProgress,
) -> ConvertedFolder:
    """Write the cached file; `pictures` then has those that are in it."""
    folder = pictures.folder
    pictures.read_headers(advance)
    size = choose_shape(folder, pictures.headers, image_size, channels, SIZE_OPTION)
    needed = 2 * len(pictures.pictures) * math.prod(size)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"The pictures in {folder} take {needed / 2**30:.1f} GiB while they are converted to "
            f"{format_shape(size)}, and {path.parent} has {free / 2**30:.1f} GiB left. "
            f"Choose a smaller size with {SIZE_OPTION} {suggest_size(pictures.headers)}, or "
            "another folder with the environment variable SIGNS_LIGHTNING_CACHE."
        )
    with atomic_write(path) as temporary, tempfile.TemporaryFile(dir=path.parent) as spool:
        images, labels = spool_pictures(pictures, size, spool, resize, fit, advance)
        order = np.arange(len(labels))
        write_images(temporary, ("x", "y"), images, labels, order, pictures.class_names)
        is_resized = any(header.size != size[:2] for header in pictures.headers)
        notes = pictures.skipped, describe_differences(pictures.differences), is_resized
        paths = [os.fsencode(os.path.relpath(name, folder)) for name, _ in pictures.pictures]
        with h5py.File(temporary, "a", locking=False) as file:
            file["paths"] = np.array(paths)
            # As a dataset, because an attribute holds 64 KiB only
            file["notes"] = np.frombuffer(json.dumps(notes).encode(), np.uint8)
    trust_own_file(path)
    return ConvertedFolder(path, *notes)


def _find_converted(
    path: Path, image_size: tuple[int, int] | None = None, channels: int | None = None
) -> ConvertedFolder | None:
    """Return what is known of a cached file; None where there is none like it, or it is damaged."""
    try:
        _, height, width, depth = _open_cached(path).shape
        if image_size not in (None, (height, width)) or channels not in (None, depth):
            return None
        with h5py.File(path, "r", locking=False) as file:
            skipped, differences, is_resized = json.loads(file["notes"][()].tobytes())
        skipped = [SkippedFile(*entry) for entry in skipped]
    except (InputError, OSError, KeyError, ValueError, TypeError):
        return None
    return ConvertedFolder(path, skipped, differences, is_resized)


def _open_cached(path: Path) -> ImageSet:
    return check_file(path, images_key="x", labels_key="y", classes_key="list_classes")
