"""The one exception for what a user can put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used.

    Its message is one or two sentences: what was found, what was expected, what to do next. The command line prints it
    without a traceback and exits with code 2.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'train_set_x'?"` when a known word is near, else an empty string; ready to end a message with."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""
