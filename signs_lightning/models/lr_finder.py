"""Settings found by trying: Lightning's finders of learning rate and batch size, and what becomes of them when a run is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BatchSizeFinder, Callback, LearningRateFinder

from signs_lightning.errors import InputError

FINDERS = (LearningRateFinder, BatchSizeFinder)
FINDER_CHECKPOINTS = (".lr_find_", ".scale_batch_size_")  # in which they keep a run while they try


def remove_finders(callbacks: list[Callback]) -> list[Callback]:
    """The callbacks of a run that goes on: what was found stays, and trying anew would begin its epochs anew, too."""
    return [callback for callback in callbacks if not isinstance(callback, FINDERS)]


def remove_trainer_finders(trainer: L.Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Takes the finders from the Trainer of a run that goes on.

    Raises:
        InputError: the run was trained in batches of another size, which a finder had found.
    """
    trained, data = checkpoint.get("H5DataModule", {}), getattr(trainer, "datamodule", None)
    found, given = trained.get("batch_size"), getattr(data, "batch_size", None)
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    searched = any(isinstance(callback, BatchSizeFinder) for callback in callbacks)
    if searched and found not in (None, given):
        raise InputError(
            f"The run was trained in batches of {found}, which BatchSizeFinder found, the data "
            f"come in batches of {given}. Make the "
            f"data module with batch_size={found}, or leave the finder out."
        )
    trainer.callbacks = remove_finders(trainer.callbacks)  # type: ignore[attr-defined]


def is_finder_checkpoint(path: Any) -> bool:
    """Whether a checkpoint is one that a finder wrote before it tried."""
    return Path(str(path)).name.startswith(FINDER_CHECKPOINTS)


class FindLearningRate(LearningRateFinder):
    """Before a run begins, trains for some steps at rates from `min_lr` to `max_lr` and takes the one where the loss falls fastest.

    Weights, optimizer and place in the data are as before when the run then begins; a run that is
    resumed keeps its rate. The range test is that of Smith 2015, https://arxiv.org/abs/1506.01186,
    as Lightning does it. With a schedule the rate found is its peak.

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

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.ckpt_path is not None or getattr(trainer, "fast_dev_run", False):
            return
        epochs, trainer.fit_loop.max_epochs = (
            trainer.fit_loop.max_epochs,
            -1,
        )  # its steps may be more than the run's
        try:
            super().on_fit_start(trainer, pl_module)
        finally:
            trainer.fit_loop.max_epochs = epochs
        found = None if self.optimal_lr is None else self.optimal_lr.suggestion()
        if found is None:
            raise InputError(
                f"The loss fell at no learning rate from {self._min_lr:g} to {self._max_lr:g}. "
                "Give others, or set --model.lr."
            )
        if trainer.is_global_zero:
            print(f"Learning rate {found:.3g}: there the loss falls fastest.", flush=True)
