"""The fenced blocks of the documentation, and the commands in them.

A block of bash or Python is preceded by a comment: `<!-- run -->`, and test_docs.py runs it,
page by page from top to bottom in one folder; `<!-- file -->`, and it writes the file that the
block's first line names; or `<!-- parse -->`, and test_commands_parse.py
checks that the programs it names take its commands. A block after `<!-- prints -->` is what the
command before it prints.
"""

from __future__ import annotations

import re
import runpy
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    marker: str  # "run", "parse", "prints", or what else stands before it
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Return its lines without comments; a backslash joins two."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """Return all fenced blocks of a page, with the line before each."""
    pattern = r"([^\n]*)\n```(\w+)\n(.*?)^```$"
    found = re.findall(pattern, (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return [
        Block(page, before.removeprefix("<!-- ").removesuffix(" -->"), language, text)
        for before, language, text in found
    ]


def pages_with(marker: str, *languages: str) -> list[str]:
    """Return the pages that have such a block in one of the languages."""
    return [
        page
        for page in PAGES
        if any(b.marker == marker and b.language in languages for b in blocks(page))
    ]


def split_words(command: str) -> list[str]:
    """Split a command into words; the shell resolves quotes and patterns."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


def script(path: str) -> Callable[[list[str]], int]:
    """Return the `main` of a script of the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str((ROOT / path).parent))  # as for a script that is run
        return runpy.run_path(str(ROOT / path), run_name=Path(path).stem)["main"]
