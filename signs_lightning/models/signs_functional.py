"""The hand-sign classifier of the SIGNS exercise, Keras's Functional API."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.layers import (
    Conv2dSame,
    FlattenNHWC,
    MaxPool2dSame,
    initialize_like_keras,
)


class SignsFunctional(ImageClassifier):
    """Conv 8 → pool 8 → conv 16 → pool 4 → dense: the course's functional model.

    1,310 parameters at 64×64×3. Mirrors the exercise "Convolutional model, application: SIGNS"
    (Convolutional Neural Networks, deeplearning.ai): Conv2D(8, 4) → ReLU → MaxPool2D(8) →
    Conv2D(16, 2) → ReLU → MaxPool2D(4) → Flatten → Dense(6, softmax), every padding 'same'.

    Shape:
        images float32 (N, C, H, W) in 0..1 → logits float32 (N, K)

    Examples:
        >>> import torch
        >>> from signs_lightning import SignsFunctional
        >>> model = SignsFunctional(num_classes=10, image_size=(96, 128, 3))
        >>> model(torch.zeros(2, 3, 96, 128)).shape
        torch.Size([2, 10])
    """

    def build(self) -> nn.Module:
        height, width, channels = self.image_size
        rows, columns = (math.ceil(math.ceil(size / 8) / 4) for size in (height, width))
        layers = OrderedDict[str, nn.Module](
            conv1=Conv2dSame(channels, 8, kernel_size=4),  # (N, 8, 64, 64)
            relu1=nn.ReLU(),
            pool1=MaxPool2dSame(8),  # (N, 8, 8, 8)
            conv2=Conv2dSame(8, 16, kernel_size=2),  # (N, 16, 8, 8)
            relu2=nn.ReLU(),
            pool2=MaxPool2dSame(4),  # (N, 16, 2, 2)
            flatten=FlattenNHWC(),  # (N, 64), in Keras's order
            fc=nn.Linear(16 * rows * columns, self.num_classes),  # (N, K) logits
        )
        return initialize_like_keras(nn.Sequential(layers))
