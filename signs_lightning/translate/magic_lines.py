"""Lines of a notebook that are IPython's and not Python's."""

from __future__ import annotations

import re

# Lines are of any length: none of these looks at one more than a few times.
_CODE = re.compile(r"^((?:[\w.,\s]+=)?\s*)%(\w+)[ \t]*(.*)$", re.DOTALL)
# Magic commands that may bind or forget names.
CHANGES_NAMES = frozenset(
    [
    "store", "reset", "reset_selective", "xdel", "edit", "macro", "rerun", "recall", "px",
    "autopx", "R", "julia", "loadpy",
]
)  # fmt: skip
_RUNNING = {"time", "timeit", "prun", "memit", "run"}  # magic commands that run code
_LINE = re.compile(r"^(\s*)(?:%|!|\?)(?=[\w.!%/~?\[{$-])")
_ASSIGNED = re.compile(r"^([\w.,\s]+=\s*)[%!](?=[\w./~])")
_HELP = re.compile(r"^(\s*)[\w.]+\?{1,2}\s*$")
_PYTHON_CELLS = {"time", "timeit", "capture", "prun", "notebook"}
_PRINT = re.compile(r"^((?:[^#'\"\n]*[:;])?\s*)print\b(?!\s*[(=.])[ \t]*([^\n;#]*)")


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
    """Return the cell with calls of IPython's shell for lines that run code, and `pass` for others.

    The lines keep their numbers.
    """
    lines: list[str] = []
    given = iter(text.splitlines())
    for line in given:
        magic = _LINE.match(line) or _HELP.match(line)
        if not magic and not _ASSIGNED.match(line):
            lines.append(line)
            continue
        more = 0
        while line.rstrip().endswith("\\") and (added := next(given, None)) is not None:
            line, more = f"{line.rstrip()[:-1]}{added}", more + 1
        code = _CODE.match(line)
        if code and (code[2] in _RUNNING or code[2] in CHANGES_NAMES):
            lines.append(f"{code[1]}get_ipython().run_line_magic({code[2]!r}, {code[3]!r})")
        elif magic:
            lines.append(f"{magic[1]}pass")
        else:
            lines.append(_ASSIGNED.sub(r"\1get_ipython() #", line))
        lines += [""] * more
    if cell_magic(text)[0] == "timeit":  # which runs the cell some times, and keeps no name of it
        start = next(k for k, line in enumerate(lines) if line.strip())
        lines[start] = "if get_ipython():"
        lines[start + 1 :] = [f" {line}" for line in lines[start + 1 :] or ["pass"]]
    return "\n".join(lines) + "\n"


def with_print_calls(text: str) -> str:
    """Return Python 2's source with its print statements as calls."""
    return "\n".join(_print_call(line) for line in text.splitlines()) + "\n"


def _print_call(line: str) -> str:
    return _PRINT.sub(lambda found: f"{found[1]}print({found[2].strip().rstrip(',')})", line, 1)
