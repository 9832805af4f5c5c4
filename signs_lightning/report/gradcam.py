"""Grad-CAM: where in an image the evidence for a class lies.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.modules import ConvTranspose2dKeras, SeparableConv2d
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.display import to_grey_or_rgb
from signs_lightning.runtime.resize_options import Fit
from signs_lightning.runtime.resize_weights import place

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, ConvTranspose2dKeras, SeparableConv2d)


def grad_cam(
    model: ImageClassifier, images: Tensor, classes: Tensor, batch_size: int = 32
) -> Tensor:
    """Return heat maps that show which parts of an image raise the score of a class.

    The score is the logit, before softmax or sigmoid; for class 0 of a binary model it is the
    logit's negative. The feature maps are those of `last_feature_maps`. The model's mode, weights
    and gradients stay as they are.

    Args:
        model: a classifier with at least one convolution.
        images: (N, H, W, C) as the model takes them, of any height and width.
        classes: int64 (N,) in 0..K-1, the class to explain in each image.
        batch_size: images that go through the network at a time.

    Returns:
        float32 (N, H, W) in 0..1 on the CPU, at the images' own size, each scaled so that its
        largest value is 1; all zero where nothing speaks for the class.

    Raises:
        InputError: the network has no convolution.
    """
    training = model.training
    model.eval()
    try:
        parts = [
            _heat_maps(model, images[k : k + batch_size], classes[k : k + batch_size])
            for k in range(0, len(images), batch_size)
        ]
    finally:
        model.train(training)
    return torch.cat(parts) if parts else torch.zeros(images.shape[:3])


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a heat map over its image, which is made grey: every colour means heat.

    Args:
        image: uint8 (H, W, C) in 0..255; of other channels than 1 or 3, those that are drawn count.
        heat: float (H, W) in 0..1.

    Returns:
        uint8 (H, W, 3) in 0..255.
    """
    drawn = to_grey_or_rgb(image)
    weights = [0.299, 0.587, 0.114] if drawn.shape[2] == 3 else [1.0]
    grey = (drawn.astype(np.float64) @ weights)[..., None]  # (H, W, 1)
    colors = colormaps["inferno"](np.clip(heat, 0, 1))[..., :3] * 255  # (H, W, 3)
    return np.rint(0.5 * grey + 0.5 * colors).clip(0, 255).astype(np.uint8)


def last_feature_maps(model: ImageClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the feature maps of the last convolutional stage, and the logits.

    The stage is that of the last convolution whose output is larger than one pixel. Its feature
    maps are the last value of the same size: normalisation, shortcut, activation and
    squeeze-and-excitation belong to the stage, pooling and flattening don't.

    Args:
        model: a classifier in eval mode.
        images: float (N, C, H, W), preprocessed; gradients flow through the result when they do
            through this.

    Returns:
        Feature maps (N, F, h, w) and logits (N, K), or (N, 1) of a binary model.

    Raises:
        InputError: the network has no convolution.
    """
    values: list[tuple[bool, Tensor]] = []  # of every call: whether it convolves, its output

    def record(module: nn.Module, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            values.append((isinstance(module, CONVOLUTIONS), output))

    with _output_hooks(model.network, record):
        logits = model(images)
    sizes = [value.shape[2:] for is_convolution, value in values if is_convolution]
    if not sizes:
        raise InputError(
            f"{type(model).__name__} has no convolution, so there are no feature maps to show. "
            "Grad-CAM needs one."
        )
    size = next((size for size in reversed(sizes) if size.numel() > 1), sizes[-1])
    return next(value for _, value in reversed(values) if value.shape[2:] == size), logits


def _heat_maps(model: ImageClassifier, images: Tensor, classes: Tensor) -> Tensor:
    """Return float32 (N, H, W) in 0..1 for one batch."""
    with torch.inference_mode(False), torch.enable_grad():
        inputs = model.preprocess(images.to(model.device)).detach().requires_grad_()
        maps, logits = last_feature_maps(model, inputs)
        classes = classes.to(logits.device)
        if model.binary:
            logits = torch.cat([-logits, logits], dim=1)  # (N, 1) -> (N, 2)
        scores = logits.gather(1, classes[:, None])
        (gradients,) = torch.autograd.grad(scores.sum(), maps)  # (N, F, h, w)
    maps, gradients = maps.detach().float(), gradients.float()
    # Where pooling comes before ReLU, the maps hold negative values that the ReLU will remove: no
    # gradient reaches them. They would count as evidence here, but not in the same network with
    # ReLU first.
    has_relu = ~((gradients != 0) & (maps < 0)).flatten(2).any(2)[..., None, None]
    maps = torch.where(has_relu, maps.relu(), maps)
    weights = gradients.mean((2, 3), keepdim=True)  # (N, F, 1, 1)
    heat = (weights * maps).sum(1, keepdim=True).relu()  # (N, 1, h, w)
    stored, fit = (images.shape[1], images.shape[2]), model.resizing[1] or "stretch"
    heat = _over_images(heat, stored, model.image_size[:2], fit)[:, 0]
    peak = heat.amax((1, 2), keepdim=True)
    return torch.where(peak > 0, heat / peak, 0.0).cpu()


def _over_images(heat: Tensor, stored: tuple[int, int], size: tuple[int, int], fit: Fit) -> Tensor:
    """Lay heat maps over the part of the images that the network saw.

    Args:
        heat: float (N, 1, h, w) over what the network saw, of any size.
        stored: height and width of the images.
        size: those of the network's images.
        fit: what it does with another aspect ratio.

    Returns:
        float (N, 1, H, W), zero beside that part.
    """
    (left, top, right, bottom), inner, (row, column) = place(stored, size, fit)
    if inner != size:  # bars that the image does not have
        heat = F.interpolate(heat, size, mode="bilinear")
        heat = heat[..., row : row + inner[0], column : column + inner[1]]
    heat = F.interpolate(heat, (bottom - top, right - left), mode="bilinear")
    return F.pad(heat, (left, stored[1] - right, top, stored[0] - bottom))


@contextmanager
def _output_hooks(
    network: nn.Module, record: Callable[[nn.Module, object], None]
) -> Iterator[None]:
    """Call `record` with every module and its output while the network runs."""
    handles = []
    if isinstance(network, KerasNetwork):  # it alone knows its activations and axes
        modules = {"/".join(path): network.get_submodule(n) for path, n in network.names.items()}
        watch = {"watch": lambda name, value: record(modules[name], value)}
        handles.append(
            network.register_forward_pre_hook(
                lambda _, args, kwargs: (args, kwargs | watch), with_kwargs=True
            )
        )
    else:
        for module in network.modules():
            handles.append(module.register_forward_hook(lambda m, _, output: record(m, output)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
