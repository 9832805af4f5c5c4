"""The progress bar in a cell of a notebook, with or without ipywidgets."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as L
from rich.console import Console

from signs_lightning.callbacks.progress_bar import EpochProgressBar

REFRESH_SECONDS = 0.25


class NotebookProgressBar(EpochProgressBar):
    """Plain lines for epochs, and above them a bar over the batches until the end.

    The bar is HTML that is replaced, which every notebook can show.
    """

    def __init__(self) -> None:
        super().__init__(Console(force_jupyter=False, force_terminal=False))
        self._handle: Any = None
        self._shown = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *args)
        if not self._is_due():
            return
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "…"
        figures, totals = "", getattr(pl_module, "train_totals", None)
        if totals is not None and (count := int(totals.count)):
            loss, accuracy = float(totals.loss_sum) / count, int(totals.correct) / count
            figures = f"loss {loss:.4f}  accuracy {accuracy:.4f}"
        name = f"epoch {trainer.current_epoch + 1}/{epochs}"
        self._show(name, trainer.fit_loop.batch_idx + 1, trainer.num_training_batches, figures)

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        super().on_validation_batch_end(trainer, *args)
        self._show_evaluation("validation", args, sum(trainer.num_val_batches))

    def on_test_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        super().on_test_batch_end(trainer, *args)
        self._show_evaluation("test", args, sum(trainer.num_test_batches))

    def on_predict_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        super().on_predict_batch_end(trainer, *args)
        self._show_evaluation("predict", args, sum(trainer.num_predict_batches))

    def _show_evaluation(self, name: str, args: tuple[Any, ...], total: float) -> None:
        if self._is_due():
            self._show(name, int(args[3]) + 1, total, "")  # of model, outputs, batch, number

    def _is_due(self) -> bool:
        return self._enabled and time.monotonic() - self._shown > REFRESH_SECONDS

    def _show(self, name: str, done: int, total: float, figures: str) -> None:
        self._shown = time.monotonic()
        is_known = math.isfinite(total)
        batches = f"{done}/{int(total)}" if is_known else str(done)
        bar = f'<progress value="{done}" max="{int(total)}"></progress>' if is_known else ""
        text = f"{name}  {batches} batches  {figures}".rstrip()
        self._replace(f"<pre>{name}  {bar}  {batches}  {figures}</pre>", text)

    def _replace(self, html: str, text: str) -> None:
        from IPython.display import display  # optional: it is there in a notebook

        content = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        self._remove()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        self._remove()

    def _remove(self) -> None:
        if self._handle is not None:
            self._replace("", "")
            self._handle = None
