"""A Lightning callback that takes the times of a fit.

--trainer.callbacks+=benchmarks.clock.EpochClock
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from benchmarks.marks import Marks, count


class EpochClock(Callback):
    """Mark epochs, the first step and the end; keep the training loss of each epoch."""

    def __init__(self) -> None:
        self.marks = Marks()
        self.losses: list[float | None] = []

    def _last_loss(self, trainer: Any) -> None:
        logged = trainer.callback_metrics
        loss = logged.get("train_loss_epoch", logged.get("loss"))
        self.losses.append(None if loss is None else float(loss))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if "epoch_starts" in self.marks.times:
            self._last_loss(trainer)
        self.marks.epoch()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.marks.step()
        if trainer.is_last_batch:  # what follows is history, curves and checkpoints
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
            self.marks.steps_end()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.marks.finish()
        self._last_loss(trainer)
        if trainer.is_global_zero:
            self.marks.write(losses=self.losses, parameters=count(pl_module))
