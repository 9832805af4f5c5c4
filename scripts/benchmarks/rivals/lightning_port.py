"""A straightforward port of the Keras models to Lightning, after the tutorials.

One sample at a time out of arrays in memory, a plain DataLoader, torchmetrics and `self.log` in
every step, padding as modules and layers in Keras's order; logger, checkpoints and progress bar are
the Trainer's own.
"""

from __future__ import annotations

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import Accuracy

from benchmarks.clock import EpochClock
from benchmarks.rivals.inputs import BATCH_SIZES, CLASSES, arguments, read
from benchmarks.rivals.resnet import norm, resnet50


class ImageDataset(Dataset):
    """A file's images, one at a time: float32 (3, H, W) in 0..1 and its label."""

    def __init__(self, path: str) -> None:
        self.images, self.labels = read(path)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        # (H, W, C) -> (C, H, W)
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255
        return image, int(self.labels[index])


def build(model: str, size: int = 64) -> nn.Module:
    """The network of a model for float (N, 3, size, size) images."""
    classes = CLASSES[model]
    if model == "functional":
        return nn.Sequential(
            nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(3, 8, 4), nn.ReLU(), nn.MaxPool2d(8),
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 16, 2), nn.ReLU(), nn.MaxPool2d(4),
            nn.Flatten(), nn.Linear(16 * (size // 32) ** 2, classes),
        )  # fmt: skip
    if model == "sequential":
        return nn.Sequential(
            nn.ZeroPad2d(3), nn.Conv2d(3, 32, 7), norm(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * (size // 2) ** 2, 1),
        )  # fmt: skip
    return resnet50(classes, size)


class Classifier(L.LightningModule):
    """Loss, accuracy and Adam around a network."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.network = build(model)
        binary = CLASSES[model] == 2
        self.binary = binary
        task = (
            {"task": "binary"} if binary else {"task": "multiclass", "num_classes": CLASSES[model]}
        )
        self.train_accuracy, self.val_accuracy = Accuracy(**task), Accuracy(**task)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def _loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.binary:
            logits = logits.squeeze(1)
            return F.binary_cross_entropy_with_logits(logits, labels.float()), logits.sigmoid()
        return F.cross_entropy(logits, labels), logits.argmax(dim=1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        loss, predicted = self._loss(self(images), labels)
        self.train_accuracy(predicted, labels)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train_accuracy", self.train_accuracy, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        loss, predicted = self._loss(self(images), labels)
        self.val_accuracy(predicted, labels)
        self.log("val_loss", loss, prog_bar=True)
        self.log("val_accuracy", self.val_accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main() -> None:
    options = arguments("Trains the straightforward Lightning port.").parse_args()
    L.seed_everything(1)
    batch_size = options.batch_size or BATCH_SIZES[options.model]
    train = DataLoader(ImageDataset(options.train_file), batch_size=batch_size, shuffle=True)
    test = (
        DataLoader(ImageDataset(options.test_file), batch_size=batch_size)
        if options.test_file
        else None
    )
    trainer = L.Trainer(
        max_epochs=options.epochs,
        precision="bf16-mixed" if options.bf16 else "32-true",
        callbacks=[EpochClock()],
    )
    trainer.fit(Classifier(options.model), train, test)


if __name__ == "__main__":
    main()
