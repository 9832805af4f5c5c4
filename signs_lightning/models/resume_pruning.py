"""ModelPruning in a resumed run."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor
from torch.nn.utils.prune import custom_from_mask, is_pruned

from signs_lightning.models.epoch_callback import EpochCallback


class ResumePruning(EpochCallback):
    """Keep in checkpoints which weights are pruned, and prune them again in a resumed run.

    Lightning's checkpoints hold zeros in their place, which would be trained again.
    """

    def __init__(self) -> None:
        self.model: L.LightningModule | None = None
        self.masks: dict[str, Tensor] = {}  # of the run that is resumed

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.model = pl_module

    def state_dict(self) -> dict[str, Any]:
        """Return masks bool by the names of the weights that are pruned; nothing without any."""
        if self.model is None or not is_pruned(self.model):
            return {}
        weights, buffers = dict(self.model.named_parameters()), dict(self.model.named_buffers())
        names = [name.removesuffix("_orig") for name in weights if name.endswith("_orig")]
        return {"masks": {name: buffers[f"{name}_mask"].bool() for name in names}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the masks of the run that is resumed."""
        self.masks = state_dict["masks"]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for path, mask in self.masks.items():
            owner, _, name = path.rpartition(".")
            module = pl_module.get_submodule(owner)
            custom_from_mask(module, name, mask.to(getattr(module, name)))
        self.masks = {}
