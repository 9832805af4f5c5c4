"""What is printed, as a terminal shows it and as a file receives it."""

from __future__ import annotations

import io
import sys
import textwrap

import numpy as np
import pytest
from screens import Terminal

from signs_lightning.runtime.terminal import (
    new_console,
    new_table,
    print_message,
    print_with_value,
    wrap_words,
)

COMMAND = "python -m signs_lightning test lightning_logs/signs/version_0 --data.test_file a.h5"


@pytest.mark.parametrize("width", [20, 59, 79])
def test_words_are_wrapped_as_python_does(width: int) -> None:
    """Beside textwrap, words longer than the line among them."""
    rng = np.random.default_rng(width)
    words = ["-" + "x" * int(n) for n in rng.integers(0, 30, 400)]
    wrapped = textwrap.wrap(" ".join(words), width, break_long_words=False, break_on_hyphens=False)
    assert wrap_words(" ".join(words), width).split("\n") == wrapped


def test_a_command_in_a_sentence_can_be_copied() -> None:
    """Whole and by itself where it does not fit beside other words, else where it stands."""
    text = f"Nothing is trained yet. Run `{COMMAND}`, or `fit --help`. Lines of text follow here."
    assert wrap_words(text, 79).split("\n") == [
        "Nothing is trained yet. Run",
        f"  {COMMAND}",
        "or `fit --help`. Lines of text follow here.",
    ]
    assert wrap_words(text, None) == text
    assert wrap_words("See `fit --help`.", 20) == "See `fit --help`."


def test_wide_characters_take_two_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator shows every line whole."""
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal = Terminal(30)
    print_message("数字手势 " * 12, terminal.stream)
    lines = terminal.close()
    assert len(lines) == 4
    assert "".join(lines).replace(" ", "") == "数字手势" * 12


def test_output_that_is_no_terminal_is_not_wrapped(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_message("word " * 100)
    print_with_value("next:", COMMAND, is_command=True)
    table = new_table("name", "n>")
    table.add_row("x" * 300, "1")
    new_console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["word " * 100, f"next: {COMMAND}"]
    assert lines[-1].split() == ["x" * 300, "1"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_shows_all_and_nothing_beyond_its_width(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words, cells of a table, and a command; only that may be longer than a line."""
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal = Terminal(columns)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    words = [f"word{k}" for k in range(60)]
    print_message(" ".join(words))
    print_with_value("next:", COMMAND, is_command=True)
    table = new_table("name", "what", "number>")
    table.add_row("a/" * 40, "some words of a description " * 3, "1,234,567")
    new_console().print(table)
    lines = terminal.close()
    assert max(len(line) for line in lines if COMMAND[: columns - 2] not in line) < columns
    text = lines[: lines.index("next:")]
    assert " ".join(text).split() == words
    assert "".join(lines[lines.index("next:") + 1 :]).startswith(f"  {COMMAND}")
    assert sum(line.count("a/") for line in lines) == 40
    assert lines[-1].split()[0] != "…"
    assert any("1,234,567" in line for line in lines)
    assert not any("…" in line for line in lines)


def test_a_stream_of_unknown_size_is_80_columns_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    print_message("x" * 39 + " " + "y" * 39 + " z", stream)
    assert stream.getvalue() == "x" * 39 + " " + "y" * 39 + "\nz\n"
