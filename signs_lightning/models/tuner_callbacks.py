"""Lightning's finders of learning rate and batch size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BatchSizeFinder, Callback, LearningRateFinder

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.runtime.terminal import print_message

FINDERS = (LearningRateFinder, BatchSizeFinder)
FINDER_CHECKPOINTS = (".lr_find_", ".scale_batch_size_")  # where they keep the run while they try


class RenewOptimizers(EpochCallback):
    """Make optimizer and schedule anew after a finder has changed what they rest on."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if remove_finders(callbacks) != callbacks:
            trainer.strategy.setup_optimizers(trainer)


def remove_finders(callbacks: list[Callback]) -> list[Callback]:
    """Return the callbacks of a resumed run: finders would begin its epochs anew."""
    return [callback for callback in callbacks if not isinstance(callback, FINDERS)]


def remove_trainer_finders(trainer: L.Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Take the finders from the Trainer of a resumed run.

    Args:
        trainer: whose callbacks are changed.
        checkpoint: of the run that is resumed.

    Raises:
        InputError: the run was trained in batches of another size, which a finder had found.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    before = checkpoint.get("H5DataModule", {}).get("batch_size")
    now = getattr(getattr(trainer, "datamodule", None), "batch_size", None)
    searched = any(isinstance(callback, BatchSizeFinder) for callback in callbacks)
    if searched and before not in (None, now):
        raise InputError(
            f"The run was trained in batches of {before}, which BatchSizeFinder found, the data "
            f"come in batches of {now}. Make the data module with batch_size={before}, or leave "
            "the finder out."
        )
    trainer.callbacks = remove_finders(callbacks)  # type: ignore[attr-defined]


def is_finder_checkpoint(path: Any) -> bool:
    """Whether a finder wrote a checkpoint before it tried."""
    return Path(str(path)).name.startswith(FINDER_CHECKPOINTS)


class FindLearningRate(LearningRateFinder):
    """Before a run, try rising learning rates and take that of the steepest loss.

    Weights, optimizer and place in the data are as before when the run then begins; a resumed run
    keeps its rate. The range test is that of Smith 2015, https://arxiv.org/abs/1506.01186, as
    Lightning does it. With a schedule the rate found is its peak.

    Args:
        min_lr: first rate.
        max_lr: last rate, if the loss doesn't grow fourfold before.
        num_training_steps: steps from the first to the last.

    Raises:
        InputError: when the run begins and the loss fell nowhere.
    """

    def __init__(
        self, min_lr: float = 1e-5, max_lr: float = 1.0, num_training_steps: int = 100
    ) -> None:
        super().__init__(min_lr=min_lr, max_lr=max_lr, num_training_steps=num_training_steps)
        self.rates = (min_lr, max_lr)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.ckpt_path is not None or getattr(trainer, "fast_dev_run", False):
            return
        epochs = trainer.fit_loop.max_epochs
        trainer.fit_loop.max_epochs = -1  # the finder's steps may be more than the run's
        try:
            super().on_fit_start(trainer, pl_module)
        finally:
            trainer.fit_loop.max_epochs = epochs
        rate = None if self.optimal_lr is None else self.optimal_lr.suggestion()
        if rate is None:
            low, high = self.rates
            raise InputError(
                f"The loss fell at no learning rate from {low:g} to {high:g}. Give others, or set "
                "--model.lr."
            )
        if trainer.is_global_zero:
            print_message(f"Learning rate {rate:.3g}: there the loss falls fastest.")
