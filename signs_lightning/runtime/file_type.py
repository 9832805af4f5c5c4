"""What people really have on disk under an `.h5` name, told from the first bytes."""

from __future__ import annotations

import difflib
import zipfile
from pathlib import Path

ARCHIVES = {  # first bytes → what they are, and what unpacks it
    b"BZh": ("bzip2", "tar xjf` or `bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "tar xJf` or `unxz"),
    b"7z\xbc\xaf\x27\x1c": ("7-Zip", "7z x"),
    b"Rar!\x1a\x07": ("RAR", "unrar x"),
}


SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Whether HDF5's signature is there: at the beginning, or after a user block of 512, 1024, 2048, … bytes.

    Raises:
        OSError: the file cannot be read; h5py's function of this name says no then.
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
    """Whether it is a whole zip archive.

    Raises:
        OSError: the file cannot be read; `zipfile.is_zipfile` says no then.
    """
    with path.open("rb") as file:
        return zipfile.is_zipfile(file)


def missing_file_message(path: Path) -> str:
    """The whole message, with the name in the same folder that is nearest."""
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
    hint = f"Did you mean {path.parent / near[0]}?" if near else "Check the path."
    return f"No such file: {path}. {hint}"


def describe_non_hdf5(path: Path) -> str | None:
    """The end of the sentence "FILE is not an HDF5 file but …", with the way out; None for an HDF5 file.

    Args:
        path: something that exists.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_dir():
        return "a directory. Name a file in it, or all of them with a pattern such as '*.h5'."
    if not path.is_file():
        return "a device, a pipe or a socket. Name a file."
    size = path.stat().st_size
    if size == 0:
        return "an empty file (0 bytes). Fetch or write it again."
    with path.open("rb") as file:
        head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"version https://git-lfs"):
        return f"a git-lfs pointer ({size:,} bytes of text). Run `git lfs pull` in its repository."
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return (
            f"an HTML page ({size:,} bytes): the link led to a web page. Fetch the file "
            "itself, by its download or raw link."
        )
    if head.startswith(b"\x00\x05\x16\x07"):
        return (
            f"a macOS `._` companion file ({size:,} bytes). Use the file without `._` in its name."
        )
    if head.startswith(b"PK\x03\x04"):
        return f"a zip archive ({size:,} bytes). Unpack it with `unzip` and use what is inside."
    if head.startswith(b"\x1f\x8b"):
        return (
            f"a gzip archive ({size:,} bytes). Unpack it with `gunzip` (or `tar xzf`) and use "
            "what is inside."
        )
    if head[257:262] == b"ustar":
        return f"a tar archive ({size:,} bytes). Unpack it with `tar xf` and use what is inside."
    for start, (name, command) in ARCHIVES.items():
        if head.startswith(start):
            return (
                f"a {name} archive ({size:,} bytes). Unpack it with `{command}` "
                "and use what is inside."
            )
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return (
            f"a Python pickle ({size:,} bytes), which can run code when it is opened. Ask for "
            "an HDF5 file or a checkpoint."
        )
    if head.startswith(b"\x93NUMPY"):
        return (
            "a NumPy file. Load it with `numpy.load` and pass the arrays, or write them with h5py."
        )
    if not is_hdf5(path):
        return (
            f"something else ({size:,} bytes that begin with {head[:8]!r}). "
            "Fetch or write it again."
        )
    return None
