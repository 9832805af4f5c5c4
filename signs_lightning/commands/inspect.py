"""The verb inspect: what a file is, and what is in it and wrong with it."""

from __future__ import annotations

import glob
import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.own_model_options import take_model_options
from signs_lightning.commands.reading_options import (
    SIZE,
    add_reading_options,
    given_reading_options,
    image_size,
)
from signs_lightning.data.download import fetch_once, is_address
from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import DataSummary, FileReport
from signs_lightning.runtime.display import describe_drawn_channels
from signs_lightning.runtime.escaping import for_terminal, printable
from signs_lightning.runtime.sandbox import run_sandboxed
from signs_lightning.runtime.terminal import new_console, print_message

SECONDS = 60.0
MORE_TIME = "Give it more time with --seconds."
MAX_PARALLEL = 4  # files that are examined side by side


def main(verb: str, args: list[str]) -> int:
    """Run `inspect FILE...`; return 1 when one of the files cannot be used."""
    own, args = take_model_options(args)
    options = _build_parser(verb).parse_args(args)
    if not options.seconds > 0:
        raise InputError(f"--seconds is {options.seconds:g}, expected more than 0.")
    if options.samples is not None and not Path(options.samples).resolve().parent.is_dir():
        raise InputError(
            f"The folder of --samples {options.samples} does not exist. Make it, or name another "
            "file."
        )
    how = given_reading_options(options)
    paths = [path for pattern in options.files for path in _expand(pattern)]

    def examine(path: str) -> FileReport:
        return examine_in_sandbox(path, how, options.seconds)

    # Each thread waits for a process of its own.
    with ThreadPoolExecutor(min(MAX_PARALLEL, os.cpu_count() or 1)) as pool:
        examined = pool.map(examine, paths)
        # Meanwhile, on another core: what prints reports, and what they hold.
        from signs_lightning.commands import inspect_output as output

        importlib.import_module("numpy")
        console = new_console()
        reports = list(examined)
    for report in reports:
        output.print_report(report, console)
    for path in [report.path for report in reports if own is not None and not report.problem]:
        from signs_lightning.checkpoints.load_model import load_model  # start-up

        load_model(path, verb, own=own)
        console.print(f"The weights in {for_terminal(path)} fit the model that is named.")
    data = [summary for report in reports for summary in report.data]
    if len(data) > 1:
        output.print_comparison(data, console)
    if options.samples is not None:
        _draw_samples(data, options.samples, options.seconds)
    return 1 if any(report.problem for report in reports) else 0


def _build_parser(verb: str) -> CommandParser:
    parser = CommandParser(
        verb,
        "Says what files are, whatever their names: HDF5 data, folders of pictures, Keras models "
        "and weights, checkpoints, ONNX models, or what lies there instead. The exit code is 1 "
        "when one of them cannot be used.",
        "FILE ... [options]",
        ("files", "--samples", "--seconds"),
        ("inspect train.h5 test.h5", "inspect photos.h5 --samples photos.png"),
    )
    help_text = "files, addresses, folders of pictures, run folders, or patterns ('shards/*.h5')"
    parser.add_argument("files", nargs="+", metavar="FILE", help=help_text)
    help_text = "draws labelled pictures of every class of the first data file"
    parser.add_argument("--samples", metavar="PNG", help=help_text)
    parser.add_model_options()
    add_reading_options(parser, with_names=True)
    text = "size that pictures inside HDF5 are scaled to, a number or [height,width]"
    parser.add_argument(f"--data.{SIZE}", dest=SIZE, type=image_size, metavar="PIXELS", help=text)
    help_text = "time for each file (default 60)"
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help=help_text)
    return parser


def _expand(pattern: str) -> list[str]:
    """Return what a pattern matches, or itself, to be reported as missing.

    Raises:
        InputError: an address cannot be fetched.
    """
    if is_address(pattern):
        return [str(fetch_once(pattern))]
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern, recursive=True)) or [pattern]


def examine_in_sandbox(path: str, options: dict[str, Any], seconds: float = SECONDS) -> FileReport:
    """Describe one file in a child process, so that it cannot crash or hang this one.

    Args:
        path: anything, also what does not exist.
        options: how it is read, see `check_file`, as far as it was given.
        seconds: time limit; images are read for at most half of it.
    """
    function, limits = "signs_lightning.inspect.examine_file:examine", _limits(path, seconds)
    try:
        return run_sandboxed(function, path, options, seconds / 2, **limits)
    except InputError as error:
        return FileReport(path, problem=str(error))


def _limits(path: str, seconds: float) -> dict[str, Any]:
    """Return the sandbox's options for reading a file."""
    return {"about": path, "seconds": seconds, "more_time": MORE_TIME}


def _draw_samples(data: list[DataSummary], output: str, seconds: float) -> None:
    if not data:
        raise InputError(
            "--samples draws the pictures of an HDF5 data file, and none of the files is one."
        )
    path, function = data[0].path, "signs_lightning.inspect.samples:draw_data_samples"
    options = {**data[0].options, "role": data[0].role}
    count = run_sandboxed(function, path, options, output, **_limits(path, seconds))
    print_message(f"Pictures of {count} classes of {printable(path)}: {printable(output)}")
    if drawn := describe_drawn_channels(data[0].shape[3]):
        print_message(drawn)
