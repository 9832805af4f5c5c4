"""The smile classifier of the Happy House exercise, Keras's Sequential API."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.layers import FlattenNHWC, KerasBatchNorm2d, initialize_like_keras


class HappySequential(ImageClassifier):
    """Pad 3 → conv 32 → BN → ReLU → pool 2 → dense 1: the course's sequential model.

    For two classes; 37,633 parameters at 64×64×3, 37,569 of them trainable. Mirrors the exercise
    "Keras tutorial: the Happy House" (Convolutional Neural Networks, deeplearning.ai):
    ZeroPadding2D(3) → Conv2D(32, 7) → BatchNormalization → ReLU → MaxPooling2D(2) → Flatten →
    Dense(1, sigmoid).

    Shape:
        images float32 (N, C, H, W) in 0..1 → logits float32 (N, 1); the sigmoid of it is the
        probability of class 1

    Raises:
        InputError: the data have more than two classes.

    Examples:
        >>> import torch
        >>> from signs_lightning import HappySequential
        >>> model = HappySequential()
        >>> logits = model(torch.zeros(2, 3, 64, 64))
        >>> logits.shape, model.probabilities(logits).shape
        (torch.Size([2, 1]), torch.Size([2, 2]))
    """

    binary = True

    def build(self) -> nn.Module:
        height, width, channels = self.image_size
        if min(height, width) < 2:
            raise InputError(
                f"HappySequential needs images of at least 2×2 pixels, these have {height}×{width}."
            )
        outputs = 1 if self.binary else self.num_classes  # of a task
        layers = OrderedDict[str, nn.Module](
            conv=nn.Conv2d(channels, 32, kernel_size=7, padding=3),  # (N, 32, 64, 64), padded by 3
            bn=KerasBatchNorm2d(32),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(2),  # (N, 32, 32, 32)
            flatten=FlattenNHWC(),  # (N, 32768), in Keras's order
            fc=nn.Linear(32 * (height // 2) * (width // 2), outputs),  # (N, 1) logit
        )
        return initialize_like_keras(nn.Sequential(layers))
