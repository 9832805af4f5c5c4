"""ReduceLROnPlateau, stepped before the epoch's checkpoint by the metric that it monitors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from signs_lightning.errors import InputError


class PlateauStepper(L.Callback):
    """Step ReduceLROnPlateau by the epoch's history.

    Lightning would step it after the epoch's checkpoint is written, so that a run resumed from it
    lacked the step. The training loss stands for the validation loss in runs without validation.

    Raises:
        InputError: a scheduler's `monitor` is no column of the history.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        validates = not is_never_validated(trainer)
        names = ["val_loss", "val_accuracy", *pl_module.val_metrics.names] if validates else []
        for scheduler in plateau_schedulers(trainer):
            check_monitored_metric(scheduler, ["loss", "accuracy", *names])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        for scheduler in plateau_schedulers(trainer):
            step_plateau(scheduler, pl_module.history[-1], not is_never_validated(trainer))


def plateau_schedulers(trainer: L.Trainer) -> list[ReduceLROnPlateau]:
    """Return the run's ReduceLROnPlateau schedulers."""
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [scheduler for scheduler in schedulers if isinstance(scheduler, ReduceLROnPlateau)]


def is_never_validated(trainer: L.Trainer) -> bool:
    """Whether a run has no validation; `check_val_every_n_epoch` leaves that unknown at first."""
    known = trainer.val_dataloaders is not None or not trainer.enable_validation
    return known and sum(trainer.num_val_batches) == 0


def monitored_metric(scheduler: LRScheduler) -> str | None:
    """Return the column of the history that a scheduler monitors, None for most schedulers.

    It is the `monitor` of Lightning's own ReduceLROnPlateau, and val_loss for PyTorch's.
    """
    is_plateau = isinstance(scheduler, ReduceLROnPlateau)
    return getattr(scheduler, "monitor", "val_loss") if is_plateau else None


def check_monitored_metric(scheduler: ReduceLROnPlateau, names: Iterable[str]) -> None:
    """Check that a scheduler's `monitor`, if it has one, is a metric of the run.

    Args:
        scheduler: PyTorch's or Lightning's.
        names: columns of the history.

    Raises:
        InputError: there is no such metric.
    """
    monitor, names = getattr(scheduler, "monitor", None), list(names)
    if monitor is not None and monitor not in names:
        raise InputError(
            f"ReduceLROnPlateau watches {monitor}, and there is no such figure; there are "
            f"{', '.join(names)}. Give one of them as --model.lr_scheduler.monitor."
        )


def step_plateau(
    scheduler: ReduceLROnPlateau, metrics: Mapping[str, float], validates: bool
) -> None:
    """Step a scheduler at the end of an epoch, if the metric that it monitors was measured.

    Args:
        scheduler: whose learning rate may fall.
        metrics: of the epoch; those of validation only where the epoch was validated.
        validates: whether any epoch of the run is; else the training loss is monitored.
    """
    monitor = monitored_metric(scheduler)
    if monitor == "val_loss" and not validates:
        monitor = "loss"
    if monitor is not None and monitor in metrics:
        scheduler.step(metrics[monitor])
