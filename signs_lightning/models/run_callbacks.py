"""The callbacks that every training run of an `ImageClassifier` has."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback

from signs_lightning.models.early_stopping import ResumeEarlyStopping
from signs_lightning.models.epoch_history import EpochHistory
from signs_lightning.models.lost_loss import LostLossGuard
from signs_lightning.models.lr_finder import RenewOptimizers
from signs_lightning.models.lr_schedules import RisingRateWarning
from signs_lightning.models.plateau import PlateauStepper
from signs_lightning.models.resume import ExactResume

# Before training, then at the end of each epoch, in the order in which they act.
RUN_CALLBACKS: tuple[type[Callback], ...] = (
    RenewOptimizers,
    ExactResume,
    ResumeEarlyStopping,
    RisingRateWarning,
    LostLossGuard,
    EpochHistory,
    PlateauStepper,
)


def missing_run_callbacks(trainer: L.Trainer) -> list[Callback]:
    """Return new ones for a Trainer, less those that it has from an earlier fit or test."""
    present = {type(callback) for callback in trainer.callbacks}  # type: ignore[attr-defined]
    return [kind() for kind in RUN_CALLBACKS if kind not in present]
