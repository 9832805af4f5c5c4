"""The course's ResNet50 in plain PyTorch, for the rivals that are written in it."""

from __future__ import annotations

from torch import Tensor, nn


def norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm with Keras's settings."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """Bottleneck, version 1: stride in the first 1×1 convolution, biases everywhere."""

    def __init__(self, channels: int, filters: int, stride: int, projection: bool) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels, filters, 1, stride), norm(filters), nn.ReLU(inplace=True),
            nn.Conv2d(filters, filters, 3, padding=1), norm(filters), nn.ReLU(inplace=True),
            nn.Conv2d(filters, 4 * filters, 1), norm(4 * filters),
        )  # fmt: skip
        projected = nn.Sequential(nn.Conv2d(channels, 4 * filters, 1, stride), norm(4 * filters))
        self.shortcut = projected if projection else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.relu(self.main(images) + self.shortcut(images))


def resnet50(classes: int, size: int = 64) -> nn.Sequential:
    """float (N, 3, size, size) → logits (N, classes).

    23,600,006 parameters for six classes of 64×64 images.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, padding=3),
        norm(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
    ]
    channels, rows = 64, ((size - 1) // 2 + 1 - 3) // 2 + 1
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append(Block(channels, 64 * 2**stage, stride, projection=not block))
            channels, rows = 256 * 2**stage, (rows - 1) // stride + 1
    return nn.Sequential(
        *layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(channels * (rows // 2) ** 2, classes)
    )
