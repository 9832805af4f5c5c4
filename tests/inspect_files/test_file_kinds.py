"""Every kind of file is called what it is, with the command that goes on; none sound is damaged."""

from __future__ import annotations

import json
import pickle
import re
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image, features

from signs_lightning import InputError, from_keras
from signs_lightning.checkpoints.files import load_checkpoint
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.data.picture_folders import find_class_pictures
from signs_lightning.inspect.examine_file import examine
from signs_lightning.runtime.file_signatures import describe_non_hdf5

PIXELS = np.arange(12 * 8 * 8 * 3, dtype=np.uint8).reshape(12, 8, 8, 3)


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "content")


def write_csv(path: Path, separator: str = ",") -> None:
    rows = [[k % 3, *image.ravel()[:64]] for k, image in enumerate(PIXELS)]
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))


def write_mat(path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    with path.open("wb") as file:
        scipy_io.savemat(file, {"x": PIXELS})


def write_netcdf(path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    with scipy_io.netcdf_file(str(path), "w") as file:
        file.createDimension("n", 3)
        file.createVariable("x", "i4", ("n",))[:] = [1, 2, 3]


def write_sqlite(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("create table t (x)")
    database.commit()
    database.close()


def write_picture(kind: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(PIXELS[0]).save(path, kind)


def write_old_torch(path: Path) -> None:
    torch.save({"x": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)


def write_json(content: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(content))


def write_bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


# One record of three bytes: length and data, each followed by its masked CRC-32C
TFRECORD = struct.pack("<Q", 3) + bytes.fromhex("b099490e") + b"abc" + bytes.fromhex("6e57f121")
SAFETENSORS_HEADER = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
SAFETENSORS = struct.pack("<Q", len(SAFETENSORS_HEADER)) + SAFETENSORS_HEADER + bytes(4)
LAYERS = {"format": "layers-model", "modelTopology": {}, "weightsManifest": []}
GRAPH = LAYERS | {"format": "graph-model"}
IDX = b"\x00\x00\x08\x03" + struct.pack(">3I", 12, 8, 8) + bytes(12 * 64)

FILES: dict[str, tuple[Callable[[Path], Any], str, str]] = {  # name → writer, kind, advice
    "a.npz": (lambda p: np.savez(p, x=PIXELS), "a NumPy archive", "convert {file} --output DIR"),
    "a.npy": (lambda p: np.save(p, PIXELS), "a NumPy file", "numpy.load("),
    "mat5.mat": (write_mat, "a MATLAB file of before version 7.3", "convert {file} --output DIR"),
    "pixels.csv": (write_csv, "a CSV file of 65 columns", "convert {file} --output DIR"),
    "pixels.tsv": (lambda p: write_csv(p, "\t"), "a TSV file of 65 columns", "tr '\\t' ','"),
    "labels.csv": (write_bytes(b"id,label\n1,cat\n2,dog\n"), "a CSV file of 2 columns",
                   "--data.train_labels_file"),
    "architecture.json": (write_json({"class_name": "Sequential", "config": {}}),
                          "a Keras architecture without weights", "import-keras "),
    "layers.json": (write_json(LAYERS), "a TensorFlow.js model", "tensorflowjs_converter"),
    "graph.json": (write_json(GRAPH), "a TensorFlow.js model", "Name the .keras or .h5 file"),
    "other.json": (write_json([1, 2]), "a JSON file", "name another file"),
    "notebook.ipynb": (write_json({"cells": [], "nbformat": 4}), "a Jupyter notebook", "Name the"),
    "config.yaml": (write_bytes(b"trainer:\n  max_epochs: 3\n"), "a YAML file", "fit --config"),
    "a.parquet": (write_bytes(b"PAR1" + bytes(40) + b"PAR1"), "a parquet file", "read_parquet("),
    "a.arrow": (write_bytes(b"ARROW1\0\0" + bytes(40)), "an Arrow", "read_feather("),
    "a.tfrecord": (write_bytes(TFRECORD), "a TFRecord file", "TFRecordDataset("),
    "data.mdb": (write_bytes(bytes(16) + b"\xde\xc0\xef\xbe" + bytes(40)), "an LMDB database",
                 "package lmdb"),
    "a.nc": (write_netcdf, "a NetCDF file", "scipy.io.netcdf_file("),
    "a.sqlite": (write_sqlite, "an SQLite database", "sqlite3.connect("),
    "a.pdf": (write_bytes(b"%PDF-1.7\n" + bytes(40)), "a PDF document", "name another file"),
    "a.dcm": (write_bytes(bytes(128) + b"DICM" + bytes(40)), "a DICOM file", "pydicom.dcmread("),
    "a.fits": (write_bytes(b"SIMPLE  =" + b" " * 80), "a FITS file", "astropy.io.fits.open("),
    "a.hdf": (write_bytes(b"\x0e\x03\x13\x01" + bytes(40)), "an HDF4 file", "h4toh5"),
    "train-images-idx3-ubyte": (write_bytes(IDX), "an IDX file", ".reshape(12, 8, 8)"),
    "a.png": (write_picture("PNG"), "a PNG picture", "--images"),
    "a.jpg": (write_picture("JPEG"), "a JPEG picture", "--images"),
    "a.gif": (write_picture("GIF"), "a GIF picture", "--images"),
    "a.tif": (write_picture("TIFF"), "a TIFF picture", "--images"),
    "a.bmp": (write_picture("BMP"), "a BMP picture", "--images"),
    "a.webp": (write_picture("WEBP"), "a WebP picture", "--images"),
    "a.avif": (write_picture("AVIF"), "an AVIF picture", "--images"),
    "a.heic": (write_bytes(b"\0\0\0\x18ftypheic" + bytes(40)), "a HEIC picture", "pillow-heif"),
    "a.mp4": (write_bytes(b"\0\0\0\x18ftypisom" + bytes(40)), "a video file", "ffmpeg -i"),
    "a.avi": (write_bytes(b"RIFF\0\0\0\0AVI LIST"), "a video file (AVI)", "ffmpeg -i"),
    "a.mkv": (write_bytes(b"\x1a\x45\xdf\xa3" + bytes(40)), "a video file", "ffmpeg -i"),
    "a.tflite": (write_bytes(b"\x1c\0\0\0TFL3" + bytes(40)), "a TensorFlow Lite model",
                 "Name the .keras or .h5 file"),
    "frozen.pb": (write_bytes(b"\x0a\x15\x0a\x05input" + bytes(40)), "a frozen graph",
                  "Name the .keras or .h5 file"),
    "saved_model.pb": (write_bytes(b"\x08\x01\x12\x40" + bytes(40)), "the graph of a TensorFlow",
                       "Name the folder"),
    "checkpoint": (write_bytes(b'model_checkpoint_path: "ckpt-1"\n'), "the list of a TensorFlow",
                   "tf_keras"),
    "ckpt-1.index": (write_bytes(bytes(40) + bytes.fromhex("57fb808b247547db")),
                     "a part of a TensorFlow checkpoint", "load_weights("),
    "a.safetensors": (write_bytes(SAFETENSORS), "a safetensors file", "Name the checkpoint or"),
    "old.pt": (write_old_torch, "a PyTorch file of before version 1.6", "import-keras"),
    "new.pt": (lambda p: torch.save({}, p), "a PyTorch file", "import-keras"),
    "model.pkl": (write_bytes(pickle.dumps({"a": 1})), "a Python pickle", "Ask for an HDF5 file"),
    "a.xlsx": (lambda p: write_zip(p, "[Content_Types].xml"), "an Office document", "another"),
    "a.zip": (lambda p: write_zip(p, "train.h5"), "a zip archive", "unzip {file}"),
    "random.bin": (write_bytes(bytes(range(255, 0, -1))), "something else", "Name another file"),
    "a.txt": (write_bytes(b"just a text\n"), "something else", "Name another file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_every_kind(name: str, suffix: str, tmp_path: Path) -> None:
    """Told by its bytes, also under an .h5 name; the word "damaged" never appears; `inspect` and
    the messages of data say the same.
    """
    write, kind, advice = FILES[name]
    if name == "a.avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    plain = tmp_path / name
    with plain.open("wb"):
        write(plain)
    path = plain.rename(tmp_path / f"{name}{suffix}")
    by_name = {"frozen.pb", "ckpt-1.index", "config.yaml"}
    if suffix and name in by_name:
        return
    found = describe_non_hdf5(path)
    assert found is not None
    assert found.startswith(kind)
    assert advice.format(file=path) in found
    report = examine(str(path), {}, 1)
    if not report.what.startswith(("picture", "PyTorch file", "Keras architecture")):
        assert report.problem == f"{path} is {found}"
    with pytest.raises(InputError) as data_error, open_hdf5(path):
        pass
    assert str(data_error.value).startswith(f"{path} is not an HDF5 file but {kind}")
    for message in (found, report.problem, str(data_error.value)):
        assert "damaged" not in message


def test_folders(tmp_path: Path) -> None:
    """Models and arrays that are folders."""

    def make(name: str, *files: str) -> Path:
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
        return tmp_path / name

    cases = {
        make("keras2", "saved_model.pb", "keras_metadata.pb"): "tf_keras.models.load_model(",
        make("exported", "saved_model.pb"): "Name the .keras or .h5 file that it was made from",
        make("array.zarr", ".zarray"): "zarr.open(",
        make("lmdb", "data.mdb", "lock.mdb"): "package lmdb",
        make("tfjs", "model.json", "group1-shard1of1.bin"): "Name that file",
        make("tf1", "checkpoint", "m.index", "m.data-00000-of-00001"): "tf_keras",
        make("none"): "Name a file in it",
    }
    for path, advice in cases.items():
        found = examine(str(path), {}, 1).problem
        assert advice in found
        assert "damaged" not in found
        if path.name != "none":
            kind = found.partition(". ")[0]
            with pytest.raises(InputError, match=re.escape(kind)):
                find_class_pictures(path)


@pytest.mark.parametrize(
    ("name", "data", "model"),
    [
        ("a.npz", "convert", "Name a file that holds a model."),
        ("a.tflite", "Name a file of images and labels.", "Name the .keras or .h5 file"),
        ("a.png", "--images", "Name a file that holds a model."),
        ("a.zip", "unzip", "unzip"),
    ],
)
def test_advice_fits_what_is_wanted(name: str, data: str, model: str, tmp_path: Path) -> None:
    """A table is not converted where a model was asked for, nor a model named as data."""
    path = tmp_path / name
    FILES[name][0](path)
    with pytest.raises(InputError) as error, open_hdf5(path):
        pass
    assert data in str(error.value)
    with pytest.raises(InputError) as error:
        load_checkpoint(path)
    assert f"{path} is not a checkpoint but {FILES[name][1]}" in str(error.value)
    assert model in str(error.value)
    if not zipfile.is_zipfile(path):
        with pytest.raises(InputError) as error:
            from_keras(path)
        assert f"{name} is not a Keras file but {FILES[name][1]}" in str(error.value)
        assert model in str(error.value)


def test_hdf5_files_are_hdf5_files(tmp_path: Path) -> None:
    """Also with a user block, as MATLAB 7.3 writes it, or with one that looks like a text."""
    for block in (b"MATLAB 7.3 MAT-file".ljust(512), b"a,b\n1,2\n" * 64):
        path = tmp_path / "a.h5"
        with h5py.File(path, "w", userblock_size=512) as file:
            file["x"] = PIXELS
        with path.open("r+b") as raw:
            raw.write(block)
        assert describe_non_hdf5(path) is None
        with open_hdf5(path) as file:
            assert file["x"].shape == PIXELS.shape


def test_packed_files(tmp_path: Path) -> None:
    """What is in them decides on the command."""
    import bz2
    import gzip
    import io
    import lzma
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    for name, compress in (("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)):
        path = tmp_path / f"a.{name}"
        path.write_bytes(compress(buffer.getvalue()))
        assert f"a {name} archive of several files" in str(describe_non_hdf5(path))
        path.write_bytes(compress(b"one file"))
        assert f"`{name} -dc < {path} > " in str(describe_non_hdf5(path))
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 9))
    assert f"convert {path} --output DIR" in str(describe_non_hdf5(path))
