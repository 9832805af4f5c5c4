"""Archives whose directories claim what the file has not are damaged, and take no memory."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from signs_lightning.runtime.zip_entries import open_zip

DIRECTORY, END = b"PK\x01\x02", b"PK\x05\x06"


def write(path: Path, method: int = zipfile.ZIP_STORED) -> bytearray:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.txt", "a" * 100)
        archive.writestr("b.txt", "b")
    return bytearray(path.read_bytes())


@pytest.mark.parametrize(
    ("signature", "offset", "value", "problem"),
    [
        (DIRECTORY, 20, 2**31, "'a.txt' claims 2,147,483,648 bytes"),  # its packed size
        (DIRECTORY, 42, 2**31, "'a.txt' claims 100 bytes"),  # where it begins
        (DIRECTORY, 20, 101 + 2**20, "'a.txt' claims 1,048,677 bytes"),
        (END, 12, 2**32 - 2, "directory"),  # bytes of the directory
    ],
)
def test_claims(tmp_path: Path, signature: bytes, offset: int, value: int, problem: str) -> None:
    content = write(tmp_path / "a.zip")
    struct.pack_into("<I", content, content.index(signature) + offset, value)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match=problem), open_zip(tmp_path / "a.zip"):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_limit(tmp_path: Path, method: int) -> None:
    write(tmp_path / "a.zip", method=method)
    with pytest.raises(NotImplementedError, match="not by deflate"), open_zip(tmp_path / "a.zip"):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_sound_archives(tmp_path: Path, method: int) -> None:
    """Also behind other bytes, as in a program that unpacks itself."""
    content = write(tmp_path / "a.zip", method=method)
    (tmp_path / "b.zip").write_bytes(b"#!/bin/sh\n" * 50 + content)
    for name in ("a.zip", "b.zip"):
        with open_zip(tmp_path / name) as archive:
            assert archive.read("a.txt") == b"a" * 100
