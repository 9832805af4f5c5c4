"""The base of models that were exported as source: weights from a file, training as in Keras."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.losses import cross_entropy
from signs_lightning.models.tasks import refuse_task
from signs_lightning.models.weights_file import load_weights
from signs_lightning.runtime.rank_zero_print import rank_zero_print


class ExportedClassifier(ImageClassifier):
    """An image classifier that `export --format source` wrote.

    A subclass makes the network in `build` and overrides what its Keras file was trained with.

    Args:
        weights: safetensors file that training continues from, of the same name beside the model's
            file where there is none; it starts fresh when omitted. A checkpoint holds the weights
            themselves and forgets the file.
        kwargs: those of ImageClassifier.

    Shape:
        images float32 (N, C, H, W) in 0..1 → logits float32 (N, K); a binary model gives (N, 1)
    """

    def __init__(self, weights: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_task(self, "A model that was exported as source", "Its loss is of single classes.")
        if self.optimizer is None:
            self.optimizer = self.make_optimizer
            has_own = type(self).make_schedule is not ExportedClassifier.make_schedule
            if has_own and self.lr_scheduler is None and self.hparams.get("schedule") is None:
                self.lr_scheduler = self.make_schedule
                self.hparams["lr_interval"] = "step"  # Keras's schedules count steps
        self.starts_fresh = weights is None
        if weights is not None:
            load_weights(self, self._find_weights(weights))
        self.hparams.pop("weights", None)

    def _find_weights(self, path: str) -> str:
        """Return the file, or where it is not there, the one beside the class's own."""
        module = getattr(sys.modules.get(type(self).__module__), "__file__", None)
        beside = Path(module or path).with_name(Path(path).name)
        return path if Path(path).exists() or not beside.exists() else str(beside)

    def make_optimizer(self, params: Iterable[Any]) -> Optimizer:
        """Make the optimizer that the model was compiled with."""
        return KerasAdam(params)

    def make_schedule(self, optimizer: Optimizer) -> LRScheduler:
        """Make the learning-rate schedule that it was compiled with, which counts steps."""
        raise NotImplementedError

    def classification_loss(self, logits: Tensor, labels: Tensor, training: bool) -> Tensor:
        """Return the loss () of predictions that the model was compiled with."""
        weights = self._class_weights if training else None
        smoothing = self.hparams.get("label_smoothing") if training else None
        return cross_entropy(logits, labels, self.binary, weights, smoothing or 0.0)

    def penalty(self) -> Tensor | float:
        """Return what the loss has besides that of predictions: penalties of weights, outputs."""
        return 0.0

    def constrain(self) -> None:
        """Bring weights back into their bounds, after every step."""

    def compute_loss(self, logits: Tensor, labels: Tensor, training: bool = False) -> Tensor:
        if self.loss is not None:
            return super().compute_loss(logits, labels, training) + self.penalty()
        return self.classification_loss(logits, labels, training) + self.penalty()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        with torch.no_grad():
            self.constrain()

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self.starts_fresh = False
        return super().load_state_dict(*args, **kwargs)

    def on_fit_start(self) -> None:
        self.network.train()  # Lightning does not, and frozen BatchNorms stay in eval mode by it
        super().on_fit_start()
        if self.starts_fresh:
            rank_zero_print(
                f"{type(self).__name__} starts fresh, as no --model.weights FILE.safetensors is "
                "given."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        config = checkpoint.get("config", {})
        if "model" in config:  # the command line, less the file's name
            arguments = dict(config["model"].get("init_args") or {})
            arguments.pop("weights", None)
            checkpoint["config"] = config | {"model": config["model"] | {"init_args": arguments}}


def constrain_weight(
    weight: Tensor,
    shape: tuple[int, ...],
    order: tuple[int, ...],
    projection: Callable[[Tensor], Tensor],
) -> None:
    """Constrain a weight in place.

    Args:
        weight: it, as PyTorch keeps it.
        shape: Keras's shape.
        order: Keras's axes in PyTorch's order.
        projection: what becomes of the weight in Keras's shape.
    """
    values = weight.reshape([shape[axis] for axis in order])
    values = projection(values.permute([order.index(k) for k in range(len(order))]))
    weight.copy_(values.permute(order).reshape(weight.shape))
