"""What a file is, told from its bytes; a function for each kind describes it.

Runs in a sandboxed child process.
"""

from __future__ import annotations

import contextlib
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

from signs_lightning.errors import CollectedInputError, InputError
from signs_lightning.inspect.file_report import FileReport
from signs_lightning.inspect.hdf5 import describe_hdf5
from signs_lightning.inspect.keras_files import describe_architecture, describe_keras_file
from signs_lightning.inspect.model_files import describe_checkpoint, describe_onnx
from signs_lightning.inspect.picture_folder import describe_picture_folder
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.file_kinds import KERAS_ARCHITECTURE, is_npz
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.file_signatures import describe_non_hdf5, missing_file_message
from signs_lightning.runtime.image_files import find_images
from signs_lightning.runtime.zip_entries import open_zip

AFTER_IR_VERSION = b"\x12\x1a\x22\x28\x32\x3a\x42"  # tags of the second field of an ONNX model


def examine(path: str, options: dict[str, Any], seconds: float) -> FileReport:
    """Describe one file.

    Args:
        path: anything, also what does not exist.
        options: how it is read, see `check_file`, as far as it was given.
        seconds: for which its images may be read.
    """
    report = FileReport(path)
    try:
        _examine(Path(path), report, options, seconds)
    except CollectedInputError as errors:
        report.problem = "\n".join(errors.messages)
    except InputError as error:
        report.problem = str(error)
    except MemoryError:
        raise
    except Exception as error:  # of a library, for bytes that it does not expect
        if translated := os_error_message(error, path):
            report.problem = str(translated)
            return report
        # str() of a KeyError is in quotes.
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        reason = str(text).partition("\n")[0][:200].rstrip(".") or type(error).__name__
        what = report.what or "what its first bytes say"
        report.problem = f"{path} cannot be read as {what} ({reason}). Fetch or write it again."
    return report


def _examine(path: Path, report: FileReport, options: dict[str, Any], seconds: float) -> None:
    if not path.exists():
        raise InputError(missing_file_message(path))
    if path.is_dir():
        _describe_folder(path, report)
        return
    if not path.is_file():
        raise InputError(f"{path} is a device, a pipe or a socket. Name a file.")
    report.add_fact("size", f"{path.stat().st_size:,} bytes")
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _describe_zip(path, report)
    elif path.suffix == ".onnx" or _begins_like_onnx(head):
        _check_onnx(path, head)
        describe_onnx(path, report)
    elif (other_type := describe_non_hdf5(path)) is not None:
        if other_type.startswith(KERAS_ARCHITECTURE):
            describe_architecture(path, report)
        elif not _describe_picture(path, report):
            report.problem = f"{path} is {other_type}"
    else:
        describe_hdf5(path, report, options, seconds)


def _begins_like_onnx(head: bytes) -> bool:
    """Whether bytes begin with an ir_version and another field, as ONNX's do."""
    return len(head) > 2 and head[0] == 8 and 2 < head[1] < 32 and head[2] in AFTER_IR_VERSION


def _check_onnx(path: Path, head: bytes) -> None:
    """Check that a file named like an ONNX model is not a web page or the like."""
    other_type = describe_non_hdf5(path)
    if other_type is None:
        raise InputError(f"{path} is an HDF5 file, not an ONNX model. Give it an .h5 name.")
    if not other_type.startswith("something else") or head[0] != 8:
        raise InputError(f"{path} is {other_type}")


def _describe_zip(path: Path, report: FileReport) -> None:
    """Describe what is a zip archive: `.keras`, a checkpoint, `.npz` and others."""
    kind = describe_non_hdf5(path) or ""
    if kind.startswith("a Keras model"):
        describe_keras_file(path, report)
    elif kind.startswith("a PyTorch file"):
        describe_checkpoint(path, report)
    else:
        report.what = re.split(r",| \(", kind)[0].partition(" ")[2]
        report.problem = f"{path} is {kind}"
        unreadable = contextlib.suppress(zipfile.BadZipFile, NotImplementedError, ValueError)
        with unreadable, open_zip(path) as archive:
            report.add_table(("entry",), [(name,) for name in archive.namelist()])
        if is_npz(path):
            report.suggest(f"convert {quote_path(path)} --output DIR")


def _describe_folder(path: Path, report: FileReport) -> None:
    """Describe a run folder by its checkpoint, or a folder of pictures."""
    for name in ("best.ckpt", "last.ckpt"):
        if (path / "checkpoints" / name).is_file():
            report.add_fact("checkpoint", f"checkpoints/{name}")
            checkpoint = path / "checkpoints" / name
            describe_checkpoint(checkpoint, report)
            report.what = "run folder"
            report.commands = [
                command.replace(quote_path(checkpoint), quote_path(path))
                for command in reversed(report.commands)
            ]
            return
    try:
        find_images([str(path)])
    except InputError:
        raise InputError(f"{path} is {describe_non_hdf5(path)}") from None
    describe_picture_folder(path, report)


def _describe_picture(path: Path, report: FileReport) -> bool:
    """Describe the file if it is a picture; return whether it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path) as image:
                image.verify()
                report.add_fact("format", f"{image.format}, {image.mode}")
                report.add_fact("pixels", f"{image.width}×{image.height}")
    except Exception:  # no picture; Pillow's readers raise anything
        return False
    report.what = "picture"
    report.suggest(f"predict RUN_FOLDER {quote_path(path)}")
    return True
