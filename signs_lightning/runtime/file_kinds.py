"""Kinds of files that are told by more than a few bytes: archives, texts, models, folders."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from signs_lightning.runtime.signature_table import (
    CONVERT,
    KERAS_ORIGINAL,
    NO_USE,
    NOTEBOOK,
    PACKED,
    SIGNATURES,
    TF_CHECKPOINT,
    TF_CHECKPOINT_FILE,
    Use,
    read_with,
    unpack_with,
)
from signs_lightning.runtime.zip_entries import open_zip

HTML = (b"<!doctype html", b"<html", b"<head")
PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
OLD_PYTORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
SSTABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # of a TensorFlow checkpoint's index
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MIN_PIXELS = 16  # a table with fewer columns holds no images
KERAS_ARCHITECTURE = "a Keras architecture without weights"
MAX_JSON = 2**26  # bytes that are parsed
TEXT_HEAD = 2**18
OTHER_WEIGHTS = "Name a checkpoint that `fit` or `import-keras` wrote."
TF_KERAS = (
    "Keras 2 turns it into a file that can be imported: `pip install tf_keras`, then `python -c "
    "\"import tf_keras; tf_keras.models.load_model({python}).save('model.h5')\"`."
)
LABELS = (
    "A table of labels goes to --data.train_labels_file, beside the images in --data.train_file."
)
Kind = tuple[str, Use, str]  # what it is, what for, and what to do


class Table(NamedTuple):
    """A table in a text file: the number of its columns, and what separates them."""

    columns: int
    separator: str


def find_kind(path: Path, head: bytes) -> Kind | None:
    """Return what a file is by its signature, or None where it has none.

    Args:
        path: of a file that does not begin as HDF5 does.
        head: its first bytes.

    Raises:
        OSError: it cannot be read.
    """
    if head.startswith(b"version https://git-lfs"):
        return (
            "a git-lfs pointer ({size} bytes of text)",
            "any",
            "Run `git lfs pull` in its repository.",
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML):
        what = "an HTML page ({size} bytes): the link led to a web page"
        return what, "any", "Fetch the file itself, by its download or raw link."
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _find_zip_kind(path)
    for entry in SIGNATURES:
        if all(head[at:].startswith(octets) for at, octets in entry.places):
            return entry.what, entry.use, entry.advice
    for octets, name, command in PACKED:
        if head.startswith(octets):
            return _find_packed_kind(path, name, command)
    if head.startswith(OLD_PYTORCH):
        return "a PyTorch file of before version 1.6", "model", OTHER_WEIGHTS
    if head.startswith(PICKLE):
        what = "a Python pickle ({size} bytes), which can run code when it is opened"
        return what, "any", "Ask for an HDF5 file or a checkpoint."
    return None


def find_loose_kind(path: Path, head: bytes) -> Kind | None:
    """Return what a file without any signature is, also not HDF5's, or None.

    Args:
        path: of the file.
        head: its first bytes.

    Raises:
        OSError: it cannot be read.
    """
    return _find_binary_kind(path, head) or _find_text_kind(path)


def find_folder_kind(path: Path) -> Kind:
    """Return what a folder is."""
    names = {entry.name for entry in path.iterdir()}
    if "saved_model.pb" in names:
        advice = TF_KERAS if "keras_metadata.pb" in names else KERAS_ORIGINAL
        return "a TensorFlow SavedModel", "model", advice
    if names & {".zarray", ".zgroup", "zarr.json"}:
        return "a Zarr array", "data", read_with("`zarr.open({python})`")
    if "data.mdb" in names:
        return "an LMDB database", "data", read_with("the package lmdb")
    if "model.json" in names:
        return "a folder with a model.json", "any", "Name that file."
    if any(TF_CHECKPOINT_FILE.fullmatch(name) for name in names):
        return "a folder with a TensorFlow checkpoint", "model", TF_CHECKPOINT
    return "a directory", "any", "Name a file in it, or all of them with a pattern such as '*.h5'."


def is_npz(path: Path) -> bool:
    """Whether a file is a whole NumPy archive, whatever its name."""
    try:
        with open_zip(path) as archive:
            return _holds_arrays(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return False


def find_table(path: Path) -> Table | None:
    """Return the table that a text file holds, or None where it is something else.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(TEXT_HEAD)
    if b"\0" in head:
        return None
    lines = head.decode("utf-8", "replace").splitlines()
    lines = [line for line in (lines[:-1] if len(head) == TEXT_HEAD else lines) if line.strip()]
    for separator in ",\t;":
        counts = {line.count(separator) for line in lines[:20] if '"' not in line}
        if len(lines) > 1 and len(counts) == 1 and (count := counts.pop()) > 0:
            return Table(count + 1, separator)
    return None


def _holds_arrays(names: list[str]) -> bool:
    return bool(names) and all(name.endswith(".npy") for name in names)


def _find_zip_kind(path: Path) -> Kind:
    """Return what a zip archive is, by the names in it."""
    unpack = unpack_with("unzip {file}")
    try:
        with open_zip(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a truncated zip archive", "any", "The download broke off: fetch it again."
    except (NotImplementedError, ValueError):
        return "a zip archive", "any", unpack
    leaves = {name.rpartition("/")[2] for name in names}
    if not names:
        return "an empty zip archive", "any", "Fetch it again."
    if _holds_arrays(names):
        return "a NumPy archive", "data", CONVERT
    if {"config.json", "model.weights.h5"} <= set(names):
        advice = "Make a checkpoint of it with `import-keras {file} --output model.ckpt`."
        return "a Keras model", "model", advice
    is_program = any(name.endswith("models/model.json") for name in names)
    if is_program or leaves & {"archive_format", "serialized_exported_program.json"}:
        advice = "Name the checkpoint that it was made from."
        return "a program of torch.export, and opening one can run code", "model", advice
    if "data.pkl" in leaves:
        return "a PyTorch file", "model", OTHER_WEIGHTS
    if "[Content_Types].xml" in leaves:
        return "an Office document", "any", NO_USE
    return "a zip archive", "any", unpack


def _find_packed_kind(path: Path, name: str, command: str) -> Kind:
    """Return what one packed file is: a tar archive, a table of pixels, or another file."""
    openers: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    begin = b""
    if name in openers:
        with contextlib.suppress(EOFError, OSError, lzma.LZMAError), openers[name](path) as file:
            begin = file.read(512)
    if begin[257:].startswith(b"ustar"):
        return f"a {name} archive of several files", "any", unpack_with("tar xf {file}")
    if path.name.lower().endswith(".csv.gz"):
        return "a packed CSV file", "data", CONVERT
    # Through the standard input, the name of the file does not matter.
    advice = f"Unpack it with `{command} -dc < {{file}} > {{unpacked}}` and use that."
    return f"a {name} archive", "any", advice


def _find_binary_kind(path: Path, head: bytes) -> Kind | None:
    """Return what a file is whose bytes have a structure, but no signature."""
    size = path.stat().st_size
    match = TF_CHECKPOINT_FILE.fullmatch(path.name)
    if match and (_read_end(path) == SSTABLE_END or path.with_suffix(".index").is_file()):
        return "a part of a TensorFlow checkpoint", "model", TF_CHECKPOINT
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= size - 8:
        advice = "Name the checkpoint or Keras file that it was made from."
        return "a safetensors file: weights without their model", "model", advice
    if len(head) > 12 and _masked_crc32c(head[:8]) == int.from_bytes(head[8:12], "little"):
        advice = read_with("`tensorflow.data.TFRecordDataset({python})`")
        return "a TFRecord file", "data", advice
    if head[:2] == b"\0\0" and len(head) > 4 and head[2] in IDX_TYPES and 1 <= head[3] <= 4:
        dtype, end = IDX_TYPES[head[2]], 4 + 4 * head[3]
        shape = [int.from_bytes(head[k : k + 4], "big") for k in range(4, end, 4)]
        call = f"numpy.fromfile({{python}}, {dtype!r}, offset={end})"
        call += f".reshape({', '.join(map(str, shape))})"
        return "an IDX file, as MNIST's are", "data", read_with(f"`{call}`")
    if path.suffix == ".pb" and head[:1] == b"\x0a" and head[2:3] == b"\x0a":
        return "a frozen graph of TensorFlow", "model", KERAS_ORIGINAL
    return None


def _read_end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8))
        return file.read(8)


def _masked_crc32c(octets: bytes) -> int:
    """Return the checksum that TFRecord files have."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _find_text_kind(path: Path) -> Kind | None:
    """Return what a text file is."""
    with path.open("rb") as file:
        head = file.read(TEXT_HEAD)
    if b"\0" in head:
        return None
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text.startswith(("{", "[", '"')) and path.stat().st_size <= MAX_JSON:
        with contextlib.suppress(ValueError, RecursionError):
            content = json.loads(path.read_bytes())
            # `json.dump(model.to_json(), file)` writes JSON inside a JSON string.
            return _find_json_kind(json.loads(content) if isinstance(content, str) else content)
    if (table := find_table(path)) is not None:
        advice = CONVERT if table.columns > MIN_PIXELS else LABELS
        if table.columns > MIN_PIXELS and table.separator != ",":
            tab = {"\t": "\\t"}.get(table.separator, table.separator)
            advice = f"Write it with commas, `tr '{tab}' ',' < {{file}} > {{stem}}.csv`, and"
            advice += (
                " convert that with `python -m signs_lightning convert {stem}.csv --output DIR`."
            )
        name = {",": "CSV", "\t": "TSV"}.get(table.separator, "CSV")
        return f"a {name} file of {table.columns:,} columns", "data", advice
    if re.match(r"(---\s|#.*\n|[\w.]+:\s)", text) and path.suffix in (".yaml", ".yml"):
        advice = "If `fit` wrote it, train with the same settings by `fit --config {file}`."
        return "a YAML file", "any", advice
    if path.suffix == ".py":
        return "a Python script", "any", NOTEBOOK
    return None


def _find_json_kind(content: object) -> Kind:
    keys = content.keys() if isinstance(content, dict) else set()
    if {"modelTopology", "weightsManifest"} <= keys:
        layers = isinstance(content, dict) and content.get("format") == "layers-model"
        advice = (
            "Turn it into a Keras file with the package tensorflowjs: `tensorflowjs_converter "
            "--input_format=tfjs_layers_model --output_format=keras {file} model.h5`."
        )
        return "a TensorFlow.js model", "model", advice if layers else KERAS_ORIGINAL
    if {"class_name", "config"} <= keys:
        advice = (
            "Join it with the file of its weights: `python -m signs_lightning import-keras "
            "WEIGHTS.h5 --architecture {file} --output model.ckpt`."
        )
        return KERAS_ARCHITECTURE, "model", advice
    if {"cells", "nbformat"} <= keys:
        return "a Jupyter notebook", "any", NOTEBOOK
    return "a JSON file", "any", NO_USE
