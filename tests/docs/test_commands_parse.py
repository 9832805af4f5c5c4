"""The commands and options that the documentation names are ones that the programs take."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blocks import DOCS, PAGES, ROOT, blocks, pages_with, script, split_words

from signs_lightning.__main__ import VERBS, main
from signs_lightning.commands.command_parser import CommandParser


class ParsedError(Exception):
    """The command line was parsed."""


@pytest.fixture
def parse(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[list[str]], int], list[str]], None]:
    """Return a function that calls a `main` which stops once its arguments are parsed."""
    from signs_lightning.commands import argv, fit_validate_test

    parse_verb, parse_fit, find_start = (
        CommandParser.parse_args,
        fit_validate_test.CLI.parse_arguments,
        fit_validate_test.find_start,
    )

    def parse_args(self: CommandParser, args: list[str]) -> Any:
        parse_verb(self, args)
        raise ParsedError

    def parse_arguments(self: fit_validate_test.CLI, parser: Any, args: Any) -> None:
        parse_fit(self, parser, args)
        raise ParsedError

    def find_fresh_start(verb: str, args: list[str]) -> Any:
        """Ignore the checkpoint, which does not exist."""
        return find_start(verb, argv.remove_flag("--ckpt_path", args))

    monkeypatch.setattr(CommandParser, "parse_args", parse_args)
    monkeypatch.setattr(fit_validate_test.CLI, "parse_arguments", parse_arguments)
    monkeypatch.setattr(fit_validate_test, "find_start", find_fresh_start)

    def call(program: Callable[[list[str]], int], words: list[str]) -> None:
        with pytest.raises(ParsedError):
            program(words)

    return call


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's, of its own parts
@pytest.mark.parametrize("page", pages_with("parse", "bash"))
def test_commands_parse(
    page: str, parse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installations, downloads and commands for clusters, which cannot run here, are parsed."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if (block.language, block.marker) == ("bash", "parse"):
            for line in block.commands:
                for command in line.split(" && "):
                    check(split_words(command), parse)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_commands_in_the_readme_parse(parse: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in backquotes, which stand in tables and sentences; `…` is for files that are named
    elsewhere.
    """
    monkeypatch.chdir(ROOT)
    commands = re.findall(r"`signs-lightning ([^`]+)`", (ROOT / "README.md").read_text())
    assert len(commands) >= 10
    for command in commands:
        words = [word for word in split_words(" ".join(command.split())) if word != "…"]
        check(["python", "-m", "signs_lightning", *words], parse)


def check(words: list[str], parse: Callable) -> None:
    """Check one command of a shell."""
    match words:
        case ["python", "-m", "signs_lightning", verb, *_]:
            assert verb in VERBS
            parse(main, words[3:])
        case ["python", path, *args]:
            parse(script(path), args)
        case ["torchrun", *args]:
            from torch.distributed.run import parse_args

            launched = parse_args(args)
            assert (launched.module, launched.training_script) == (True, "signs_lightning")
            parse(main, launched.training_script_args)
        case ["srun", "--kill-on-bad-exit=1", *args] | ["srun", *args]:
            check(args, parse)
        case ["docker", *_]:
            check_container(words, parse)
        case ["mkdir", "-p", *_]:
            pass
        case ["sbatch", _] | ["python3", "-m", "venv", ".venv"] | [".", ".venv/bin/activate"]:
            pass
        case ["tensorboard", *_]:
            from tensorboard import default, program

            program.TensorBoard(default.get_plugins()).configure(words)
        case ["mkdocs", verb, *args]:
            pytest.importorskip("mkdocs.__main__").cli.commands[verb].make_context(verb, args)
        case ["pip", "install", *args]:
            check_installation(args)
        case _:
            pytest.fail(f"unknown command: {shlex.join(words)}")


def check_container(words: list[str], parse: Callable) -> None:
    """Check that Docker has the options, the Dockerfile the arguments, and the program the rest."""
    options = argparse.ArgumentParser(exit_on_error=False)
    options.add_argument("action", choices=["build", "run"])
    for name in ("-t", "--build-arg", "--user", "--gpus", "--shm-size"):
        options.add_argument(name)
    for name in ("--rm", "--init"):
        options.add_argument(name, action="store_true")
    for name in ("-v", "-p"):
        options.add_argument(name, action="append", default=[])
    options.add_argument("image")
    options.add_argument("rest", nargs=argparse.REMAINDER)
    found = options.parse_args(words[1:])
    text = (ROOT / "Dockerfile").read_text()
    if found.action == "build":
        assert (found.image, found.rest) == (".", [])
        if found.build_arg:
            assert f"ARG {found.build_arg.partition('=')[0]}=" in text
        return
    assert found.image in ("signs-lightning", "signs-lightning:gpu")
    for volume in found.v:
        assert f'"{volume.split(":")[1]}"' in text
    for port in found.p:
        assert f"EXPOSE {port.split(':')[-1]}" in text
    parse(main, found.rest)


def check_installation(args: list[str]) -> None:
    """Check that the extras of a `pip install` exist, and the file of constraints."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    if args[0] == "-c":
        assert (ROOT / args[1]).is_file()
        args = args[2:]
    (what,) = args
    match = re.fullmatch(r"\.(?:\[([\w,]+)\])?", what)
    assert match is not None, what
    assert set((match[1] or "").split(",")) <= {"", *extras}


def test_options_exist() -> None:
    """Every option that a page names in passing is one of `fit`, of a verb or of a script."""
    known = set()
    for program in (
        *VERBS,
        "scripts/download_data.py",
        "scripts/benchmark.py",
        "scripts/mutation_score.py",
        "scripts/same_as.py",
    ):
        known |= options_of(program)
    allowed = {
        "--cases",
        "--pid",
        "--seed",
        "--nnodes",
        "--nodes",
        "--ntasks-per-node",
        "--node_rank",
        "--logdir",
        "--trainer.OPTION",
    }
    allowed |= {"--standalone", "--max-restarts", "--kill-on-bad-exit"}  # of torchrun and srun
    allowed |= {"--help_all", "--print_schema", "--version"}
    allowed |= {"--end", "--verb", "--epochs", "--count"}  # of tests/kill
    allowed |= {"--build-arg"}  # of docker
    allowed |= {"--model.network.pretrained", "--model.network.in_chans"}  # of timm.create_model
    for page in PAGES:
        text = re.sub(
            r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.DOTALL | re.MULTILINE
        )
        for option in re.findall(r"(?<![\w-])--\w[\w.-]*", re.sub(r"<!--.*?-->", "", text)):
            assert option in known | allowed, f"{page} names {option}"


def options_of(program: str) -> set[str]:
    """Return every option of a verb or a script, by its own parser."""
    if program in ("fit", "validate", "test"):
        from signs_lightning.commands.fit_validate_test import CLI
        from signs_lightning.commands.known_models import import_lazy_model
        from signs_lightning.commands.parser_errors import option_names

        import_lazy_model()

        class Options(CLI):
            def parse_arguments(self, parser: Any, args: Any) -> None:
                self.names = {f"--{name}" for name in option_names(self.verb_parser)}
                raise ParsedError

        built = Options.__new__(Options)
        with contextlib.suppress(ParsedError):
            built.__init__(program, [])  # type: ignore[misc]
        return built.names
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        script(program)(["--help"]) if program.endswith(".py") else main([program, "--help_all"])
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", printed.getvalue()))
