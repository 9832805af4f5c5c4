"""What verbs print: lines wrapped at words in a terminal, tables of one style."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# the spaces before a word, and the word; what stands in backquotes is one, with its spaces
UNIT = re.compile(r"(\s*)((?:`[^`]*`|\S)+)")
COMMAND = re.compile(r"`([^`]*)`[.,;:]?")
INDENT = "  "
MIN_WIDTH = 20
UNLIMITED = 100_000  # columns of what is no terminal: no line is wrapped there


def line_width(stream: TextIO) -> int | None:
    """Return how many columns a line may take: all but the terminal's last; None for a file."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return max(int(columns) - 1, MIN_WIDTH)
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # a stream that is none of the system's
        found = 0
    return max((found or 80) - 1, MIN_WIDTH)


def wrap_words(text: str, width: int | None) -> str:
    """Wrap lines at spaces; a word is never broken, however long.

    What stands in backquotes stays whole. Where it does not fit into the rest of a line, it gets a
    line of its own without them, so that it can be copied.

    Args:
        text: one or more lines; those that wrap are continued at their own indentation.
        width: columns of a line; None leaves the text as it is.
    """
    if width is None:
        return text
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    if cell_len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip(" "))]
    done: list[str] = []
    words = ""  # of the line that is being filled
    for spaces, unit in UNIT.findall(line):
        joined = words + spaces + unit if words else indent + unit
        if cell_len(joined) <= width:
            words = joined
            continue
        if words:
            done.append(words)
        words = indent + unit
        command = COMMAND.fullmatch(unit)
        if command is not None and " " in unit:
            done.append(indent + INDENT + command[1])
            words = ""
    return "\n".join([*done, words] if words else done)


def print_message(text: str, stream: TextIO | None = None) -> None:
    """Print a message on standard output or another stream, wrapped where that is a terminal."""
    stream = stream or sys.stdout
    print(wrap_words(text, line_width(stream)), file=stream, flush=True)


def print_with_value(label: str, value: str, is_command: bool = False) -> None:
    """Print a label and what belongs to it: a path, or a command to be copied.

    It is never broken. In a terminal a command has a line of its own, and so has what does not fit
    beside its label.
    """
    width = line_width(sys.stdout)
    line = f"{label} {value}"
    if width is not None and (is_command or cell_len(line) > width):
        line = f"{wrap_words(label.rstrip(), width)}\n{INDENT}{value}"
    print(line, flush=True)


def format_figure(value: float) -> str:
    """Return a figure in four digits at most: `0.783`, `12.35`, `1235`, `4.2e-5`."""
    size = abs(value)
    if not math.isfinite(value) or 0.00995 <= size < 9999.5 or size == 0:
        decimals = sum(size < limit for limit in (9.9995, 99.995, 999.95))
        return f"{value:.{decimals}f}"
    if 0.000995 <= size < 1:
        return f"{value:.4f}"
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits}e{int(exponent)}"


def format_figures(figures: Mapping[str, float]) -> str:
    """Return such as `loss 0.532  acc 0.843  val_acc 0.817`, from the names that are logged."""
    return "  ".join(
        f"{name.replace('accuracy', 'acc')} {format_figure(value)}"
        for name, value in figures.items()
    )


def new_console(stream: TextIO | None = None) -> Console:
    """Return a console of rich for tables; what is no terminal has lines of any length."""
    from rich.console import Console  # start-up time

    stream = stream or sys.stdout
    # Plain text in a notebook, too: what is displayed there does not keep its place among lines.
    width = line_width(stream) or UNLIMITED
    return Console(file=stream, width=width, highlight=False, force_jupyter=False)


def print_wrapped(console: Console, text: str) -> None:
    """Print a message, wrapped where the console is a terminal."""
    text = wrap_words(text, console.width if console.is_terminal else None)
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def new_table(*columns: str, title: str | None = None) -> Table:
    """Return a table with one thin line below its head; cells too long for it are folded.

    Args:
        columns: their names; those that end in ">" are aligned to the right and never folded.
        title: above it.
    """
    from rich import box  # start-up time
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        show_edge=False, pad_edge=False, header_style="",
    )  # fmt: skip
    for column in columns:
        if column.endswith(">"):
            table.add_column(column.removesuffix(">"), justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table
