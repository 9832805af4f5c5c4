"""Names and shapes in texts: safe for a terminal, a shell, an HTML page, or a CSV table."""

from __future__ import annotations

import html
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

FORMULA = tuple("=+-@\t\r")  # what makes a spreadsheet compute a cell instead of showing it


def printable(text: str) -> str:
    r"""Return a text with control characters and the like written as `\x1b`."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def shorten(text: str, max_length: int = 60) -> str:
    """Return a printable text of at most so many characters."""
    text = printable(text)
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def list_names(names: Iterable[object], quote: str = "'", most: int = 12, last: str = ", ") -> str:
    """Return the first names, shortened, and how many more there are; `last` joins the last two."""
    listed = [f"{quote}{shorten(str(name))}{quote}" for name in names]
    if len(listed) > most:
        return f"{', '.join(listed[:most])} and {len(listed) - most} more"
    return last.join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)


def format_shape(shape: Iterable[object]) -> str:
    """Return a shape such as `1080×64×64×3`."""
    return "×".join(map(str, shape))


def quote_path(path: Path | str) -> str:
    """Return a file's name as a shell takes it.

    It may begin with a dash, or have characters that cannot be printed.
    """
    name = str(path)
    if name.startswith("-"):
        name = f"./{name}"
    if name.isprintable():
        return shlex.quote(name)
    octets = (
        chr(octet) if 32 <= octet < 127 and chr(octet) not in "'\\" else f"\\x{octet:02x}"
        for octet in os.fsencode(name)
    )
    return f"$'{''.join(octets)}'"


def for_terminal(text: str) -> str:
    """Return a printable text in which rich finds no markup."""
    from rich.markup import escape  # start-up time

    return escape(printable(text))


def for_html(text: str) -> str:
    """Return a printable text for HTML content or attributes."""
    return html.escape(printable(text))


def for_csv(text: str) -> str:
    """Return a printable CSV cell, with an apostrophe before what would be a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(FORMULA) else text
