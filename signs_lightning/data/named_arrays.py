"""Reads arrays by their names from a NumPy archive (.npz) or an HDF5 file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from signs_lightning.data.array_import import npz_to_h5
from signs_lightning.data.hdf5_dataset_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import DAMAGE, open_read_only
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_guard import trust_own_file
from signs_lightning.runtime.file_read_errors import translate_os_errors
from signs_lightning.runtime.file_signatures import (
    describe_non_hdf5,
    is_zip,
    missing_file_message,
)

MAX_BYTES = 2**32  # of an array


def read_named_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return those arrays of a file that have one of the names; nothing in it is run.

    Raises:
        InputError: the file is missing, damaged, of another kind, or an array is too large.
    """
    with translate_os_errors(path):
        if not path.exists():
            raise InputError(missing_file_message(path))
        if path.is_file() and is_zip(path):
            with tempfile.TemporaryDirectory() as folder:
                npz_to_h5(path, Path(folder) / "arrays.h5")
                trust_own_file(Path(folder) / "arrays.h5")
                return _read(Path(folder) / "arrays.h5", names)
        if kind := describe_non_hdf5(path):
            raise InputError(f"{path} is neither an .npz nor an HDF5 file but {kind}")
        return _read(path, names)


def _read(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    arrays = {}
    try:
        with open_read_only(path) as file:
            for name in names:
                if file.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                    continue
                dataset = file[name]
                if isinstance(dataset, h5py.Dataset):
                    check_dataset_header(f"'{shorten(name)}' in {path}", dataset, MAX_BYTES)
                    arrays[name] = dataset[()]
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"{path} is damaged ({shorten(str(error), 200)}). Fetch or write it again."
        ) from error
    return arrays
