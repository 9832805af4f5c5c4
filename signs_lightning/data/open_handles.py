"""Files that stay open between reads: at most so many, each opened again when it is needed."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError

MAX_OPEN = 128  # handles of a process, which a low limit of the system makes fewer
SHARE = 4  # of the system's limit that is not taken up: one in so many is


Stamp = tuple[int, ...]


def stamp_status(status: os.stat_result) -> Stamp:
    """Return what changes when a file is replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def stamp_file(path: Path | str) -> Stamp:
    """Return what changes when the file of that name is replaced or written to."""
    return stamp_status(os.stat(path))


def check_stamp(path: Path | str, stamp: Stamp | None, now: Stamp | None = None) -> None:
    """Check that a file is the one that it was.

    Args:
        path: what messages call it, and where it is looked for.
        stamp: as it was.
        now: as it is; read anew when omitted.

    Raises:
        InputError: it was changed or replaced, or is gone.
    """
    if now is None and os.path.exists(path):
        now = stamp_file(path)
    if now != stamp:
        raise InputError(
            f"{path} was changed or replaced while this run reads it. Put it back "
            "and resume with `fit --ckpt_path` and the run folder, or begin a new run."
        )


class RawFile:
    """A file whose bytes are read at any position, by several threads at a time.

    It is closed when nothing refers to it any more.
    """

    def __init__(self, path: Path | str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.descriptor)
        self._lock = threading.Lock()
        self._has_preadv = hasattr(os, "preadv")

    def read(self, size: int, position: int) -> bytes:
        """Return `size` bytes, fewer only where the file ends."""
        content = b""
        while True:  # a single call reads up to 2 GiB
            if hasattr(os, "pread"):
                more = os.pread(self.descriptor, size, position)
            else:
                with self._lock:  # Windows, where only a second call moves to the position
                    os.lseek(self.descriptor, position, os.SEEK_SET)
                    more = os.read(self.descriptor, size)
            content += more
            if len(more) in (0, size):
                return content
            size, position = size - len(more), position + len(more)

    def read_into(self, part: memoryview, position: int) -> int:
        """Fill `part`; return how many bytes came, fewer only where the file ends."""
        if not self._has_preadv:
            content = self.read(len(part), position)
            part[: len(content)] = content
            return len(content)
        done = 0
        while True:  # as above
            count = os.preadv(self.descriptor, [part], position)
            done += count
            if count in (0, len(part)):
                return done
            part, position = part[count:], position + count


class OpenHandles:
    """The handles that were used last, by their owner.

    A handle that is given up here closes when the last thread that reads from it lets go of it.
    """

    def __init__(self) -> None:
        self.forget()

    def get(self, owner: Any, open_handle: Callable[[], Any]) -> Any:
        """Return the owner's handle, opened where it is not open.

        Args:
            owner: what it belongs to.
            open_handle: returns a new one, which closes when nothing refers to it.
        """
        with self._lock:
            handle = self._handles.pop(owner, None)
            if handle is None:
                too_many = max(0, len(self._handles) + 1 - max_open())
                for oldest in list(islice(self._handles, too_many)):
                    self._handles.pop(oldest, None)
                handle = open_handle()
            self._handles[owner] = handle
            return handle

    def forget(self) -> None:
        """Give up all handles, as a process does that was forked off."""
        self._lock = threading.Lock()  # another thread may have held the last one at the fork
        # In the order of use. A handle goes with its owner, too.
        self._handles: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def max_open() -> int:
    """Return how many handles this process keeps open."""
    try:
        import resource  # not on Windows
    except ImportError:
        return MAX_OPEN
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_OPEN if limit == resource.RLIM_INFINITY else max(1, min(MAX_OPEN, limit // SHARE))


HANDLES = OpenHandles()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=HANDLES.forget)
