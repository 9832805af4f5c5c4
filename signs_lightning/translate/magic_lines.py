"""Lines of a notebook that are IPython's and not Python's."""

from __future__ import annotations

import re

_LINE = re.compile(r"^(\s*)(?:%|!|\?)(?=[\w.!%/~?\[{$-])")
_ASSIGNED = re.compile(r"^(\s*[\w.,\s]+=\s*)[%!](?=[\w./~])")
_HELP = re.compile(r"^(\s*)[\w.]+\?{1,2}\s*$")
_PYTHON_CELLS = {"time", "timeit", "capture", "prun", "notebook", "python3", "python"}
_PRINT = re.compile(r"^(\s*(?:[^#'\"\n]*[:;]\s*)?)print\b[ \t]*(?!\s*[(=.])([^\n;#]*)")


def cell_magic(text: str) -> tuple[str, str]:
    """Return name and arguments of a cell's `%%` line, or empty texts."""
    for line in text.splitlines():
        if line.strip():
            found = re.match(r"\s*%%\s*(\w+)(.*)", line)
            return (found[1], found[2].strip()) if found else ("", "")
    return "", ""


def is_python(magic: str) -> bool:
    """Return whether the rest of a cell with this `%%` line is Python."""
    return not magic or magic in _PYTHON_CELLS


def without_magic(text: str) -> str:
    """Return the cell with `pass` for IPython's lines, and a call without effect for their values.

    The lines keep their numbers.
    """
    lines = []
    is_continued = False
    for line in text.splitlines():
        if is_continued:
            is_continued = line.rstrip().endswith("\\")
            lines.append("")
            continue
        magic = _LINE.match(line) or _HELP.match(line)
        if magic:
            is_continued = line.rstrip().endswith("\\")
            lines.append(f"{magic[1]}pass")
        else:
            lines.append(_ASSIGNED.sub(r"\1get_ipython() #", line))
    return "\n".join(lines) + "\n"


def with_print_calls(text: str) -> str:
    """Return Python 2's source with its print statements as calls."""
    return "\n".join(_print_call(line) for line in text.splitlines()) + "\n"


def _print_call(line: str) -> str:
    return _PRINT.sub(lambda found: f"{found[1]}print({found[2].strip().rstrip(',')})", line, 1)
