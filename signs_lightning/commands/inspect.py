"""The verb inspect: what a file is, what is in it, what is wrong with it, and what to type next."""

from __future__ import annotations

import glob
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from signs_lightning.errors import CommandParser, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from signs_lightning.inspect.file_report import FileReport, TextTable

SECONDS = 60.0
MORE_TIME = "Give it more time with --seconds."
HELD_OUT = ("test", "val")
AT_A_TIME = 4  # files that are looked at side by side


def main(verb: str, args: list[str]) -> int:
    """Runs `inspect FILE...`; returns 1 when one of the files cannot be used."""
    options = _parser(verb).parse_args(args)
    if not options.seconds > 0:
        raise InputError(f"--seconds is {options.seconds:g}, expected more than 0.")
    if options.samples is not None and not Path(options.samples).resolve().parent.is_dir():
        raise InputError(
            f"The folder of --samples {options.samples} does not exist. Make "
            "it, or name another file."
        )
    keys = {
        name: value
        for name in ("images_key", "labels_key", "classes_key")
        if (value := getattr(options, name))
    }
    paths = [path for pattern in options.files for path in _expand(pattern)]
    with ThreadPoolExecutor(
        min(AT_A_TIME, os.cpu_count() or 1)
    ) as pool:  # each waits for a process of its own
        reports = list(
            pool.map(lambda path: examine_in_sandbox(path, keys, options.seconds), paths)
        )

    from rich.console import Console

    console = Console(highlight=False)
    for report in reports:
        _print(report, console)
    data = [report for report in reports if report.data is not None]
    if len(data) > 1:
        _print_comparison(data, console)
    if options.samples is not None:
        _draw_samples(data, options.samples, options.seconds)
    return 1 if any(report.problem for report in reports) else 0


def _parser(verb: str) -> CommandParser:
    parser = CommandParser(
        verb,
        "Says what files are, whatever their names: HDF5 data, Keras models and weights, "
        "checkpoints, ONNX models, "
        "or what lies there instead. The exit code is 1 when one of them cannot be used.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="files, run folders, or patterns such as 'shards/*.h5'",
    )
    parser.add_argument(
        "--samples",
        metavar="PNG",
        help="draws labelled pictures of every class of the first data file",
    )
    for role in ("images", "labels", "classes"):
        help_text = f"dataset of the {role}, where its name does not tell"
        parser.add_argument(f"--data.{role}_key", dest=f"{role}_key", metavar="KEY", help=help_text)
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help="time for each file (default 60)",
    )
    return parser


def _expand(pattern: str) -> list[str]:
    """A path, or what a pattern matches; a pattern without a match is reported as a file that does not exist."""
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern, recursive=True)) or [pattern]


def examine_in_sandbox(path: str, keys: dict[str, str], seconds: float = SECONDS) -> FileReport:
    """Describes one file from a process of its own, so that no file can crash or hang this one.

    Args:
        path: anything, also what does not exist.
        keys: images_key, labels_key, classes_key, as far as they were named.
        seconds: time limit; images are read for at most half of it.
    """
    from signs_lightning.inspect.file_report import FileReport
    from signs_lightning.runtime.sandbox import run_sandboxed

    try:
        return run_sandboxed(
            "signs_lightning.inspect.file_kinds:examine",
            path,
            keys,
            seconds / 2,
            about=path,
            seconds=seconds,
            more_time=MORE_TIME,
        )
    except InputError as error:
        return FileReport(path, problem=str(error))


def _print(report: FileReport, console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table

    from signs_lightning.runtime.escaping import for_terminal

    kind = f": {for_terminal(report.what)}" if report.what else ""
    console.print(f"[bold]{for_terminal(report.path)}[/bold]{kind}", soft_wrap=True)
    if report.facts:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, value in report.facts:
            facts.add_row(for_terminal(name), for_terminal(value))
        console.print(Padding(facts, (0, 0, 0, 2), expand=False))
    for listing in report.listings:
        _print_listing(listing, console)
    if report.listings:
        console.print()
    if report.problem:
        console.print(
            f"  [bold red]Problem:[/bold red] {for_terminal(report.problem)}", soft_wrap=True
        )
    _print_commands(report.commands, console)
    console.print()


def _print_listing(listing: TextTable, console: Console) -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table

    from signs_lightning.runtime.escaping import for_terminal

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in listing.columns:
        table.add_column(
            column.removesuffix(">"),
            justify="right" if column.endswith(">") else "left",
            overflow="fold",
        )
    for row in listing.rows:
        table.add_row(*map(for_terminal, row))
    console.print(Padding(table, (1, 0, 0, 2), expand=False))
    if listing.more:
        console.print(f"  … and {listing.more:,} more")


def _print_commands(commands: list[str], console: Console) -> None:
    from signs_lightning.runtime.escaping import for_terminal

    for command in commands:  # on one line each, however long, so that they can be copied
        console.print(f"  [dim]next:[/dim] {for_terminal(command)}", soft_wrap=True)


def _print_comparison(reports: list[FileReport], console: Console) -> None:
    """What several data files have to do with each other: shared images, and whether they fit together."""
    from signs_lightning.runtime.escaping import for_terminal

    console.print("[bold]Together[/bold]")
    copies = [line for pair in combinations(reports, 2) for line in _shared_images(*pair)]
    others = [line for report in reports[1:] for line in _disagreement(reports[0], report)]
    for line in (copies or ["No image is in more than one of the files."]) + others:
        console.print(f"  {for_terminal(line)}", soft_wrap=True)
    _print_commands(_joint_command(reports), console)
    console.print()


def _shared_images(first: FileReport, second: FileReport) -> list[str]:
    """A sentence on the images that are in two files; the one to test on is measured against the other."""
    from signs_lightning.inspect.duplicates import copies_between

    assert first.data is not None  # for the type checker, as below
    assert second.data is not None
    if first.data.split in HELD_OUT and second.data.split not in HELD_OUT:
        return _shared_images(second, first)
    copies, count = (
        copies_between(second.data.fingerprints, first.data.fingerprints),
        len(second.data.fingerprints),
    )
    if not copies:
        return []
    verb = "is" if copies == 1 else "are"
    line = (
        f"{copies} of the {count} images of {second.path} ({copies / count:.1%}) {verb} also "
        f"in {first.path}."
    )
    if second.data.split in HELD_OUT and first.data.split not in HELD_OUT:
        line += " A model that trained there has seen them."
    return [line]


def _disagreement(first: FileReport, second: FileReport) -> list[str]:
    """What keeps two files out of one run."""
    assert first.data is not None
    assert second.data is not None
    one, two, lines = first.data, second.data, []
    if one.shape[1:] != two.shape[1:]:
        sizes = ["×".join(map(str, data.shape[1:])) for data in (one, two)]
        lines.append(f"Images of {second.path} are {sizes[1]}, those of {first.path} {sizes[0]}.")
    if one.class_names and two.class_names and one.class_names != two.class_names:
        names = [", ".join(data.class_names or []) for data in (one, two)]
        lines.append(f"{second.path} lists the classes {names[1]}, {first.path} lists {names[0]}.")
    return lines


def _joint_command(reports: list[FileReport]) -> list[str]:
    """The fit for one file of each split."""
    from signs_lightning.inspect.file_report import VERB, quoted
    from signs_lightning.inspect.hdf5 import options_for

    splits = [report.data.split for report in reports if report.data is not None]
    if "train" not in splits or len(set(splits)) < len(splits) or "" in splits:
        return []
    paths = {report.data.split: report.path for report in reports if report.data is not None}
    files = "".join(
        f" --data.{split}_file {quoted(paths[split])}"
        for split in ("train", *HELD_OUT)
        if split in paths
    )
    keys = reports[0].data.keys if reports[0].data is not None else {}
    return [f"{VERB} fit{files}{options_for(keys)}"]


def _draw_samples(data: list[FileReport], output: str, seconds: float) -> None:
    from signs_lightning.runtime.escaping import printable
    from signs_lightning.runtime.sandbox import run_sandboxed

    if not data:
        raise InputError(
            "--samples draws the pictures of an HDF5 data file, and none of the files is one."
        )
    assert data[0].data is not None
    path, keys = data[0].path, data[0].data.keys
    drawn = run_sandboxed(
        "signs_lightning.inspect.hdf5:draw_data_samples",
        path,
        keys,
        output,
        about=path,
        seconds=seconds,
        more_time=MORE_TIME,
    )
    print(f"Pictures of {drawn} classes of {printable(path)}: {printable(output)}", file=sys.stdout)
