"""torchvision's ResNet50 with weights from ImageNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels, in 0..1
Weights = Literal["IMAGENET1K_V1", "IMAGENET1K_V2"]


class ImageNetInput(nn.Module):
    """Resize images for the network, and scale them as its weights expect.

    Args:
        size: height and width of the result, pixels.

    Shape:
        float (N, 3, H, W) or (N, 1, H, W) in 0..1 → float (N, 3, size, size) with about mean 0 and
        variance 1
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(MEAN).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear")
        return (images - self.mean) / self.std  # one grey channel becomes three

    def extra_repr(self) -> str:
        return f"size={self.size}"


class PretrainedResNet50(ImageClassifier):
    """torchvision's ResNet50 with its ImageNet weights and a new dense layer.

    All of it is trained further. It is not the course's network: see `SignsResNet50` for that.
    Weights: https://docs.pytorch.org/vision/stable/models.html

    Args:
        weights: torchvision's name of them, downloaded (98 MB) when a training run begins; null
            begins from random weights.
        network_size: height and width (pixels) that images are enlarged to: the network shrinks
            them 32 times.

    Shape:
        images float32 (N, C, H, W) in 0..1, C is 3 or 1 → logits float32 (N, K)

    Raises:
        InputError: when a run begins and the weights are neither on this machine nor to be had.

    Examples:
        >>> import torch
        >>> from signs_lightning import PretrainedResNet50
        >>> model = PretrainedResNet50(weights=None, network_size=32, num_classes=2)
        >>> model(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 2])
    """

    def __init__(
        self, weights: Weights | None = "IMAGENET1K_V2", network_size: int = 128, **kwargs: Any
    ) -> None:
        if network_size < 32:
            raise InputError(f"network_size is {network_size}, expected at least 32 pixels.")
        self.weights = weights
        self.network_size = network_size
        super().__init__(**kwargs)

    def build(self) -> nn.Module:
        from torchvision.models import resnet50  # takes its time to import

        channels = self.image_size[2]
        if channels not in (1, 3):
            raise InputError(
                f"PretrainedResNet50 takes images of 1 or 3 channels, these have {channels}. Use "
                "SignsFunctional, which takes any number."
            )
        layers = OrderedDict[str, nn.Module](
            input=ImageNetInput(self.network_size),  # (N, 3, 128, 128)
            resnet=resnet50(num_classes=self.num_classes),  # (N, K) logits
        )
        return nn.Sequential(layers)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        self.weights = None  # these have been trained further
        return super().load_state_dict(state_dict, strict, assign)

    def prepare(self, resumed: bool = False) -> None:
        if resumed:
            self.weights = None
        if self.weights is not None:
            _download(self.weights)

    def prepare_data(self) -> None:
        if self.trainer.training:
            self.prepare()  # by one process of several

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.weights is not None:
            state = {k: v for k, v in _download(self.weights).items() if not k.startswith("fc.")}
            self.network.get_submodule("resnet").load_state_dict(state, strict=False)
            self.weights = None  # a second fit continues from what the first one learned


def _download(name: Weights) -> dict[str, Tensor]:
    """Return torchvision's weights, from the cache of torch.hub if they are there."""
    from torchvision.models import ResNet50_Weights  # takes its time to import

    weights = ResNet50_Weights[name]
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except Exception as error:  # of the network, a proxy or the disk
        file, reason = weights.url.rpartition("/")[2], str(error).strip() or type(error).__name__
        raise InputError(
            f"The weights {file} cannot be downloaded ({reason}). Put that file into the folder "
            "that torch.hub.get_dir() names, under checkpoints, or begin from random weights with "
            "`--model.weights null`."
        ) from error
