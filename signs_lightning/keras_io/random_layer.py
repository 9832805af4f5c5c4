"""What all random layers of Keras share: when they act, and what they draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.keras_io.activations import number
from signs_lightning.keras_io.layer_context import LayerContext

Bounds = tuple[float, float]
Drawn = dict[str, Tensor]
NEW_BASE = (3, 6)  # from which version on the layers have one base, and other draws


class RandomLayer(nn.Module):
    """Changes images in training, with parameters that are drawn anew for each batch.

    Args:
        draw: images → parameters.
        change: images and these parameters → images of the same shape.

    Shape:
        float (N, C, H, W) → the same
    """

    def __init__(self, draw: Callable[[Tensor], Drawn], change: Callable[..., Tensor]) -> None:
        super().__init__()
        self.draw, self.change = draw, change

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        return self.change(images, **self.draw(images)).to(images.dtype)


def uniform(images: Tensor, bounds: Bounds, *shape: int) -> Tensor:
    """Draw uniform numbers where the images are, in float32 at least; (N, 1, 1, 1) by default."""
    dtype = torch.promote_types(images.dtype, torch.float32)
    values = torch.empty(shape or (len(images), 1, 1, 1), device=images.device, dtype=dtype)
    return values.uniform_(*bounds)


def chosen(images: Tensor, bounds: Bounds) -> Tensor:
    """Choose images: bool (N, 1, 1, 1), each with a probability of its own between bounds."""
    return uniform(images, (0.0, 1.0)) < uniform(images, bounds)


def draw_factor(images: Tensor, name: str, bounds: Bounds, scale: float = 1.0) -> Drawn:
    """Draw one parameter of a layer, for each image."""
    return {name: uniform(images, bounds) * scale}


def choose(images: Tensor, name: str, bounds: Bounds) -> Drawn:
    """Choose images as the only parameter of a layer."""
    return {name: chosen(images, bounds)}


def bounds_of(layer: LayerContext, key: str, least: float = -1.0, default: Any = 0.0) -> Bounds:
    """Return a factor's range: of one number f that from -|f|, or `least`, to |f|."""
    value = layer.config.get(key, default)
    try:
        if isinstance(value, list | tuple):
            low, high = sorted(map(number, value))
            return low, high
        most = abs(number(value))
    except (TypeError, ValueError):
        layer.fail(key, repr(value), "a number or two")
    return max(-most, least), most


def value_range_of(layer: LayerContext) -> Bounds:
    """Return the least and the largest value of the images."""
    return bounds_of(layer, "value_range", default=[0, 255])


def is_before(layer: LayerContext, release: tuple[int, int]) -> bool:
    """Return whether an earlier Keras than this version wrote the file."""
    return (layer.layer.release or (layer.layer.keras, 99)) < release
