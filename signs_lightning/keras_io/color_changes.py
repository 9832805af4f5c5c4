"""Changes the colours of images as Keras's random layers do.

`keras/src/layers/preprocessing/image_preprocessing/` is mirrored, with its conversions of colours
in `keras/src/backend/jax/image.py`. Images are float (N, C, H, W), and parameters that differ from
image to image (N, 1, 1, 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Range = tuple[float, float]
BYTES: Range = (0.0, 255.0)
GREY = (0.2989, 0.5870, 0.1140)  # shares of red, green and blue
EPSILON = 1e-7  # `keras.config.epsilon()`


def to_range(images: Tensor, old: Range, new: Range) -> Tensor:
    """Map values of one range to another."""
    if old == new:
        return images
    return (images - old[0]) / (old[1] - old[0]) * (new[1] - new[0]) + new[0]


def to_grey(images: Tensor) -> Tensor:
    """RGB (N, 3, H, W) → grey (N, 1, H, W); grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)


def change_contrast(images: Tensor, contrast_factor: Tensor, value_range: Range) -> Tensor:
    """Move each channel away from its mean."""
    mean = images.mean((2, 3), keepdim=True)
    return ((images - mean) * contrast_factor + mean).clamp(*value_range)


def change_brightness(images: Tensor, rgb_delta: Tensor, value_range: Range) -> Tensor:
    """Add a number to all values."""
    return (images + rgb_delta).clamp(*value_range)


def change_hue(images: Tensor, factor: Tensor, value_range: Range) -> Tensor:
    """Add a share of the colour circle to the hue of RGB images."""
    hue, saturation, value = _to_hsv(to_range(images, value_range, (0.0, 1.0)))
    hue = hue + factor[:, 0]
    hue = torch.where(hue > 1, hue - 1, hue)
    hue = torch.where(hue < 0, hue + 1, hue)
    return to_range(_to_rgb(hue, saturation, value).clamp(0, 1), (0.0, 1.0), value_range)


def change_saturation(images: Tensor, factor: Tensor, value_range: Range) -> Tensor:
    """Multiply the saturation of RGB images."""
    hue, saturation, value = _to_hsv(images)
    return _to_rgb(hue, (saturation * factor[:, 0]).clamp(*value_range), value)


def degenerate_colors(images: Tensor, factor: Tensor, value_range: Range) -> Tensor:
    """Move images towards their grey pictures."""
    return (images + factor * (to_grey(images) - images)).clamp(*value_range)


def make_grey(images: Tensor, should_apply: Tensor) -> Tensor:
    """Make some images grey."""
    return torch.where(should_apply, to_grey(images), images)


def invert(images: Tensor, apply_inversion: Tensor, value_range: Range) -> Tensor:
    """Subtract some images from the largest value."""
    return torch.where(apply_inversion, value_range[1] - images, images)


def posterize(images: Tensor, shift_factor: Tensor, value_range: Range) -> Tensor:
    """Drop the last bits of all values."""
    whole = to_range(images, value_range, BYTES).clamp(*BYTES).int()
    shift = shift_factor.int()
    return to_range(((whole >> shift) << shift).to(images.dtype), BYTES, value_range)


def solarize(images: Tensor, additions: Tensor, thresholds: Tensor, value_range: Range) -> Tensor:
    """Add a number, and invert values from a threshold on, both on the scale 0..255."""
    values = (to_range(images, value_range, BYTES) + additions).clamp(*BYTES)
    return to_range(torch.where(values < thresholds, values, 255 - values), BYTES, value_range)


def sharpen(images: Tensor, factor: Tensor, value_range: Range) -> Tensor:
    """Smooth images for a factor below 0.5, sharpen them above it."""
    kernel = images.new_full((images.shape[1], 1, 3, 3), 1 / 13)
    kernel[:, :, 1, 1] = 5 / 13
    smooth = F.conv2d(images, kernel, padding="same", groups=images.shape[1])
    return (images + (1 - 2 * factor) * (smooth - images)).clamp(*value_range)


def stretch_contrast(images: Tensor, value_range: Range) -> Tensor:
    """Stretch each channel of each image over the whole range."""
    values = to_range(images, value_range, BYTES)
    low, high = values.amin((2, 3), keepdim=True), values.amax((2, 3), keepdim=True)
    scale = 255 / (high - low)
    stretched = to_range((values * scale - low * scale).clamp(*BYTES), BYTES, value_range)
    return torch.where(stretched.isnan(), images, stretched)


def equalize(images: Tensor, value_range: Range, bins: int = 256) -> Tensor:
    """Even out the histogram of each channel of the whole batch."""
    values = to_range(images, value_range, BYTES)
    indices = (values * (bins - 1) / 255).clamp(0, bins - 1).long()
    channels = []
    for channel, index in zip(values.unbind(1), indices.unbind(1), strict=True):
        counts = torch.bincount(index.flatten(), minlength=bins)
        if (counts > 0).sum() > 1:
            total = counts.cumsum(0)
            least = total[total > 0][0]
            table = ((total - least) * 255 / (total[-1] - least)).round().clamp(*BYTES)
            channel = table.to(images.dtype)[index]
        channels.append(channel)
    return to_range(torch.stack(channels, dim=1), BYTES, value_range)


def _to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """RGB (N, 3, H, W) → hue, saturation and value, each (N, H, W)."""
    images = torch.where(images.abs() < torch.finfo(images.dtype).eps, 0.0, images)
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    spread = value - images.amin(1)
    saturation = torch.where(value > 0, spread / torch.where(value > 0, value, 1.0), 0.0)
    norm = 1 / (6 * torch.where(spread > 0, spread, 1.0))
    hue = torch.where(value == green, norm * (blue - red) + 2 / 6, norm * (red - green) + 4 / 6)
    hue = torch.where(value == red, norm * (green - blue), hue)
    return torch.where(spread > 0, hue, 0.0) + (hue < 0), saturation, value


def _to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Hue, saturation and value, each (N, H, W) → RGB (N, 3, H, W)."""
    sector = hue % 1 * 6
    red = ((sector - 3).abs() - 1).clamp(0, 1)
    green, blue = (2 - (sector - 2).abs()).clamp(0, 1), (2 - (sector - 4).abs()).clamp(0, 1)
    return torch.stack(
        [value * (1 - saturation + saturation * c) for c in (red, green, blue)], dim=1
    )
