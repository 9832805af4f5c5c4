"""The exception for what the user can put right, and suggestions of near words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used.

    Its message is one or two sentences: what was found, what was expected, what to do next. The
    command line prints it without a traceback and exits with code 2. What cannot be printed, such
    as a control character in a name from a file, is escaped.

    Examples:
        >>> from signs_lightning import H5DataModule, InputError
        >>> try:
        ...     H5DataModule(batch_size=0)
        ... except InputError as error:
        ...     print(error)
        batch_size is 0, expected at least 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        )


class CollectedInputError(InputError):
    """Several things that cannot be used, found by looking on after the first.

    Attributes:
        messages: one for each, all different.
    """

    def __init__(self, messages: Iterable[str]) -> None:
        self.messages = list(dict.fromkeys(messages))
        super().__init__(" ".join(self.messages))


class UnnamedModelError(InputError):
    """A checkpoint needs the user's own code, which the user has not named.

    Attributes:
        options: that name it.
    """

    def __init__(self, message: str, options: str) -> None:
        self.options = options
        super().__init__(f"{message} If you trust it, add {options}")


class NoImagesError(InputError):
    """No file is named for what a command is to work on."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'train_set_x'?"`, or an empty string if no word is near."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""
