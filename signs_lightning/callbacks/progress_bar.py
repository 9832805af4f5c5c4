"""The progress bar: one line an epoch with Keras's figures."""

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
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")


class EpochProgressBar(ProgressBar):
    """A bar over the batches of the running epoch, beside it loss and accuracy; one plain line an epoch where there is no terminal.

    The bar is redrawn at most ten times a second and reads no figure from the device while an epoch
    runs.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console()
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._drawn = self._began = 0.0
        self._enabled = True

    def disable(self) -> None:
        """Shows nothing from here on; Lightning calls it on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Shows the bar again."""
        self._enabled = True

    def _figures(self, pl_module: L.LightningModule) -> str:
        history = getattr(pl_module, "history", [])
        return "  ".join(
            f"{name} {history[-1][name]:.4f}" for name in FIGURES if history and name in history[-1]
        )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._print_line(trainer, pl_module)
        self._began = time.monotonic()
        if not self._enabled or not self.console.is_terminal:
            return
        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[figures]}"),
            )
            self._progress = Progress(
                *columns, console=self.console, auto_refresh=False, transient=True
            )
            self._task = self._progress.add_task("", figures="")
            self._progress.start()
        batches = int(trainer.num_training_batches)
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "…"
        self._progress.reset(
            self._task, total=batches, description=f"epoch {trainer.current_epoch + 1}/{epochs}"
        )
        self._progress.update(self._task, figures=self._figures(pl_module))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self._progress is not None and time.monotonic() - self._drawn > REFRESH_SECONDS:
            self._progress.update(self._task, completed=batch_idx + 1, refresh=True)
            self._drawn = time.monotonic()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._print_line(trainer, pl_module)
        self._stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _print_line(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The finished epoch's line; of many short epochs only some, so that a run of 100 doesn't fill the screen."""
        history = getattr(pl_module, "history", [])
        if not self._enabled or not history or not self._began:
            return
        epoch, epochs = int(history[-1]["epoch"]) + 1, trainer.max_epochs or 0
        every = max(1, epochs // 20)
        if epoch % every and epoch != epochs:
            return
        seconds = time.monotonic() - self._began
        width = len(str(epochs))
        print_line = self._progress.console.print if self._progress else self.console.print
        print_line(
            f"epoch {epoch:>{width}}/{epochs}  {seconds:6.2f} s  {self._figures(pl_module)}",
            soft_wrap=True,
            highlight=False,
        )
