"""Random numbers of a training step that depend on its place in the run alone."""

from __future__ import annotations

import os

import lightning as L
import torch


def seed_step(model: L.LightningModule, batch_idx: int) -> None:
    """Seed PyTorch's generators from seed, epoch, step and process.

    A run that is resumed then draws the same numbers as one that was never interrupted. Nothing is
    seeded in a run without `seed_everything`.

    Args:
        model: the model that trains, attached to a Trainer.
        batch_idx: number of the batch in its epoch.
    """
    seed = os.environ.get("PL_GLOBAL_SEED")
    if not seed:
        return
    place = 0
    for number in (int(seed), model.current_epoch, batch_idx, model.global_rank):
        place = place * 1_000_003 + number
    # a hundredth of the time of torch.manual_seed, which asks every kind of device
    torch.default_generator.manual_seed(place % 2**63)
    if model.device.type == "cuda":
        torch.cuda.manual_seed(place % 2**63)
