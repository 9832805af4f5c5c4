"""What Lightning's own callbacks need of a model, before they are set up and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    ModelCheckpoint,
    ModelPruning,
    SpikeDetection,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import nn

from signs_lightning.errors import InputError

# They copy, freeze or list layers when they are set up, which is before the data shape the network.
HOLD_LAYERS = (BaseFinetuning, ModelPruning, StochasticWeightAveraging, WeightAveraging)


def prepare_callbacks(trainer: Any) -> None:
    """Check the callbacks that a Trainer was given, before they are set up.

    Args:
        trainer: with its model.

    Raises:
        InputError: a callback needs what the model does not have, or leaves weights in a form that
            no checkpoint holds.
    """
    model = trainer.lightning_module
    for callback in trainer.callbacks:
        name = type(callback).__name__
        if type(callback) is BaseFinetuning:
            raise InputError(
                "BaseFinetuning does not say which layers are frozen: it is made for subclasses. "
                "Take BackboneFinetuning, or a subclass of your own."
            )
        if isinstance(callback, BackboneFinetuning) and not _has_backbone(model):
            raise InputError(
                f"{name} freezes the module `backbone` of a model, and {type(model).__name__} has "
                "none. Give your own model a `backbone`, or leave the callback out."
            )
        if isinstance(callback, ModelPruning):
            if not callback._make_pruning_permanent:
                raise InputError(
                    f"{name} with make_pruning_permanent false writes weights and masks apart, "
                    "which no other verb could read. Leave it out, or set it to true."
                )
            _make_contiguous(model)
        if isinstance(callback, SpikeDetection):
            # It reads its state in a checkpoint back into an attribute that it never makes.
            callback.running = callback.running_mean  # type: ignore[attr-defined]


def renew_callbacks(trainer: Any, model: Any, stage: str) -> None:
    """Set callbacks up again that hold layers of a network which the data have replaced."""
    for callback in trainer.callbacks:
        if not isinstance(callback, HOLD_LAYERS):
            continue
        if isinstance(callback, ModelPruning):
            callback._parameters_to_prune = ()
            _make_contiguous(model)
        callback.setup(trainer, model, stage)


def keep_best_checkpoints(trainer: Any, checkpoint: dict[str, Any]) -> None:
    """Let ModelCheckpoint of a resumed run know its folder again, under another name.

    It forgets the best it has seen where the name differs, as an absolute path from a relative one.

    Args:
        trainer: whose callbacks are set up.
        checkpoint: whose states of callbacks are changed.
    """
    for callback in trainer.callbacks:
        state = checkpoint.get("callbacks", {}).get(callback.state_key)
        if not isinstance(callback, ModelCheckpoint) or not state or not callback.dirpath:
            continue
        before = state.get("dirpath")
        if before and Path(before).resolve() == Path(callback.dirpath).resolve():
            state["dirpath"] = callback.dirpath


def _has_backbone(model: Any) -> bool:
    return isinstance(getattr(model, "backbone", None), nn.Module)


def _make_contiguous(model: Any) -> None:
    """Undo channels_last: pruning joins all weights to one vector without a copy."""
    model.to(memory_format=torch.contiguous_format)
