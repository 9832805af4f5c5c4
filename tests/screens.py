"""A terminal of a given width, as an emulator shows it."""

from __future__ import annotations

import os
import pty
import re
import termios
import threading
from typing import TextIO

import pyte


class Terminal:
    """A pseudo-terminal; pyte, a terminal emulator, keeps what a user would see.

    Args:
        columns: its width.
        lines: its height.

    Attributes:
        stream: what a program writes to.
        octets: all that was written.
    """

    def __init__(self, columns: int, lines: int = 500) -> None:
        self._ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (lines, columns))
        self.stream: TextIO = os.fdopen(self.theirs, "w", encoding="utf-8", closefd=False)
        self.screen = pyte.Screen(columns, lines)
        self.octets = b""
        self._emulator = pyte.ByteStream(self.screen)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while octets := os.read(self._ours, 65536):
                self.octets += octets
                self._emulator.feed(octets)
        except OSError:  # the program's end is closed
            pass

    def close(self) -> list[str]:
        """Return the lines on the screen at the end, without trailing blanks and empty lines."""
        self.stream.flush()
        os.close(self.theirs)
        self._reader.join()
        os.close(self._ours)
        lines = [line.rstrip() for line in self.screen.display]
        return [line for line in lines if line]


def plain(octets: bytes) -> str:
    """Return what was written to a terminal without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", octets.decode())
