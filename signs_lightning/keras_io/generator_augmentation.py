"""What Keras's ImageDataGenerator does to training images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.image_sampling import INTERPOLATIONS, Sampling, pixel_grid, warp

Range = float | Sequence[float] | None
BYTES = 255.0
FILL_MODES = ("nearest", "reflect", "constant")


class GeneratorAugmentation(nn.Module):
    """Change images at random as Keras's ImageDataGenerator does, with its names and formulas.

    As there, `height_shift_range` is a share of the height that moves the columns, and
    `width_shift_range` the other way round; for square images and equal ranges it is the same.

    Args:
        rotation_range: degrees to either side.
        width_shift_range: share of the width, or pixels from 1 up.
        height_shift_range: share of the height, or pixels from 1 up.
        shear_range: degrees to either side.
        zoom_range: lower and upper factor, or what both differ from 1 by.
        brightness_range: lower and upper factor.
        channel_shift_range: what is added to all values, in 0..255, to either side.
        horizontal_flip: whether half of the images are mirrored.
        vertical_flip: whether half of the images are turned upside down.
        fill_mode: what is outside an image: "nearest", "reflect" or "constant".
        fill_value: of pixels outside, in 0..1, where `fill_mode` is "constant".
        interpolation: "bilinear" or "nearest".

    Shape:
        images float (C, H, W) or (N, C, H, W) in 0..1 → the same

    Raises:
        InputError: a mode is not known.
    """

    def __init__(
        self,
        rotation_range: float = 0.0,
        width_shift_range: float = 0.0,
        height_shift_range: float = 0.0,
        shear_range: float = 0.0,
        zoom_range: Range = 0.0,
        brightness_range: Sequence[float] | None = None,
        channel_shift_range: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        fill_mode: str = "nearest",
        fill_value: float = 0.0,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        for value, known in ((fill_mode, FILL_MODES), (interpolation, INTERPOLATIONS)):
            if value not in known:
                raise InputError(
                    f"GeneratorAugmentation: '{value}' is given, expected one of "
                    f"{', '.join(known)}. Change it."
                )
        self.rotation, self.shear = rotation_range, shear_range
        self.shifts = (height_shift_range, width_shift_range)
        self.zoom = _bounds(zoom_range)
        self.brightness = None if brightness_range is None else tuple(brightness_range)
        self.channel_shift = channel_shift_range / BYTES
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.fill_value = fill_value if fill_mode == "constant" else None
        inside = "nearest" if fill_mode == "constant" else fill_mode
        self.sampling = Sampling(interpolation, inside)

    def forward(self, images: Tensor) -> Tensor:
        batch = images if images.ndim == 4 else images[None]
        if self.rotation or self.shear or any(self.shifts) or self.zoom != (1.0, 1.0):
            batch = self.move(batch, self._draw_matrices(batch))
        batch = self._change_values(batch)
        return batch if images.ndim == 4 else batch[0]

    def move(self, images: Tensor, matrix: Tensor) -> Tensor:
        """Return images (N, C, H, W) along matrices (N, 8), as `warp`, filled as SciPy does."""
        moved = warp(images, matrix, self.sampling)
        if self.fill_value is None:
            return moved
        y, x = pixel_grid(images)
        m = matrix.to(y.dtype).T[:, :, None, None]  # (8, N, 1, 1)
        columns, rows = m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]
        height, width = images.shape[-2:]
        is_inside = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
        return torch.where(is_inside[:, None], moved, self.fill_value)

    def _draw_matrices(self, images: Tensor) -> Tensor:
        """Return random matrices (N, 8) for `warp`."""
        height, width = images.shape[-2:]

        def draw(bounds: tuple[float, float]) -> Tensor:
            return torch.empty(len(images), device=images.device).uniform_(*bounds)

        sizes = zip(self.shifts, (height, width), strict=True)
        shift_x, shift_y = (_shift(draw((-1.0, 1.0)), most, size) for most, size in sizes)
        turn, shear = (draw((-most, most)) for most in (self.rotation, self.shear))
        zooms = draw(self.zoom), draw(self.zoom)
        return generator_matrices(turn, shear, shift_x, shift_y, *zooms, height, width)

    def _change_values(self, images: Tensor) -> Tensor:
        def draw(low: float, high: float) -> Tensor:
            return images.new_empty(len(images), 1, 1, 1).uniform_(low, high)

        if self.channel_shift:
            low, high = images.amin((1, 2, 3), True), images.amax((1, 2, 3), True)
            shifted = images + draw(-self.channel_shift, self.channel_shift)
            images = torch.minimum(torch.maximum(shifted, low), high)
        for is_on, axis in ((self.horizontal_flip, -1), (self.vertical_flip, -2)):
            if is_on:
                images = torch.where(draw(0, 1) < 0.5, images.flip(axis), images)
        if self.brightness is not None:
            images = (images * draw(*self.brightness)).clamp(0, 1)
        return images


def _bounds(zoom: Range) -> tuple[float, float]:
    if isinstance(zoom, Sequence):
        return float(zoom[0]), float(zoom[1])
    return 1 - (zoom or 0.0), 1 + (zoom or 0.0)


def _shift(uniform: Tensor, most: float, size: int) -> Tensor:
    """Return shifts in pixels: of a share of the size, or of whole pixels below a number."""
    if most < 1:
        return uniform * most * size
    if float(most).is_integer():
        return (uniform.abs() * most).floor() * uniform.sign()
    return uniform * most


def generator_matrices(
    rotation: Tensor,
    shear: Tensor,
    shift_x: Tensor,
    shift_y: Tensor,
    zoom_x: Tensor,
    zoom_y: Tensor,
    height: int,
    width: int,
) -> Tensor:
    """Return the matrices (N, 8) of `apply_affine_transform` of Keras, for `warp`.

    Args:
        rotation: (N,), degrees.
        shear: (N,), degrees.
        shift_x: (N,), pixels; Keras's `tx`.
        shift_y: (N,), pixels; Keras's `ty`.
        zoom_x: (N,), factor.
        zoom_y: (N,), factor.
        height: of the images, pixels.
        width: of the images, pixels.
    """
    turn, slant = rotation.deg2rad(), shear.deg2rad()
    one, zero = torch.ones_like(turn), torch.zeros_like(turn)

    def matrices(*entries: Tensor) -> Tensor:
        return torch.stack([*entries, zero, zero, one], dim=1).view(-1, 3, 3)

    matrix = matrices(turn.cos(), -turn.sin(), zero, turn.sin(), turn.cos(), zero)
    matrix = matrix @ matrices(one, zero, shift_x, zero, one, shift_y)
    matrix = matrix @ matrices(one, -slant.sin(), zero, zero, slant.cos(), zero)
    matrix = matrix @ matrices(zoom_x, zero, zero, zero, zoom_y, zero)
    x, y = (height / 2 - 0.5) * one, (width / 2 - 0.5) * one
    matrix = matrices(one, zero, x, zero, one, y) @ matrix @ matrices(one, zero, -x, zero, one, -y)
    # Keras exchanges both axes, so that the first row of the matrix is that of the columns.
    entries = [matrix[:, row, column] for row in (0, 1) for column in (0, 1, 2)]
    return torch.stack([*entries, zero, zero], dim=1)
