"""What the operating system says when a file cannot be opened or read, in a sentence. The file itself may be sound."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_lightning.errors import InputError

NUMBER = re.compile(
    r"errno = (\d+)|^unable to (?:open|mmap|stat)\b.*\((\d+)\)"
)  # as HDF5 and PyTorch quote it
NOT_THERE = (
    "EIO ESTALE ETIMEDOUT ENOTCONN ECONNRESET EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH "
    "EREMOTEIO ENXIO ENODEV"
)
DISK = {
    getattr(errno, name) for name in NOT_THERE.split() if hasattr(errno, name)
}  # the disk, or the way to it


def error_number(error: BaseException) -> int | None:
    """The system's number for what went wrong, also where a library only quotes it."""
    code: int | None = getattr(error, "errno", None)
    if code is None and (found := NUMBER.search(str(error))):
        code = int(found[1] or found[2])
    return code


def os_reason(error: BaseException) -> tuple[str, str] | None:
    """What keeps a file from being read, to follow its name, and what to do about it; None where the system has not said so.

    Args:
        error: an `OSError` or `MemoryError`, or what a library made of one.
    """
    code = error_number(error)
    if isinstance(error, MemoryError) or code == errno.ENOMEM:
        return (
            "takes more memory than there is",
            "Close other programs, or read it on a machine with more memory",
        )
    if code == errno.EMFILE:
        return (
            "cannot be opened: " + _open_files(),
            "Raise the limit, or read fewer files at a time",
        )
    if code == errno.ENFILE:
        return (
            "cannot be opened: this machine has too many open files",
            "End some programs, and try again",
        )
    if code in (errno.EACCES, errno.EPERM):
        return "may not be read by this user", "Change its permissions with `chmod`"
    if code in (errno.ENOENT, errno.ENOTDIR):
        return "is gone: it was moved or deleted meanwhile", "Put it back, or name another file"
    if code == errno.EISDIR:
        return "is a folder", "Name a file in it"
    if code is not None and code in DISK:
        return (
            f"cannot be read from its disk ({os.strerror(code)})",
            "Check the disk or the network, and try again",
        )
    return None


def _open_files() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "too many files are open"
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = max(4096, 4 * limit)
    if most != resource.RLIM_INFINITY:
        more = min(more, most)
    return (
        f"{limit:,} files are open, the most that this process may have (`ulimit -n {more}` "
        f"allows {more:,})"
    )


def os_error_message(error: BaseException, name: str | Path) -> InputError | None:
    """The sentences about a file that the system does not let us read; None for any other error."""
    found = os_reason(error)
    return None if found is None else InputError(f"{name} {found[0]}. {found[1]}.")


@contextmanager
def translate_os_errors(name: str | Path) -> Iterator[None]:
    """An `InputError` for what the operating system has against reading a file; other errors pass."""
    try:
        yield
    except (OSError, MemoryError) as error:
        refusal = os_error_message(error, name)
        if refusal is None:
            raise
        raise refusal from error
