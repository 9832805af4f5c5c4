"""The progress bar, as an emulated terminal shows it, and the lines of a log file."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from rich.console import Console
from screens import Terminal, plain

from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.callbacks import progress_bar
from signs_lightning.callbacks.progress_bar import EpochProgressBar, format_epoch
from signs_lightning.runtime import progress
from signs_lightning.runtime.progress import ProgressLine
from signs_lightning.runtime.terminal import format_figure

ROW = {"loss": 0.53219, "accuracy": 0.8438, "val_loss": 12.3456, "val_accuracy": 1.0}
KEYS = {"loss": "loss", "accuracy": "acc", "val_loss": "val_loss", "val_accuracy": "val_acc"}


class Sums(L.Callback):
    """Loss and accuracy so far of every step of an epoch, summed here from what the model gives."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.loss = self.correct = self.count = 0.0

    def on_train_batch_start(self, trainer: Any, model: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            logits = model(model.preprocess(batch[0]))
        self.correct += (logits.argmax(1) == batch[1]).sum().item()

    def on_train_batch_end(
        self, trainer: Any, model: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.loss += outputs["loss"].item() * len(batch[1])
        self.count += len(batch[1])
        loss, accuracy = self.loss / self.count, self.correct / self.count
        self.shown.append(f"loss {format_figure(loss)} acc {format_figure(accuracy)}")


def open_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that standard output goes to, in which every step is drawn."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)
    terminal = Terminal(columns)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    return terminal


def trainer(folder: Path, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    quiet: dict[str, Any] = {
        "enable_model_summary": False, "enable_checkpointing": False, "logger": False,
    }  # fmt: skip
    return L.Trainer(
        default_root_dir=folder, accelerator="cpu", callbacks=list(callbacks), **quiet, **options
    )


def data_of(files: tuple[Any, Any], batch_size: int, **options: Any) -> H5DataModule:
    train_file, val_file = map(str, files)
    return H5DataModule(train_file, val_file, batch_size=batch_size, **options)


def bars(terminal: Terminal) -> list[str]:
    """All lines with a bar that were drawn, in order, without colours."""
    lines = re.split(r"[\r\n]+", plain(terminal.octets))
    return [line for line in lines if "━" in line]


@pytest.mark.filterwarnings("ignore:.*serves for validation and for the test")
@pytest.mark.parametrize(
    "columns", [60, *(pytest.param(n, marks=pytest.mark.slow) for n in (80, 120))]
)
def test_the_bar_shows_the_loss_and_accuracy_of_this_epoch(
    columns: int, tmp_path: Path, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every step, as summed up by a callback of the test's; each drawing fits, in `fit`,
    `validate`, `test` and `predict`, and none is left at the end.
    """
    sums, model = Sums(), SignsFunctional(lr=0.01)
    monkeypatch.chdir(small_signs[0].parent)
    names = small_signs[0].name, small_signs[1].name
    data = data_of(names, 16, test_file=names[1])
    terminal = open_terminal(columns, monkeypatch)
    console = Console(width=columns, soft_wrap=True, force_terminal=True)  # whatever TERM is
    runner = trainer(tmp_path, EpochProgressBar(console), sums, max_epochs=2)
    runner.fit(model, data)
    runner.validate(model, data, verbose=False)
    runner.test(model, data, verbose=False)
    runner.predict(model, data.test_dataloader())
    lines, drawn = terminal.close(), bars(terminal)
    assert max(len(line) for line in drawn) < columns - 2, "there is room for ^C"
    training = [line for line in drawn if "/2 ━" in line or "/2 ╸" in line]
    shown = [re.search(r"loss \S+ acc \S+", line) for line in training]
    assert [match[0] for match in shown if match] == sums.shown
    assert len(sums.shown) == 8
    # The first step tells no time yet.
    assert all(re.search(r" \d+:\d\d left [\d,.]+ img/s$", line) for line in training[1:])
    test = model.evaluation
    assert test is not None
    final = f"loss {format_figure(test.loss)} acc {format_figure(test.correct / test.count)}"
    evaluated = [line for line in drawn if re.match(r"(validation|test|predicting) ━", line)]
    assert {line.split()[0] for line in evaluated} == {"validation", "test", "predicting"}
    assert all((final in line) == (not line.startswith("predict")) for line in evaluated)
    assert max(map(len, lines)) < columns
    assert not any("━" in line for line in lines)
    epochs = [line for line in lines if "val_loss" in line]
    for row, line in zip(model.history, epochs, strict=True):
        for key, name in KEYS.items():
            assert f" {name} {format_figure(row[key])} " in f"{line} "


def test_a_file_gets_a_line_for_every_epoch(
    tmp_path: Path, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures are those of the history."""
    monkeypatch.setattr(progress_bar, "MOST_LINES", 2)
    console, model = Console(file=io.StringIO(), width=100), SignsFunctional()
    bar = EpochProgressBar(console)
    trainer(tmp_path, bar, max_epochs=6).fit(model, data_of(small_signs, 60))
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue().splitlines()
    assert [line.split()[1] for line in printed] == [f"{k}/6" for k in range(1, 7)]
    for row, line in zip(model.history, printed, strict=True):
        for key, name in KEYS.items():
            assert f"  {name} {format_figure(row[key])}  " in f"{line}  "


def test_a_long_run_has_about_twenty_lines_below_a_bar(
    tmp_path: Path, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """About three, here; the last epoch is among them, where the run ends before its time, too."""
    monkeypatch.setattr(progress_bar, "MOST_LINES", 3)
    terminal = open_terminal(80, monkeypatch)
    console = Console(width=80, soft_wrap=True, force_terminal=True)
    stop = L.pytorch.callbacks.LambdaCallback(
        on_train_epoch_end=lambda trainer, _: setattr(
            trainer, "should_stop", trainer.current_epoch == 6
        )
    )
    runner = trainer(tmp_path, EpochProgressBar(console), stop, max_epochs=9)
    runner.fit(SignsFunctional(), data_of(small_signs, 60))
    lines = [line for line in terminal.close() if line.startswith("epoch ")]
    numbers = [int(re.split("[ /]+", line)[1]) for line in lines]
    assert numbers == [3, 6, 7]


def test_it_is_drawn_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that the test sets: steps of 10 ms for 5 s."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    terminal = Terminal(80)
    line = ProgressLine(Console(file=terminal.stream, width=80, force_terminal=True))
    drawn = 0
    for step in range(500):
        now = step / 100
        if line.is_due:
            line.draw()
            drawn += 1
    line.close()
    terminal.close()
    assert 45 <= drawn <= 50


def test_narrow_terminals_and_files_have_no_bar() -> None:
    terminal = Terminal(59)
    for console in (
        Console(file=terminal.stream, width=59, force_terminal=True),
        Console(file=io.StringIO(), width=80),
        Console(file=io.StringIO(), width=80, force_terminal=True),  # FORCE_COLOR and a log file
    ):
        assert not ProgressLine(console).can_be_drawn
    terminal.close()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("number", ["3/10", " 99/100", "1000/1000"])
def test_an_epochs_line_fits(width: int, number: str) -> None:
    """With all four figures, of four digits at most each."""
    for row in (ROW, dict.fromkeys(ROW, 0.00999), dict.fromkeys(ROW, 9999.0)):
        line = format_epoch(number, 123456.0, row, width - 1)
        assert len(line) < width
        assert [word for word in line.split() if word in KEYS.values()] == list(KEYS.values())
    assert format_epoch("3/10", 1.0, ROW, None) == (
        "epoch 3/10  1.00 s  loss 0.532  acc 0.844  val_loss 12.35  val_acc 1.000"
    )


def test_a_module_of_another_kind(
    tmp_path: Path, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it logs for the bar is shown there and in the epoch's line."""

    class Plain(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            self.log("my_loss", torch.tensor(0.25), prog_bar=True)
            return self.weight

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    terminal = open_terminal(80, monkeypatch)
    console = Console(width=80, soft_wrap=True, force_terminal=True)
    runner = trainer(tmp_path, EpochProgressBar(console), max_epochs=1)
    runner.fit(Plain(), data_of(small_signs, 16).train_dataloader())
    lines = terminal.close()
    assert any("my_loss 0.250 " in line for line in bars(terminal))
    assert re.search(r"^epoch 1/1 .* my_loss 0.250$", lines[-1])


def test_figures_have_four_digits() -> None:
    """Beside the numbers that they stand for: as near as four digits can be, but for small ones."""
    rng = np.random.default_rng(0)
    for value in np.exp(rng.uniform(np.log(1e-8), np.log(1e8), 2000)) * rng.choice([-1, 1], 2000):
        text = format_figure(value)
        assert sum(c.isdigit() for c in text.partition("e")[0]) <= (5 if abs(value) < 0.01 else 4)
        assert float(text) == pytest.approx(value, rel=0.051)
        if 1 <= abs(value) < 9999:
            assert float(text) == pytest.approx(value, rel=5.1e-4)
    assert [format_figure(x) for x in (0, 1, 0.0042, 4.2e-5, float("nan"), 12345)] == [
        "0.000", "1.000", "0.0042", "4.2e-5", "nan", "1.2e4",
    ]  # fmt: skip
