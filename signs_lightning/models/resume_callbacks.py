"""Lightning's callbacks in a resumed run: what they do not take over themselves."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BaseFinetuning, GradientAccumulationScheduler
from torch import nn

from signs_lightning.models.checkpoint_metadata import is_resumed
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.stochastic_averaging import averaging_callbacks, had_begun


class ResumeCallbacks(EpochCallback):
    """Let Lightning's callbacks go on as they were.

    They act when an epoch begins, which a run that is resumed inside an epoch leaves out; and those
    that freeze layers do so anew when they are set up.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if is_resumed(trainer) and _find(trainer, BaseFinetuning):
            _unfreeze(trainer, pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for callback in _find(trainer, GradientAccumulationScheduler):
            callback.on_train_epoch_start(trainer, pl_module)
        groups = trainer.optimizers[0].param_groups
        rates = [group["lr"] for group in groups]
        for averaging in averaging_callbacks(trainer):
            is_averaging = averaging.swa_start <= trainer.current_epoch <= averaging.swa_end
            if had_begun(averaging) and is_averaging:
                averaging.on_train_epoch_start(trainer, pl_module)
                # Its new scheduler has changed the rate, and only that got its state back.
                for rate, group in zip(rates, groups, strict=True):
                    group["lr"] = rate


def _unfreeze(trainer: L.Trainer, model: nn.Module) -> None:
    """Let all layers be trained whose parameters the optimizer has, by now."""
    trained = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if not any(id(parameter) in trained for parameter in own):
            continue
        for parameter in own:
            parameter.requires_grad = True
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.track_running_stats = True


def _find(trainer: Any, kind: type[L.Callback]) -> list[Any]:
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]
