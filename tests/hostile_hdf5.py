"""Files that HDF5 2.0.0 crashes on, or never returns from, with the bytes that do it."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py

TEXT_OF_ANY_LENGTH = b"name\0\0\0\0\x19\x01\x01\x00"
CRASHING = b"name\0\0\0\0\x19\x09\x01\x00"  # neither text nor a row: HDF5 reads address 0
HEAP_HEADER, OBJECT_HEADER = 16, struct.Struct("<HHIQ")


def make_crashing(path: Path) -> Path:
    """Give a file an attribute that ends the process which reads it with h5py."""
    with h5py.File(path, "a", libver="earliest") as file:
        file.attrs["name"] = "conv2d"
    content = path.read_bytes()
    assert content.count(TEXT_OF_ANY_LENGTH) == 1
    path.write_bytes(content.replace(TEXT_OF_ANY_LENGTH, CRASHING))
    return path


def make_endless(path: Path) -> Path:
    """Give a file an attribute which HDF5 reads for ever: free space of 0 bytes in its heap."""
    with h5py.File(path, "a", libver="earliest") as file:
        file.attrs["name"] = "conv2d"
    content = bytearray(path.read_bytes())
    assert content.count(b"GCOL") == 1
    place = content.index(b"GCOL") + HEAP_HEADER
    index, _, _, size = OBJECT_HEADER.unpack_from(content, place)
    while index:
        place += OBJECT_HEADER.size + -(-size // 8) * 8
        index, _, _, size = OBJECT_HEADER.unpack_from(content, place)
    OBJECT_HEADER.pack_into(content, place, 0, 0, 0, 0)
    path.write_bytes(content)
    return path
