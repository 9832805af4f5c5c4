"""EarlyStopping in a resumed run."""

from __future__ import annotations

import lightning as L

from signs_lightning.models.epoch_callback import EpochCallback


class ResumeEarlyStopping(EpochCallback):
    """Let EarlyStopping's new patience count in a resumed run.

    A run that was over stays over. The callback's state in the checkpoint would bring back the
    patience of the run that is resumed.
    """

    def __init__(self) -> None:
        self.patience: dict[int, int] = {}  # by the identity of the callback

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.patience = {id(other): other.patience for other in trainer.early_stopping_callbacks}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for other in trainer.early_stopping_callbacks:
            other.patience = self.patience.get(id(other), other.patience)
            if other.wait_count >= other.patience:
                trainer.should_stop = True
