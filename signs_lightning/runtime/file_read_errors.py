"""Sentences for files that the operating system does not let us open or read."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_lightning.errors import InputError

# as HDF5 and PyTorch quote the system's number
NUMBER = re.compile(r"errno = (\d+)|^unable to (?:open|mmap|stat)\b.*\((\d+)\)")
DISK_ERRORS = (  # the disk fails, or the way to it
    "EIO ESTALE ETIMEDOUT ENOTCONN ECONNRESET EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH "
    "EREMOTEIO ENXIO ENODEV"
)
# what to write after the file's name, and what to do
NO_MEMORY = (
    "takes more memory than there is",
    "Close other programs, or read it on a machine with more memory",
)
TOO_MANY_FILES = "cannot be opened: this machine has too many open files"
FORBIDDEN = ("may not be read by this user", "Change its permissions with `chmod`")
GONE = ("is gone: it was moved or deleted meanwhile", "Put it back, or name another file")
REASONS = {
    errno.ENOMEM: NO_MEMORY,
    errno.ENFILE: (TOO_MANY_FILES, "End some programs, and try again"),
    errno.EACCES: FORBIDDEN,
    errno.EPERM: FORBIDDEN,
    errno.ENOENT: GONE,
    errno.ENOTDIR: GONE,
    errno.EISDIR: ("is a folder", "Name a file in it"),
}


def error_number(error: BaseException) -> int | None:
    """Return the system's number of an error, also where a library only quotes it."""
    code: int | None = getattr(error, "errno", None)
    if code is None and (match := NUMBER.search(str(error))):
        code = int(match[1] or match[2])
    return code


def os_reason(error: BaseException) -> tuple[str, str] | None:
    """Return why the system lets no file be read, and what to do; None if unknown.

    Args:
        error: an `OSError` or `MemoryError`, or what a library made of one.

    Returns:
        Words to follow the file's name, and a sentence without its full stop.
    """
    code = errno.ENOMEM if isinstance(error, MemoryError) else error_number(error)
    if code == errno.EMFILE:
        return (
            f"cannot be opened: {_open_files()}",
            "Raise the limit, or read fewer files at a time",
        )
    if code in REASONS:
        return REASONS[code]
    if code is not None and errno.errorcode.get(code) in DISK_ERRORS.split():
        reason = f"cannot be read from its disk ({os.strerror(code)})"
        return reason, "Check the disk or the network, and try again"
    return None


def _open_files() -> str:
    try:
        import resource  # not on Windows
    except ImportError:
        return "too many files are open"
    limit, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = max(4096, 4 * limit)
    if maximum != resource.RLIM_INFINITY:
        more = min(more, maximum)
    reason = f"{limit:,} files are open, the most that this process may have"
    return f"{reason} (`ulimit -n {more}` allows {more:,})"


def os_error_message(error: BaseException, name: str | Path) -> InputError | None:
    """Return an `InputError` if the system does not let a file be read, or None."""
    reason = os_reason(error)
    return None if reason is None else InputError(f"{name} {reason[0]}. {reason[1]}.")


@contextmanager
def translate_os_errors(name: str | Path) -> Iterator[None]:
    """Raise an `InputError` for the system's errors in reading a file; others pass."""
    try:
        yield
    except (OSError, MemoryError) as error:
        if refusal := os_error_message(error, name):
            raise refusal from error
        raise
