"""The end of a run whose loss is not a finite number any more."""

from __future__ import annotations

from typing import Any

import lightning as L

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.metrics import NEVER


class LostLossGuard(EpochCallback):
    """End a run whose loss is lost, before the epoch's checkpoint is written.

    Raises:
        InputError: the loss of a step was NaN or infinite.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        totals = pl_module.train_totals.compute()
        if bool(totals["loss"].isfinite()) or int(totals["lost_at"]) == NEVER:
            return
        for callback in trainer.checkpoint_callbacks:
            if hasattr(callback, "finish_writing"):  # else its file may not be there yet
                callback.finish_writing()
        folders = [
            getattr(callback, "directory", None) for callback in trainer.checkpoint_callbacks
        ]
        is_kept = any(folder is not None and (folder / "last.ckpt").is_file() for folder in folders)
        kept = "The last checkpoint is untouched." if is_kept else "No checkpoint was written."
        advice = "Lower `--model.lr`, or clip gradients with `--trainer.gradient_clip_val 1`"
        if str(trainer.precision).startswith("16"):
            advice += ", or use `--trainer.precision bf16-mixed`, whose range is wider"
        raise InputError(
            f"The loss is not a finite number any more since step {int(totals['lost_at']) + 1} "
            f"(epoch {trainer.current_epoch + 1}, learning rate "
            f"{trainer.optimizers[0].param_groups[0]['lr']:g}). {advice}. {kept}"
        )
