"""One row of metrics for every epoch, with Keras's names."""

from __future__ import annotations

from typing import Any

import lightning as L


class EpochHistory(L.Callback):
    """Append each epoch's metrics to `model.history`, and log them.

    A row has epoch, loss and accuracy, and those of validation where the epoch was validated.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.validation_metrics = {}  # finders of batch size or learning rate leave some

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        totals = pl_module.train_totals.compute()
        pl_module.train_totals.reset()
        metrics = {name: totals[name].item() for name in ("loss", "accuracy")}
        pl_module.log_dict(metrics, prog_bar=True)
        pl_module.log("learning_rate", pl_module.learning_rate)
        row = {"epoch": trainer.current_epoch, **metrics, **pl_module.validation_metrics}
        pl_module.history.append(row)
        pl_module.validation_metrics = {}
