"""A lock on a run folder, so that two fits do not write into one."""

from __future__ import annotations

import os
from pathlib import Path

from signs_lightning.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RUN_LOCKS: set[int] = set()  # descriptors that lock this process's run folders


def lock_run_folder(folder: Path) -> int | None:
    """Lock a run folder for this process; the lock ends with the process.

    Args:
        folder: it is made where it does not exist.

    Returns:
        What `unlock_run_folder` takes; None on systems without locks.

    Raises:
        InputError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(
            f"{folder} is in use by another fit. Wait for it, or start a new run in a folder of "
            "its own."
        ) from error
    except OSError:  # a file system without locks
        pass
    RUN_LOCKS.add(handle)
    return handle


def unlock_run_folder(handle: int | None) -> None:
    """Give a lock back, if this process has it."""
    if handle in RUN_LOCKS:
        RUN_LOCKS.remove(handle)
        os.close(handle)


def _close_locks_after_fork() -> None:
    """Close them in processes that read ahead: these may outlive this one."""
    for handle in RUN_LOCKS:
        os.close(handle)
    RUN_LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_locks_after_fork)
