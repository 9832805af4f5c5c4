"""StochasticWeightAveraging in a resumed run, and at the end of one."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import StochasticWeightAveraging

# The weights that training goes on from, in a checkpoint whose state_dict holds their average.
TRAINED_WEIGHTS = "trained_state_dict"


class ResumeSWA(L.Callback):
    """Let a run go on averaging where it is resumed, with the learning rate of the checkpoint.

    StochasticWeightAveraging makes its scheduler only when an epoch begins, not inside one, and
    that changes the optimizer's rate: Lightning gives only the scheduler its state back.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        groups = trainer.optimizers[0].param_groups
        rates = [group["lr"] for group in groups]
        for callback in _averaging(trainer):
            has_begun = callback._scheduler_state is not None
            if has_begun and callback.swa_start <= trainer.current_epoch <= callback.swa_end:
                callback.on_train_epoch_start(trainer, pl_module)
                for rate, group in zip(rates, groups, strict=True):
                    group["lr"] = rate


def has_replaced_scheduler(trainer: Any) -> bool:
    """Whether a run is resumed in which averaging had begun, with a scheduler of its own."""
    return any(callback._scheduler_state is not None for callback in _averaging(trainer))


def is_batch_norm_pass(trainer: Any) -> bool:
    """Whether this epoch only measures BatchNorm's statistics for the averaged weights."""
    return any(
        trainer.current_epoch == callback.swa_end + 1 and _has_batch_norm(callback, trainer)
        for callback in _averaging(trainer)
    )


def has_averaged(trainer: Any) -> bool:
    """Whether training has ended with the average in place of the weights."""
    for callback in _averaging(trainer):
        last = callback.swa_end + _has_batch_norm(callback, trainer)
        is_at_end = trainer.current_epoch - 1 == last or math.isinf(last)
        if callback.n_averaged is not None and is_at_end:
            return True
    return False


def _averaging(trainer: Any) -> list[StochasticWeightAveraging]:
    return [one for one in trainer.callbacks if isinstance(one, StochasticWeightAveraging)]


def _has_batch_norm(callback: StochasticWeightAveraging, trainer: Any) -> bool:
    return callback.pl_module_contains_batch_norm(trainer.lightning_module)
