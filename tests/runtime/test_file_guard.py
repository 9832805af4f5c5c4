"""Files that crash HDF5, or never let it return, do so in another process, and are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hostile_hdf5 import make_crashing, make_endless

from signs_lightning.errors import InputError
from signs_lightning.runtime import file_guard
from signs_lightning.runtime.file_guard import REMEMBERED, FileGuard

NO_CHILD = "no_such_module"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def guard() -> Iterator[FileGuard]:
    made = FileGuard()
    yield made
    made.end()


def write(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros((4, 8, 8, 3), np.uint8)
        file["list_classes"] = ["a", "b"]
    return path


def test_a_crash_is_one_file_and_sound_ones_are_remembered(
    tmp_path: Path, cache: Path, guard: FileGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three files are read ahead, the second ends the process: the third is read by another one.
    Sound files need no process the next time, until they change.
    """
    first, last = write(tmp_path / "a.h5"), write(tmp_path / "c.h5")
    bad = make_crashing(tmp_path / "b.h5")
    monkeypatch.setattr(file_guard, "CHILD", "naive_reader")
    guard.begin([str(first), str(bad), str(last)])
    guard.check(str(last))
    for _ in range(2):
        with pytest.raises(InputError) as refused:
            guard.check(str(bad))
        assert str(refused.value) == (
            f"{bad} crashed the library that reads it (signal SIGSEGV). It is damaged or "
            "malicious; fetch or write it again."
        )
    guard.check(str(first))
    remembered = json.loads((cache / REMEMBERED).read_text())["files"]
    assert [entry[0] for entry in remembered] == [str(first), str(last)]
    monkeypatch.setattr(file_guard, "CHILD", NO_CHILD)
    again = FileGuard()
    again.begin([str(first), str(last)])
    again.check(str(first))
    os.utime(first, ns=(1, 1))
    with pytest.raises(InputError, match=r"was not read to its end.*\(exit code 1\)"):
        again.check(str(first))
    again.check(str(tmp_path / "missing.h5"))  # who opens it says so


def test_a_hang_is_called_busy(
    tmp_path: Path, guard: FileGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 never returns from this file; all that is known is that it took too long."""
    monkeypatch.setattr(file_guard, "SECONDS", 1.0)
    with pytest.raises(InputError) as refused:
        guard.check(str(make_endless(tmp_path / "f.h5")))
    assert "was not read within 1 s" in str(refused.value)
    assert "the machine is busy, or its disk too slow" in str(refused.value)
    assert "damage" not in str(refused.value)


@pytest.mark.slow
def test_computing_without_end_is_no_busy_machine(
    tmp_path: Path, guard: FileGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file has so much of the processor; the sound one before costs the other nothing."""
    monkeypatch.setattr(file_guard, "PROCESSOR_SECONDS", 2)
    bad = str(make_endless(tmp_path / "f.h5"))
    guard.begin([str(write(tmp_path / "a.h5")), bad])
    with pytest.raises(InputError) as refused:
        guard.check(bad)
    assert str(refused.value) == (
        f"{bad} was given up after 2 s of computing: reading it does not end. Fetch or write it "
        "again."
    )


@pytest.mark.slow
def test_each_file_has_its_own_time(
    tmp_path: Path, guard: FileGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound file behind two that take all of theirs is read by a process that begins then."""
    monkeypatch.setattr(file_guard, "SECONDS", 6.0)
    bad = [str(make_endless(tmp_path / name)) for name in ("a.h5", "b.h5")]
    guard.begin([*bad, str(write(tmp_path / "c.h5"))])
    guard.check(str(tmp_path / "c.h5"))
    for path in bad:
        with pytest.raises(InputError, match="was not read within 6 s"):
            guard.check(path)


@pytest.mark.parametrize("content", [b"[]", None])
def test_a_damaged_or_unwritable_memory_harms_nothing(
    content: bytes | None,
    tmp_path: Path,
    cache: Path,
    guard: FileGuard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files are read again then."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "nowhere"))
    if content is None:
        cache.write_bytes(b"")  # no folder
    else:
        cache.mkdir()
        (cache / REMEMBERED).write_bytes(content)
    guard.check(str(write(tmp_path / "f.h5")))
    if content is not None:
        assert len(json.loads((cache / REMEMBERED).read_text())["files"]) == 1


def test_files_of_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in lists, patterns and configurations; nothing that cannot hold HDF5."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5", "b.h5", "c.h5", "d d.h5", "e.hdf5"):
        write(tmp_path / name)
    (tmp_path / "run.yaml").write_text("data:\n  train_file: [e.hdf5, missing.h5]\n")
    (tmp_path / "text.h5").write_text("no HDF5")
    args = ["fit", "--data.train_file=[a.h5,b.h5]", "--data.val_file", "c*.h5", "d d.h5"]
    named = file_guard._named_files([*args, "--config", "run.yaml", "text.h5", "a.h5"])
    assert named == ["a.h5", "b.h5", "c.h5", "d d.h5", "e.hdf5"]


def test_the_memory_is_bounded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_guard, "MAX_REMEMBERED", 2)
    stamps = [file_guard.stamp_of(write(tmp_path / f"{k}.h5")) for k in range(3)]
    for stamp in stamps:
        file_guard._remember([stamp])
    assert file_guard._read_remembered() == stamps[1:]
