"""ResNet50 of the residual-networks exercise, Keras's Functional API."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from typing import Any, Literal

from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.layers import (
    Conv2dSame,
    FlattenNHWC,
    KerasBatchNorm2d,
    initialize_like_keras,
)

Initializer = Literal["glorot_uniform", "he_normal"]


class Bottleneck(nn.Module):
    """Conv 1×1 → conv 3×3 → conv 1×1, each with BN, plus a shortcut.

    ReLU follows the first two convolutions and the sum. The shortcut is the input itself ("identity
    block"), or conv 1×1 → BN where the shape changes ("convolutional block"). Version 1: the stride
    is that of the first 1×1 convolution.

    Args:
        in_channels: channels C_in of the input.
        filters: channels F of the two inner convolutions; the block gives 4 F.
        stride: of the first convolution and of the shortcut's, pixels.
        projection: whether the shortcut has a convolution.
        momentum: Keras's BatchNorm momentum, the share of the old average.
        drop: chance that an image goes by the convolutions in training, 0..1.

    Shape:
        float (N, C_in, H, W) → float (N, 4 F, ceil(H / stride), ceil(W / stride))
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        stride: int,
        projection: bool,
        momentum: float,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.drop = drop
        out_channels = 4 * filters
        self.main = nn.Sequential(
            nn.Conv2d(in_channels, filters, kernel_size=1, stride=stride),  # (N, F, H/s, W/s)
            KerasBatchNorm2d(filters, momentum),
            nn.ReLU(inplace=True),
            Conv2dSame(filters, filters, kernel_size=3),  # (N, F, H/s, W/s)
            KerasBatchNorm2d(filters, momentum),
            nn.ReLU(inplace=True),
            nn.Conv2d(filters, out_channels, kernel_size=1),  # (N, 4F, H/s, W/s)
            KerasBatchNorm2d(out_channels, momentum),
        )
        self.shortcut: nn.Module = nn.Identity()
        if projection:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride),
                KerasBatchNorm2d(out_channels, momentum),
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        residual = self.main(images)
        if self.training and self.drop:
            from torchvision.ops import stochastic_depth  # torchvision is slow to import

            residual = stochastic_depth(residual, self.drop, mode="row")
        return self.relu(residual + self.shortcut(images))


class SignsResNet50(ImageClassifier):
    """ResNet50 as the course builds it: 23,600,006 parameters.

    That is at 64×64×3 and six classes; 23,546,886 of them are trainable. Mirrors the exercise
    "Residual Networks" (Convolutional Neural Networks, deeplearning.ai), after He et al. 2015,
    table 1. Its four stages are one convolutional block and 2, 3, 5, 2 identity blocks: 50 weighted
    layers. (2, 3, 5, 3), which some descriptions of the exercise print, is one block more than the
    name allows and builds as well.

    Args:
        identity_blocks: identity blocks after the convolutional block of each of the four stages.
        bn_momentum: BatchNorm's momentum in Keras's sense, the share of the old average. Keras's
            0.99 needs several hundred steps before eval mode works; 0.9 is PyTorch's default and
            works after one epoch of the course's data.
        initializer: "glorot_uniform", as the course does, or "he_normal".
        stochastic_depth: chance that an image goes by the last block's convolutions in training;
            it rises from block to block, after Huang et al. 2016, section 3. Keras's model has
            none.
        width: channels F of the first stage; 64 is ResNet50, less makes a small network of the same
            shape for tests.

    Shape:
        images float32 (N, C, H, W) in 0..1, at least 37×37 pixels → logits float32 (N, K)

    Examples:
        >>> import torch
        >>> from signs_lightning import SignsResNet50
        >>> model = SignsResNet50(width=4, bn_momentum=0.9, num_classes=6)
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 6])
    """

    def __init__(
        self,
        identity_blocks: tuple[int, int, int, int] = (2, 3, 5, 2),
        bn_momentum: float = 0.99,
        initializer: Initializer = "glorot_uniform",
        width: int = 64,
        stochastic_depth: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.identity_blocks = identity_blocks
        self.bn_momentum = bn_momentum
        self.initializer = initializer
        self.width = width
        if not 0 <= stochastic_depth < 1:
            raise InputError(f"stochastic_depth is {stochastic_depth}, expected 0 to less than 1.")
        self.stochastic_depth = stochastic_depth
        super().__init__(**kwargs)

    def build(self) -> nn.Module:
        height, width, channels = self.image_size
        rows, columns = rows_after_stages(height), rows_after_stages(width)
        if rows < 2 or columns < 2:
            raise InputError(
                f"SignsResNet50 needs images of at least 37×37 pixels, these have {height}×{width}."
            )
        f, blocks, momentum = self.width, self.identity_blocks, self.bn_momentum
        depth = max(sum(blocks) + 4, 1)
        drops = (self.stochastic_depth * k / depth for k in count(1))
        conv1 = nn.Conv2d(channels, f, kernel_size=7, stride=2, padding=3)
        layers = OrderedDict[str, nn.Module](
            conv1=conv1,  # (N, 64, 32, 32)
            bn_conv1=KerasBatchNorm2d(f, momentum),
            relu1=nn.ReLU(inplace=True),
            max_pool=nn.MaxPool2d(3, stride=2),  # (N, 64, 15, 15): 'valid'; other ResNets pad here
            stage2=_stage(f, f, 1, blocks[0], momentum, drops),  # (N, 256, 15, 15)
            stage3=_stage(4 * f, 2 * f, 2, blocks[1], momentum, drops),  # (N, 512, 8, 8)
            stage4=_stage(8 * f, 4 * f, 2, blocks[2], momentum, drops),  # (N, 1024, 4, 4)
            stage5=_stage(16 * f, 8 * f, 2, blocks[3], momentum, drops),  # (N, 2048, 2, 2)
            avg_pool=nn.AvgPool2d(2),  # (N, 2048, 1, 1)
            flatten=FlattenNHWC(),  # (N, 2048)
            fc=nn.Linear(32 * f * (rows // 2) * (columns // 2), self.num_classes),  # (N, K) logits
        )
        return initialize_like_keras(nn.Sequential(layers), self.initializer)


def _stage(
    channels: int,
    filters: int,
    stride: int,
    identities: int,
    momentum: float,
    drops: Iterator[float],
) -> nn.Module:
    """Convolutional and identity blocks: (N, C, H, W) → (N, 4 F, H/stride, W/stride)."""
    blocks = [Bottleneck(channels, filters, stride, True, momentum, next(drops))]
    for _ in range(identities):
        blocks.append(Bottleneck(4 * filters, filters, 1, False, momentum, next(drops)))
    return nn.Sequential(*blocks)


def rows_after_stages(size: int) -> int:
    """Rows (or columns) of the feature map in front of the average pooling.

    Args:
        size: rows (or columns) of the images.
    """
    size = (size + 6 - 7) // 2 + 1  # conv1: padding 3, 7×7, stride 2
    size = (size - 3) // 2 + 1  # max pooling: valid, 3×3, stride 2
    for _ in range(3):  # stages 3 to 5 halve it with a 1×1 convolution of stride 2
        size = (size - 1) // 2 + 1
    return size
