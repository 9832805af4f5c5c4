"""`--help` fits on a screen, is true, and comes at once; `--help_all` has everything."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from signs_lightning.__main__ import VERBS
from signs_lightning.commands.borrowed_options import RUNS
from signs_lightning.commands.check_options import check_options
from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.option_names import model_names, model_options, options
from signs_lightning.commands.run_help import OPTIONS

EXAMPLE = re.compile(r"^  python -m signs_lightning (.*)$", re.MULTILINE)


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_on_a_screen(
    verb: str, columns: str, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 30 lines of at most 79 columns, with an example, and where the rest is."""
    monkeypatch.setenv("COLUMNS", columns)
    done = cli(verb, "--help")
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 79
    assert lines[0].startswith(f"usage: python -m signs_lightning {verb} ")
    assert "--help_all" in lines[-1]
    assert cli(verb, "-h").out == done.out


class ParsedError(Exception):
    """The arguments were parsed."""


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_into_a_narrow_terminal(
    verb: str, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last line, its usage and its examples are wrapped; these stay commands of a shell."""
    examples = EXAMPLE.findall(cli(verb, "--help").out)
    monkeypatch.setenv("COLUMNS", "60")
    narrow = cli(verb, "--help").out
    # argparse breaks no list of choices
    assert max(len(line) for line in narrow.splitlines() if not line.startswith("  --")) <= 59
    assert EXAMPLE.findall(re.sub(r" \\\n +", " ", narrow)) == examples


@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_the_help_are_parsed(
    verb: str, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every example is a command line that the verb takes."""
    parse_args = CommandParser.parse_args

    def stop(self: CommandParser, args: list[str]) -> Any:
        parse_args(self, args)
        raise ParsedError

    examples = EXAMPLE.findall(cli(verb, "--help").out)
    assert examples
    monkeypatch.setattr(CommandParser, "parse_args", stop)
    for example in examples:
        name, *args = shlex.split(example)
        assert name == verb
        if verb in RUNS:
            check_options(verb, ["--ckpt_path", *args] if args[0][0] != "-" else args)
        elif verb != "summary":
            with pytest.raises(ParsedError):
                cli(verb, *args)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in RUNS])
def test_help_all_has_more(verb: str, cli: Callable) -> None:
    """Everything that the short help names, and other options."""
    short, whole = cli(verb, "--help").out, cli(verb, "--help_all").out
    options = re.compile(r"^  (--[\w.]+)", re.MULTILINE)
    assert set(options.findall(short)) <= set(options.findall(whole))
    assert len(options.findall(whole)) > len(options.findall(short))


def test_help_all_of_fit(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser's own, with every option of the check before it, within the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    done = cli("fit", "--help_all")
    assert done.code == 0
    named = set(re.findall(r"--([\w.]+)", done.out))
    assert {name for name in options("fit") if "." in name or name in OPTIONS} <= named
    assert max(map(len, done.out.splitlines())) <= 79


@pytest.mark.parametrize("verb", RUNS)
def test_the_options_in_the_short_help_exist(verb: str, cli: Callable) -> None:
    """They are the schema's, and so the parser's."""
    named = set(re.findall(r"^  --([\w.]+)", cli(verb, "--help").out, re.MULTILINE))
    assert 6 <= len(named) <= 12
    assert named <= set(options(verb)) | set(model_options("SignsFunctional"))


@pytest.mark.parametrize("topic", ["data", "trainer", "model", "checkpoint", *model_names()])
def test_help_of_a_section(topic: str, cli: Callable) -> None:
    """All options of a section or a model, with a text each, within 79 columns."""
    done = cli("fit", "--help", topic)
    assert done.code == 0
    assert cli("fit", f"--help={topic}").out == done.out
    found = set(re.findall(r"^  --([\w.]+)", done.out, re.MULTILINE))
    known = options("fit") | {"model.help": ""}
    if topic in model_names():
        assert found == set(model_options(topic))
    elif topic != "model":
        assert found == {name for name in known if name.startswith(f"{topic}.")}
    assert max(map(len, done.out.splitlines())) <= 79


def test_help_of_one_option(cli: Callable) -> None:
    """By its whole name or its last part, with all that is known of it."""
    done = cli("fit", "--help", "val_fraction")
    assert "--data.val_fraction" in done.out
    assert done.out == cli("fit", "--help", "--data.val_fraction".lstrip("-")).out
    assert cli("fit", "--help", "zqzqzq").err == (
        "No option begins with 'zqzqzq'; see fit --help.\n"
    )
