"""Resuming a run exactly: what must stay as it was, and which new settings win."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
from torch.optim import Optimizer

from signs_lightning.errors import InputError
from signs_lightning.models.checkpoint_metadata import is_resumed
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.epoch_history import print_resumed
from signs_lightning.models.keras_run import go_on_after_keras
from signs_lightning.models.plateau_stepper import monitored_metric
from signs_lightning.models.resume_optimizer_state import check_optimizer_states
from signs_lightning.models.resume_optimizers import (
    apply_optimizer_settings,
    apply_scheduler_settings,
    optimizer_settings,
    scheduler_settings,
)
from signs_lightning.models.start_options import FRESH
from signs_lightning.models.stochastic_averaging import has_replaced_scheduler
from signs_lightning.runtime.escaping import shorten

REPLACED = ("lr_scheduler", "scheduler_settings")  # by StochasticWeightAveraging's own


class ExactResume(EpochCallback):
    """Check that a run can be resumed exactly, and let the settings given for it win.

    Raises:
        InputError: optimizer or schedule differ from those of the run in the checkpoint.
    """

    def __init__(self) -> None:
        self.checkpoint: dict[str, Any] = {}  # of the run that is resumed, until it starts

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if is_resumed(trainer):
            self.checkpoint = checkpoint

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        # Optimizer and schedule are new: Lightning loads their states after this.
        now = pl_module.training_settings = training_settings(trainer, pl_module)
        checkpoint, self.checkpoint = self.checkpoint, {}
        before = checkpoint.get("signs_lightning", {}).get("training")
        if before and now:
            if has_replaced_scheduler(trainer):
                now |= {name: before[name] for name in REPLACED if name in before}
            check_resume_compatibility(before, now)
        check_optimizer_states(trainer.optimizers, checkpoint)
        if not go_on_after_keras(trainer, pl_module, checkpoint) and trainer.ckpt_path:
            print_resumed(trainer, pl_module)
        if not before or not now:
            return
        apply_optimizer_settings(before.get("settings", {}), now["settings"], checkpoint)
        earlier, given = before.get("scheduler_settings", {}), now["scheduler_settings"]
        apply_scheduler_settings(earlier, given, checkpoint)


def training_settings(trainer: L.Trainer, model: Any) -> dict[str, Any]:
    """Return what a run has in common with those that resume it, as plain values.

    A run without an optimizer has nothing.

    Args:
        trainer: whose optimizer and scheduler have not made a step.
        model: the classifier that it trains.
    """
    if not trainer.optimizers:
        return {}
    configs = trainer.lr_scheduler_configs
    is_own = configs and not has_replaced_scheduler(trainer)
    return run_settings(trainer.optimizers[0], configs[0].scheduler if is_own else None, model)


def run_settings(optimizer: Optimizer, scheduler: Any, model: Any) -> dict[str, Any]:
    """Return what `training_settings` returns.

    Args:
        optimizer: the run's, which has not made a step.
        scheduler: the run's own, or None.
        model: the classifier that is trained.
    """
    schedule = model.hparams.get("schedule")
    scheduler_name, settings = None, {}
    if scheduler is not None and model.lr_scheduler is not None and schedule is None:
        scheduler_name = type(scheduler).__name__
        settings = scheduler_settings(scheduler) | {"watched": monitored_metric(scheduler)}
    return {
        "optimizer": type(optimizer).__name__,
        "settings": optimizer_settings(optimizer, model.hparams["lr"]),
        "lr_scheduler": scheduler_name,
        "scheduler_settings": settings,
        "schedule": schedule,
        "warmup": None if schedule is None else model.hparams.get("warmup"),
        "schedule_steps": model.schedule_steps,
    }


def check_resume_compatibility(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a run has the optimizer and schedule of its checkpoint.

    Args:
        before: `training_settings` of the run that is resumed.
        now: those given for its continuation.

    Raises:
        InputError: they differ, or the schedule was made for another number of steps.
    """
    for name in ("optimizer", "lr_scheduler", "schedule", "warmup"):
        if name in before and before[name] != now[name]:
            old, new = (shorten(str(run[name] or "none")) for run in (before, now))
            raise InputError(
                f"The run was begun with {name} {old} and cannot be resumed with {name} {new}. "
                f"Leave --model.{name} as it was, or add {FRESH}."
            )
    if before["schedule_steps"] == now["schedule_steps"]:
        return
    unit, options = "steps", "--trainer.max_epochs, batch size and number of processes as they were"
    if now["schedule"] == "cosine_annealing":
        unit, options = "epochs", "--trainer.max_epochs as it was"
    raise InputError(
        f"The schedule of this run was made for {before['schedule_steps']:,} {unit}, this one "
        f"has {now['schedule_steps']:,}. Leave {options}, or add {FRESH}."
    )
