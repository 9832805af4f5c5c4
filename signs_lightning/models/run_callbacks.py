"""The callbacks that every training run of an `ImageClassifier` has."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_history import EpochHistory
from signs_lightning.models.keras_averaging import EndWithAverages
from signs_lightning.models.lightning_callbacks import prepare_callbacks
from signs_lightning.models.lr_schedules import RisingRateWarning
from signs_lightning.models.plateau_stepper import PlateauStepper
from signs_lightning.models.resume import ExactResume
from signs_lightning.models.resume_callbacks import ResumeCallbacks
from signs_lightning.models.resume_early_stopping import ResumeEarlyStopping
from signs_lightning.models.resume_pruning import ResumePruning
from signs_lightning.models.tensorboard_hparams import HParamsWriter
from signs_lightning.models.terminate_on_nan import LostLossGuard
from signs_lightning.models.tuner_callbacks import RenewOptimizers

# Before training, then at the end of each epoch, in the order in which they act.
RUN_CALLBACKS: tuple[type[Callback], ...] = (
    RenewOptimizers,
    ExactResume,
    ResumeEarlyStopping,
    ResumePruning,
    ResumeCallbacks,
    RisingRateWarning,
    LostLossGuard,
    EpochHistory,
    PlateauStepper,
    HParamsWriter,
    EndWithAverages,
)


def new_run_callbacks(trainer: Any) -> list[Callback]:
    """Make a run's callbacks, and take those of an earlier run from its Trainer.

    Raises:
        InputError: a callback that the Trainer was given cannot be used with the model.
    """
    if trainer.training:
        prepare_callbacks(trainer)
    trainer.callbacks = [other for other in trainer.callbacks if type(other) not in RUN_CALLBACKS]
    return [kind() for kind in RUN_CALLBACKS]


def check_run_callbacks(trainer: Any, model: L.LightningModule) -> None:
    """Check that a Trainer has all of them, and the model weights to train.

    Raises:
        InputError: the model's own `configure_callbacks` leaves them out, or no weight is trained.
    """
    has_network = getattr(model, "network", None) is not model  # else that is what is missing
    if has_network and not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            "The model has no weights to train: none at all, or all are frozen. Train some of its "
            "layers (for a Keras file, --model.trainable_layers), or take another model."
        )
    if not set(RUN_CALLBACKS) <= {type(callback) for callback in trainer.callbacks}:
        raise InputError(
            f"{type(model).__name__}.configure_callbacks leaves out callbacks that training needs. "
            "Return [*super().configure_callbacks(), ...]."
        )
