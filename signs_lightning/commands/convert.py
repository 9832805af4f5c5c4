"""The verb convert: pictures and arrays to HDF5 files, and HDF5 to pictures or plain HDF5."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.reading_options import (
    NAMES,
    READING,
    SIZE,
    add_reading_options,
    given_reading_options,
)
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import atomic_write, check_output, make_folder
from signs_lightning.runtime.escaping import format_shape, printable, quote_path
from signs_lightning.runtime.file_guard import check_once
from signs_lightning.runtime.file_kinds import find_table, is_npz
from signs_lightning.runtime.file_signatures import (
    describe_non_hdf5,
    is_hdf5,
    is_zip,
    missing_file_message,
)
from signs_lightning.runtime.progress import BYTES, show_progress
from signs_lightning.runtime.resize_options import FITS, RESIZES
from signs_lightning.runtime.terminal import print_message, print_with_value

VERB = "python -m signs_lightning"
MAX_SECONDS = 3600.0  # that a file may take to be rewritten
HDF5_SUFFIXES = {".h5", ".hdf5", ".hdf"}
# kind of the source → the options that it takes, besides --output
OPTIONS = {
    "folder": {SIZE, "channels", "resize", "fit", "test_fraction", "seed", "name"},
    "npz": set(),
    "mat": {"samples"},
    "csv": {"axes", "row_shape"},
    "hdf5": {SIZE, *READING, *NAMES},
}
WHAT = {
    "folder": "a folder",
    "npz": "a NumPy archive",
    "mat": "a MATLAB file",
    "csv": "a CSV file",
    "hdf5": "an HDF5 file",
}


def main(verb: str, args: list[str]) -> int:
    """Run `convert SOURCE... --output OUTPUT`; return the exit code.

    It is 0 also when single pictures were skipped.

    Raises:
        InputError: a source cannot be converted; nothing is written of it then.
    """
    options = _build_parser(verb).parse_args(args)
    sources = [Path(source) for source in options.sources]
    kinds = {_find_kind(source) for source in sources}
    if len(kinds) > 1:
        raise InputError("The sources are of several kinds. Convert them one after another.")
    kind = kinds.pop()
    _check_options(options, kind)
    if kind == "hdf5" and _is_hdf5_name(options.output):
        return _rewrite(sources, options)
    if kind == "hdf5":
        return write_pictures(sources, Path(options.output), given_reading_options(options))
    if kind == "folder":
        if len(sources) > 1:
            raise InputError("Several folders are named. Convert them one after another.")
        return _convert_folder(sources[0], options)
    for source, output in zip(sources, _name_outputs(sources, options.output), strict=True):
        _convert_arrays(source, kind, output, options)
    return 0


def _build_parser(verb: str) -> CommandParser:
    parser = CommandParser(
        verb,
        "Converts a folder of pictures, a NumPy archive (.npz), a MATLAB file (.mat) or a CSV file "
        "of pixels to HDF5 files; HDF5 files to a folder of PNGs; and an HDF5 file whose filters "
        "training does not read to one without (--output NAME.h5).",
        "SOURCE ... --output OUTPUT [options]",
        ("sources", "--output", "--size", "--channels", "--test_fraction", "--seed", "--name"),
        ("convert photos --output data --size 64", "convert train.h5 --output pictures"),
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="one folder, or one or more files of a kind")
    text = "what is written: a folder, or for one file of arrays the name of an .h5 file"
    add("--output", required=True, metavar="OUTPUT", help=text)
    add_reading_options(parser, with_names=True)
    add = parser.add_group("a folder with a folder for each class")
    text = "height and width, or one number; by default the pictures' own where all have the same"
    add("--size", f"--data.{SIZE}", dest=SIZE, nargs="+", type=int, metavar="PIXELS", help=text)
    text = "1 for grey, 3 for RGB; by default 1 where all pictures are grey"
    add("--channels", type=int, choices=(1, 3), help=text)
    add("--resize", choices=RESIZES, help="how pictures are resized (default bilinear)")
    text = "what becomes of another aspect ratio (default crop)"
    add("--fit", choices=FITS, help=text)
    text = "share of the test file, where the folder has no train and test in it (default 0.1)"
    add("--test_fraction", type=float, metavar="P", help=text)
    add("--seed", type=int, help="of split and order (default 0)")
    add("--name", help="train_NAME.h5 and test_NAME.h5; the folder's name by default")
    add = parser.add_group("a MATLAB file of before version 7.3")
    text = "axis that counts the images, where the number of labels does not tell"
    add("--samples", choices=("first", "last"), help=text)
    return parser


def _find_kind(source: Path) -> str:
    """Return which of `OPTIONS` a source is."""
    if not source.exists():
        raise InputError(missing_file_message(source))
    if source.is_dir():
        return "folder"
    if not source.is_file():
        raise InputError(f"{source} is {describe_non_hdf5(source)}")
    if is_hdf5(source):
        return "hdf5"
    if is_npz(source) or (source.suffix.lower() == ".npz" and is_zip(source)):
        return "npz"
    if source.name.lower().endswith((".csv", ".csv.gz")):
        return "csv"
    with source.open("rb") as file:
        if file.read(10) == b"MATLAB 5.0" or source.suffix.lower() == ".mat":
            return "mat"
    if (table := find_table(source)) is not None and table.separator == ",":
        return "csv"
    raise InputError(
        f"{source} is no folder of pictures, .npz, .mat, .csv or HDF5 file, but "
        f"{describe_non_hdf5(source)}"
    )


def _check_options(options: argparse.Namespace, kind: str) -> None:
    """Check the values of options, and that the kind of source takes them."""
    for name in sorted(set().union(*OPTIONS.values()) - OPTIONS[kind]):
        if getattr(options, name) is not None:
            kinds = " or ".join(WHAT[other] for other in OPTIONS if name in OPTIONS[other])
            option = f"--data.{name}" if name in READING | NAMES else f"--{name}"
            option = "--size" if name == SIZE else option
            raise InputError(f"{option} is for {kinds}, and {options.sources[0]} is {WHAT[kind]}.")
    if (size := options.image_size) is not None:
        if len(size) > 2 or min(size) < 1:
            raise InputError(
                f"--size is {' '.join(map(str, size))}, expected pixels: one number, or height and "
                "width."
            )
        options.image_size = (size[0], size[-1])
    fraction = options.test_fraction
    if fraction is not None and not 0 <= fraction < 1:
        raise InputError(f"--test_fraction is {fraction:g}, expected 0 or more, and less than 1.")
    if options.seed is not None and options.seed < 0:
        raise InputError(f"--seed is {options.seed}, expected 0 or more.")
    if options.name and ("/" in options.name or "\\" in options.name):
        raise InputError(
            f"--name is {options.name}, expected a part of a file's name. The folder goes to "
            "--output."
        )


def _convert_folder(folder: Path, options: argparse.Namespace) -> int:
    from signs_lightning.data.folder_import import folder_to_h5  # start-up: --help needs none
    from signs_lightning.data.picture_folders import describe_skipped
    from signs_lightning.runtime.image_files import describe_differences

    output = Path(options.output)
    if output.suffix.lower() in HDF5_SUFFIXES:
        raise InputError(
            f"A folder becomes train_NAME.h5 and test_NAME.h5, and --output {output} is a file's "
            "name. Name a folder."
        )
    given = {name: getattr(options, name) for name in OPTIONS["folder"]}
    given = {name: value for name, value in given.items() if value is not None}
    with show_progress(f"Converting {folder}") as advance:
        written = folder_to_h5(folder, output, advance=advance, **given)
    for line in describe_differences(written.differences):
        print_message(line)
    for line in describe_skipped(written.skipped, sum(written.counts.values())):
        print_message(line, sys.stderr)
    shape = format_shape(written.image_size)
    for split, file in written.files.items():
        count, classes = written.counts[split], len(written.class_names)
        print_message(f"{file}: {count}×{shape}, {classes} classes")
    files = "".join(f" --data.{split}_file {quote_path(p)}" for split, p in written.files.items())
    held_out = "" if len(written.files) > 1 else " --data.val_fraction 0.2"
    print_with_value("next:", f"{VERB} fit{files}{held_out}", is_command=True)
    return 0


def write_pictures(files: list[Path], output: Path, options: Mapping[str, Any]) -> int:
    """Write HDF5 files to a folder of PNGs for each class; return the exit code.

    Args:
        files: in any layout that training takes.
        output: the folder, which does not exist yet.
        options: of `check_file`.
    """
    # start-up: --help needs none
    from signs_lightning.data.folder_export import h5_to_folder
    from signs_lightning.data.layouts import ROLES

    with show_progress("Writing pictures") as advance:
        counts, renamed = h5_to_folder(files, output, options, advance)
    for split in sorted(counts, key=["", *ROLES].index):
        print_message(f"{output / split if len(counts) > 1 else output}: {counts[split]} pictures")
    for name, folder in renamed.items():
        print_message(f"the class {printable(name)!r} is in the folder {folder}")
    print_with_value("next:", f"{VERB} inspect {quote_path(output)}", is_command=True)
    return 0


def _is_hdf5_name(output: str) -> bool:
    """Whether the output is a file of HDF5, and not a folder."""
    return Path(output).suffix.lower() in HDF5_SUFFIXES and not Path(output).is_dir()


def _rewrite(sources: list[Path], options: argparse.Namespace) -> int:
    """Write an HDF5 file with plain values, read in a process of its own; return the exit code.

    What HDF5 would copy without looking at it, such as attributes, is read before.
    """
    from signs_lightning.runtime.sandbox import run_sandboxed  # start-up

    (output,) = _name_outputs(sources, options.output)
    if given := [name for name in OPTIONS["hdf5"] if getattr(options, name) is not None]:
        raise InputError(
            f"--data.{sorted(given)[0]} is for pictures, and {output} will be an HDF5 file, with "
            "everything as it is but for how it is packed. Leave it out, or name a folder."
        )
    try:
        check_once(sources[0])
    except InputError as error:
        reason = str(error).removeprefix(f"{sources[0]} ")
        raise InputError(f"{sources[0]} cannot be rewritten: it {reason}") from error
    with atomic_write(output) as temporary:
        written = run_sandboxed(
            "signs_lightning.data.hdf5_rewrite:rewrite_hdf5", sources[0], temporary,
            about=str(sources[0]), seconds=MAX_SECONDS,
        )  # fmt: skip
    for name, before in written:
        print_message(f"{output}: {printable(name)}, before: {printable(before)}")
    print_with_value("next:", f"{VERB} inspect {quote_path(output)}", is_command=True)
    return 0


def _name_outputs(sources: list[Path], output: str) -> list[Path]:
    """Return the HDF5 file of each source: the one that is named, or in the folder."""
    path = Path(output)
    if _is_hdf5_name(output):
        if len(sources) > 1:
            raise InputError(
                f"{len(sources)} files are named, and --output {path} is one file. Name a folder."
            )
        check_output(path, inputs=sources)
        return [path]
    make_folder(path)
    outputs = [path / f"{source.name.partition('.')[0]}.h5" for source in sources]
    if len(set(outputs)) < len(outputs):
        raise InputError("Two of the files have one name. Convert them one after another.")
    return outputs


def _convert_arrays(source: Path, kind: str, output: Path, options: argparse.Namespace) -> None:
    unit = {"npz": BYTES, "mat": "", "csv": "img"}[kind]
    with show_progress(f"Converting {source}", unit) as advance:
        if kind == "npz":
            from signs_lightning.data.array_import import npz_to_h5

            written = npz_to_h5(source, output, advance)
        elif kind == "mat":
            from signs_lightning.data.matlab_import import mat_to_h5

            written = mat_to_h5(source, output, options.samples, advance)
        else:
            from signs_lightning.data.csv_import import csv_to_h5

            written = csv_to_h5(source, output, options.axes, options.row_shape, advance)
    for note in written.notes:
        print_message(note)
    arrays = ", ".join(
        f"{printable(key)} {format_shape(shape) or '(one value)'}"
        for key, shape in written.shapes.items()
    )
    print_message(f"{output}: {arrays}")
    print_with_value("next:", f"{VERB} inspect {quote_path(output)}", is_command=True)
