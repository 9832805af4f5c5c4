"""Writes checkpoints of models that were not trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.atomic_write import atomic_write


def save_checkpoint(
    model: ImageClassifier, path: Path, contents: dict[str, Any] | None = None
) -> None:
    """Write a Lightning checkpoint of a model, whole or not at all.

    Args:
        model: any classifier.
        path: the file; an existing one is replaced.
        contents: what it holds, where that is more than `build_checkpoint` returns.

    Raises:
        InputError: it cannot be written.
    """
    with atomic_write(path) as temporary:
        torch.save(contents or build_checkpoint(model), temporary)


def build_checkpoint(model: ImageClassifier) -> dict[str, Any]:
    """Return what a Lightning checkpoint of the model holds before any training."""
    checkpoint: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": dict(model.hparams),
    }
    model.on_save_checkpoint(checkpoint)
    return checkpoint
