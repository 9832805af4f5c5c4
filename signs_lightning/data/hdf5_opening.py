"""Opening HDF5 files for reading, also where their disk has no locks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from signs_lightning.errors import InputError
from signs_lightning.runtime.file_guard import check_file_is_safe
from signs_lightning.runtime.file_read_errors import os_error_message, translate_os_errors
from signs_lightning.runtime.file_signatures import describe_non_hdf5, missing_file_message

# What h5py raises for damaged bytes; LookupError is a KeyError or IndexError
DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, MemoryError, OverflowError)
# What POSIX allows as the error where another process has the lock
LOCKED = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


def open_read_only(path: Path, **options: Any) -> h5py.File:
    """Return `h5py.File(path, "r")`, without a lock where the file's disk has none.

    NFS, Lustre and the like may have none.

    Args:
        path: the file.
        options: for `h5py.File`.

    Raises:
        InputError: the system, or another program, keeps it from being opened, or it crashes HDF5.
        OSError: h5py's own, where its bytes are not those of a sound file.
    """
    check_file_is_safe(path)
    for locking in (None, False, True):  # None is HDF5's default: a lock that readers share
        try:
            return h5py.File(path, "r", locking=locking, **options)
        except OSError as error:  # not stored: with its frames it would keep the file open
            if locking is not True and _is_worth_another_lock(error):
                continue
            if translated := _translate_open_error(error, path):
                raise translated from error
            raise
    raise AssertionError("unreachable")


def _is_worth_another_lock(error: OSError) -> bool:
    """Whether the file could be opened with another kind of lock, or with none."""
    if "unable to lock file" in str(error):
        return error.errno not in LOCKED
    # This process, a notebook, has it open with another kind of lock.
    return "values don't match" in str(error)


def _translate_open_error(error: OSError, path: Path) -> InputError | None:
    if "unable to lock file" in str(error):
        if error.errno in LOCKED:
            return InputError(
                f"{path} is open for writing in another program, such as a notebook. Close it "
                "there (`file.close()`), then try again."
            )
        # The variable is stronger than `locking`.
        return InputError(
            f"{path} lies on a disk without locks ({os.strerror(error.errno or errno.ENOLCK)}), "
            "and HDF5_USE_FILE_LOCKING asks for one. Unset this variable, or set it to FALSE."
        )
    if "already open for write" in str(error):
        return InputError(
            f"{path} is marked as open for writing. Close it in the program that writes it; where "
            f"none does, because one ended early, clear the mark with `h5clear -s {path}`."
        )
    return os_error_message(error, path)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; what is wrong with it is an `InputError`."""
    with translate_os_errors(path):
        if not path.exists():
            raise InputError(missing_file_message(path))
        other_type, size = describe_non_hdf5(path, "data"), path.stat().st_size
    if other_type is not None:
        raise InputError(f"{path} is not an HDF5 file but {other_type}")
    try:
        file = open_read_only(path)
    except OSError as error:
        if "truncated" in str(error):
            raise InputError(
                f"{path} is a truncated HDF5 file ({size:,} bytes): a download that broke off. "
                "Fetch it again."
            ) from error
        reason = str(error).partition("(")[2].rpartition(")")[0] or str(error)
        raise InputError(
            f"{path} ({size:,} bytes) begins as an HDF5 file and cannot be opened ({reason}): it "
            "is damaged, still being written, or of a newer format. Fetch or write it again."
        ) from error
    with file:
        try:
            yield file
        except InputError:
            raise
        except DAMAGE as error:  # a filter or bytes are missing, or bytes make no sense
            if translated := os_error_message(error, path):
                raise translated from error
            reason = str(error).strip("'\"").partition("\n")[0][:200].rstrip(".")
            raise InputError(
                f"{path} is an HDF5 file that cannot be read: {reason}. Fetch or write it again."
            ) from error
