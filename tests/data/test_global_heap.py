"""Values of variable length: what h5py reads of sound files, and a sentence for damaged ones."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from signs_lightning.data.global_heap import VariableLengthValues, read_texts
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.errors import InputError

TEXTS = ["one", "zwei", "", "längste", "猫", "x" * 5000, "one", "last"]
STORAGE: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (3,)},
    "gzip": {"chunks": (3,), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (5,), "compression": "lzf"},
    "growing": {"maxshape": (None,)},
}


def bytes_dataset(file: h5py.File, values: list[bytes], **options: Any) -> h5py.Dataset:
    """A dataset "v" of variable length uint8."""
    kind = h5py.vlen_dtype(np.uint8)
    dataset = file.create_dataset("v", (len(values),), kind, **options)
    for k, value in enumerate(values):
        dataset[k] = np.frombuffer(value, np.uint8)
    return dataset


def read_all(path: Path, key: str = "v") -> list[bytes]:
    with h5py.File(path) as file:
        values = VariableLengthValues(path, file[key])
    return values.read(np.arange(len(values)))


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 1024])
def test_texts_are_those_of_h5py(tmp_path: Path, storage: str, libver: str, userblock: int) -> None:
    """However the references are stored, and where in the file."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as file:
        file["before"] = np.zeros(1000)
        file.create_dataset("v", data=TEXTS, dtype=h5py.string_dtype(), **STORAGE[storage])
        file.create_dataset("2d", data=np.array([TEXTS] * 3, object), dtype=h5py.string_dtype())
    with h5py.File(path) as file:
        assert read_texts(path, "v", 10**6) == list(file["v"].asstr()[()]) == TEXTS
        assert read_texts(path, "2d", 10**6) == file["2d"].asstr()[()].ravel().tolist()


@pytest.mark.parametrize("storage", STORAGE)
def test_bytes_are_those_of_h5py(tmp_path: Path, storage: str) -> None:
    """Of all sizes, several in a collection or many of them in a value; some written again."""
    path, rng = tmp_path / "f.h5", np.random.default_rng(0)
    sizes = [0, 1, 7, 8, 100, 4080, 4096, 70_000, 300_000, *rng.integers(0, 3000, 300).tolist()]
    with h5py.File(path, "w") as file:
        dataset = bytes_dataset(file, [rng.bytes(size) for size in sizes], **STORAGE[storage])
        for k in rng.choice(len(sizes), 60, replace=False):
            dataset[k] = np.frombuffer(rng.bytes(int(rng.integers(0, 9000))), np.uint8)
    with h5py.File(path) as file:
        expected = [value.tobytes() for value in file["v"][()]]
        values = VariableLengthValues(path, file["v"])
    assert values.lengths.tolist() == list(map(len, expected))
    rows = rng.integers(0, len(sizes), 1000)  # in any order, some of them twice
    assert values.read(rows) == [expected[row] for row in rows]
    with ThreadPoolExecutor(8) as threads:
        for row, found in enumerate(threads.map(values.read, np.arange(len(sizes))[:, None])):
            assert found == [expected[row]]


def test_chunks_along_two_axes(tmp_path: Path) -> None:
    """The last chunks reach beyond the dataset, and one was never written."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        options = {"chunks": (2, 2), "compression": "gzip"}
        dataset = file.create_dataset("v", (5, 3), h5py.string_dtype(), **options)
        dataset[1:] = [[f"{row} {column}" for column in range(3)] for row in range(4)]
        dataset[4] = ["", "", ""]
    with h5py.File(path) as file:
        assert read_texts(path, "v", 1000) == file["v"].asstr()[()].ravel().tolist()


@pytest.mark.parametrize("chunks", [None, (2,)])
def test_values_that_were_never_written(tmp_path: Path, chunks: tuple[int] | None) -> None:
    """They are empty, unless the file says that they are something else."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("v", (5,), h5py.string_dtype(), chunks=chunks)
        file.create_dataset("w", (5,), h5py.string_dtype(), chunks=chunks, fillvalue="cat")
    assert read_texts(path, "v", 1000) == [""] * 5
    with pytest.raises(InputError, match=r"'w' in .* has values that were never written\."):
        read_texts(path, "w", 1000)


def test_files_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none; threads then read one after the other."""
    monkeypatch.delattr(os, "pread")
    path = tmp_path / "f.h5"
    contents = [bytes([k]) * 5000 for k in range(200)]
    with h5py.File(path, "w") as file:
        bytes_dataset(file, contents)
    with h5py.File(path) as file:
        values = VariableLengthValues(path, file["v"])
    with ThreadPoolExecutor(8) as threads:
        assert [v for (v,) in threads.map(values.read, np.arange(200)[:, None])] == contents


def test_class_names_start_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read here."""
    monkeypatch.setattr(subprocess, "Popen", None)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x"], file["y"] = np.zeros((2, 4, 4, 3), np.uint8), [0, 1]
        file["classes"] = ["cat", "dög"]
    assert check_file(tmp_path / "f.h5").class_names == ["cat", "dög"]


def test_text_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are escaped; numbers, bytes and too much are refused."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("t", data=[b"caf\xe9", b"cut@off"], dtype=h5py.string_dtype())
        bytes_dataset(file, [b"one", b"two"])
        file.create_dataset("numbers", (2,), h5py.vlen_dtype(np.int32))
        file.create_dataset("references", (2,), h5py.ref_dtype)
    path.write_bytes(path.read_bytes().replace(b"cut@off", b"cut\0off"))
    with h5py.File(path) as file:
        assert list(file["t"][()]) == [b"caf\xe9", b"cut"]
    assert read_texts(path, "t", 100) == ["caf\\xe9", "cut"]
    for key, limit in (("t", 10), ("v", 100), ("numbers", 100), ("references", 100)):
        with pytest.raises(InputError, match=r"no text, or too much of it, expected class numbers"):
            read_texts(path, key, limit)


def test_values_inside_the_header(tmp_path: Path) -> None:
    """A compact dataset's references cannot be found; what to do is said."""
    path = tmp_path / "f.h5"
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    kind, space = h5py.h5t.py_create(h5py.string_dtype(), True), h5py.h5s.create_simple((2,))
    with h5py.File(path, "w") as file:
        h5py.Dataset(h5py.h5d.create(file.id, b"v", kind, space, properties))[:] = ["a", "b"]
    with pytest.raises(InputError, match="contiguous, with `h5repack -l CONTI`"):
        read_texts(path, "v", 100)


@pytest.fixture
def sound(tmp_path: Path) -> tuple[Path, list[bytes], list[int]]:
    """A file, its values, each of another length, and the places of all bytes that lead to them."""
    path = tmp_path / "f.h5"
    values = [bytes([65 + k]) * (37 * k) for k in range(8)]
    with h5py.File(path, "w") as file:
        bytes_dataset(file, values)
    with h5py.File(path) as file:
        first = file["v"].id.get_offset()
    content = path.read_bytes()
    heap = content.index(b"GCOL")
    places = [*range(first, first + 16 * len(values)), *range(heap, heap + 16)]
    for value in values[1:]:
        place = content.index(value, heap)
        places += range(place - 16, place)
    return path, values, places


def test_damaged_heaps(sound: tuple[Path, list[bytes], list[int]]) -> None:
    """Any byte of a reference or a header may be another: the value is right, or is refused."""
    path, values, places = sound
    content = path.read_bytes()
    assert read_all(path) == values
    refused = []
    for place in places:
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= change
            path.write_bytes(damaged)
            try:
                assert read_all(path) == values
            except InputError as error:
                refused.append(str(error))
    assert all("'v' in" in message and " is damaged: " in message for message in refused)
    assert len(refused) > len(places)  # the others are reserved, or count references


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_file_that_was_cut_meanwhile(tmp_path: Path, kept: float) -> None:
    """A value that is not there any more is a sentence."""
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        bytes_dataset(file, [bytes(9000)] * 20)
    with h5py.File(path) as file:
        values = VariableLengthValues(path, file["v"])
    os.truncate(path, int(kept * path.stat().st_size))
    with pytest.raises(InputError, match=r"'v' in .* is damaged: "):
        values.read(np.arange(20))


def test_a_heap_that_takes_forever(tmp_path: Path) -> None:
    """Parts of a heap that overlap are refused before thousands are searched to their end."""
    path, count, searched = tmp_path / "f.h5", 3000, 2**20
    with h5py.File(path, "w") as file:
        bytes_dataset(file, [b"x"] * count)
        file["room"] = np.zeros(32 * count + searched, np.uint8)
    with h5py.File(path) as file:
        first, room = file["v"].id.get_offset(), file["room"].id.get_offset()
    content = bytearray(path.read_bytes())
    middle, end = room + 32 * count, room + 32 * count + searched
    for k in range(count):  # a header and an object that reaches to the free space of all
        start = room + 32 * k
        header = b"GCOL\x01\0\0\0" + (end - start).to_bytes(8, "little")
        skipped = b"\x01\0\0\0\0\0\0\0" + (middle - start - 32).to_bytes(8, "little")
        content[start : start + 32] = header + skipped
        reference = b"\x01\0\0\0" + start.to_bytes(8, "little") + b"\x09\0\0\0"
        content[first + 16 * k : first + 16 * (k + 1)] = reference
    content[end - 32 : end - 8] = b"\x09\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0x\0\0\0\0\0\0\0"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"'v' in .* is damaged: its heap overlaps itself"):
        read_all(path)
