"""A progress bar for work that is counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnProgress = Callable[[int, int], None]  # called with how many of how many are done


@contextmanager
def show_progress(what: str) -> Iterator[OnProgress]:
    """Show a bar on standard error; where that is no terminal, a plain line.

    Args:
        what: such as "Converting photos".

    Yields:
        A function that takes how many of how many are done.
    """
    from rich.console import Console  # start-up time
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"{what} …", file=sys.stderr, flush=True)
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
