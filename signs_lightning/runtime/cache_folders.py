"""Where files are kept that can be made again, and a lock while one is made."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_lightning.runtime.terminal import print_message

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def cache_folders(make: bool = True) -> Iterator[Path]:
    """Yield folders for the files: the user's cache, else a temporary folder.

    Args:
        make: whether the temporary folder is made where it is not there, to be written into.
    """
    own, cache = os.environ.get("SIGNS_LIGHTNING_CACHE"), os.environ.get("XDG_CACHE_HOME")
    default = Path(cache or "~/.cache") / "signs_lightning"
    with contextlib.suppress(RuntimeError):  # where the user has no home
        yield (Path(own) if own else default).expanduser()
    user = getattr(os, "getuid", int)()  # Windows has no getuid, and a folder for each user
    with contextlib.suppress(OSError):  # where no temporary folder can be written
        folder = Path(tempfile.gettempdir()) / f"signs_lightning-{user}"
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        is_own = folder.lstat().st_uid == user
        if is_own or make:
            yield folder if is_own else Path(tempfile.mkdtemp(prefix="signs_lightning-"))


def find_cache_folder(name: str) -> Path:
    """Return the folder of a name in the first cache that can be written, made if need be.

    Raises:
        OSError: there is none.
    """
    first_error: OSError | None = None
    for cache in cache_folders():
        try:
            folder = cache / name
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            first_error = first_error or error
    raise first_error or OSError("no folder to write to")


@contextmanager
def lock_file(path: Path, waiting: str) -> Iterator[bool]:
    """Hold a lock that one process has at a time; the others wait.

    Where the system has no locks, nobody waits.

    Args:
        path: the lock's file, which is made and stays.
        waiting: what is said on standard error before this process waits.

    Yields:
        Whether it is locked.
    """
    is_locked = fcntl is not None
    with path.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print_message(waiting, sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:  # a file system without locks
                is_locked = False
        yield is_locked
