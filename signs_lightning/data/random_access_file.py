"""A file of which parts are read at any place, by several threads at once."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path


class RandomAccessFile:
    """An open file, closed with the last reference to it.

    Args:
        path: of the file.

    Attributes:
        descriptor: the system's number of the open file.
        size: bytes, when it was opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.descriptor)
        self._lock = threading.Lock()
        self.size = os.fstat(self.descriptor).st_size

    def read(self, position: int, count: int) -> bytes:
        """Return `count` bytes from `position` on, fewer where the file ends before."""
        parts = []
        while count > 0 and (part := self._read_once(position, count)):
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_once(self, position: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self.descriptor, count, position)
        with self._lock:  # Windows
            os.lseek(self.descriptor, position, os.SEEK_SET)
            return os.read(self.descriptor, count)
