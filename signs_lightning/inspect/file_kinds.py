"""What a file is, told from its bytes; each kind is then described by its own function. Runs in a guarded child process."""

from __future__ import annotations

import zipfile
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import MAX_ROWS, VERB, FileReport, TextTable, quoted
from signs_lightning.runtime.file_type import describe_non_hdf5, is_zip, missing_file_message
from signs_lightning.runtime.os_errors import os_error_message

PROTOBUF_OF_ONNX = (
    b"\x12\x1a\x22\x28\x32\x3a\x42"  # the fields that may follow ir_version in an ONNX model
)


def examine(path: str, keys: dict[str, str], seconds: float) -> FileReport:
    """Describes one file.

    Args:
        path: anything, also what does not exist.
        keys: images_key, labels_key, classes_key, as far as they were named.
        seconds: for which its images may be read.
    """
    report = FileReport(path)
    try:
        _examine(Path(path), report, keys, seconds)
    except InputError as error:
        report.problem = str(error)
    except MemoryError:
        raise
    except Exception as error:  # what a library says of bytes that nobody foresaw
        if refusal := os_error_message(error, path):
            report.problem = str(refusal)
            return report
        text = (
            error.args[0] if isinstance(error, KeyError) and error.args else error
        )  # str() of a KeyError is in quotes
        reason = str(text).partition("\n")[0][:200].rstrip(".") or type(error).__name__
        report.problem = f"{path} is damaged ({reason}). Fetch or write it again."
    return report


def _examine(path: Path, report: FileReport, keys: dict[str, str], seconds: float) -> None:
    if not path.exists():
        raise InputError(missing_file_message(path))
    if path.is_dir():
        _folder(path, report)
        return
    if not path.is_file():
        raise InputError(f"{path} is a device, a pipe or a socket. Name a file.")
    size = path.stat().st_size
    report.facts.append(("size", f"{size:,} bytes"))
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _archive(path, report)
    elif path.suffix == ".onnx" or (
        len(head) > 2 and head[0] == 8 and 2 < head[1] < 32 and head[2] in PROTOBUF_OF_ONNX
    ):
        _check_file_type(path, head)
        from signs_lightning.inspect.model_files import describe_onnx

        describe_onnx(path, report)
    elif (found := describe_non_hdf5(path)) is None:
        from signs_lightning.inspect.hdf5 import describe_hdf5

        describe_hdf5(path, report, keys, seconds)
    else:
        from signs_lightning.inspect.model_files import describe_picture

        if not describe_picture(path, report):
            report.problem = f"{path} is {found}"


def _check_file_type(path: Path, head: bytes) -> None:
    """An HTML page, a pointer and the like under an .onnx name; what_it_is knows no ONNX, so "something else" may be one."""
    found = describe_non_hdf5(path)
    if found is None:
        raise InputError(f"{path} is an HDF5 file, not an ONNX model. Give it an .h5 name.")
    if not found.startswith("something else") or head[0] != 8:
        raise InputError(f"{path} is {found}")


def _archive(path: Path, report: FileReport) -> None:
    """The things that are zip archives: `.keras`, checkpoints of PyTorch, exported programs, `.npz`, and plain ones."""
    from signs_lightning.inspect import model_files

    if not is_zip(path):
        raise InputError(
            f"{path} is a truncated zip archive ({path.stat().st_size:,} bytes): a download that "
            "broke off. Fetch it again."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"{path} is a damaged zip archive ({error}). Fetch it again.") from error
    leaves = {name.rpartition("/")[2] for name in names}
    if {"config.json", "model.weights.h5"} <= set(names):
        model_files.describe_keras_file(path, report)
    elif "data.pkl" in leaves:
        model_files.describe_checkpoint(path, report)
    elif leaves & {"archive_format", "serialized_exported_program.json"} or any(
        name.endswith("models/model.json") for name in names
    ):
        report.what = "exported PyTorch program (.pt2)"
        report.problem = (
            f"{path} is a program of torch.export, and opening one can run code. "
            "Name the checkpoint that it was made from."
        )
    elif names and all(name.endswith(".npy") for name in names):
        report.what = "NumPy archive (.npz)"
        report.listings.append(
            TextTable(
                ("array",),
                [(name,) for name in names[:MAX_ROWS]],
                more=max(0, len(names) - MAX_ROWS),
            )
        )
        report.problem = (
            f"{path} is a NumPy archive. Load it with `numpy.load` and pass the "
            "arrays, or write them with h5py."
        )
    else:
        report.what = "zip archive"
        report.listings.append(
            TextTable(
                ("entry",),
                [(name,) for name in names[:MAX_ROWS]],
                more=max(0, len(names) - MAX_ROWS),
            )
        )
        report.problem = (
            f"{path} is {describe_non_hdf5(path)}"
            if names
            else f"{path} is an empty zip archive. Fetch it again."
        )
        report.commands.append(f"unzip {quoted(path)}")


def _folder(path: Path, report: FileReport) -> None:
    """A run folder stands for its checkpoint; a folder of pictures is told how to become HDF5."""
    for name in ("best.ckpt", "last.ckpt"):
        if (path / "checkpoints" / name).is_file():
            from signs_lightning.inspect.model_files import describe_checkpoint

            report.facts.append(("checkpoint", f"checkpoints/{name}"))
            describe_checkpoint(path / "checkpoints" / name, report)
            report.what = "run folder"
            report.commands = [
                f"{VERB} test --ckpt_path {quoted(path)}",
                f"{VERB} predict --ckpt_path {quoted(path)} --images PICTURE",
            ]
            return
    from signs_lightning.data.image_files import find_images

    try:
        pictures = find_images([str(path)])
    except InputError:
        raise InputError(f"{path} is {describe_non_hdf5(path)}") from None
    report.what = "folder of pictures"
    report.facts.append(("pictures", f"{len(pictures):,}"))
    report.commands.append(f"python scripts/images_to_h5.py {quoted(path)} --output DIR")
