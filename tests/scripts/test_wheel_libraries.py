"""The list of C libraries, against what the packages and their files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from PIL import features

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_libraries_in_wheels() -> None:
    """HDF5 and libjpeg by their own versions, and every library that lies beside h5py."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/wheel_libraries.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["h5py", h5py.__version__, "HDF5", h5py.version.hdf5_version] in rows
    assert ["libjpeg-turbo", features.version("libjpeg_turbo")] in [row[2:] for row in rows]
    beside = Path(h5py.__file__).parents[1] / "h5py.libs"
    listed = {row[2] for row in rows if row[0] == "h5py"}
    assert listed > {path.name.partition("-")[0] for path in beside.iterdir()}
