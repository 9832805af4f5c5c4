"""What the verbs print in terminals of 60, 80 and 120 columns, as an emulator shows it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from forks import Fork
from screens import Terminal, plain

from signs_lightning.__main__ import main

WIDTHS = [60, 80, 120]
RUN = "lightning_logs/hands/version_0"


class Screen:
    """A command in a terminal of its own.

    Args:
        columns: the terminal's width.
        folder: where it runs.
        args: verb and options.
    """

    def __init__(self, columns: int, folder: Path, *args: object) -> None:
        self.columns, self.terminal = columns, Terminal(columns)

        def run(words: list[str]) -> int:
            for number in range(3):
                os.dup2(self.terminal.theirs, number)
            return main(words)

        os.environ.pop("COLUMNS", None)
        environment = {"TERM": "xterm-256color", "SIGNS_LIGHTNING_CACHE": str(folder / "cache")}
        self.process = Fork(args, folder, run, environment)

    def end(self) -> tuple[int, list[str]]:
        """Return the exit code and the lines at the end; check that each fits the screen.

        A command to be copied, or a single path, may be longer.
        """
        code, lines = self.process.wait().code, self.terminal.close()
        for line in re.split(r"[\r\n]+", plain(self.terminal.octets)):
            is_command = re.match(r"  (python -m signs_lightning|tensorboard) ", line)
            is_word = " " not in line.strip()
            assert is_command or is_word or len(line) < self.columns, line
            assert "…" not in line
        return code, lines


@pytest.mark.parametrize(
    "columns", [60, *(pytest.param(n, marks=pytest.mark.slow) for n in (80, 120))]
)
def test_errors(columns: int, tmp_path: Path) -> None:
    """A sentence of 130 characters, all of whose words are there."""
    code, lines = Screen(columns, tmp_path, "fit").end()
    assert code == 2
    assert " ".join(lines) == (
        "There is nothing to train on. Name a file with --data.train_file, or take drawn pictures "
        "with --data.drawn DrawnSigns."
    )


@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_a_run(columns: int, tmp_path: Path, small_signs: tuple[Path, Path]) -> None:
    """Each line of fit, test, validate, predict, summary, inspect, report and a resumed fit."""
    for source, name in zip(small_signs, ("train.h5", "test.h5"), strict=True):
        (tmp_path / name).symlink_to(source)
    files = "--data.train_file", "train.h5", "--data.test_file", "test.h5"
    epochs = "--trainer.max_epochs"
    code, lines = Screen(columns, tmp_path, "fit", *files, epochs, 2, "--name", "hands").end()
    assert code == 0
    text = " ".join(lines)
    assert text.startswith(
        "Training on 60 images in train.h5 (64×64×3, 6 classes; images train_set_x, labels "
        "train_set_y)."
    )
    assert "The 12 validation images are those of the test file." in text
    assert lines[-1].endswith("tensorboard --logdir lightning_logs/hands")
    shown = [line for line in lines if "val_acc" in line]
    assert [re.search(r"(\d)/2 ", line)[1] for line in shown] == ["1", "2"]  # type: ignore[index]
    for verb, last in {
        "test": "test accuracy",
        "validate": "validation accuracy",
        "predict": "Every probability: predictions.csv",
        "summary": "Parameters: 1,310 in all",
        "report": "report.html",
    }.items():
        run = [RUN] if verb == "report" else ["--ckpt_path", RUN]
        code, lines = Screen(columns, tmp_path, verb, *run).end()
        assert code == 0
        assert last in " ".join(lines[-3:])
    code, lines = Screen(columns, tmp_path, "fit", "--ckpt_path", RUN, epochs, 3).end()
    assert code == 0
    assert "Resuming after epoch 2." in lines
    code, lines = Screen(columns, tmp_path, "fit", "--ckpt_path", RUN).end()
    assert code == 0
    said = "The run has 3 epochs already, and --trainer.max_epochs is 3. Give more to train on."
    assert said in " ".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_ctrl_c(columns: int, tmp_path: Path, small_signs: tuple[Path, Path]) -> None:
    """The command that resumes the run has a line of its own."""
    files = "--data.train_file", small_signs[0], "--data.val_fraction", 0.2
    screen = Screen(columns, tmp_path, "fit", *files, "--trainer.max_epochs", 1000)
    history = tmp_path / "lightning_logs/signs_functional/version_0/history.csv"
    while screen.process.poll() is None and not history.exists():
        time.sleep(0.01)
    screen.process.signal(signal.SIGINT)
    code, lines = screen.end()
    assert code == 130
    text = plain(screen.terminal.octets)
    command = "python -m signs_lightning fit --ckpt_path lightning_logs/signs_functional/version_0"
    assert f"Interrupted. Resume with:\r\n  {command}\r\n" in text
    assert not any("━" in line for line in lines)
