"""Moving averages of weights, as every optimizer of Keras has them.

Source: `use_ema` in `keras/src/optimizers/base_optimizer.py` of Keras 3. After the first step the
average is the weight itself; where a fit ends, Keras lets the averages be the model's weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from torch.optim import Optimizer

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_callback import EpochCallback

AVERAGE = "model_average"  # of an optimizer's state of a weight; RMSprop has another "average"
EMA: dict[str, Any] = {"use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None}


@torch.no_grad()
def average_weights(optimizer: Optimizer) -> None:
    """Update the averages after a step, and let them be the weights where it is time.

    Args:
        optimizer: its groups may have the settings of `EMA`, and count their "steps".
    """
    state = optimizer.state
    for group in optimizer.param_groups:
        if not group.get("use_ema"):
            continue
        weights = [w for w in group["params"] if w.grad is not None or w in state]
        for weight in weights:
            if AVERAGE not in state[weight]:
                state[weight][AVERAGE] = weight.clone()
        averages = [state[weight][AVERAGE] for weight in weights]
        if weights:
            torch._foreach_lerp_(averages, weights, 1 - group["ema_momentum"])
        frequency = group["ema_overwrite_frequency"]
        if frequency and group["steps"] % frequency == 0:
            for weight, average in zip(weights, averages, strict=True):
                weight.copy_(average)


@torch.no_grad()
def take_averages(optimizer: Optimizer) -> None:
    """Let the averages be the weights, where an optimizer keeps some."""
    for weight, state in optimizer.state.items():
        if AVERAGE in state:
            weight.copy_(state[AVERAGE])


def keeps_averages(optimizers: Iterable[Optimizer]) -> bool:
    """Return whether an optimizer averages weights."""
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    return any(group.get("use_ema") for group in groups)


class EndWithAverages(EpochCallback):
    """Let the averages be the model's weights where training ends.

    Raises:
        InputError: a callback of Lightning would let averages of its own be them.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        kinds = (StochasticWeightAveraging, WeightAveraging)
        given: Any = trainer
        others = [type(one).__name__ for one in given.callbacks if isinstance(one, kinds)]
        if others and keeps_averages(trainer.optimizers):
            raise InputError(
                f"The optimizer's use_ema and {others[0]} both end a run with averages of its "
                "weights. Leave one of them out."
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer in trainer.optimizers:
            take_averages(optimizer)
