"""Opens zip archives that may be damaged: zipfile believes the sizes that are written in them."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_lightning.runtime.escaping import shorten

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks others without a limit
# what claims in an archive's directory lead zipfile to
DIRECTORY_ERRORS = (struct.error, MemoryError, OverflowError, ValueError, IndexError)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive all of whose entries lie within the file, so that none claims more memory.

    Raises:
        BadZipFile: it is damaged.
        NotImplementedError: it needs another method of packing, or a later version.
        OSError: it cannot be read.
    """
    try:
        archive = zipfile.ZipFile(path)
    except DIRECTORY_ERRORS as error:
        raise zipfile.BadZipFile("its directory cannot be read") from error
    with archive:
        size = os.stat(path).st_size
        for entry in archive.infolist():
            if not 0 <= entry.header_offset <= size - entry.compress_size:
                raise zipfile.BadZipFile(
                    f"its entry {shorten(repr(entry.filename), 60)} claims {entry.compress_size:,} "
                    f"bytes of {size:,}"
                )
            if entry.compress_type not in METHODS:
                raise NotImplementedError(f"packed by method {entry.compress_type}, not by deflate")
        yield archive
