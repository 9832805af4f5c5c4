"""Builders of the random layers of Keras that move the pixels of images."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from signs_lightning.keras_io.image_sampling import (
    FILL_MODES,
    INTERPOLATIONS,
    Sampling,
    distort,
    homography,
    rotation_matrix,
    scaling_matrix,
    shear_matrix,
    shift_matrix,
    warp,
)
from signs_lightning.keras_io.layer_context import LayerContext
from signs_lightning.keras_io.random_layer import (
    NEW_BASE,
    Bounds,
    Drawn,
    RandomLayer,
    bounds_of,
    chosen,
    is_before,
    uniform,
    value_range_of,
)


def _sampling(layer: LayerContext, fill_mode: str = "reflect") -> Sampling:
    layer.check_option("interpolation", *INTERPOLATIONS)
    layer.check_option("fill_mode", *FILL_MODES)
    return Sampling(
        layer.config.get("interpolation", "bilinear"),
        layer.config.get("fill_mode", fill_mode),
        layer.number("fill_value", 0.0),
    )


def _flip(images: Tensor, **flips: Tensor) -> Tensor:
    for axis, is_flipped in zip((3, 2), (flips["across"], flips["down"]), strict=True):
        images = torch.where(is_flipped, images.flip(axis), images)
    return images


def _draw_flips(images: Tensor, mode: str, are_joint: bool) -> Drawn:
    across, down = (uniform(images, (0.0, 1.0)) <= 0.5 for _ in range(2))
    down = across if are_joint else down
    none = torch.zeros_like(across)
    return {
        "across": none if mode == "vertical" else across,
        "down": none if mode == "horizontal" else down,
    }


def random_flip(layer: LayerContext) -> RandomLayer:
    """Build a RandomFlip; from Keras 3.6 on, one draw flips both ways or neither."""
    modes = ("horizontal", "vertical", "horizontal_and_vertical")
    layer.check_option("mode", *modes)
    mode = layer.config.get("mode", modes[2])
    return RandomLayer(
        partial(_draw_flips, mode=mode, are_joint=not is_before(layer, NEW_BASE)), _flip
    )


def _draw_rotation(images: Tensor, factor: Bounds) -> Drawn:
    angle = uniform(images, (factor[0] * 360, factor[1] * 360), len(images))
    return {"matrix": rotation_matrix(angle, *images.shape[-2:])}


def random_rotation(layer: LayerContext) -> RandomLayer:
    """Build a RandomRotation."""
    draw = partial(_draw_rotation, factor=bounds_of(layer, "factor"))
    return RandomLayer(draw, partial(warp, sampling=_sampling(layer)))


def _draw_zoom(images: Tensor, height: Bounds, width: Bounds | None) -> Drawn:
    rows = uniform(images, (1 + height[0], 1 + height[1]), len(images))
    columns = rows if width is None else uniform(images, (1 + width[0], 1 + width[1]), len(images))
    return {"matrix": scaling_matrix(rows, columns, *images.shape[-2:])}


def random_zoom(layer: LayerContext) -> RandomLayer:
    """Build a RandomZoom; without a width factor the aspect ratio stays."""
    is_free = layer.config.get("width_factor") is not None
    width = bounds_of(layer, "width_factor") if is_free else None
    draw = partial(_draw_zoom, height=bounds_of(layer, "height_factor"), width=width)
    return RandomLayer(draw, partial(warp, sampling=_sampling(layer)))


def _draw_shift(images: Tensor, height: Bounds, width: Bounds) -> Drawn:
    rows, columns = images.shape[-2:]
    down = uniform(images, height, len(images)) * rows
    return {"matrix": shift_matrix(uniform(images, width, len(images)) * columns, down)}


def random_translation(layer: LayerContext) -> RandomLayer:
    """Build a RandomTranslation."""
    height, width = bounds_of(layer, "height_factor"), bounds_of(layer, "width_factor")
    draw = partial(_draw_shift, height=height, width=width)
    return RandomLayer(draw, partial(warp, sampling=_sampling(layer)))


def _draw_shear(images: Tensor, x: Bounds, y: Bounds) -> Drawn:
    sign = torch.where(uniform(images, (0.0, 1.0), len(images)) > 0.5, -1.0, 1.0)
    across, down = (uniform(images, bounds, len(images)) * sign for bounds in (x, y))
    return {"matrix": shear_matrix(across, down)}


def random_shear(layer: LayerContext) -> RandomLayer:
    """Build a RandomShear."""
    draw = partial(_draw_shear, x=bounds_of(layer, "x_factor"), y=bounds_of(layer, "y_factor"))
    return RandomLayer(draw, partial(warp, sampling=_sampling(layer)))


def _draw_corners(images: Tensor, factor: Bounds, scale: float) -> Drawn:
    (height, width), bounds = images.shape[-2:], (-0.5 * scale, 0.5 * scale)
    moves = uniform(images, bounds, len(images), 4, 2)
    right, bottom = float(width - 1), float(height - 1)
    corners = moves.new_tensor([[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]])
    corners = corners.expand_as(moves)
    matrix = homography(corners, corners + corners * moves)
    return {"is_moved": chosen(images, factor), "matrix": matrix}


def _move_corners(images: Tensor, is_moved: Tensor, matrix: Tensor, sampling: Sampling) -> Tensor:
    return torch.where(is_moved, warp(images, matrix, sampling), images)


def random_perspective(layer: LayerContext) -> RandomLayer:
    """Build a RandomPerspective."""
    factor, scale = bounds_of(layer, "factor", 0.0, 1.0), layer.number("scale", 1.0)
    change = partial(_move_corners, sampling=_sampling(layer, "constant"))
    return RandomLayer(partial(_draw_corners, factor=factor, scale=scale), change)


def _draw_distortion(images: Tensor, factor: Bounds, scale: Bounds) -> Drawn:
    size = (len(images), *images.shape[-2:])
    dx, dy = (torch.empty(size, device=images.device, dtype=images.dtype).normal_() for _ in "xy")
    strength = uniform(images, scale, 1)[0]
    return {"is_distorted": chosen(images, factor), "scale": strength, "dx": dx, "dy": dy}


def _distort(
    images: Tensor, is_distorted: Tensor, value_range: Bounds, sampling: Sampling,
    **drawn: Tensor,
) -> Tensor:  # fmt: skip
    distorted = distort(images, sampling=sampling, **drawn)
    return torch.where(is_distorted, distorted, images).clamp(*value_range)


def random_elastic_transform(layer: LayerContext) -> nn.Module:
    """Build a RandomElasticTransform."""
    factor, scale = bounds_of(layer, "factor", 0.0, 1.0), bounds_of(layer, "scale", 0.0, 1.0)
    if not factor[1] or not scale[1]:
        return nn.Identity()
    change = partial(_distort, value_range=value_range_of(layer), sampling=_sampling(layer))
    return RandomLayer(partial(_draw_distortion, factor=factor, scale=scale), change)
