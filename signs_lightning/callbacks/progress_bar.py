"""The progress bar: this epoch's loss and accuracy so far, then a line with Keras's metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn
from rich.cells import cell_len
from rich.console import Console

from signs_lightning.callbacks.running_figures import RunningFigures
from signs_lightning.models.metrics import EpochTotals
from signs_lightning.runtime.progress import ProgressLine, format_duration
from signs_lightning.runtime.terminal import format_figures, print_wrapped

TASK_METRICS = ("val_mean_ap", "val_f1", "val_exact_match", "val_r2")
METRICS = ("loss", "accuracy", "exact_match", "val_loss", "val_accuracy", *TASK_METRICS)
MOST_LINES = 20  # about so many epochs of a run have a line below a bar
# stage: its name in the bar, where a classifier keeps its sums
EVALUATIONS = {
    "validation": ("validation", "val", "val_metrics"),
    "test": ("test", "test", "test_metrics"),
    "predict": ("predicting", "predict", ""),
}


class EpochProgressBar(ProgressBar):
    """A bar over the batches of an epoch, and a line for it when it is over.

    The bar shows the loss and accuracy of this epoch so far, of the first process where there are
    several, images per second, and how long the run takes yet. It is redrawn at most ten times a
    second, and only then asks the device for the figures; no step waits for them. A terminal of
    less than 60 columns, and a file, get the lines only: there one for every epoch, below a bar
    about twenty for the run.

    Args:
        console: where to print; the standard output when omitted.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console(soft_wrap=True, highlight=False)
        self._line = ProgressLine(self.console)
        self._running = RunningFigures()
        self._epoch = 0  # the one that is under way, from 1; 0 before the first
        self._began = 0.0
        self._first_batch: tuple[float, float] | None = None  # of this run: its number, its end
        self._is_training = False  # what the line is of
        self._enabled = True

    def disable(self) -> None:
        """Show nothing from here on; Lightning calls it on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._first_batch, self._epoch = None, 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._print_epoch(trainer, pl_module)
        self._epoch, self._began = trainer.current_epoch + 1, time.monotonic()
        self._begin_training(trainer)

    def _begin_training(self, trainer: L.Trainer) -> None:
        number = _number(trainer, self._epoch)
        self._begin(f"epoch {number}", number, trainer.num_training_batches)
        self._is_training = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, *args: Any
    ) -> None:
        if self._first_batch is None:
            self._first_batch = _batches_done(trainer), time.monotonic()
        if not self._is_training:  # after a validation in the middle of the epoch
            self._begin_training(trainer)
        self._line.done = trainer.fit_loop.batch_idx + 1
        self._line.items += _count_images(batch) * trainer.world_size
        if not self._is_due:
            return
        self._line.seconds_left = self._seconds_left(trainer)
        self._draw(trainer, pl_module, getattr(pl_module, "train_totals", None))

    def _seconds_left(self, trainer: L.Trainer) -> float | None:
        batches, epochs = trainer.num_training_batches, trainer.max_epochs
        total = epochs * batches if epochs is not None and epochs > 0 else math.inf
        if trainer.max_steps > 0:
            total = min(total, trainer.max_steps * trainer.accumulate_grad_batches)
        done, (first, its_end) = _batches_done(trainer), self._first_batch or (0.0, 0.0)
        if not math.isfinite(total) or done <= first:
            return None
        return max(0.0, total - done) * (time.monotonic() - its_end) / (done - first)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._line.close()
        self._print_epoch(trainer, pl_module, is_last=True)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._begin_evaluation(trainer, "validation", trainer.num_val_batches)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin_evaluation(trainer, "test", trainer.num_test_batches)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin_evaluation(trainer, "predict", trainer.num_predict_batches)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, *args: Any
    ) -> None:
        if not trainer.sanity_checking:
            self._advance_evaluation(trainer, pl_module, batch, "validation")

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, *args: Any
    ) -> None:
        self._advance_evaluation(trainer, pl_module, batch, "test")

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, *args: Any
    ) -> None:
        self._advance_evaluation(trainer, pl_module, batch, "predict")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            self._line.close()

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._line.close()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._line.close()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._line.close()

    @property
    def _is_due(self) -> bool:
        return self._enabled and self._line.is_due

    def _begin(self, name: str, short_name: str, batches: float) -> None:
        self._running.reset()
        self._line.restart(name, short_name, int(batches) if math.isfinite(batches) else 0)

    def _begin_evaluation(self, trainer: L.Trainer, stage: str, batches: list[Any]) -> None:
        name, short_name, _ = EVALUATIONS[stage]
        if trainer.state.fn == TrainerFn.FITTING:
            number = _number(trainer, self._epoch)
            name, short_name = f"epoch {number} {name}", f"{number} {short_name}"
        self._begin(name, short_name, sum(batches))
        self._is_training = False

    def _advance_evaluation(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, stage: str
    ) -> None:
        self._line.done += 1
        self._line.items += _count_images(batch) * trainer.world_size
        if not self._is_due:
            return
        metrics = getattr(pl_module, EVALUATIONS[stage][2], None)
        self._draw(trainer, pl_module, getattr(metrics, "totals", None))

    def _draw(self, trainer: L.Trainer, pl_module: Any, totals: Any) -> None:
        if isinstance(totals, EpochTotals):
            self._line.figures = self._running.read(totals)
        else:  # a module of another kind
            self._line.figures = self._logged(trainer, pl_module)
        self._line.draw()

    def _logged(self, trainer: L.Trainer, pl_module: Any) -> dict[str, float]:
        """Return what a module logs for the bar."""
        logged = self.get_metrics(trainer, pl_module).items()
        return {name: value for name, value in logged if isinstance(value, float)}

    def _print_epoch(self, trainer: L.Trainer, pl_module: Any, is_last: bool = False) -> None:
        """Print the finished epoch's line; of a long run with a bar about twenty of them."""
        epoch, epochs = self._epoch, trainer.max_epochs or 0
        step = max(1, epochs // MOST_LINES) if self._line.can_be_drawn else 1
        if not self._enabled or not epoch or (epoch % step and not is_last):
            return
        history = getattr(pl_module, "history", None)
        if history is None:
            figures = self._logged(trainer, pl_module)
        elif history and history[-1]["epoch"] == epoch - 1:
            figures = {name: history[-1][name] for name in METRICS if name in history[-1]}
        else:  # the epoch was not finished
            return
        width = self.console.width - 1 if self.console.is_terminal else None
        seconds = time.monotonic() - self._began
        line = format_epoch(_number(trainer, epoch), seconds, figures, width)
        print_wrapped(self.console, line)


def format_epoch(
    number: str, seconds: float, figures: Mapping[str, float], width: int | None
) -> str:
    """Return an epoch's line, shorter where the terminal is narrow.

    Args:
        number: such as "3/10".
        seconds: that it took.
        figures: by the names that they are logged under.
        width: columns of a terminal, or None.
    """
    shown = format_figures(figures)
    line = f"epoch {number}  {_format_seconds(seconds):>6}  {shown}"
    if width is None or cell_len(line) <= width:
        return line
    return f"{number} {shown.replace('  ', ' ')}"


def _format_seconds(seconds: float) -> str:
    if seconds >= 1000:
        return format_duration(seconds)
    return f"{seconds:.{2 if seconds < 9.995 else 1 if seconds < 99.95 else 0}f} s"


def _number(trainer: L.Trainer, epoch: int) -> str:
    """Return an epoch's number and how many there are, such as ` 3/10`."""
    epochs = trainer.max_epochs
    if epochs is None or epochs < 1:
        return str(epoch)
    return f"{epoch:>{len(str(epochs))}}/{epochs}"


def _batches_done(trainer: L.Trainer) -> float:
    """Return how many training batches of the run are over."""
    batches = trainer.num_training_batches
    whole = trainer.current_epoch * batches if math.isfinite(batches) else 0
    return whole + trainer.fit_loop.batch_idx + 1


def _count_images(batch: Any) -> int:
    """Return how many images a batch has: the length of the first tensor in it."""
    while isinstance(batch, list | tuple | dict) and len(batch):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch) if isinstance(batch, torch.Tensor) and batch.ndim else 0
