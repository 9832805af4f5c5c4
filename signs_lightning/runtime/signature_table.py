"""Kinds of files by their bytes: where these are, what they tell, and what to do next.

In the advice, `{file}` is the path as a shell takes it, `{python}` as Python does.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Use = Literal["data", "model", "any"]

CONVERT = "Convert it with `python -m signs_lightning convert {file} --output DIR`."
PREDICT = (
    "Name it with --images of `predict`; for training, put pictures into a folder for each class "
    "and name the folder above them."
)
FRAMES = "Save frames as pictures with `ffmpeg -i {file} -vf fps=1 DIR/%05d.png`."
KERAS_ORIGINAL = "Name the .keras or .h5 file that it was made from."
TF_CHECKPOINT = (
    "Keras 2 reads it (`pip install tf_keras`): build the model, call "
    "`model.load_weights('{prefix}')`, then `model.save('model.h5')`."
)
TF_CHECKPOINT_FILE = re.compile(r"(.+)\.(?:index|data-\d{5}-of-\d{5})")
NOTEBOOK = (
    "Name the file that it reads or writes, or turn it into a folder that trains with "
    "`python -m signs_lightning translate {file} --output translated`."
)
NO_USE = "It holds neither images nor a model: name another file."


def read_with(call: str) -> str:
    """Return the advice to read a file in Python."""
    return f"Read it with {call} and write the images and labels with h5py."


def unpack_with(command: str) -> str:
    """Return the advice to unpack an archive."""
    return f"Unpack it with `{command}` and use what is inside."


class Signature(NamedTuple):
    """A kind of file.

    Attributes:
        places: (offset, bytes) pairs, all of which the file must have.
        what: the kind, after "is".
        use: what the advice makes of it; "any" where it does not depend on what is wanted.
        advice: what to do, in sentences.
    """

    places: tuple[tuple[int, bytes], ...]
    what: str
    use: Use
    advice: str


def _at(offset: int, octets: bytes, what: str, use: Use, advice: str) -> Signature:
    return Signature(((offset, octets),), what, use, advice)


def _in_box(offset: int, box: bytes, brands: str, what: str, advice: str) -> list[Signature]:
    """Return a signature for each brand that follows the name of a file's first box."""
    return [
        Signature(((offset, box), (8, brand.encode())), what, "data", advice)
        for brand in brands.split(",")
    ]


HEIC = f"{PREDICT} Pillow reads it with `pip install pillow-heif`."
SIGNATURES = (
    _at(0, b"\x00\x05\x16\x07", "a macOS `._` companion file", "any",
        "Use the file without `._` in its name."),
    # archives
    _at(257, b"ustar", "a tar archive", "any", unpack_with("tar xf {file}")),
    _at(0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "any", unpack_with("7z x {file}")),
    _at(0, b"Rar!\x1a\x07", "a RAR archive", "any", unpack_with("unrar x {file}")),
    # arrays and tables
    _at(0, b"\x93NUMPY", "a NumPy file", "data",
        "Load it with `numpy.load({python})` and pass the arrays, or write them with h5py."),
    _at(0, b"MATLAB 5.0 MAT-file", "a MATLAB file of before version 7.3", "data", CONVERT),
    _at(0, b"PAR1", "a parquet file", "data", read_with("`pandas.read_parquet({python})`")),
    _at(0, b"ARROW1", "an Arrow (Feather) file", "data",
        read_with("`pandas.read_feather({python})`")),
    _at(0, b"FEA1", "a Feather file", "data", read_with("`pandas.read_feather({python})`")),
    _at(16, b"\xde\xc0\xef\xbe", "an LMDB database", "data", read_with("the package lmdb")),
    *(_at(0, b"CDF" + version, "a NetCDF file of a format before NetCDF-4", "data",
          read_with("`scipy.io.netcdf_file({python})`"))
      for version in (b"\x01", b"\x02", b"\x05")),
    _at(0, b"\x0e\x03\x13\x01", "an HDF4 file", "data", "Turn it into HDF5 with `h4toh5 {file}`."),
    _at(0, b"SQLite format 3\x00", "an SQLite database", "data",
        read_with("`sqlite3.connect({python})`")),
    _at(0, b"SIMPLE  =", "a FITS file", "data", read_with("`astropy.io.fits.open({python})`")),
    _at(128, b"DICM", "a DICOM file", "data",
        "Read it with `pydicom.dcmread({python}).pixel_array` and write the images with h5py."),
    # pictures and films
    _at(0, b"\x89PNG\r\n\x1a\n", "a PNG picture", "data", PREDICT),
    _at(0, b"\xff\xd8\xff", "a JPEG picture", "data", PREDICT),
    _at(0, b"GIF87a", "a GIF picture", "data", PREDICT),
    _at(0, b"GIF89a", "a GIF picture", "data", PREDICT),
    _at(0, b"II*\x00", "a TIFF picture", "data", PREDICT),
    _at(0, b"MM\x00*", "a TIFF picture", "data", PREDICT),
    Signature(((0, b"BM"), (6, bytes(4))), "a BMP picture", "data", PREDICT),
    _at(0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture", "data", PREDICT),
    *_in_box(0, b"RIFF", "WEBP", "a WebP picture", PREDICT),
    *_in_box(4, b"ftyp", "avif,avis", "an AVIF picture", PREDICT),
    *_in_box(4, b"ftyp", "heic,heix,heim,heis,hevc,hevx,mif1,msf1", "a HEIC picture", HEIC),
    _at(4, b"ftyp", "a video file (MP4 or QuickTime)", "data", FRAMES),
    *_in_box(0, b"RIFF", "AVI ", "a video file (AVI)", FRAMES),
    _at(0, b"\x1a\x45\xdf\xa3", "a video file (Matroska or WebM)", "data", FRAMES),
    _at(0, b"\x00\x00\x01\xba", "a video file (MPEG)", "data", FRAMES),
    _at(0, b"\x00\x00\x01\xb3", "a video file (MPEG)", "data", FRAMES),
    _at(0, b"%PDF-", "a PDF document", "any", NO_USE),
    # models
    _at(4, b"TFL3", "a TensorFlow Lite model", "model", KERAS_ORIGINAL),
    _at(0, b"\x08\x01\x12", "the graph of a TensorFlow SavedModel", "model",
        "Name the folder that it is in."),
    _at(0, b"model_checkpoint_path:", "the list of a TensorFlow checkpoint's files", "model",
        TF_CHECKPOINT),
)  # fmt: skip
PACKED = (  # what one file is packed with: bytes at 0, name, command that unpacks it
    (b"\x1f\x8b", "gzip", "gzip"),
    (b"BZh", "bzip2", "bzip2"),
    (b"\xfd7zXZ\x00", "xz", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "zstd"),
    (b"\x04\x22\x4d\x18", "LZ4", "lz4"),
)
