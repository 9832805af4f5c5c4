"""Builders of the random layers of Keras that change colours, blur or mix images."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Beta

from signs_lightning.keras_io import color_changes as color
from signs_lightning.keras_io.image_sampling import blur, pixel_grid
from signs_lightning.keras_io.layer_context import LayerContext
from signs_lightning.keras_io.random_layer import (
    NEW_BASE,
    Bounds,
    Drawn,
    RandomLayer,
    bounds_of,
    choose,
    chosen,
    draw_factor,
    is_before,
    uniform,
    value_range_of,
)


def _draw_contrast(images: Tensor, bounds: Bounds) -> Drawn:
    return {"contrast_factor": uniform(images, bounds, 1)}


def random_contrast(layer: LayerContext) -> RandomLayer:
    """Build a RandomContrast.

    Before Keras 3.6 one factor from 1 − f to 1 + f is drawn for the batch, then one from 1 to 1 + f
    for each image; the range of values is an argument from Keras 3.8 on.
    """
    value_range = color.BYTES if is_before(layer, (3, 8)) else value_range_of(layer)
    change = partial(color.change_contrast, value_range=value_range)
    if is_before(layer, NEW_BASE):
        low, high = bounds_of(layer, "factor")
        low = low if isinstance(layer.config["factor"], list) else high
        return RandomLayer(partial(_draw_contrast, bounds=(1 - low, 1 + high)), change)
    low, high = bounds_of(layer, "factor", 0.0)
    return RandomLayer(
        partial(draw_factor, name="contrast_factor", bounds=(1 - low, 1 + high)), change
    )


def random_brightness(layer: LayerContext) -> RandomLayer:
    """Build a RandomBrightness."""
    low, high = value_range = value_range_of(layer)
    draw = partial(
        draw_factor, name="rgb_delta", bounds=bounds_of(layer, "factor"), scale=high - low
    )
    return RandomLayer(draw, partial(color.change_brightness, value_range=value_range))


def _draw_hue(images: Tensor, bounds: Bounds) -> Drawn:
    sign = torch.where(uniform(images, (0.0, 1.0)) > 0.5, -1.0, 1.0)
    return {"factor": sign * uniform(images, bounds) * 0.5}


def random_hue(layer: LayerContext) -> RandomLayer:
    """Build a RandomHue."""
    draw = partial(_draw_hue, bounds=bounds_of(layer, "factor", 0.0))
    return RandomLayer(draw, partial(color.change_hue, value_range=value_range_of(layer)))


def _draw_saturation(images: Tensor, bounds: Bounds) -> Drawn:
    factor = uniform(images, bounds)
    return {"factor": factor / (1 - factor + color.EPSILON)}


def random_saturation(layer: LayerContext) -> RandomLayer:
    """Build a RandomSaturation."""
    draw = partial(_draw_saturation, bounds=bounds_of(layer, "factor"))
    return RandomLayer(draw, partial(color.change_saturation, value_range=value_range_of(layer)))


def random_color_degeneration(layer: LayerContext) -> RandomLayer:
    """Build a RandomColorDegeneration."""
    draw = partial(draw_factor, name="factor", bounds=bounds_of(layer, "factor"))
    return RandomLayer(draw, partial(color.degenerate_colors, value_range=value_range_of(layer)))


def random_grayscale(layer: LayerContext) -> RandomLayer:
    """Build a RandomGrayscale."""
    factor = layer.number("factor", 0.5)
    return RandomLayer(
        partial(choose, name="should_apply", bounds=(factor, factor)), color.make_grey
    )


def random_invert(layer: LayerContext) -> RandomLayer:
    """Build a RandomInvert."""
    draw = partial(choose, name="apply_inversion", bounds=bounds_of(layer, "factor", 0.0, 1.0))
    return RandomLayer(draw, partial(color.invert, value_range=value_range_of(layer)))


def _draw_posterization(images: Tensor, low: int, high: int) -> Drawn:
    shape = (len(images), 1, 1, 1)
    bits = torch.randint(low, max(high, low + 1), shape, device=images.device)
    return {"shift_factor": 8 - bits}


def random_posterization(layer: LayerContext) -> RandomLayer:
    """Build a RandomPosterization; the largest number of bits is not drawn."""
    low, high = map(int, bounds_of(layer, "factor", 1.0))
    if not 1 <= low <= high <= 8:
        layer.fail("factor", (low, high), "1 to 8 bits")
    draw = partial(_draw_posterization, low=low, high=high)
    return RandomLayer(draw, partial(color.posterize, value_range=value_range_of(layer)))


def _draw_solarization(images: Tensor, additions: Bounds, thresholds: Bounds) -> Drawn:
    return {
        "additions": uniform(images, (additions[0], additions[1] * 255)),
        "thresholds": uniform(images, (thresholds[0], thresholds[1] * 255)),
    }


def solarization(layer: LayerContext) -> RandomLayer:
    """Build a Solarization."""
    additions, thresholds = (
        bounds_of(layer, f"{name}_factor", 0.0) for name in ("addition", "threshold")
    )
    draw = partial(_draw_solarization, additions=additions, thresholds=thresholds)
    return RandomLayer(draw, partial(color.solarize, value_range=value_range_of(layer)))


def random_sharpness(layer: LayerContext) -> RandomLayer:
    """Build a RandomSharpness."""
    draw = partial(draw_factor, name="factor", bounds=bounds_of(layer, "factor", 0.0))
    return RandomLayer(draw, partial(color.sharpen, value_range=value_range_of(layer)))


def _draw_blur(images: Tensor, factor: Bounds, sigma: Bounds) -> Drawn:
    return {"is_blurred": chosen(images, factor), "sigma": uniform(images, sigma, 2) + 1e-6}


def _blur(
    images: Tensor, is_blurred: Tensor, sigma: Tensor, kernel_size: tuple[int, int],
    value_range: Bounds,
) -> Tensor:  # fmt: skip
    blurred = blur(images, kernel_size, sigma)
    return torch.where(is_blurred, blurred, images).clamp(*value_range)


def random_gaussian_blur(layer: LayerContext) -> RandomLayer:
    """Build a RandomGaussianBlur; one strength is drawn for the batch."""
    factor, sigma = bounds_of(layer, "factor", 0.0, 1.0), bounds_of(layer, "sigma", 0.0, 1.0)
    change = partial(
        _blur, kernel_size=layer.pair("kernel_size", 3), value_range=value_range_of(layer)
    )
    return RandomLayer(partial(_draw_blur, factor=factor, sigma=sigma), change)


def _draw_box(images: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Place boxes (N, 1, H, W) whose heights and widths (N,) are shares of the images'."""
    is_inside = []
    for line, share in zip(pixel_grid(images), (height, width), strict=True):
        length = share * line.numel()
        start = uniform(images, (0.0, 1.0), len(images)) * (line.numel() - length)
        start, end = start[:, None, None, None], (start + length)[:, None, None, None]
        is_inside.append((line >= start) & (line < end))
    return is_inside[0] & is_inside[1]


def _draw_erasing(
    images: Tensor, factor: Bounds, scale: Bounds, fill_value: list[float] | None,
    value_range: Bounds,
) -> Drawn:  # fmt: skip
    height, width = uniform(images, scale, 2, len(images)).sqrt()
    box = _draw_box(images, height, width)
    if fill_value is None:
        fill = torch.randn_like(images) * value_range[1]
    else:
        fill = images.new_tensor(fill_value).view(1, -1, 1, 1)
    return {"is_erased": box & chosen(images, factor), "fill": fill.clamp(*value_range)}


def _replace(images: Tensor, is_erased: Tensor, fill: Tensor) -> Tensor:
    return torch.where(is_erased, fill, images)


def random_erasing(layer: LayerContext) -> RandomLayer:
    """Build a RandomErasing."""
    value = layer.config.get("fill_value")
    fill: list[Any] = value if isinstance(value, list) else [value]
    is_fit = len(fill) == (layer.image[2] if isinstance(value, list) else 1)
    if value is not None and not (is_fit and all(isinstance(v, int | float) for v in fill)):
        layer.fail("fill_value", repr(value), "a number, or one for each channel")
    draw = partial(
        _draw_erasing,
        factor=bounds_of(layer, "factor", 0.0, 1.0),
        scale=bounds_of(layer, "scale", 0.0, [0.02, 0.33]),
        fill_value=None if value is None else fill,
        value_range=value_range_of(layer),
    )
    return RandomLayer(draw, _replace)


def _draw_mixing(images: Tensor, alpha: float) -> Drawn:
    order = torch.randperm(len(images), device=images.device)
    parameter = torch.full((len(images), 1, 1, 1), alpha, device=images.device)
    return {"mix_weight": Beta(parameter, parameter).sample(), "order": order}


def _mix(images: Tensor, mix_weight: Tensor, order: Tensor) -> Tensor:
    return mix_weight * images + (1 - mix_weight) * images[order]


def mix_up(layer: LayerContext) -> RandomLayer:
    """Build a MixUp: inside a model Keras's layer mixes the images, and no labels."""
    return RandomLayer(partial(_draw_mixing, alpha=layer.number("alpha", 0.2)), _mix)


def _draw_cutting(images: Tensor, factor: Bounds) -> Drawn:
    parameter = (uniform(images, factor, 1) + 1e-6).expand(len(images))
    side = (1 - Beta(parameter, parameter).sample()).sqrt()
    box = _draw_box(images, side, side)
    return {"is_erased": box, "order": torch.randperm(len(images), device=images.device)}


def _paste(images: Tensor, is_erased: Tensor, order: Tensor) -> Tensor:
    return torch.where(is_erased, images[order], images)


def cut_mix(layer: LayerContext) -> RandomLayer:
    """Build a CutMix: inside a model Keras's layer mixes the images, and no labels."""
    return RandomLayer(partial(_draw_cutting, factor=bounds_of(layer, "factor", 0.0, 1.0)), _paste)
