"""The callbacks that every training run of an `ImageClassifier` has."""

from __future__ import annotations

from typing import Any

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


def new_run_callbacks(trainer: Any) -> list[Callback]:
    """Make a run's callbacks, and take those of an earlier run from its Trainer."""
    trainer.callbacks = [other for other in trainer.callbacks if type(other) not in RUN_CALLBACKS]
    return [kind() for kind in RUN_CALLBACKS]


def has_run_callbacks(trainer: Any) -> bool:
    """Whether a Trainer has all of them."""
    return set(RUN_CALLBACKS) <= {type(callback) for callback in trainer.callbacks}
