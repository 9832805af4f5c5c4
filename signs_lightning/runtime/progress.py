"""A line in a terminal that shows how far some work is, how fast, and how long it takes yet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from signs_lightning.runtime.notebook import is_notebook
from signs_lightning.runtime.terminal import format_figure, print_message

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

REDRAW_SECONDS = 0.1
MIN_COLUMNS = 60  # of a terminal that has room for the line
BAR_COLUMNS = 3, 40  # the least and the most
CTRL_C = 2  # columns for the ^C that a terminal writes behind the line
BYTES = "B"  # a unit: counted in MB

# called with how many of how many are done, of 0 where that is not known
OnProgress = Callable[[int, int], None]


class ProgressLine:
    """A line that is redrawn in place, at most ten times a second, and gone at the end.

    It is nowhere wider than the terminal, of which it needs 60 columns; without one, or below
    them, nothing is drawn.

    Args:
        console: of rich, where it is drawn.
        unit: what is counted per second, such as "img", or `BYTES`; "" for no such figure.

    Attributes:
        name: what is being done, in a word or two.
        short_name: the same where there is less room.
        done: how much.
        total: of how much; 0 where that is not known.
        items: what is counted per second, since `restart`.
        figures: shown behind the bar, by their names.
        seconds_left: until the end; None takes it from `done` and `total`.
    """

    def __init__(self, console: Console, unit: str = "img") -> None:
        self.console, self.unit = console, unit
        self.name = self.short_name = ""
        self.figures: Mapping[str, float] = {}
        self.seconds_left: float | None = None
        self._live: Any = None
        self._drawn = time.monotonic()
        self.restart()

    def restart(self, name: str = "", short_name: str = "", total: int = 0, done: int = 0) -> None:
        """Begin with another piece of work."""
        self.name, self.short_name = name, short_name or name
        self.total, self.done, self._start = total, done, done
        self.items, self.figures, self.seconds_left = 0, {}, None
        self._began = time.monotonic()

    @property
    def can_be_drawn(self) -> bool:
        """Whether there is a terminal that is wide enough."""
        console = self.console
        is_terminal = console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
        return is_terminal and console.width >= MIN_COLUMNS

    @property
    def is_due(self) -> bool:
        """Whether the line may be drawn again."""
        return time.monotonic() - self._drawn >= REDRAW_SECONDS and self.can_be_drawn

    def advance(self, count: int, **figures: float) -> None:
        """Count what is done since, and draw the line where that is due."""
        self.done, self.items = self.done + count, self.items + count
        if self.is_due:
            self.figures = figures
            self.draw()

    def draw(self) -> None:
        """Draw the line as it is now; to be called where `is_due`."""
        from rich.live import Live  # start-up time

        if self._live is None:
            # What others print appears above the line, on its own stream where that is a file.
            self._live = Live(
                self,
                console=self.console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start()
        self._live.refresh()
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Take the line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _texts(self) -> Iterator[list[str]]:
        """Yield what stands before and behind the bar, from more to less."""
        seconds = time.monotonic() - self._began
        part = (self.done - self._start) / max(self.total - self._start, 1)
        left = self.seconds_left
        if left is None and self.total and part > 0:
            left = seconds * (1 - part) / part
        texts = [f"{name} {format_figure(value)}" for name, value in self.figures.items()]
        if left is not None:
            texts.append(f"{format_duration(left)} left")
        if self.unit and self.items and seconds > 0:
            texts.append(format_rate(self.items / seconds, self.unit))
        count = _format_count(self.done, self.total, self.unit)
        yield [self.name, count, *texts]
        yield [self.name, "", *texts]
        for keep in range(len(texts), 0, -1):
            yield [self.short_name, "", *texts[:keep]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar  # start-up time
        from rich.text import Text

        least, most = BAR_COLUMNS if self.total else (0, 0)
        width = options.max_width - 1 - CTRL_C
        for name, *texts in self._texts():
            before = f"{name} " if name else ""
            behind = "".join(f" {text}" for text in texts if text)
            room = width - cell_len(before) - cell_len(behind)
            if room >= least:
                break
        yield Text(before, end="")
        if self.total:
            yield ProgressBar(self.total, min(self.done, self.total), min(room, most))
        yield Text(behind, end="")


def _format_count(done: int, total: int, unit: str) -> str:
    if unit == BYTES:
        return f"{done / 1e6:,.1f}{f'/{total / 1e6:,.1f}' if total else ''} MB"
    return f"{done:,}{f'/{total:,}' if total else ''}"


def format_rate(rate: float, unit: str) -> str:
    """Return such as `2,700 img/s`."""
    if unit == BYTES:
        return f"{rate / 1e6:.1f} MB/s"
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.1f} {unit}/s"


def format_duration(seconds: float) -> str:
    """Return minutes and seconds, `0:07`, or hours and minutes, `12h07`."""
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    return f"{hours}h{minutes % 60:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress_line(unit: str = "img") -> Iterator[ProgressLine]:
    """Yield a line on standard error, which is gone at the end."""
    from rich.console import Console  # start-up time

    line = ProgressLine(Console(stderr=True, soft_wrap=True, highlight=False), unit)
    try:
        yield line
    finally:
        line.close()


@contextmanager
def show_progress(what: str, unit: str = "img", start: int = 0) -> Iterator[OnProgress]:
    """Say on standard error what is being done, and show how far it is where that is a terminal.

    In a notebook it is said on standard output.

    Args:
        what: such as "Converting photos"; "" where that was said.
        unit: what is counted: "img", `BYTES`, or "" for things that no speed is told of.
        start: how many were there already.

    Yields:
        A function that takes how many of how many are done.
    """
    if what:  # a cell shows what comes on standard error in red
        print_message(f"{what} …", sys.stdout if is_notebook() else sys.stderr)
    with progress_line(unit) as line:
        line.restart(done=start)

        def advance(done: int, total: int) -> None:
            line.total = total
            line.advance(done - line.done)

        yield advance
