"""What is done with texts of each kind: what the command line would do."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shutil
from pathlib import Path

from fuzz.texts import words_of
from signs_lightning.__main__ import VERBS, main
from signs_lightning.commands.ckpt_path import find_start
from signs_lightning.errors import InputError
from signs_lightning.translate import translation  # noqa: F401  # likewise
from signs_lightning.translate.read_source import read_source

for module, _ in VERBS.values():  # before the forks
    if "demo" not in module:
        importlib.import_module(f"signs_lightning.{module}")
EXIT_CODES = (0, 1, 2, 3)


def config(path: Path, out: Path) -> None:
    """As `fit --ckpt_path` reads that of a run folder without a checkpoint, then as the user's own
    configuration, which `summary` makes a model of.
    """
    run = out / "run"
    run.mkdir()
    try:
        shutil.copy(path, run / "config.yaml")
        find_start("fit", ["--ckpt_path", str(run)])
    except InputError as error:  # what is offered instead is as long as what was written
        raise InputError(str(error).partition(" If you trust it, add ")[0]) from error
    finally:
        shutil.rmtree(run)
    run_words(["summary", "--config", str(path)])


def command(path: Path, out: Path) -> None:
    """As a shell passes it on, in an empty folder."""
    run_words(words_of(path.read_bytes()))


def notebook(path: Path, out: Path) -> None:
    """As `translate` reads it; nothing is built."""
    reading = read_source(path, {})
    mistakes = [found for found in reading.findings if "could not be read" in found.reason]
    assert not mistakes, mistakes[0].reason


def run_words(words: list[str]) -> None:
    """Run a command line.

    Raises:
        InputError: it was refused.
        AssertionError: the exit code is none that is promised, or what is printed is no text.
    """
    printed, before = io.StringIO(), set(os.listdir())
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
    said = printed.getvalue()
    assert code in EXIT_CODES, (code, said[-300:])
    assert "Traceback" not in said or "--debug" in words, said[-1500:]
    odd = [c for c in said if not c.isprintable() and c != "\n"]
    assert not odd, f"printed {odd[:5]!r}: {said[-300:]!r}"
    if code:
        assert set(os.listdir()) == before, f"written: {set(os.listdir()) - before}"
        raise InputError("refused")
    for name in set(os.listdir()) - before:
        shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)
