"""A line that a run prints once, for all of its processes."""

from __future__ import annotations

from lightning.pytorch.utilities import rank_zero_only

from signs_lightning.runtime.terminal import print_message


@rank_zero_only
def rank_zero_print(message: str) -> None:
    """Print a line on standard output, once for all processes of a run; a terminal wraps it."""
    print_message(message)
