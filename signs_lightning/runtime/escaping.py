"""Names out of files, made safe for where they are shown: a terminal, a page, a table that a spreadsheet opens."""

from __future__ import annotations

import html

from rich.markup import escape

FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
)  # what makes a spreadsheet compute a cell instead of showing it


def printable(text: str) -> str:
    r"""Control characters and other unprintable ones as `\x1b` and the like, so that they can neither move a cursor nor hide."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def shorten(text: str, most: int = 60) -> str:
    """Printable, and at most so many characters: a name in a sentence."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def for_terminal(text: str) -> str:
    """For a rich table or line: printable, and without meaning as rich's markup."""
    return escape(printable(text))


def for_html(text: str) -> str:
    """For an HTML text or attribute."""
    return html.escape(printable(text))


def for_csv(text: str) -> str:
    """For a CSV cell: printable, and an apostrophe in front of what a spreadsheet would take for a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(FORMULA) else text
