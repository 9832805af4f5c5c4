"""The row of a run on TensorBoard's page HPARAMS."""

from __future__ import annotations

import os
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from signs_lightning.models.epoch_callback import EpochCallback

# TensorBoard takes the columns of the page from one run of a folder, whichever comes first: all
# runs name the same ones.
HPARAMS: dict[str, type] = {"model": str, "optimizer": str, "lr": float, "batch_size": float}
HPARAMS |= {"seed": float, "schedule": str}
# The first two are shown until one is chosen.
METRICS = ("val_accuracy", "accuracy", "val_loss", "loss")
TASK_METRICS = ("val_mean_ap", "val_r2")


class HParamsWriter(EpochCallback):
    """Write what a run was made with, and its last figures, for TensorBoard's page HPARAMS.

    Lightning's own TensorBoardLogger would write a page of its own, whose one figure is a
    `hp_metric` of -1; for all runs of the folder, these among them.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for logger in _tensorboard_loggers(trainer):  # before they log hyperparameters
            logger._default_hp_metric = False

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero or not pl_module.history or not trainer.optimizers:
            return
        for logger in _tensorboard_loggers(trainer):
            writer = logger.experiment
            for summary in _summaries(_hparams(trainer, pl_module)):
                writer._get_file_writer().add_summary(summary)
            row = pl_module.history[-1]
            for name in (*METRICS, *TASK_METRICS):
                if name in row:
                    writer.add_scalar(f"final/{name}", row[name], int(row["epoch"]) + 1)


def _tensorboard_loggers(trainer: L.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _hparams(trainer: L.Trainer, model: Any) -> dict[str, Any]:
    """Return a value for each of `HPARAMS`; None for a number that is not known."""
    optimizer, schedule = trainer.optimizers[0], model.hparams.get("schedule")
    schedulers = [type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs]
    lr, seed = model.hparams.get("lr"), os.environ.get("PL_GLOBAL_SEED", "")
    batch_size = getattr(getattr(trainer, "datamodule", None), "batch_size", None)
    return {
        "model": type(model).__name__,
        "optimizer": type(optimizer).__name__,
        "lr": optimizer.defaults.get("lr") if lr is None else lr,
        "batch_size": getattr(trainer.train_dataloader, "batch_size", None) or batch_size,
        "seed": int(seed) if seed.isdigit() else None,
        "schedule": schedule or (schedulers[0] if schedulers else "none"),
    }


def _summaries(values: dict[str, Any]) -> list[Any]:
    """Return the page's columns, the run's row and its end as summaries of TensorBoard."""
    from torch.utils.tensorboard.summary import hparams  # start-up: takes its time

    columns = {name: kind() for name, kind in HPARAMS.items()}
    experiment, _, _ = hparams(columns, {f"final/{name}": 0.0 for name in METRICS})
    _, start, end = hparams(values, {})
    return [experiment, start, end]
