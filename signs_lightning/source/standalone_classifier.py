"""The base of source that stands alone: what `ExportedClassifier` is, in one class.

`export --standalone` writes this class and what it calls into the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.keras_averaging import take_averages
from signs_lightning.models.losses import cross_entropy

TENSOR_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16}
TENSOR_TYPES |= {"BF16": torch.bfloat16, "I64": torch.int64}


def read_weights(path: str) -> dict[str, Tensor]:
    """Read a safetensors file: the length of a JSON header, the header, and the numbers."""
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            kind, shape = TENSOR_TYPES[entry["dtype"]], entry["shape"]
            numbers = bytes(content[start + first : start + last])
            empty = torch.empty(0, dtype=kind)
            flat = torch.frombuffer(bytearray(numbers), dtype=kind) if numbers else empty
            tensors[name] = flat.reshape(shape)
    return tensors


class ExportedClassifier(L.LightningModule):
    """An image classifier, of which a subclass makes the network in `build`.

    A batch is images and labels: images uint8 (N, H, W, C) in 0..255 or float (N, C, H, W) in 0..1,
    labels int64 (N,).

    Args:
        weights: safetensors file that training continues from; it starts fresh when omitted.
        num_classes: number of classes K.
        image_size: height, width (pixels) and channels of the images.
        class_names: names of the K classes, in label order.
        lr: learning rate; the optimizer's own when omitted.
        label_smoothing: share of each label that is spread over all classes in training.
        class_weights: K factors on each class's share of the training loss.

    Shape:
        images float32 (N, C, H, W) in 0..1 → logits float32 (N, K); a binary model gives (N, 1)
    """

    binary = False  # one logit and a sigmoid instead of K and a softmax
    independent = False  # K sigmoids: each class has a probability of its own
    image_input = "image"
    other_inputs: Any = {}  # noqa: RUF012
    _class_weights: Tensor | None

    def __init__(
        self,
        weights: str | None = None,
        num_classes: int = 2,
        image_size: tuple[int, int, int] = (64, 64, 3),
        class_names: list[str] | None = None,
        lr: float | None = None,
        label_smoothing: float | None = None,
        class_weights: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["weights"])
        self.num_classes, self.image_size = num_classes, image_size
        self.optimizer = self.make_optimizer
        factors = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("_class_weights", factors, persistent=False)
        self.network = self.build().to(memory_format=torch.channels_last)
        if weights is not None:
            self.load_state_dict(read_weights(weights))

    def build(self) -> nn.Module:
        """Make the network."""
        raise NotImplementedError

    def make_optimizer(self, params: Iterable[Any]) -> Optimizer:
        """Make the optimizer."""
        return KerasAdam(params)

    def make_schedule(self, optimizer: Optimizer) -> LRScheduler | None:
        """Make a learning-rate schedule that counts steps; None for none."""
        return None

    def classification_loss(self, logits: Tensor, labels: Tensor, training: bool) -> Tensor:
        """Return the loss () of predictions."""
        weights = self._class_weights if training else None
        smoothing = self.hparams["label_smoothing"] if training else None
        return cross_entropy(logits, labels, self.binary, weights, smoothing or 0.0)

    def penalty(self) -> Tensor | float:
        """Return what the loss has besides that of predictions."""
        return 0.0

    def constrain(self) -> None:
        """Bring weights back into their bounds, after every step."""

    def compute_loss(self, logits: Tensor, labels: Tensor, training: bool = False) -> Tensor:
        """Return the mean loss () of a batch."""
        return self.classification_loss(logits, labels, training) + self.penalty()

    def preprocess(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) → float (N, C, H, W) in 0..1; floats stay."""
        if images.dtype != torch.uint8:
            return images.to(self.dtype)
        return images.permute(0, 3, 1, 2).to(self.dtype) / 255  # (N, H, W, C) -> (N, C, H, W)

    def forward(self, images: Tensor, *others: Tensor) -> Tensor:
        """float (N, C, H, W) in 0..1 → logits (N, K); a binary model gives (N, 1)."""
        return self.network(images, *others)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits → float (N, K), or (N, 1) of class 1."""
        return logits.sigmoid() if self.binary or self.independent else logits.softmax(dim=1)

    def _step(self, batch: tuple[Tensor, Tensor], prefix: str) -> Tensor:
        images, labels = batch
        logits = self(self.preprocess(images))
        loss = self.compute_loss(logits, labels, training=not prefix)
        predicted = (logits.squeeze(1) > 0).long() if self.binary else logits.argmax(dim=1)
        accuracy = (predicted == labels).float().mean()
        values = {f"{prefix}loss": loss, f"{prefix}accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels))
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step(batch, "val_")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._step(batch, "test_")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        images = batch if isinstance(batch, Tensor) else batch[0]
        return self.probabilities(self(self.preprocess(images)))

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])
        for group in optimizer.param_groups if self.hparams["lr"] is not None else []:
            group["lr"] = self.hparams["lr"]
        schedule = self.make_schedule(optimizer)
        if schedule is None:
            return optimizer
        scheduler = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_train_end(self) -> None:
        take_averages(self.trainer.optimizers[0])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        with torch.no_grad():
            self.constrain()
