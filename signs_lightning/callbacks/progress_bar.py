"""The progress bar: one line per epoch with Keras's metrics."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

REFRESH_SECONDS = 0.1
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


class EpochProgressBar(ProgressBar):
    """A bar over the batches of an epoch; plain lines where there is no terminal.

    The bar is redrawn at most ten times a second and reads nothing from the device while an epoch
    runs.

    Args:
        console: where to print; the standard output when omitted.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console()
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._drawn = self._began = 0.0
        self._enabled = True

    def disable(self) -> None:
        """Show nothing from here on; Lightning calls it on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._print_line(trainer, pl_module)
        self._began = time.monotonic()
        if not self._enabled or not self.console.is_terminal:
            return
        if self._progress is None:
            self._progress = self._start()
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "…"
        name = f"epoch {trainer.current_epoch + 1}/{epochs}"
        batches = int(trainer.num_training_batches)
        self._progress.reset(self._task, total=batches, description=name)
        self._progress.update(self._task, metrics=_format_metrics(pl_module))

    def _start(self) -> Progress:
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self._task = progress.add_task("", metrics="")
        progress.start()
        return progress

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if self._progress is not None and time.monotonic() - self._drawn > REFRESH_SECONDS:
            batches = trainer.fit_loop.batch_idx + 1
            self._progress.update(self._task, completed=batches, refresh=True)
            self._drawn = time.monotonic()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._print_line(trainer, pl_module)
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _print_line(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the finished epoch's line; of a long run only about twenty of them."""
        history = getattr(pl_module, "history", [])
        if not self._enabled or not history or not self._began:
            return
        epoch, epochs = int(history[-1]["epoch"]) + 1, trainer.max_epochs or 0
        if epoch % max(1, epochs // 20) and epoch != epochs:
            return
        number = f"{epoch:>{len(str(epochs))}}/{epochs}"
        seconds = time.monotonic() - self._began
        line = f"epoch {number}  {seconds:6.2f} s  {_format_metrics(pl_module)}"
        console = self._progress.console if self._progress else self.console
        console.print(line, soft_wrap=True, highlight=False)


def _format_metrics(pl_module: L.LightningModule) -> str:
    row = getattr(pl_module, "history", [])[-1:]
    return "  ".join(f"{name} {row[0][name]:.4f}" for name in METRICS if row and name in row[0])
