"""What kind of file stands under an `.h5` name, from its first bytes."""

from __future__ import annotations

import difflib
import zipfile
from pathlib import Path

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ARCHIVES = (  # offset and bytes of the signature, what it is, what unpacks it
    (0, b"PK\x03\x04", "zip", "unzip"),
    (0, b"\x1f\x8b", "gzip", "tar xzf` or `gunzip"),
    (257, b"ustar", "tar", "tar xf"),
    (0, b"BZh", "bzip2", "tar xjf` or `bunzip2"),
    (0, b"\xfd7zXZ\x00", "xz", "tar xJf` or `unxz"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
    (0, b"Rar!\x1a\x07", "RAR", "unrar x"),
)
HTML = (b"<!doctype html", b"<html", b"<head")
PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


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


def missing_file_message(path: Path) -> str:
    """Return the message for a missing file, with the nearest name in its folder."""
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
    hint = f"Did you mean {path.parent / near[0]}?" if near else "Check the path."
    return f"No such file: {path}. {hint}"


def describe_non_hdf5(path: Path) -> str | None:
    """Return the end of "FILE is not an HDF5 file but …", or None for an HDF5 file.

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
    if head.startswith(b"version https://git-lfs"):
        return f"a git-lfs pointer ({size:,} bytes of text). Run `git lfs pull` in its repository."
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML):
        page = f"an HTML page ({size:,} bytes): the link led to a web page"
        return f"{page}. Fetch the file itself, by its download or raw link."
    if head.startswith(b"\x00\x05\x16\x07"):
        kind = f"a macOS `._` companion file ({size:,} bytes)"
        return f"{kind}. Use the file without `._` in its name."
    for offset, signature, name, command in ARCHIVES:
        if head[offset:].startswith(signature):
            kind = f"a {name} archive ({size:,} bytes)"
            return f"{kind}. Unpack it with `{command}` and use what is inside."
    if head.startswith(PICKLE):
        kind = f"a Python pickle ({size:,} bytes), which can run code when it is opened"
        return f"{kind}. Ask for an HDF5 file or a checkpoint."
    if head.startswith(b"\x93NUMPY"):
        return (
            "a NumPy file. Load it with `numpy.load` and pass the arrays, or write them with h5py."
        )
    if is_hdf5(path):
        return None
    start = f"something else ({size:,} bytes that begin with {head[:8]!r})"
    return f"{start}. Fetch or write it again."
