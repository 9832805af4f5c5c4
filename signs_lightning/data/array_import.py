"""NumPy archives (.npz) → HDF5 files, with a part of one array in memory at a time."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import h5py
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import translate_os_errors
from signs_lightning.runtime.progress import OnProgress
from signs_lightning.runtime.zip_entries import open_zip

READ_BYTES = 2**24  # of an array that are read at a time
DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError)


@dataclass
class WrittenArrays:
    """What became of a file of arrays.

    Attributes:
        shapes: dataset → its shape.
        notes: what to tell the user, such as what was left out.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, file: h5py.File, key: str, array: np.ndarray) -> None:
        """Write an array as a dataset; what HDF5 cannot hold is noted instead."""
        array = encode_texts(array)
        try:
            file.create_dataset(key, data=array)
        except (TypeError, ValueError) as error:
            self.skip(key, str(error))
        else:
            self.shapes[key] = array.shape

    def skip(self, key: str, reason: str) -> None:
        """Note that an array was left out."""
        self.notes.append(f"'{shorten(key)}' was left out: {shorten(reason, 120)}.")

    def check_not_empty(self, source: Path) -> None:
        """Check that something was written.

        Raises:
            InputError: nothing was.
        """
        if not self.shapes:
            why = f" {self.notes[0]}" if self.notes else ""
            raise InputError(f"{source} holds no array that can be written.{why}")


def npz_to_h5(source: Path, output: Path, advance: OnProgress | None = None) -> WrittenArrays:
    """Write every array of a NumPy archive to an HDF5 file, under its own name.

    Nothing in the archive is run: arrays of Python objects are left out.

    Args:
        source: the archive.
        output: the HDF5 file.
        advance: called after each part, with bytes.

    Raises:
        InputError: it is damaged, or holds no array that can be written.
    """
    written = WrittenArrays()
    with translate_os_errors(source), atomic_write(output) as temporary:
        try:
            with (
                open_zip(source) as archive,
                h5py.File(temporary, "w", locking=False) as file,
            ):
                members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
                total, done = sum(info.file_size for info in members), 0
                for info in members:
                    with archive.open(info) as stream:
                        for read in _copy(stream, info, file, written):
                            if advance is not None:
                                advance(done + read, total)
                    done += info.file_size
        except DAMAGE as error:
            raise InputError(
                f"{source} is damaged ({shorten(str(error), 200)}). Fetch or write it again."
            ) from error
        written.check_not_empty(source)
    return written


def _copy(
    stream: IO[bytes], info: zipfile.ZipInfo, file: h5py.File, written: WrittenArrays
) -> Iterator[int]:
    """Write one array, in parts where it lies in the order of HDF5; yield how much is read."""
    key = info.filename.removesuffix(".npy")
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        written.skip(key, f"version {version} of NumPy's format is not read")
        return
    shape, is_fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        written.skip(key, "it holds Python objects, which can run code when they are opened")
        return
    size = math.prod(shape) * dtype.itemsize
    if size > info.file_size:
        raise ValueError(f"'{shorten(key)}' is shorter than its header says")
    if is_fortran or dtype.kind == "U" or not shape or size == 0:
        array = np.frombuffer(stream.read(size), dtype)
        written.add(file, key, array.reshape(shape, order="F" if is_fortran else "C"))
        return
    try:
        dataset = file.create_dataset(key, shape, dtype)
    except (TypeError, ValueError) as error:
        written.skip(key, str(error))
        return
    step = max(1, READ_BYTES // (size // shape[0]))
    for start in range(0, shape[0], step):
        count = min(step, shape[0] - start)
        content = stream.read(count * size // shape[0])
        dataset[start : start + count] = np.frombuffer(content, dtype).reshape(count, *shape[1:])
        yield (start + count) * size // shape[0]
    if stream.read(1):
        raise ValueError(f"'{shorten(key)}' is longer than its header says")
    written.shapes[key] = shape


def encode_texts(array: np.ndarray) -> np.ndarray:
    """Return texts as UTF-8 of a fixed length, which HDF5 holds; other arrays as they are."""
    if array.dtype.kind == "O" and all(isinstance(text, str) for text in array.flat):
        array = array.astype(str)
    return np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
