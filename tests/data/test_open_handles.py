"""More files than a process may have open at a time, and what happens to their handles."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from signs_lightning import H5DataModule
from signs_lightning.data import open_handles
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.open_handles import HANDLES, OpenHandles, RawFile
from signs_lightning.data.resumable_loader import identity_collate

STORED: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "gzip": {"chunks": (2, 2, 2, 1), "compression": "gzip"},
    "lzf": {"chunks": (2, 2, 2, 1), "compression": "lzf"},  # through HDF5 itself
}

ALONE = "import sys; sys.path.insert(0, sys.argv.pop(1)); import test_open_handles as t; t.main()"


def read_shards(folder: Path, count: int, stored: str, **options: Any) -> None:
    """Checks that an epoch has each image once; it has the number of its file in two bytes."""
    data = H5DataModule(train_file=f"{folder}/{stored}_*.h5", batch_size=50, **options)
    data.setup("fit")
    seen = np.concatenate([images.numpy() for images, _ in data.train_dataloader()]).astype(int)
    numbers = seen[:, 0, 0, 0] * 256 + seen[:, 1, 1, 0]
    assert sorted(numbers.tolist()) == [k // 3 for k in range(3 * count)]


def main() -> None:
    """Read the shards of a folder in a process with a low limit."""
    folder, limit, count, stored = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
    for options in WAYS[stored]:
        read_shards(Path(folder), int(count), stored, **options)
        print("read")


STREAMED = {"reading": "streamed", "shuffle_buffer": 0.01}
WAYS: dict[str, list[dict[str, Any]]] = {
    "contiguous": [{"reading": "mapped"}, STREAMED, {"reading": "mapped", "num_workers": 2}],
    "gzip": [{}, STREAMED],
    "lzf": [{}, STREAMED],
}


def write_shard(path: Path, number: int, **options: Any) -> None:
    images = np.full((3, 2, 2, 1), number % 256, np.uint8)
    images[:, 0] = number // 256
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=images, **options)
        file["y"] = [0, 1, 0]


@pytest.mark.parametrize("stored", STORED)
def test_more_files_than_may_be_open(stored: str, tmp_path: Path) -> None:
    """With a low limit each image is read once: in place, or streamed by several threads."""
    for number in range(100):
        write_shard(tmp_path / f"{stored}_{number:04}.h5", number, **STORED[stored])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 60, hard))
    try:
        for options in WAYS[stored][:2]:
            read_shards(tmp_path, 100, stored, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("stored", STORED)
def test_two_thousand_shards(stored: str, tmp_path: Path) -> None:
    """In a process that may have 256 files open, also in processes that read ahead."""
    for number in range(2000):
        write_shard(tmp_path / f"{stored}_{number:04}.h5", number, **STORED[stored])
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", ALONE, here, str(tmp_path), "256", "2000", stored]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines().count("read") == len(WAYS[stored])


def open_files(folder: Path) -> list[str]:
    """The files of a folder that this process has open."""
    links = []
    for entry in os.scandir("/proc/self/fd"):
        try:
            links.append(os.readlink(entry.path))
        except OSError:
            continue  # of the listing itself
    return [link for link in links if link.startswith(str(folder))]


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")


@needs_proc
@pytest.mark.parametrize("stored", STORED)
def test_handles_are_few_and_go_with_their_owner(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each of the files that were read last; none when the data set is gone."""
    monkeypatch.setattr(open_handles, "MAX_OPEN", 3)
    for number in range(5):
        write_shard(tmp_path / f"{number}.h5", number, **STORED[stored])
    dataset = H5Images([check_file(tmp_path / f"{number}.h5") for number in range(5)])
    assert open_files(tmp_path) == []
    for number in (0, 1, 0, 2, 3, 0, 4):
        assert (dataset.__getitems__([3 * number])[0].numpy()[:, 1] == number).all()
    assert sorted(open_files(tmp_path)) == [str(tmp_path / f"{number}.h5") for number in (0, 3, 4)]
    if stored == "lzf":  # the others are not HDF5's: it would keep megabytes of chunks of each
        handle = HANDLES.get(dataset.readers[4], dataset.readers[4]._open)
        assert handle.file.id.get_access_plist().get_cache()[2] == 0
        del handle
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(open_files(tmp_path)) == 3
    assert (copy.__getitems__([6])[0].numpy()[:, 1] == 2).all()
    del dataset, copy
    gc.collect()
    assert open_files(tmp_path) == []


@needs_proc
def test_a_handle_in_use_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is given up meanwhile is closed by the last reader that lets go of it."""
    monkeypatch.setattr(open_handles, "MAX_OPEN", 1)
    for name in "ab":
        (tmp_path / name).write_text(name)

    class Owner:
        """Anything."""

    handles, first, second = OpenHandles(), Owner(), Owner()
    handle = handles.get(first, lambda: RawFile(tmp_path / "a"))
    assert handles.get(first, lambda: pytest.fail("it is open")) is handle
    handles.get(second, lambda: RawFile(tmp_path / "b"))
    assert handle.read(10, 0) == b"a"
    assert sorted(open_files(tmp_path)) == [str(tmp_path / "a"), str(tmp_path / "b")]
    del handle
    assert open_files(tmp_path) == [str(tmp_path / "b")]


@pytest.mark.parametrize("stored", STORED)
def test_many_threads_and_few_handles(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that take each other's handles away all the time read what is right."""
    monkeypatch.setattr(open_handles, "MAX_OPEN", 2)
    for number in range(6):
        write_shard(tmp_path / f"{number}.h5", number, **STORED[stored])
    readers = H5Images([check_file(tmp_path / f"{number}.h5") for number in range(6)]).readers
    barrier = threading.Barrier(6)

    def read(number: int) -> None:
        barrier.wait()
        for k in range(60):
            found = readers[(number + k) % 6].read(0, 3)
            assert (found[:, 1] == (number + k) % 6).all()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(read, range(6)))


def test_a_fork_while_a_thread_opens_a_file(tmp_path: Path) -> None:
    """The child does not wait for a lock that a thread of the parent holds."""
    write_shard(tmp_path / "0.h5", 0)
    dataset = H5Images([check_file(tmp_path / "0.h5")])
    opening, forked = threading.Event(), threading.Event()

    def open_slowly() -> RawFile:
        opening.set()
        forked.wait(30)
        return RawFile(tmp_path / "0.h5")

    thread = threading.Thread(target=lambda: HANDLES.get(dataset, open_slowly))
    thread.start()
    opening.wait()
    try:
        loader = DataLoader(
            dataset, 3, num_workers=1, collate_fn=identity_collate,
            multiprocessing_context="fork", timeout=30,
        )  # fmt: skip
        assert [images.shape for images, _ in loader] == [(3, 2, 2, 1)]
    finally:
        forked.set()
        thread.join()


@pytest.mark.parametrize("missing", [["preadv"], ["preadv", "pread", "sysconf"]])
@pytest.mark.parametrize("stored", STORED)
def test_systems_without_some_calls(
    missing: list[str], stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has none of them, and older versions of macOS no `preadv`."""
    for name in missing:
        monkeypatch.delattr(os, name)
    write_shard(tmp_path / "0.h5", 300, **STORED[stored])
    dataset = H5Images([check_file(tmp_path / "0.h5")])
    with h5py.File(tmp_path / "0.h5") as file:
        right = file["x"][()]
    np.testing.assert_array_equal(dataset.__getitems__([2, 0])[0].numpy(), right[[2, 0]])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(3)), right)
    module = H5DataModule(test_file=str(tmp_path / "0.h5"))
    module.setup("test")
    np.testing.assert_array_equal(next(iter(module.test_dataloader()))[0], right)


@pytest.mark.parametrize("call", ["preadv", "pread"])
def test_calls_that_read_less(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single call reads up to 2 GiB (here 7 bytes); what is asked for comes all the same."""
    content = bytes(range(100))
    (tmp_path / "f").write_bytes(content)
    whole = getattr(os, call)

    def read_less(descriptor: int, wanted: Any, position: int) -> Any:
        wanted = min(wanted, 7) if call == "pread" else [wanted[0][:7]]
        return whole(descriptor, wanted, position)

    monkeypatch.setattr(os, call, read_less)
    file, part = RawFile(tmp_path / "f"), bytearray(50)
    assert (file.read(50, 20), file.read(50, 80)) == (content[20:70], content[80:])
    assert (file.read_into(memoryview(part), 20), bytes(part)) == (50, content[20:70])
    assert file.read_into(memoryview(part), 80) == 20
    assert bytes(part[:20]) == content[80:]
