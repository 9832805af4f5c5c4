"""Where a run stands with StochasticWeightAveraging."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch.callbacks import StochasticWeightAveraging

# The weights that training goes on from, in a checkpoint whose state_dict holds their average.
TRAINED_WEIGHTS = "trained_state_dict"


def has_replaced_scheduler(trainer: Any) -> bool:
    """Whether a run is resumed in which averaging had begun, with a scheduler of its own."""
    return any(had_begun(callback) for callback in averaging_callbacks(trainer))


def had_begun(callback: StochasticWeightAveraging) -> bool:
    """Whether a callback has taken over the state of one that was averaging."""
    return callback._scheduler_state is not None


def is_batch_norm_pass(trainer: Any) -> bool:
    """Whether this epoch only measures BatchNorm's statistics for the averaged weights."""
    return any(
        trainer.current_epoch == callback.swa_end + 1 and _has_batch_norm(callback, trainer)
        for callback in averaging_callbacks(trainer)
    )


def has_averaged(trainer: Any) -> bool:
    """Whether training has ended with the average in place of the weights."""
    for callback in averaging_callbacks(trainer):
        last = callback.swa_end + _has_batch_norm(callback, trainer)
        is_at_end = trainer.current_epoch - 1 == last or math.isinf(last)
        if callback.n_averaged is not None and is_at_end:
            return True
    return False


def averaging_callbacks(trainer: Any) -> list[StochasticWeightAveraging]:
    """Return a Trainer's callbacks that average; mostly there is none."""
    return [one for one in trainer.callbacks if isinstance(one, StochasticWeightAveraging)]


def _has_batch_norm(callback: StochasticWeightAveraging, trainer: Any) -> bool:
    return callback.pl_module_contains_batch_norm(trainer.lightning_module)
