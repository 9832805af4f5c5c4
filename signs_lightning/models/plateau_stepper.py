"""ReduceLROnPlateau, stepped before the epoch's checkpoint is written."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_callback import EpochCallback


class PlateauStepper(EpochCallback):
    """Step ReduceLROnPlateau by the epoch's row of the history.

    Lightning would step it after the epoch's checkpoint is written, so that a run resumed from it
    lacked the step. It is stepped where the epoch has the metric; in runs without validation the
    training loss stands for the validation loss.

    Raises:
        InputError: a scheduler's `monitor` is no column of the history.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        figure, metrics = pl_module.train_totals.figure, pl_module.val_metrics
        names = ["loss", *([] if figure is None else [figure])]
        if not is_never_validated(trainer):
            names += [*(f"val_{name}" for name in metrics.figures), *metrics.names]
        for scheduler in plateau_schedulers(trainer):
            monitor = getattr(scheduler, "monitor", None)
            if monitor is not None and monitor not in names:
                raise InputError(
                    f"ReduceLROnPlateau watches {monitor}, and there is no such figure; there are "
                    f"{', '.join(names)}. Give one of them as --model.lr_scheduler.monitor."
                )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        row, validates = pl_module.history[-1], not is_never_validated(trainer)
        for scheduler in plateau_schedulers(trainer):
            monitor = monitored_metric(scheduler)
            if monitor == "val_loss" and not validates:
                monitor = "loss"
            if monitor in row:
                scheduler.step(row[monitor])


def plateau_schedulers(trainer: L.Trainer) -> list[ReduceLROnPlateau]:
    """Return the run's ReduceLROnPlateau schedulers."""
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [scheduler for scheduler in schedulers if isinstance(scheduler, ReduceLROnPlateau)]


def is_never_validated(trainer: L.Trainer) -> bool:
    """Whether a run has no validation; that may be unknown in its first epochs."""
    known = trainer.val_dataloaders is not None or not trainer.enable_validation
    return known and sum(trainer.num_val_batches) == 0


def monitored_metric(scheduler: LRScheduler | ReduceLROnPlateau) -> str | None:
    """Return the column of the history that a scheduler monitors.

    None for most schedulers; the `monitor` of Lightning's own ReduceLROnPlateau, and val_loss for
    PyTorch's.
    """
    is_plateau = isinstance(scheduler, ReduceLROnPlateau)
    return getattr(scheduler, "monitor", "val_loss") if is_plateau else None
