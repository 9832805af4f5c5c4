"""Files that may crash HDF5 are read in a process of their own, before this process opens them.

The process is started when a verb begins, and looks at the files of its command line while PyTorch
is imported. A file that it has read to the end is remembered, so that this happens once for a file.
It is for the command line: in a notebook nothing is started.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import json
import os
import re
import select
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from signs_lightning.errors import InputError

if TYPE_CHECKING:
    from subprocess import Popen

CHILD = "signs_lightning.inspect.crash_check"
SECONDS = 30.0  # by the clock, that a file may take
PROCESSOR_SECONDS = 12  # of computing, some of them until HDF5 is imported
REMEMBERED = "sound_files.json"
MAX_REMEMBERED = 1000
MAX_NAMED = 100  # files of a command line that are read ahead
MAX_CONFIG = 2**20
HDF5_OR_ZIP = (b"\x89HDF", b"PK\x03\x04")
FILE_NAME = re.compile(r"[^\s'\"\[\],]+\.(?:h5|hdf5|keras)\b")


class Stamp(NamedTuple):
    """Tells whether a file is still the one that was read."""

    path: str
    size: int
    modified: int  # nanoseconds
    inode: int


def stamp_of(path: str | Path) -> Stamp:
    """Return the stamp of a file.

    Raises:
        OSError: there is none.
    """
    found = os.stat(path)
    return Stamp(os.path.realpath(path), found.st_size, found.st_mtime_ns, found.st_ino)


class FileGuard:
    """Has files read by another process before this one opens them. Safe in several threads."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._process: Popen[bytes] | None = None
        self._waiting: list[str] = []  # paths that the process has not answered for
        self._answers = b""  # the beginning of a line
        self._passed: set[Stamp] = set()  # read by the process, sound or with an error of Python
        self._has_looked = False  # whether those that were remembered are among them
        self._refused: dict[str, str] = {}  # path → why it must not be opened
        self._new: list[Stamp] = []  # sound, and not remembered yet

    def begin(self, paths: list[str]) -> None:
        """Have files read ahead that are not known."""
        if paths:
            with self._lock, contextlib.suppress(OSError):
                self._send([path for path in paths if not self._is_known(stamp_of(path))])

    def check(self, path: str) -> None:
        """Wait until a file has been read by the other process.

        Raises:
            InputError: that process crashed, or did not come to an end.
        """
        with self._lock:
            try:
                stamp = stamp_of(path)
            except OSError:
                return  # who opens it says so
            if self._is_known(stamp):
                return
            if os.getpid() != self._pid:  # in a fork the process is another's
                self._pid, self._process, self._waiting = os.getpid(), None, []
            if path not in self._refused and path not in self._waiting:
                self._start_sending([path])
            while path in self._waiting:
                self._read_answers()
            if self._new and not self._waiting:
                _remember(self._new)
                self._new = []
            if path in self._refused:
                raise InputError(self._refused[path])

    def end(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.communicate()
            self._process, self._waiting = None, []

    def _is_known(self, stamp: Stamp) -> bool:
        if not self._has_looked:
            self._has_looked = True
            self._passed |= set(_read_remembered())
        return stamp in self._passed

    def trust(self, stamp: Stamp) -> None:
        """Let a file be opened as it is."""
        with self._lock:
            self._passed.add(stamp)

    def _start_sending(self, paths: list[str]) -> None:
        try:
            self._send(paths)
        except OSError as error:
            raise InputError(
                f"{paths[0]} was not read, because no process could be started for it ({error}). "
                "The file may be fine: try again."
            ) from error

    def _send(self, paths: list[str]) -> None:
        """Ask the process for files, started if need be."""
        if not paths:
            return
        if self._process is None or (not self._waiting and self._process.poll() is not None):
            import subprocess  # start-up: PyTorch imports it, too

            folders = [folder or os.getcwd() for folder in sys.path]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", CHILD, str(PROCESSOR_SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # HDF5 prints there what it died of
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(folders), "OPENBLAS_NUM_THREADS": "1"},
            )
            self._answers = b""
        self._waiting += paths
        with contextlib.suppress(BrokenPipeError):  # it has ended: seen where it is waited for
            for path in paths:
                self._pipe("stdin").write(json.dumps(path).encode() + b"\n")
            self._pipe("stdin").flush()

    def _pipe(self, name: str) -> IO[bytes]:
        return getattr(self._process, name)

    def _read_answers(self) -> None:
        """Take what the process says next, in the time of a file; its end is an answer, too."""
        answers, watched = self._pipe("stdout"), select.poll()
        watched.register(answers, select.POLLIN)
        ready = watched.poll(1000 * SECONDS)
        content = os.read(answers.fileno(), 2**16) if ready else b""
        *lines, self._answers = (self._answers + content).split(b"\n")
        for line in lines:
            path, is_sound, stamp = json.loads(line)
            self._waiting.remove(path)
            if stamp is not None:
                self._passed.add(Stamp(*stamp))
            if stamp is not None and is_sound:
                self._new.append(Stamp(*stamp))
        if not content:
            self._give_up(ended=bool(ready))

    def _give_up(self, ended: bool) -> None:
        """Refuse the file that the process was at, and have the others read by another one."""
        from signs_lightning.runtime.sandbox import explain_exit  # start-up

        assert self._process is not None
        if not ended:
            self._process.kill()
        self._process.communicate()
        code = self._process.returncode
        waiting, self._process, self._waiting = self._waiting, None, []
        if ended and code == 0:  # it had just given up waiting for work
            self._start_sending(waiting)
            return
        path, *others = waiting
        self._refused[path] = f"{path} {explain_exit(code, PROCESSOR_SECONDS)}"
        if not ended:
            self._refused[path] = (
                f"{path} was not read within {SECONDS:g} s, in the process that reads files before "
                "they are used: the machine is busy, or its disk too slow. Try again later."
            )
        if others:
            self._start_sending(others)


_guards: list[FileGuard] = []  # of this process: none, or one


def guard_files(args: list[str]) -> None:
    """Have every file checked from now on, and those on a command line read ahead."""
    if not hasattr(select, "poll"):  # Windows
        return
    _guards[:] = [FileGuard()]
    _guards[0].begin(_named_files(args))


def check_file_is_safe(path: str | Path) -> None:
    """Wait until another process has read a file, where `guard_files` was called.

    Raises:
        InputError: that process crashed, or did not come to an end.
    """
    if _guards:
        _guards[0].check(str(path))


def check_once(path: str | Path) -> None:
    """Have one HDF5 or zip file read by another process, which ends then.

    Raises:
        InputError: that process crashed, or did not come to an end.
    """
    guard = FileGuard()
    try:
        if hasattr(select, "poll"):  # not on Windows
            for named in _named_files([str(path)])[:1]:
                guard.check(named)
    finally:
        guard.end()


def trust_own_file(path: str | Path) -> None:
    """Let a file be opened that this process wrote itself."""
    if _guards:
        _guards[0].trust(stamp_of(path))


def _named_files(args: list[str]) -> list[str]:
    """Return the files on a command line, or in its configurations, that can hold HDF5."""
    found: dict[str, None] = {}
    for word in (word for arg in args for word in _words(arg)):
        with contextlib.suppress(OSError, ValueError):  # who opens it says so
            if not os.path.isfile(word):
                continue
            with open(word, "rb") as file:
                begin = file.read(4)
            if begin in HDF5_OR_ZIP:
                found[word] = None
    return list(found)[:MAX_NAMED]


def _words(arg: str) -> Iterator[str]:
    """Yield what may be names of files in an argument."""
    yield arg
    yield from re.split(r"[\[\],='\"\s]+", arg)
    value = arg.rpartition("=")[2]
    if value.endswith((".yaml", ".yml")):
        with contextlib.suppress(OSError), open(value, errors="replace") as file:
            yield from FILE_NAME.findall(file.read(MAX_CONFIG))
    elif glob.has_magic(value):
        yield from glob.glob(value)[:MAX_NAMED]


def _library() -> list[object]:
    """Return what tells one installation of HDF5 from another."""
    found = importlib.util.find_spec("h5py")
    place = found.origin if found is not None and found.origin is not None else os.devnull
    return [place, os.stat(place).st_mtime_ns]


def _read_remembered() -> list[Stamp]:
    """Return the files that were read to the end before, by the same HDF5."""
    from signs_lightning.runtime.cache_folders import cache_folders

    for folder in cache_folders(make=False):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads((folder / REMEMBERED).read_bytes())
            if content["library"] == _library():
                return [Stamp(*fields) for fields in content["files"]]
    return []


def _remember(stamps: list[Stamp]) -> None:
    """Add files to those that are remembered, of which the oldest are forgotten."""
    from signs_lightning.runtime.cache_folders import cache_folders

    paths = {stamp.path for stamp in stamps}
    files = [stamp for stamp in _read_remembered() if stamp.path not in paths] + stamps
    content = json.dumps({"library": _library(), "files": files[-MAX_REMEMBERED:]})
    for folder in cache_folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{REMEMBERED}.")
            with open(descriptor, "w") as file:
                file.write(content)
            os.replace(temporary, folder / REMEMBERED)
            return
