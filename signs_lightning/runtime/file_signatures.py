"""What kind of file stands under an `.h5` name, from its first bytes."""

from __future__ import annotations

import difflib
import itertools
import zipfile
from pathlib import Path

from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.file_kinds import Kind, find_folder_kind, find_kind, find_loose_kind
from signs_lightning.runtime.signature_table import TF_CHECKPOINT_FILE, Use

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD = 4096
WANTED = {  # what is wanted: what to do about a file that is for the other purpose
    "data": "Name a file of images and labels.",
    "model": "Name a file that holds a model.",
}


def is_hdf5(path: Path) -> bool:
    """Return whether HDF5's signature is at byte 0, 512, 1024, 2048, … of a file.

    What precedes it is called a user block.

    Raises:
        OSError: the file cannot be read; h5py's function of this name returns False then.
    """
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            offset = max(512, 2 * offset)
    return False


def is_zip(path: Path) -> bool:
    """Return whether a file is a whole zip archive.

    Raises:
        OSError: the file cannot be read; `zipfile.is_zipfile` returns False then.
    """
    with path.open("rb") as file:
        return zipfile.is_zipfile(file)


def missing_file_message(path: Path, what: str = "file") -> str:
    """Return the message for a missing file, or another thing, with the nearest name there."""
    beside = itertools.islice(path.parent.glob("*"), 1000)  # to compare more takes seconds
    names = [p.name for p in beside if not path.suffix or not p.is_dir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    if near:
        hint = f"Did you mean {path.parent / near[0]}?"
    elif path.is_absolute():
        hint = "Check the path."
    else:
        hint = f"It was looked for in {path.parent.absolute()}; check the path."
    return f"No such {what}: {path}. {hint}"


def describe_non_hdf5(path: Path, wanted: Use = "any") -> str | None:
    """Return the end of "FILE is not an HDF5 file but …", or None for an HDF5 file.

    Args:
        path: something that exists.
        wanted: what the file was named for, which decides what to do next.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_dir():
        return _phrase(path, wanted, find_folder_kind(path))
    if not path.is_file():
        return "a device, a pipe or a socket. Name a file."
    if path.stat().st_size == 0:
        return "an empty file (0 bytes). Fetch or write it again."
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(SIGNATURE):
        return None
    if (found := find_kind(path, head)) is not None:
        return _phrase(path, wanted, found)
    if is_hdf5(path):  # with a user block
        return None
    if (found := find_loose_kind(path, head)) is not None:
        return _phrase(path, wanted, found)
    size = path.stat().st_size
    start = f"something else ({size:,} bytes that begin with {head[:8]!r})"
    return f"{start}. Name another file, or fetch it again."


def _phrase(path: Path, wanted: Use, kind: Kind) -> str:
    """Return the kind, the size and what to do."""
    what, use, advice = kind
    size = "" if path.is_dir() else f"{path.stat().st_size:,}"
    if size and "{size}" not in what:
        what += " ({size} bytes)"
    if "any" not in (wanted, use) and wanted != use:
        advice = WANTED[wanted]
    match = TF_CHECKPOINT_FILE.fullmatch(path.name)
    advice = advice.format(
        file=quote_path(path),
        python=repr(str(path)),
        stem=quote_path(path.with_suffix("")),
        unpacked=quote_path(_unpacked_name(path)),
        prefix=path.with_name(match[1]) if match else "PREFIX",
    )
    return f"{what.format(size=size)}. {advice}"


def _unpacked_name(path: Path) -> Path:
    """Return a name for what is in a packed file: a.h5.gz → a.h5, a.h5 → a.unpacked.h5."""
    if path.suffix in (".gz", ".bz2", ".xz", ".zst", ".lz4"):
        return path.with_suffix("")
    return path.with_suffix(f".unpacked{path.suffix}")
