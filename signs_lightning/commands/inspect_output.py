"""What the verb inspect prints on files, and on several of them together."""

from __future__ import annotations

from itertools import combinations

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from signs_lightning.inspect.file_report import (
    VERB,
    DataSummary,
    FileReport,
    TextTable,
    format_options,
)
from signs_lightning.runtime.escaping import for_terminal, format_shape, printable, quote_path
from signs_lightning.runtime.terminal import new_table, wrap_words

HELD_OUT = ("val", "test")


def print_report(report: FileReport, console: Console) -> None:
    """Print what a file is, its facts and tables, its problem, and what to do next."""
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


def print_comparison(data: list[DataSummary], console: Console) -> None:
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
    from signs_lightning.inspect.image_scan import count_copies_between  # start-up

    count = len(second.fingerprints)
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
