"""Opens the zip archive of a `.keras` file, which may be damaged or malicious.

Nothing is unpacked to disk.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

from signs_lightning.errors import InputError
from signs_lightning.keras_io.file_errors import damaged_file, inconsistent_model, untrusted_file
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.zip_entries import open_zip

MAX_CONFIG_BYTES = 64 << 20  # that of EfficientNetV2L, keras.applications' largest, has 1.2 MB
MAX_DEPTH = 200  # levels of lists and dicts in a config; a model inside a model adds about four
MAX_INFLATION = 100  # bytes that a byte may unpack to; weights shrink by a few per cent
WEIGHTS = "model.weights.h5"
ENTRIES = {"config.json", "metadata.json", WEIGHTS}
DAMAGED_ZIP = (
    *(zipfile.BadZipFile, NotImplementedError, EOFError, OSError, UnicodeDecodeError),
    zlib.error,
)


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[dict[str, Any], str | None, BinaryIO]]:
    """Open a `.keras` file; gives config, Keras version and a stream of the weights.

    Raises:
        InputError: it is damaged, malicious, or another archive.
    """
    try:
        with open_zip(path) as archive:
            _check_entries(archive, path.name)
            config = parse_config(_read_entry(archive, "config.json", path.name), path.name)
            metadata = parse_config(_read_entry(archive, "metadata.json", path.name), path.name)
            version = metadata.get("keras_version")
            if version is not None and not isinstance(version, str):
                raise InputError(
                    f"keras_version in {path.name} is {shorten(repr(version))}, expected text such "
                    "as '3.15.1'."
                )
            with _open_weights(archive, path) as stream:
                yield config, version, stream
    except DAMAGED_ZIP as error:
        if message := os_error_message(error, path):
            raise message from error
        reason = shorten(str(error) or type(error).__name__, 100)
        raise damaged_file(f"{path.name} is a damaged zip archive ({reason})") from error


def _check_entries(archive: zipfile.ZipFile, name: str) -> None:
    entries = archive.infolist()
    for entry in entries:  # a packer of Windows may write .\\config.json
        archive.NameToInfo[_plain(entry.filename)] = entry
    names = [_plain(entry.filename) for entry in entries]
    for entry in entries:
        shown = shorten(repr(entry.filename))
        parts = entry.filename.replace("\\", "/").split("/")
        if entry.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise untrusted_file(f"{name} has an entry {shown} that points outside the archive")
        if entry.flag_bits & 1:
            raise InputError(
                f"{name} is encrypted ({shorten(entry.filename)}). Save it without a password."
            )
        if entry.file_size > max(MAX_CONFIG_BYTES, MAX_INFLATION * entry.compress_size):
            raise untrusted_file(
                f"{name} has an entry {shown} of {entry.compress_size:,} bytes that claims to "
                f"unpack to {entry.file_size:,}: a zip bomb"
            )
    if len(set(names)) < len(names):
        repeated = shorten(max(names, key=names.count))
        raise inconsistent_model(f"{name} has two entries of one name ({repeated})")
    if missing := ENTRIES - set(names):
        raise InputError(
            f"{name} is a zip archive without {', '.join(sorted(missing))}: not a .keras file. "
            "Name a Keras file."
        )


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _read_entry(archive: zipfile.ZipFile, entry: str, name: str) -> bytes:
    size = archive.getinfo(entry).file_size
    if size > MAX_CONFIG_BYTES:
        raise untrusted_file(
            f"{entry} in {name} has {size:,} bytes, expected at most {MAX_CONFIG_BYTES:,}"
        )
    return archive.read(entry)


def _open_weights(archive: zipfile.ZipFile, path: Path) -> BinaryIO:
    entry = archive.getinfo(WEIGHTS)
    if entry.compress_type == zipfile.ZIP_STORED:  # as Keras writes it
        archive.open(entry).close()  # checks the header in front of the entry
        return _StoredEntry(path, entry)  # type: ignore[return-value]  # a RawIOBase reads bytes
    # HDF5 seeks back and forth, which would unpack a deflated entry again and again.
    return BytesIO(archive.read(entry))


class _StoredEntry(RawIOBase):
    """The bytes of an uncompressed entry, read in place.

    zipfile's own stream copies every byte, and Python 3.11's reads all that a seek passes.
    """

    def __init__(self, path: Path, entry: zipfile.ZipInfo) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(entry.header_offset + 26)  # two bytes each: lengths of name and extra field
        lengths = self._file.read(4)
        self._start = entry.header_offset + 30 + sum(struct.unpack("<HH", lengths))
        self._size, self._position = entry.file_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {0: 0, 1: self._position, 2: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(self._size - self._position, 0)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(wanted) or 0
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def parse_config(content: str | bytes, name: str) -> dict[str, Any]:
    """Return the dict of a file's JSON text.

    Raises:
        InputError: not JSON, not a dict, or nested deeper than any model.
    """
    try:
        config = json.loads(content)
    except RecursionError:
        raise untrusted_file(f"The config of {name} is nested too deeply for a model") from None
    except ValueError as error:
        raise damaged_file(f"The config of {name} is not JSON ({error})") from error
    level: list[Any] = [config]
    for _ in range(MAX_DEPTH):
        dicts = [value for value in level if isinstance(value, dict)]
        lists = [value for value in level if isinstance(value, list)]
        level = [child for value in dicts for child in value.values()]
        level += [child for value in lists for child in value]
    if level:
        raise untrusted_file(f"The config of {name} is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(config, dict):
        raise InputError(
            f"The config of {name} is a {type(config).__name__}, expected an object with "
            "'class_name'."
        )
    return config
