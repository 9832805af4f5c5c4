"""MATLAB files of before version 7.3 → HDF5 files, with one variable in memory at a time.

Later ones are HDF5 themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from signs_lightning.data.array_import import WrittenArrays
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.progress import OnProgress

NUMBERS = {"double", "single", "logical"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
MAX_LABEL = 10_000  # larger numbers are no labels


def mat_to_h5(
    source: Path, output: Path, samples: str | None = None, advance: OnProgress | None = None
) -> WrittenArrays:
    """Write the variables of a MATLAB file to an HDF5 file, samples first.

    MATLAB files often count their images along the last axis, (H, W, C, N). The length of the
    labels beside them tells. Fields of a structure become datasets of a group.

    Args:
        source: the file, of MATLAB 4 to 7.2.
        output: the HDF5 file.
        samples: "first" or "last", the axis that counts the images where lengths do not tell.
        advance: called after each variable.

    Raises:
        InputError: scipy is not installed, the file is damaged or holds no numbers, or which axis
            counts the images is asked for.
    """
    try:
        import scipy.io  # optional: the extra `convert`
    except ImportError as error:
        raise InputError(
            f"{source} is a MATLAB file, which scipy reads. Install it with `pip install scipy`."
        ) from error
    written = WrittenArrays()
    with atomic_write(output) as temporary, h5py.File(temporary, "w", locking=False) as file:
        try:
            listing = scipy.io.whosmat(str(source))
            counts = {
                max(shape)
                for _, shape, kind in listing
                if kind in NUMBERS and max(shape) == np.prod(shape) > 1
            }
            for done, (name, _, _) in enumerate(listing, 1):
                content = scipy.io.loadmat(str(source), variable_names=[name], simplify_cells=True)
                for key, array, lengths in _flatten(name, content[name], counts):
                    moved = _put_samples_first(source, key, array, lengths, samples, written)
                    written.add(file, key, moved)
                if advance is not None:
                    advance(done, len(listing))
        except InputError:
            raise
        except Exception as error:  # scipy's readers raise anything where bytes are damaged
            raise os_error_message(error, source) or InputError(
                f"{source} cannot be read as a MATLAB file ({shorten(str(error), 200)}). Fetch or "
                "write it again."
            ) from error
        written.check_not_empty(source)
    return written


def _flatten(key: str, value: Any, lengths: set[int]) -> Iterator[tuple[str, np.ndarray, set[int]]]:
    """Yield the arrays in a value, with the lengths of the vectors beside each."""
    if not isinstance(value, dict):
        yield key, np.asarray(value), lengths
        return
    inner = {len(v) for v in value.values() if isinstance(v, np.ndarray) and v.ndim == 1}
    for name, part in value.items():
        yield from _flatten(f"{key}/{name}", part, inner)


def _put_samples_first(
    source: Path,
    key: str,
    array: np.ndarray,
    lengths: set[int],
    samples: str | None,
    written: WrittenArrays,
) -> np.ndarray:
    """Return an array with the axis first that counts the images, and note what was done."""
    if array.dtype.kind not in "iufb" or array.size == 0:
        return array
    if array.ndim == 1 and array.min() == 1 and array.max() < min(MAX_LABEL, len(array)):
        is_whole = array.dtype.kind != "f" or bool((array == np.floor(array)).all())
        if is_whole:
            written.notes.append(
                f"'{shorten(key)}' counts from 1 to {array.max():g}; labels here begin at 0, which "
                "--data.label_offset -1 makes of them."
            )
    if array.ndim < 2 or array.shape[-1] not in lengths:
        return array
    if array.shape[0] in lengths and samples is None:
        raise InputError(
            f"'{shorten(key)}' in {source} has the shape {array.shape}, and both its first and its "
            "last axis may count the images. Add --samples first or --samples last."
        )
    if array.shape[0] in lengths and samples == "first":
        return array
    moved = np.moveaxis(array, -1, 0)
    written.notes.append(f"'{shorten(key)}': {array.shape} -> {moved.shape}, images first.")
    return moved
