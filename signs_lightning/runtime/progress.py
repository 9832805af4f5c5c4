"""A progress bar for work that is counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from signs_lightning.runtime.escaping import printable

# called with how many of how many are done, of 0 where that is not known
OnProgress = Callable[[int, int], None]


@contextmanager
def show_progress(what: str, start: int | None = None) -> Iterator[OnProgress]:
    """Show a bar on standard error; where that is no terminal, a plain line.

    Args:
        what: such as "Converting photos".
        start: of a download, the bytes that are there already; it says itself that it begins.

    Yields:
        A function that takes how many of how many are done.
    """
    from rich.console import Console  # start-up time
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        if start is None:
            print(f"{what} …", file=sys.stderr, flush=True)
        yield lambda done, total: None
        return
    counts = (MofNCompleteColumn(), TimeRemainingColumn())
    columns = counts if start is None else (DownloadColumn(), TransferSpeedColumn())
    name = TextColumn("{task.description}", markup=False)
    with Progress(name, BarColumn(), *columns, console=console, transient=True) as bar:
        task = bar.add_task(printable(what), total=None, completed=start or 0)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
