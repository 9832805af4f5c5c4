"""A network before training: how it lies in memory, and whether it gives a logit for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from signs_lightning.errors import InputError
from signs_lightning.models.fused_conv_pool import fuse_layers
from signs_lightning.models.layers import KerasBatchNorm2d

if TYPE_CHECKING:
    from signs_lightning.models.model_with_preprocessing import ImageModel


def prepare_network(
    network: nn.Module,
    image_size: tuple[int, int, int],
    fuse: bool,
    biased_variance: bool | None,
) -> None:
    """Make a network ready to train, in place.

    Args:
        network: takes images channels_last.
        image_size: height, width (pixels) and channels of its images.
        fuse: whether a first convolution and its pooling become one step, and 1×1 convolutions
            products of matrices.
        biased_variance: what feeds the moving variance of BatchNorm; None leaves it as it is.
    """
    if any(isinstance(weight, UninitializedParameter) for weight in network.parameters()):
        height, width, channels = image_size
        with torch.no_grad():  # layers such as nn.LazyLinear learn their sizes
            network.eval()(torch.zeros(1, channels, height, width))
        network.train()
    # Images come channels_last (they are NHWC in the file): kernels and gradients in the same
    # order need no copies.
    network.to(memory_format=torch.channels_last)
    if fuse:
        fuse_layers(network)
    for layer in network.modules():
        if isinstance(layer, KerasBatchNorm2d) and biased_variance is not None:
            layer.biased_variance = biased_variance


def check_binary(model: ImageModel) -> None:
    """Check that a binary model is for two classes.

    Raises:
        InputError: it is for others.
    """
    if model.binary and model.num_classes != 2:
        raise InputError(
            f"{type(model).__name__} tells two classes apart, the data have {model.num_classes}. "
            "Use SignsFunctional or SignsResNet50."
        )


def check_logits(model: ImageModel) -> None:
    """Check that a user's own network gives K logits for an image, by trying it on two.

    What the network raises passes through, with a note that says what it was given.

    Raises:
        InputError: it gives something else, or probabilities.
    """
    height, width, channels = model.image_size
    shape = (2, channels, height, width)
    name = describe_network(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    images = torch.linspace(0, 1, 2 * channels * height * width, device=device).reshape(shape)
    try:
        with torch.no_grad():
            logits: Any = model(images.to(model.dtype))
    except Exception as error:
        error.add_note(f"{name} was tried on images of float32 {shape}, (N, C, H, W), in 0..1.")
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode
    expected = 1 if model.binary else model.num_classes
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, expected):
        is_tensor = isinstance(logits, Tensor)
        found = f"the shape {tuple(logits.shape)}" if is_tensor else f"a {type(logits).__name__}"
        raise InputError(
            f"{name} gives {found} for 2 images, expected (2, {expected}): a logit for each class. "
            "Let it take `num_classes`, or give it as many outputs as the data have classes."
        )
    total = logits.float().sum(dim=1)
    if expected > 1 and bool((logits >= 0).all()) and torch.allclose(total, torch.ones_like(total)):
        raise InputError(
            f"{name} ends in a softmax, expected logits: the loss has the softmax already. Leave "
            "it out."
        )


def describe_network(model: ImageModel) -> str:
    """Return what a message calls the network of a model."""
    if model.given_network is not None:
        return f"The network {model.given_network.name}"
    return type(model).__name__
