"""The documentation: its commands run, or at least parse; its Python runs.

A fenced block of bash or Python is preceded by a comment: `<!-- run -->`, and it is run, page by
page from top to bottom in one folder; or `<!-- parse -->`, and every command in it is one that the
programs it names would take. A block after `<!-- prints -->` is what the command before it prints.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from blocks import blocks, pages_with, script, split_words
from PIL import Image

from signs_lightning.__main__ import main

PYTHON = ["python", "-m", "signs_lightning"]
NEEDS = {
    "python -m signs_lightning demo": ["gradio"],
    "--format onnx": ["onnx", "onnxscript", "onnxruntime"],
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, small_signs: tuple[Path, Path]) -> Path:
    """Make the files that the pages name: drawn hands, pictures, a run, its Keras file."""
    folder = tmp_path_factory.mktemp("workshop")
    for name, path in zip(("train_signs.h5", "test_signs.h5"), small_signs, strict=True):
        shutil.copy(path, folder / name)
    with h5py.File(small_signs[0]) as file:
        images, labels = file["train_set_x"][()], file["train_set_y"][()]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "my_photos" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    (folder / "holiday").mkdir()
    Image.fromarray(images[0]).resize((300, 200)).save(folder / "holiday" / "beach.jpg")
    Image.fromarray(images[1]).save(folder / "hand.png")
    run = "lightning_logs/signs_functional/version_0"
    with contextlib.chdir(folder):
        data = ["--data.train_file", "train_signs.h5", "--data.test_file", "test_signs.h5"]
        assert main(["fit", "--name", "signs_functional", *data, "--trainer.max_epochs", "2"]) == 0
        code = main(
            ["export", "--ckpt_path", run, "--format", "keras-h5", "--output", "my_model.h5"]
        )
        assert code == 0
        write_outputs("my_model.h5", "test_signs.h5", "outputs.npz")
    return folder


def write_outputs(model: str, data: str, output: str) -> None:
    """Write what each layer gives for the test images, in place of Keras."""
    from signs_lightning import from_keras
    from signs_lightning.keras_io.first_difference import _outputs

    network = from_keras(model)
    with h5py.File(data) as file:
        images = network.preprocess(torch.from_numpy(file["test_set_x"][()]))
    with torch.inference_mode():
        outputs: dict[str, Any] = {k: values.numpy() for k, values in _outputs(network, images)}
    np.savez(output, **outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
@pytest.mark.parametrize("page", pages_with("run", "bash", "python"))
def test_page_runs(
    page: str, workshop: Path, tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From top to bottom, as a reader types it, in a folder with the files that it names."""
    if page not in ("tutorial.md", "index.md"):  # these make everything themselves
        shutil.copytree(workshop, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if block.language == "yaml" and (match := re.match(r"# (\S+\.yaml)\n", block.text)):
            Path(match[1]).write_text(block.text)
        elif block.marker == "run" and block.language == "python":
            exec(compile(cheap(block.text), page, "exec"), names)
        elif block.marker == "run":
            for command in block.commands:
                printed = run(command, cli)
        elif block.marker == "prints":
            assert block.text in printed
    if page == "tutorial.md":
        pictures = Path("lightning_logs/my_photos/version_0/report")
        assert (pictures / "report.html").read_text().count("<img") >= 12
        assert Path("samples.png").is_file()


def cheap(code: str) -> str:
    """Return Python of a page that runs on the CPU and prints nothing."""
    quiet = "accelerator='cpu', logger=False, enable_progress_bar=False, enable_model_summary=False"
    return code.replace("Trainer(", f"Trainer({quiet}, ")


def run(command: str, cli: Callable) -> str:
    """Run one line of a shell and return what it prints; this package runs in this process."""
    for part, packages in NEEDS.items():
        if part in command and not all(importlib.util.find_spec(package) for package in packages):
            pytest.skip(f"{command} needs an extra that is not installed")
    words = split_words(command) if "|" not in command else []
    if words[:3] == PYTHON and words[3] == "demo":
        serve(words)
    elif words[:3] == PYTHON:
        done = cli(*words[3:])
        assert done.code == 0, f"{command}\n{done.out}{done.err}"
        return done.out
    elif words[:1] == ["python"] and words[1].startswith("scripts/"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert script(words[1])(words[2:]) == 0, command
        return printed.getvalue()
    elif words[:2] == ["python", "-c"]:
        exec(words[2], {})
    else:
        command = re.sub(r"\bpython\b", shlex.quote(sys.executable), command)
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], check=True, capture_output=True)
    return ""


def serve(words: list[str]) -> None:
    """Start the demo on a free port, wait for its address, end it as Ctrl-C does."""
    command = [sys.executable, *words[1:], "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert re.match(r"http://127\.0\.0\.1:\d+ ", line), line + process.stderr.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(300) == 130
        finally:
            process.kill()


class ParsedError(Exception):
    """The command line was understood; nothing more is wanted."""


@pytest.fixture
def parse(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[list[str]], int], list[str]], None]:
    """Calls a `main` that stops as soon as its arguments are parsed; raises what it raises before
    that.
    """
    from signs_lightning.commands import argv, fit

    parse_verb, parse_fit, find_start = (
        CommandParser.parse_args,
        fit.CLI.parse_arguments,
        fit.find_start,
    )

    def parse_args(self: CommandParser, args: list[str]) -> Any:
        parse_verb(self, args)
        raise ParsedError

    def parse_arguments(self: fit.CLI, parser: Any, args: Any) -> None:
        parse_fit(self, parser, args)
        raise ParsedError

    def find_fresh_start(verb: str, args: list[str]) -> Any:
        """There is no checkpoint whose configuration could come first."""
        return find_start(verb, argv.remove_flag("--ckpt_path", args))

    monkeypatch.setattr(CommandParser, "parse_args", parse_args)
    monkeypatch.setattr(fit.CLI, "parse_arguments", parse_arguments)
    monkeypatch.setattr(fit, "find_start", find_fresh_start)

    def call(program: Callable[[list[str]], int], words: list[str]) -> None:
        with pytest.raises(ParsedError):
            program(words)

    return call


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's, of its own parts
@pytest.mark.parametrize("page", pages_with("parse", "bash"))
def test_commands_parse(
    page: str, parse: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be run in a test (an installation, a download, a GPU, a cluster) is at least what
    the programs take.
    """
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        if (block.language, block.marker) == ("bash", "parse"):
            for line in block.commands:
                for command in line.split(" && "):
                    check(expanded(command), parse)


def check(words: list[str], parse: Callable) -> None:
    """One command of a shell."""
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
        case ["srun", *args]:
            check(args, parse)
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
            pytest.fail(f"nobody knows {shlex.join(words)}")


def check_installation(args: list[str]) -> None:
    """`pip install` of this repository: its extras exist, and so does the file of constraints."""
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
        "scripts/images_to_h5.py",
        "scripts/benchmark.py",
        "scripts/same_as.py",
    ):
        known |= options_of(program)
    allowed = {
        "--pid", "--nnodes", "--nodes", "--ntasks-per-node", "--node_rank", "--logdir",
        "--trainer.OPTION",
    }  # fmt: skip
    allowed |= {"--standalone", "--max-restarts"}
    for page in PAGES:
        text = re.sub(
            r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.DOTALL | re.MULTILINE
        )
        for option in re.findall(r"(?<![\w-])--\w[\w.-]*", re.sub(r"<!--.*?-->", "", text)):
            assert option in known | allowed, f"{page} names {option}"


def options_of(program: str) -> set[str]:
    """Every option of a verb or a script, by its own parser."""
    if program in ("fit", "validate", "test"):
        from signs_lightning.commands.fit import CLI
        from signs_lightning.commands.known_models import import_lazy_model
        from signs_lightning.commands.parser_errors import option_names

        import_lazy_model()

        names: set[str] = set()

        class Options(CLI):
            def parse_arguments(self, parser: Any, args: Any) -> None:
                self.names = {f"--{name}" for name in option_names(self.verb_parser)}
                raise ParsedError

        with contextlib.suppress(ParsedError):
            Options(program, [])
        return names
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        script(program)(["--help"]) if program.endswith(".py") else main([program, "--help"])
    return set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", printed.getvalue()))


def test_dependencies_have_reasons() -> None:
    """The page lists what pyproject.toml lists, no more and no less, each with a reason."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    names = {re.split(r"[\[>=<]", one)[0] for one in needed} - {"signs-lightning"}
    rows = re.findall(
        r"^\|(?:[^|]*\|)? `([\w-]+)` \| ([^|]+) \|$",
        (DOCS / "dependencies.md").read_text(),
        re.MULTILINE,
    )
    assert {name for name, reason in rows if reason.strip()} == names
    assert len(rows) == len(names)


def test_architecture_lists_every_file() -> None:
    """The page has one line for every file of the package, and names no file that is gone."""
    package = ROOT / "signs_lightning"
    files = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    files.append(package / "__init__.py")
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w/]+\.py)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(str(path.relative_to(package)) for path in files)
    for name in re.findall(r"`([\w/]+\.(?:py|md))`", text):
        folders = (package, DOCS, ROOT)
        assert "NAME" in name or any((folder / name).is_file() for folder in folders), name


def test_lines_end_at_100() -> None:
    """Prose and code of the documentation; rows of tables may be longer."""
    pages = [*DOCS.rglob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING"))]
    for path in [*pages, ROOT / "SECURITY.md"]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert len(line) <= 100 or line.startswith("|"), f"{path.name}:{number}"
