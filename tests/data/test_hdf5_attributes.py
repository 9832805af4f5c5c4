"""Attributes are read through one function, which refuses what HDF5 would crash on."""

from __future__ import annotations

import ast
from pathlib import Path

import h5py
import numpy as np
import pytest
from hostile_hdf5 import make_crashing

import signs_lightning
from signs_lightning.data import hdf5_attributes
from signs_lightning.data.hdf5_attributes import read_attribute
from signs_lightning.errors import InputError

PACKAGE = Path(signs_lightning.__file__).parent


def test_the_attribute_that_the_fuzzer_found(tmp_path: Path) -> None:
    """Input 1868 of the fuzzer, in short."""
    message = "The attribute name of '/' has 1 values of 16 bytes"
    with (
        h5py.File(make_crashing(tmp_path / "f.h5")) as file,
        pytest.raises(InputError, match=message),
    ):
        read_attribute(file, "name")


def test_what_is_read_and_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text and numbers are what h5py has; other types, and too many values, are refused."""
    good = {
        "text": "a", "bytes": np.bytes_(b"ab"), "names": np.array([b"a", b"bc"]), "one": 7,
        "floats": np.arange(3.0), "none": np.zeros(0), "truth": True, "empty": h5py.Empty("f4"),
    }  # fmt: skip
    odd = h5py.h5t.STD_I16LE.copy()
    odd.set_precision(12)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for name, value in good.items():
            file.attrs[name] = value
        file.attrs["table"] = np.zeros(2, [("a", "u1"), ("b", "f8")])
        file.attrs["reference"] = file.ref
        rows = h5py.h5t.vlen_create(h5py.h5t.NATIVE_INT64)
        h5py.h5a.create(file.id, b"rows", rows, h5py.h5s.create_simple((2,)))
        h5py.h5a.create(file.id, b"bits", odd, h5py.h5s.create_simple((2,)))
        for name in good:
            found, expected = read_attribute(file, name), file.attrs[name]
            assert type(found) is type(expected)
            np.testing.assert_array_equal(found, expected) if name != "empty" else None
        assert read_attribute(file, "missing") is None
        for name in ("table", "reference", "rows", "bits"):
            with pytest.raises(InputError, match="expected text or a number"):
                read_attribute(file, name)
        monkeypatch.setattr(hdf5_attributes, "MAX_VALUES", 2)
        with pytest.raises(InputError, match="'/' has 3 values of 8 bytes"):
            read_attribute(file, "floats")


def test_no_other_file_reads_attributes() -> None:
    """`.attrs` is used elsewhere only to write, and where the sandbox copies."""
    readers = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        written = {
            id(place.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            for place in ast.walk(target)
            if isinstance(place, ast.Subscript)
        }
        found = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "attrs" and id(node) not in written
        ]
        readers += [str(path.relative_to(PACKAGE))] * bool(found)
    assert sorted(readers) == ["data/hdf5_attributes.py", "data/hdf5_rewrite.py"]
