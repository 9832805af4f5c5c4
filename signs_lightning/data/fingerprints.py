"""Fingerprints of data files, which show that a file has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.paths import ARRAYS
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.rank_zero_print import rank_zero_print

if TYPE_CHECKING:
    from signs_lightning.data.dataset import H5Images

GROUPS, GROUP = 8, 8  # of images that lie beside each other, spread evenly over the file: 64 in all
MAX_BYTES = 2**23  # to read; of a file of large images or chunks fewer images are looked at
MAX_FILES = 4  # in one line
Fingerprints = Mapping[str, list[dict[str, Any]]]  # train, val, test → each file's


def fingerprint_files(
    datasets: Mapping[Any, H5Images], image_sets: Mapping[Any, list[ImageSet]]
) -> Fingerprints:
    """Return the fingerprints of all files of a run, by role.

    Args:
        datasets: whose readers are used.
        image_sets: the files by role; a role without a dataset is left out, of which only the class
            names were read.
    """
    readers = {
        id(reader.images): reader for dataset in datasets.values() for reader in dataset.readers
    }
    return {
        # Files that were opened for their classes only have no reader.
        role: [fingerprint(readers[id(images)]) for images in sets if id(images) in readers]
        for role, sets in image_sets.items()
        if all(id(images) in readers for images in sets)
    }


def fingerprint(reader: ImageReader) -> dict[str, Any]:
    """Return the fingerprint of a set, of plain values.

    Args:
        reader: of the set, which need not be opened a second time.

    Returns:
        path as it was given, size (bytes), mtime (seconds since 1970), images (N), hashed (how many
        of them the hash saw), and hash: BLAKE2 of shape, labels and those images as bytes, so that
        files packed in another way have the same. The hash is None where the images cannot be read.
    """
    images = reader.images
    path = ARRAYS if images.path is None else images.name  # of a folder, not of its cached file
    found: dict[str, Any] = {"path": path, "size": None, "mtime": None}
    found |= {"images": images.shape[0], "hashed": 0, "hash": None}
    try:
        if images.path is not None:
            status = images.path.stat()
            found |= {"size": status.st_size, "mtime": status.st_mtime}
        sample = _sample(reader)
    except (InputError, OSError):  # reported where the images are needed
        return found
    digest = hashlib.blake2b(repr(images.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(images.labels).data)
    digest.update(sample.data)
    return {**found, "hashed": len(sample), "hash": digest.hexdigest()}


def _sample(reader: ImageReader) -> np.ndarray:
    """Return the images that are hashed, (n, H, W, C)."""
    count, image_bytes = reader.images.shape[0], reader.images.image_bytes
    group, block = max(1, min(GROUP, count, MAX_BYTES // image_bytes)), reader.layout.block
    # Chunks are unpacked whole: the file is read once where a few of them are all of it.
    is_chunked = not reader.layout.is_mapped
    at_once = is_chunked and (count <= block or count * image_bytes <= MAX_BYTES)
    group_bytes = image_bytes * (block if is_chunked and not at_once else group)
    groups = max(1, min(GROUPS, MAX_BYTES // group_bytes))
    starts = np.unique(np.linspace(0, count - group, groups).astype(int)).tolist()
    if at_once:
        images = reader.read(0, count)
        return np.concatenate([images[start : start + group] for start in starts])
    return np.concatenate([reader.read(start, start + group) for start in starts])


def describe_changes(before: Any, now: Fingerprints) -> str | None:
    """Return a line about the files that have changed, None where none has.

    A file that was only touched or copied is the same. Of one that is packed in another way only
    the size tells.

    Args:
        before: the fingerprints that a checkpoint remembers, whatever they are.
        now: those of the files of the same names.
    """
    known = {}
    for role, files in before.items() if isinstance(before, dict) else ():
        for file in files if isinstance(files, list) else ():
            if isinstance(file, dict):
                known[_key(role, file)] = file
    changes: dict[str, str] = {}
    for role, files in now.items():
        for file in files:
            if difference := _difference(known.get(_key(role, file), {}), file):
                is_array = file["path"] == ARRAYS
                name = f"the {role} arrays" if is_array else shorten(file["path"], 200)
                changes[name] = f"{name} ({difference})"
    if not changes:
        return None
    more = f" and {len(changes) - MAX_FILES} more" if len(changes) > MAX_FILES else ""
    listed = ", ".join(list(changes.values())[:MAX_FILES])
    return f"Changed since the model was trained on it: {listed}{more}."


def print_changes(before: Any, now: Fingerprints) -> None:
    """Print what `describe_changes` returns, if there is anything."""
    if (changed := describe_changes(before, now)) is not None:
        rank_zero_print(changed)


def _key(role: str, file: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a file is known by; it may be trained on first, and tested on then."""
    path = str(file.get("path"))
    return role if path == ARRAYS else "", path


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    for name, unit in (("images", "images"), ("hash", ""), ("size", "bytes")):
        old, new = before.get(name), now[name]
        if old is None or new is None or old == new:
            continue
        if unit and isinstance(old, int):
            return f"{old:,} {unit} then, {new:,} now"
        if name == "hash" and before.get("hashed") == now["hashed"]:
            return "other images or labels"
    return None
