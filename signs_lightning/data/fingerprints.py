"""What tells a data file from itself as it was when a run was trained on it: its size, its labels and some of its images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from signs_lightning.data.file_roles import ARRAYS
from signs_lightning.data.readers import ImageReader
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

GROUPS, GROUP = 8, 8  # of images that lie beside each other, spread evenly over the file: 64 in all
MAX_BYTES = 2**23  # to read for it; of a file of large images or chunks fewer images are looked at
MAX_SAID = 4  # files in one line
Fingerprints = Mapping[str, list[dict[str, Any]]]  # train, val, test → each file's


def fingerprint(reader: ImageReader) -> dict[str, Any]:
    """A set's fingerprint, of plain values.

    Args:
        reader: that reads the set anyway: what it knows of the file after the first read needs not
            be found twice.

    Returns:
        path as it was given, size (bytes), mtime (seconds since 1970), images (N), hashed (how many
        of them the hash saw), and hash: BLAKE2 of shape, labels and those images as bytes, so that
        files packed in another way have the same. The hash is None where the images cannot be read.
    """
    images = reader.images
    found: dict[str, Any] = {
        "path": str(images.path or ARRAYS),
        "size": None,
        "mtime": None,
        "images": images.shape[0],
        "hashed": 0,
        "hash": None,
    }
    try:
        if images.path is not None:
            status = images.path.stat()
            found |= {"size": status.st_size, "mtime": status.st_mtime}
        sample = _sample(reader)
    except (InputError, OSError):  # whoever needs the images says so
        return found
    digest = hashlib.blake2b(repr(images.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(images.labels).data)
    digest.update(sample.data)
    return {**found, "hashed": len(sample), "hash": digest.hexdigest()}


def _sample(reader: ImageReader) -> np.ndarray:
    """uint8 (n, H, W, C): the images that are hashed."""
    count, image_bytes = reader.images.shape[0], math.prod(reader.images.shape[1:])
    group, block = max(1, min(GROUP, count, MAX_BYTES // image_bytes)), reader.layout.block
    in_chunks = (
        not reader.layout.mapped
    )  # which are unpacked whole: once is enough where a few of them are the file
    at_once = in_chunks and (count <= block or count * image_bytes <= MAX_BYTES)
    costs = image_bytes * (block if in_chunks and not at_once else group)
    groups = max(1, min(GROUPS, MAX_BYTES // costs))
    starts = np.unique(np.linspace(0, count - group, groups).astype(int)).tolist()
    if at_once:
        everything = reader.read(0, count)
        return np.concatenate([everything[start : start + group] for start in starts])
    return np.concatenate([reader.read(start, start + group) for start in starts])


def changed_files_message(before: Any, now: Fingerprints) -> str | None:
    """A line about the files that are no longer what they were; None where all of them are, or were not seen before.

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
            difference = _difference(known.get(_key(role, file), {}), file)
            if difference:
                name = (
                    f"the {role} arrays" if file["path"] == ARRAYS else shorten(file["path"], 200)
                )
                changes[name] = f"{name} ({difference})"
    if not changes:
        return None
    more = f" and {len(changes) - MAX_SAID} more" if len(changes) > MAX_SAID else ""
    return (
        "Changed since the model was trained on it: "
        f"{', '.join(list(changes.values())[:MAX_SAID])}{more}."
    )


def _key(role: str, file: Mapping[str, Any]) -> tuple[str, str]:
    path = str(file.get("path"))
    return (
        role if path == ARRAYS else "",
        path,
    )  # a file may be trained on first, and tested on then


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    for name, unit in (("images", "images"), ("hash", ""), ("size", "bytes")):
        was, is_now = before.get(name), now[name]
        if was is None or is_now is None or was == is_now:
            continue
        if unit and isinstance(was, int):
            return f"{was:,} {unit} then, {is_now:,} now"
        if name == "hash" and before.get("hashed") == now["hashed"]:
            return "other images or labels"
    return None
