"""The verb inspect: what a file is, and what is in it and wrong with it."""

from __future__ import annotations

import glob
import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

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
from signs_lightning.inspect.file_report import (
    VERB,
    DataSummary,
    FileReport,
    TextTable,
    format_options,
)
from signs_lightning.runtime.display import describe_drawn_channels
from signs_lightning.runtime.escaping import for_terminal, format_shape, printable, quote_path
from signs_lightning.runtime.sandbox import run_sandboxed
from signs_lightning.runtime.terminal import new_console, new_table, print_message, wrap_words

SECONDS = 60.0
MORE_TIME = "Give it more time with --seconds."
HELD_OUT = ("val", "test")
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
        importlib.import_module("numpy")  # what reports hold: meanwhile, on another core
        console = new_console()
        reports = list(examined)
    for report in reports:
        _print_report(report, console)
    for path in [report.path for report in reports if own is not None and not report.problem]:
        from signs_lightning.checkpoints.load_model import load_model  # start-up

        load_model(path, verb, own=own)
        console.print(f"The weights in {for_terminal(path)} fit the model that is named.")
    data = [summary for report in reports for summary in report.data]
    if len(data) > 1:
        _print_comparison(data, console)
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


def _print_report(report: FileReport, console: Console) -> None:
    head, what = printable(report.path), printable(report.what)
    if what and cell_len(f"{head}: {what}") > console.width:
        what = f"\n{wrap_words(f'  {what}', console.width)}"
    elif what:
        what = f" {what}"
    head = f"[bold]{escape(head)}[/bold]{':' if what else ''}{escape(what)}"
    console.print(head, soft_wrap=True)
    if report.facts:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, value in report.facts:
            facts.add_row(for_terminal(name), for_terminal(value))
        console.print(Padding(facts, (0, 0, 0, 2), expand=False))
    for listing in report.listings:
        _print_table(listing, console)
    if report.listings:
        console.print()
    for problem in report.problem.splitlines():
        lines = escape(wrap_words(f"  Problem: {printable(problem)}", console.width))
        lines = lines.replace("Problem:", "[bold red]Problem:[/bold red]", 1)
        console.print(lines, soft_wrap=True)
    _print_commands(report.commands, console)
    console.print()


def _print_table(listing: TextTable, console: Console) -> None:
    table = new_table(*listing.columns)
    for row in listing.rows:
        table.add_row(*map(for_terminal, row))
    console.print(Padding(table, (1, 0, 0, 2), expand=False))
    if listing.more:
        console.print(f"  … and {listing.more:,} more")


def _print_commands(commands: list[str], console: Console) -> None:
    label = "  [dim]next:[/dim]" + ("\n   " if console.is_terminal else "")
    for command in commands:  # on one line each, however long, so that they can be copied
        console.print(f"{label} {for_terminal(command)}", soft_wrap=True)


def _print_comparison(data: list[DataSummary], console: Console) -> None:
    """Print which images data files share, and whether the files fit together."""
    console.print("[bold]Together[/bold]")
    lines = [line for pair in combinations(data, 2) for line in _shared_images(*pair)]
    parts = "files" if len({summary.path for summary in data}) > 1 else "roles"
    lines = lines or [f"No image is in more than one of the {parts}."]
    for other in data[1:]:
        lines += _disagreements(data[0], other)
    for line in lines:
        console.print(escape(wrap_words(f"  {printable(line)}", console.width)), soft_wrap=True)
    _print_commands(_joint_command(data), console)
    console.print()


def _shared_images(first: DataSummary, second: DataSummary) -> list[str]:
    """Return a sentence on the images in two files; the one to test on is counted."""
    is_held_out = second.role in HELD_OUT
    if first.role in HELD_OUT and not is_held_out:
        return _shared_images(second, first)
    count = len(second.fingerprints)
    from signs_lightning.inspect.image_scan import count_copies_between  # start-up

    copies = count_copies_between(second.fingerprints, first.fingerprints)
    if not copies:
        return []
    line = (
        f"{copies} of the {count} images of {_name(second)} ({copies / count:.1%}) "
        f"{'is' if copies == 1 else 'are'} also in {_name(first)}."
    )
    if is_held_out and first.role not in HELD_OUT:
        line += " A model that trained there has seen them."
    return [line]


def _name(summary: DataSummary) -> str:
    return f"{summary.path} ({summary.role})" if summary.is_one_of_several else summary.path


def _disagreements(first: DataSummary, second: DataSummary) -> list[str]:
    """Return what keeps two files out of one run."""
    lines = []
    if first.shape[1:] != second.shape[1:]:
        size, other_size = format_shape(first.shape[1:]), format_shape(second.shape[1:])
        lines.append(f"Images of {second.path} are {other_size}, those of {first.path} {size}.")
    names, other_names = first.class_names, second.class_names
    if names and other_names and names != other_names:
        listed, others = ", ".join(names), ", ".join(other_names)
        lines.append(f"{second.path} lists the classes {others}, {first.path} lists {listed}.")
    return lines


def _joint_command(data: list[DataSummary]) -> list[str]:
    """Return the fit for one file of each split."""
    if any(summary.is_one_of_several for summary in data):
        return []  # its own report has it
    paths = {summary.role: summary.path for summary in data}
    if "" in paths and "train" not in paths:
        paths["train"] = paths.pop("")
    if "train" not in paths or "" in paths or len(paths) < len(data):
        return []
    roles = [role for role in ("train", *HELD_OUT) if role in paths]
    files = "".join(f" --data.{role}_file {quote_path(paths[role])}" for role in roles)
    return [f"{VERB} fit{files}{format_options(data[0].options)}"]


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
