"""Trains the last epochs on whole images."""

from __future__ import annotations

from typing import Any

import lightning as L

from signs_lightning.errors import InputError


class StopMixing(L.Callback):
    """Leave MixUp and CutMix out of the augmentation in the last epochs.

    He et al. 2019, "Data Augmentation Revisited", section 3: the last epochs on images that are not
    mixed bring the network back to what it will see.

    Args:
        after: share of `max_epochs` after which images are no longer mixed, 0..1; a run without
            that limit mixes to its end.

    Raises:
        InputError: `after` is no share.
    """

    def __init__(self, after: float = 0.9) -> None:
        if not 0 <= after <= 1:
            raise InputError(f"StopMixing's after is {after}, expected a share in 0..1.")
        self.after = after

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        augment: Any = getattr(pl_module, "_augment", None)
        epochs = trainer.max_epochs or -1
        if augment is not None and epochs > 0 and trainer.current_epoch >= self.after * epochs:
            augment.stop_mixing()
