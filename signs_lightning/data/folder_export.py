"""HDF5 files → folders of PNGs, with one picture in memory at a time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from signs_lightning.data.find_keys import find_images, list_datasets
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.layouts import guess_split
from signs_lightning.data.picture_folders import IGNORED_FOLDERS
from signs_lightning.data.value_range import describe_extremes
from signs_lightning.errors import InputError
from signs_lightning.runtime.progress import OnProgress

# Names that no file of Windows can have
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
MAX_NAME_LENGTH = 100  # characters of a class's folder


def h5_to_folder(
    files: list[Path],
    output: Path,
    options: Mapping[str, Any] | None = None,
    advance: OnProgress | None = None,
) -> tuple[dict[str, int], dict[str, str]]:
    """Write HDF5 files to a folder of PNGs for each class.

    The folders are below `train`, `test` or `val` where there is more than one split.

    Args:
        files: in any layout that training takes.
        output: a folder that does not exist yet, or is empty.
        options: of `check_file`, where a file's layout does not tell.
        advance: called after each picture.

    Returns:
        Split (or "" where the file does not say) → number of pictures; and class name → folder,
        where the two differ.

    Raises:
        InputError: a file cannot be used or has images that are no pictures, the files disagree on
            the classes, or the folder cannot be written or holds something.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is not an empty folder. Choose another --output.")
    sets = [images for path in files for images in _open(path, options or {})]
    names = next((images.class_names for images in sets if images.class_names), None)
    names = names or [str(k) for k in range(max(images.num_classes for images in sets))]
    for images in sets:
        if (channels := images.shape[3]) not in (1, 3):
            raise InputError(
                f"{images.name} has images of {channels} channels, and a PNG here has 1 (grey) or "
                "3 (RGB). Keep them in HDF5."
            )
        if images.values.meaning is None:
            raise InputError(
                f"{images.name} holds {describe_extremes(images.values)}, and a PNG here has 8 "
                "bits. Keep them in HDF5."
            )
        if (images.class_names or names) != names or images.num_classes > len(names):
            raise InputError(
                f"{images.name} has other classes than {sets[0].name}. Write it to another folder."
            )
    folders = _folder_names(names)
    splits = [guess_split(images.images_key, Path(images.name)) for images in sets]
    total, done, counts = sum(len(images.labels) for images in sets), 0, dict.fromkeys(splits, 0)
    digits = len(str(total - 1))
    temporary = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
        for images, split in zip(sets, splits, strict=True):
            place = temporary / (split or "other") if len(counts) > 1 else temporary
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
        message = f"{output} cannot be written ({error}). Choose another --output."
        raise InputError(message) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    pairs = zip(names, folders, strict=True)
    return counts, {name: folder for name, folder in pairs if name != folder}


def _open(path: Path, options: Mapping[str, Any]) -> list[ImageSet]:
    """Open the images of each role that a file has."""
    if "images_key" in options:
        return [check_file(path, **options)]
    with open_hdf5(path) as file:
        roles = find_images(path, file, list_datasets(file))
    return [check_file(path, role=role, **options) for role in roles]


def _pictures(images: ImageSet) -> Iterator[Image.Image]:
    reader = ImageReader(images.as_bytes())
    count, step = images.shape[0], reader.layout.block
    for start in range(0, count, step):
        for array in reader.read(start, min(start + step, count)):
            yield Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def safe_name(name: str) -> str:
    """Return a class name as a folder's name on any system.

    It has no separators and no control characters, and leads nowhere else.
    """
    name = re.sub(r'[<>:"/\\|?*]', "_", "".join(c if c.isprintable() else "_" for c in name))
    name = name[:MAX_NAME_LENGTH].strip(" .")
    is_reserved = not name or RESERVED.match(name) or name in IGNORED_FOLDERS
    return f"_{name}" if is_reserved else name


def _folder_names(names: list[str]) -> list[str]:
    """Return different folders for all classes, also where names differ in case only."""
    taken: set[str] = set()
    folders = []
    for name in names:
        folder, number = safe_name(name), 2
        while folder.casefold() in taken:
            folder, number = f"{safe_name(name)}_{number}", number + 1
        taken.add(folder.casefold())
        folders.append(folder)
    return folders
