"""Images packed by filters that HDF5 does not bring, against h5py with hdf5plugin."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import untrusted_filters as untrusted

from signs_lightning.__main__ import main
from signs_lightning.data import hdf5_dataset_checks
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_filters import PLUGIN_FILTERS
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_rewrite import rewrite_hdf5
from signs_lightning.data.hdf5_storage_readers import HDF5Reader
from signs_lightning.errors import InputError
from signs_lightning.inspect.examine_file import examine

N = 23
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
WANTED = [5, 0, 22, 5, 7, 6, 1, 22]

# In a process where the filters are not registered yet: the import is what registers them.
READ = """
import sys
if sys.argv[2] == "missing":
    sys.modules["hdf5plugin"] = None
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_rewrite import rewrite_hdf5
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.errors import InputError
try:
    reader = ImageReader(check_file(sys.argv[1]))
    print(reader.layout.description, int(reader.read(0, 23).sum(dtype=int)))
except InputError as error:
    print(error)
"""


def write(path: Path, values: np.ndarray = IMAGES, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(4, 8, 8, 3), **options)
        file["y"] = np.arange(N) % 3
    return path


def header(path: Path, code: int) -> Path:
    """A file whose images say that a filter packed them; none is written."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 8, 8, 3))
    properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(IMAGES.shape)
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, properties)
        file["y"] = np.arange(N) % 3
    return path


def read_alone(path: Path, state: str) -> str:
    command = [sys.executable, "-c", READ, str(path), state]
    environment = {k: v for k, v in os.environ.items() if k != "HDF5_PLUGIN_PATH"}
    return subprocess.run(command, capture_output=True, text=True, env=environment).stdout.strip()


@pytest.mark.parametrize("name", ["Bitshuffle", "Blosc", "Blosc2", "BZip2", "LZ4", "Zstd"])
def test_filters_of_hdf5plugin(name: str, tmp_path: Path) -> None:
    """Any batch is what went in, also from a copy as a worker has it; `inspect` says the name."""
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = write(tmp_path / "f.h5", **getattr(hdf5plugin, name)())
    dataset = pickle.loads(pickle.dumps(H5Images([check_file(path)])))
    np.testing.assert_array_equal(dataset.__getitems__(WANTED)[0].numpy(), IMAGES[WANTED])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(N)), IMAGES)
    assert isinstance(dataset.readers[0]._source, HDF5Reader)
    code = dict(getattr(hdf5plugin, name)())["compression"]
    assert dataset.readers[0].layout.description == f"in chunks of 4×8×8×3, {PLUGIN_FILTERS[code]}"
    report = examine(str(path), {}, 5)
    assert report.problem == ""
    assert f"chunks 4×8×8×3, {PLUGIN_FILTERS[code]}" in str(report.listings)


def test_the_package_is_imported_when_a_file_needs_it(tmp_path: Path) -> None:
    """Blosc is not known to HDF5 in a new process; with the package its images are read, without it
    the sentence names what to install.
    """
    hdf5plugin = pytest.importorskip("hdf5plugin")
    path = write(tmp_path / "f.h5", **hdf5plugin.Blosc(cname="zstd"))
    total = int(IMAGES.sum(dtype=int))
    assert read_alone(path, "installed") == f"in chunks of 4×8×8×3, Blosc {total}"
    assert read_alone(path, "missing") == MISSING.format(path=path, name="Blosc")


MISSING = (
    "'x' in {path} is packed by {name}, which the package hdf5plugin unpacks. Install it with "
    "`pip install hdf5plugin`, then try again."
)


def test_the_names_are_those_of_hdf5plugin() -> None:
    """Every filter of the package has a name here."""
    hdf5plugin = pytest.importorskip("hdf5plugin")
    assert set(hdf5plugin.FILTERS.values()) <= set(PLUGIN_FILTERS)


def test_without_the_package(tmp_path: Path) -> None:
    """The sentence names the filter and the package; no image needs to be there for it."""
    path = header(tmp_path / "f.h5", 32015)
    assert read_alone(path, "missing") == MISSING.format(path=path, name="Zstandard")


def test_large_chunks_are_refused_with_any_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No filter is asked to unpack more than a chunk may have."""
    monkeypatch.setattr(hdf5_dataset_checks, "MAX_CHUNK_BYTES", 767)
    path = header(tmp_path / "f.h5", 32001)
    with pytest.raises(InputError, match="has chunks of 768 bytes, more than 767"):
        check_file(path)


@pytest.mark.parametrize(
    ("packing", "key"),
    [
        ("scale-offset", "x"),
        ("scale-offset, gzip", "y"),
        ("n-bit", "y"),
        ("szip", "x"),
        ("12 bits", "x"),
    ],
)
def test_what_is_not_unpacked_in_training_is_rewritten(
    packing: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused by name before a value is read, and the command that the message names writes
    the same values, names, links and attributes, which are read.
    """
    path = untrusted.write_untrusted(tmp_path / "f.h5", packing, key)
    with pytest.raises(InputError, match=untrusted.UNTRUSTED[packing]) as refused:
        check_file(path)
    said = re.search(r"`python -m signs_lightning (convert .*)`", str(refused.value))
    assert said is not None
    assert main(shlex.split(said[1])) == 0
    output = tmp_path / "f_plain.h5"
    assert f"inspect {output}" in capsys.readouterr().out
    dataset = H5Images([check_file(output)])
    np.testing.assert_array_equal(dataset.read_sorted(np.arange(len(dataset))), untrusted.IMAGES)
    np.testing.assert_array_equal(dataset.labels, untrusted.LABELS)
    with h5py.File(path) as before, h5py.File(output) as after:
        assert list(after) == list(before)
        assert after.get("soft", getlink=True).path == "/y"
        assert after["z/twice"] == after["y"]
        for name in ("/", "x", "y", "z"):
            assert dict(after[name].attrs) == dict(before[name].attrs)
            assert after[name].attrs["unit"] == "cm"
    with pytest.raises(InputError, match="It needs no rewriting"):
        rewrite_hdf5(output, tmp_path / "again.h5")
