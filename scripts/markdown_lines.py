"""Lines of at most 100 characters in the Markdown that scripts write."""

from __future__ import annotations

import re
import textwrap

WIDTH = 100


def wrap_prose(text: str) -> str:
    """Wrap paragraphs and list items, but no tables, pictures or fenced blocks."""
    lines: list[str] = []
    in_fence = False
    for line in text.split("\n"):
        in_fence ^= line.startswith("```")
        if in_fence or line.startswith(("|", "![", "```")) or len(line) <= WIDTH:
            lines.append(line)
        else:
            lines += _wrap(line, WIDTH, "  " if line.startswith("- ") else "")
    return "\n".join(lines)


def wrap_command(command: str) -> str:
    """Wrap a shell command with backslashes; options keep their values."""
    unbroken = re.sub(r"--\w+ (?:'[^']*'|\S+)", lambda match: match[0].replace(" ", "\0"), command)
    return " \\\n".join(_wrap(unbroken, WIDTH - 2, "    ")).replace("\0", " ")


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
