"""Sound files that the system does not let us read: what is the matter is said, and nothing sound
is called damaged.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from signs_lightning import HappySequential, InputError
from signs_lightning.checkpoints.files import load_checkpoint
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.inspect.examine_file import examine
from signs_lightning.keras_io.keras_file import open_keras_file
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.runtime.image_files import UnreadableImageError, read_image
from signs_lightning.runtime.run_errors import explain_run_error
from signs_lightning.runtime.sandbox import run_sandboxed

HOLDS = (
    "import h5py, sys; file = h5py.File(sys.argv[1], 'a'); print('held', flush=True); "
    "sys.stdin.read()"
)
HELD = (
    "is open for writing in another program, such as a notebook. Close it there "
    "(`file.close()`), then try again."
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound file of each kind."""
    folder = tmp_path_factory.mktemp("sound")
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    layouts: dict[str, dict[str, Any]] = {
        "contiguous": {},
        "gzip": {"chunks": (4, 8, 8, 3), "compression": "gzip"},
        "lzf": {"chunks": (4, 8, 8, 3), "compression": "lzf"},  # read through HDF5 itself
    }
    for name, options in layouts.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.create_dataset("x", data=images, **options)
            file["y"] = np.arange(12) % 3
    model = HappySequential(num_classes=2, image_size=(8, 8, 3))
    save_checkpoint(model, folder / "model.ckpt")
    export_keras(model, folder / "model.h5", "keras-h5")
    export_keras(model, folder / "model.keras", "keras")
    Image.fromarray(images[0]).save(folder / "picture.png")
    return folder


def read_all(path: Path) -> np.ndarray:
    """The images of a file of any layout."""
    return ImageReader(check_file(path)).read(0, 12)


def read_keras(path: Path) -> object:
    with open_keras_file(path) as file:
        assert file.config is not None
        return file.config


def opened(path: Path) -> object:
    """What reads a file of that kind."""
    if path.suffix == ".png":
        return read_image(str(path), (8, 8, 3))
    if path.suffix == ".ckpt":
        return load_checkpoint(path)
    return read_keras(path) if path.stem == "model" else read_all(path)


SOUND = (
    "contiguous.h5", "gzip.h5", "lzf.h5", "model.h5", "model.keras", "model.ckpt", "picture.png",
)  # fmt: skip


WITHOUT_LOCKS = """
import sys
from pathlib import Path
import numpy as np
from signs_lightning.data.folder_import import folder_to_h5
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.inspect.examine_file import examine
from signs_lightning.keras_io.keras_file import open_keras_file

for name in ("contiguous.h5", "gzip.h5", "lzf.h5"):
    total = int(ImageReader(check_file(name)).read(0, 12).sum(dtype=np.int64))
    print(total, examine(name, {}, 5).problem)
with open_keras_file("model.h5") as file:
    print(file.kind)
print(folder_to_h5(Path("photos"), Path("written"), (8, 8), test_fraction=0).counts)
"""


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that makes every flock fail as on a network disk without locks."""
    if (compiler := shutil.which("gcc") or shutil.which("cc")) is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("library")
    (folder / "no_locks.c").write_text(
        "#include <errno.h>\nint flock(int f, int o) { errno = ENOLCK; return -1; }\n"
    )
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", "no_locks.so", "no_locks.c"], cwd=folder, check=True
    )
    return str(folder / "no_locks.so")


def without_locks(
    code: str, folder: Path, library: str, **environment: str
) -> subprocess.CompletedProcess:
    """Runs Python in a process in which no file can be locked."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"LD_PRELOAD": library} | environment,
        capture_output=True,
        text=True,
    )


def test_a_disk_without_locks(files: Path, no_locks: str) -> None:
    """Images and Keras files are read, and files written, where flock says ENOLCK, which h5py alone
    refuses.
    """
    for kind in ("cat", "dog"):
        (files / "photos" / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(files / "picture.png", files / "photos" / kind)
    done = without_locks("import h5py; h5py.File('contiguous.h5')", files, no_locks)
    assert "No locks available" in done.stderr
    done = without_locks(WITHOUT_LOCKS, files, no_locks)
    with h5py.File(files / "contiguous.h5") as file:
        total = int(file["x"][()].sum(dtype=np.int64))
    assert done.stdout.splitlines() == [f"{total} "] * 3 + ["h5", "{'train': 2}"], done.stderr


def test_locks_that_are_asked_for(files: Path, no_locks: str) -> None:
    """HDF5's variable is stronger than we are: it is named."""
    code = "from signs_lightning.data.hdf5_image_set import check_file; check_file('contiguous.h5')"
    done = without_locks(code, files, no_locks, HDF5_USE_FILE_LOCKING="TRUE")
    sentence = (
        "lies on a disk without locks (No locks available), and HDF5_USE_FILE_LOCKING asks for one."
    )
    assert sentence in done.stderr
    # What the message says.
    assert without_locks(code, files, no_locks, HDF5_USE_FILE_LOCKING="FALSE").returncode == 0


@pytest.fixture
def held(files: Path) -> Iterator[Path]:
    """A folder with the files, of which another process holds the HDF5 ones open for writing."""
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(files / name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("contiguous.h5", "model.h5")
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
        yield files
    finally:
        for holder in holders:
            holder.communicate(b"")


def test_a_file_that_a_notebook_holds_open(held: Path, cli: Callable) -> None:
    """Each verb says so, with exit code 2 (inspect: 1)."""
    data, model = held / "contiguous.h5", held / "model.h5"
    for command in (
        ("fit", "--data.train_file", data),
        ("predict", "--ckpt_path", held / "model.ckpt", "--data.test_file", data),
    ):
        result = cli(*command)
        assert (result.code, result.err) == (2, f"{data} {HELD}\n")
    with pytest.raises(InputError, match=rf"^{re.escape(f'{model} {HELD}')}$"):
        read_keras(model)
    assert [examine(str(path), {}, 5).problem for path in (data, model)] == [
        f"{data} {HELD}",
        f"{model} {HELD}",
    ]


def test_a_file_that_was_never_closed(tmp_path: Path) -> None:
    """Newer files are marked while they are written; the mark stays when the program dies."""
    with h5py.File(tmp_path / "open.h5", "w", libver="latest") as file:
        file["x"] = [1]
        file.flush()
        shutil.copy(tmp_path / "open.h5", tmp_path / "left.h5")
    with pytest.raises(
        InputError, match=r"left\.h5 is marked as open for writing\. .* `h5clear -s .*left\.h5`\.$"
    ):
        check_file(tmp_path / "left.h5")


@pytest.mark.parametrize("locking", [True, False, "best-effort"])
def test_a_file_that_this_notebook_reads(files: Path, locking: object) -> None:
    """HDF5 opens a file again in the same process in the first one's way of locking only."""
    with h5py.File(files / "gzip.h5", locking=locking) as file:
        np.testing.assert_array_equal(read_all(files / "gzip.h5"), file["x"][()])


@contextmanager
def descriptors(free: int) -> Iterator[None]:
    """Only so many files can be opened."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for descriptor in taken[:free]:
            os.close(descriptor)
        del taken[:free]
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("name", SOUND)
def test_too_many_open_files(name: str, files: Path) -> None:
    """Wherever between the first look and the last byte the descriptors run out: the limit is
    named, and how to raise it.
    """
    opened(files / name)
    refused = 0
    for free in range(4):
        with descriptors(free):
            try:
                opened(files / name)
            except (InputError, UnreadableImageError) as error:
                refused, message = refused + 1, str(error)
            else:
                continue
        assert "256 files are open, the most that this process may have (`ulimit -n " in message
    assert 0 < refused < 4


def test_too_many_open_files_for_another_process(files: Path) -> None:
    """Not even a process can be started that looks at the file."""
    with (
        descriptors(1),
        pytest.raises(InputError, match=r"^x\.h5 cannot be opened: 256 files are open"),
    ):
        run_sandboxed("builtins:int", "3", about="x.h5")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE), "events.out"),
        RuntimeError(
            "unable to open shared memory object </torch_1_2_3> in read-write mode: "
            "Too many open files (24)"
        ),
    ],
)
def test_too_many_open_files_while_a_run_goes_on(error: Exception) -> None:
    """A logger's file, or the tensors that workers hand over."""
    said = explain_run_error(error, "fit")
    assert said is not None
    assert re.match(
        r"(events\.out|A file) cannot be opened: [\d,]+ files are open, the most that this "
        r"process may have",
        said,
    )


WORDS = {
    errno.EACCES: "may not be read by this user. Change its permissions with `chmod`.",
    errno.ENOENT: "is gone: it was moved or deleted meanwhile. Put it back, or name another file.",
    errno.EIO: f"cannot be read from its disk ({os.strerror(errno.EIO)}). Check the disk or the "
    "network, and try again.",
    errno.ESTALE: f"cannot be read from its disk ({os.strerror(errno.ESTALE)}). Check the disk or "
    "the network, and try again.",
    errno.ENOMEM: "takes more memory than there is. Close other programs, or read it on a machine "
    "with more memory.",
}


@pytest.mark.parametrize("code", WORDS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", SOUND)
def test_what_the_system_refuses(
    name: str, code: int, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file's every way of being opened, as the system calls fail on a bad disk, a network or
    another user's file.
    """
    path = files / name

    def refused(*args: object, **options: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patch:
        for place, name in (
            (Path, "open"), (io, "open"), (builtins, "open"), (h5py, "File"), (os, "open"),
            (os, "preadv"),
        ):  # fmt: skip
            patch.setattr(place, name, refused)
        with pytest.raises((InputError, UnreadableImageError)) as error:
            opened(path)
    assert str(error.value) in (f"{path} {WORDS[code]}", WORDS[code].partition(".")[0])


def test_a_disk_that_fails_while_images_are_read(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence, not a traceback, and nothing of damage."""

    def fails(*args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for name, call in (("contiguous.h5", "preadv"), ("gzip.h5", "pread")):
        reader = ImageReader(check_file(files / name))
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            with pytest.raises(
                InputError, match=rf"{name} cannot be read from its disk \(Input/output error\)\. "
            ):
                reader.take(np.arange(3))
        assert reader.take(np.arange(3)).shape == (3, 8, 8, 3)
