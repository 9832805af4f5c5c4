"""Samples images at other places, as Keras's random layers do on JAX.

Coordinates are rows and columns of pixels, the centre of the first pixel being (0, 0). Mirrored are
`affine_transform`, `perspective_transform` and `elastic_transform` of `keras/src/backend/jax` and
`map_coordinates` of JAX; PyTorch's `grid_sample` knows neither "wrap" nor their rounding of halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FILL_MODES = ("constant", "nearest", "wrap", "reflect", "mirror")
INTERPOLATIONS = ("nearest", "bilinear")
PADDING_MODES = {"constant": "zeros", "nearest": "border", "reflect": "reflection"}  # PyTorch's


@dataclass(frozen=True)
class Sampling:
    """How values between pixels and outside an image are found.

    Attributes:
        interpolation: "nearest" or "bilinear".
        fill_mode: "constant"; "nearest", the pixel at the edge; "wrap"; "reflect" with or "mirror"
            without the pixel at the edge.
        fill_value: of pixels outside the image, where `fill_mode` is "constant".
    """

    interpolation: str = "bilinear"
    fill_mode: str = "reflect"
    fill_value: float = 0.0


def pixel_grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (H, 1) and columns (1, W) of an image's pixels, in float32 at least."""
    height, width = images.shape[-2:]
    dtype = torch.promote_types(images.dtype, torch.float32)
    rows = torch.arange(height, device=images.device, dtype=dtype)
    return rows[:, None], torch.arange(width, device=images.device, dtype=dtype)[None]


def sample(images: Tensor, rows: Tensor, columns: Tensor, sampling: Sampling) -> Tensor:
    """Return the values of images at some places.

    Args:
        images: float (N, C, H, W).
        rows: float (N, H', W').
        columns: float (N, H', W').
        sampling: what is between the pixels and outside.

    Returns:
        float (N, C, H', W')
    """
    if sampling.interpolation == "bilinear" and sampling.fill_mode in PADDING_MODES:
        return _grid_sample(images, rows, columns, sampling)
    size, values = images.shape[-2:], images.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H · W, C)
    total = torch.zeros((), device=images.device)
    for row, row_share in _shares(rows, sampling.interpolation):
        for column, column_share in _shares(columns, sampling.interpolation):
            y, y_inside = _inside(row.long(), size[0], sampling.fill_mode)
            x, x_inside = _inside(column.long(), size[1], sampling.fill_mode)
            index = (y * size[1] + x).flatten(1)[:, :, None].expand(-1, -1, images.shape[1])
            taken = values.gather(1, index).unflatten(1, rows.shape[1:])  # (N, H', W', C)
            if sampling.fill_mode == "constant":
                is_inside = (y_inside & x_inside)[..., None]
                taken = torch.where(is_inside, taken, taken.new_tensor(sampling.fill_value))
            part = taken * (row_share * column_share)[..., None]
            total = part if total is None else total + part
    assert total is not None
    return total.to(images.dtype).permute(0, 3, 1, 2)  # (N, H', W', C) -> (N, C, H', W')


def _grid_sample(images: Tensor, rows: Tensor, columns: Tensor, sampling: Sampling) -> Tensor:
    """Do the same by PyTorch's kernel, in a fifth of the time."""
    height, width = images.shape[-2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    values = images.to(grid.dtype) - sampling.fill_value
    sampled = F.grid_sample(
        values, grid, padding_mode=PADDING_MODES[sampling.fill_mode], align_corners=False
    )
    return (sampled + sampling.fill_value).to(images.dtype)


def _shares(coordinates: Tensor, interpolation: str) -> list[tuple[Tensor, Tensor]]:
    """Return the pixels that give a value at coordinates, and their shares in it."""
    if interpolation == "nearest":  # a half is rounded away from 0
        whole = coordinates.sign() * (coordinates.abs() + 0.5).floor()
        return [(whole, torch.ones_like(whole))]
    lower = coordinates.floor()
    return [(lower, 1 - (coordinates - lower)), (lower + 1, coordinates - lower)]


def _inside(index: Tensor, size: int, fill_mode: str) -> tuple[Tensor, Tensor]:
    """Return the pixels that stand for some outside of 0 … size − 1; and which were inside."""
    is_inside = (index >= 0) & (index < size)
    if fill_mode == "wrap":
        return index % size, is_inside
    if fill_mode == "reflect":  # d c b a | a b c d | d c b a
        return (_mirror(2 * index + 1, 2 * size + 1) - 1) // 2, is_inside
    if fill_mode == "mirror":  # d c b | a b c d | c b a
        return _mirror(index, size), is_inside
    return index.clamp(0, size - 1), is_inside


def _mirror(index: Tensor, size: int) -> Tensor:
    last = max(size - 1, 1)
    return ((index + last) % (2 * last) - last).abs().clamp(max=size - 1)


def warp(images: Tensor, matrix: Tensor, sampling: Sampling) -> Tensor:
    """Sample images along a projection.

    Args:
        images: float (N, C, H, W).
        matrix: float (N, 8): the pixel of column x and row y is that at column
            (m0 x + m1 y + m2) / (m6 x + m7 y + 1) and row (m3 x + m4 y + m5) / (m6 x + m7 y + 1).
        sampling: what is between the pixels and outside.

    Returns:
        float (N, C, H, W)
    """
    y, x = pixel_grid(images)
    m = matrix.to(y.dtype).T[:, :, None, None]  # (8, N, 1, 1)
    columns, rows = m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]
    scale = m[6] * x + m[7] * y + 1
    return sample(images, rows / scale, columns / scale, sampling)


def rotation_matrix(angle: Tensor, height: int, width: int) -> Tensor:
    """Return the matrices (N, 8) that turn images by angles (N,), in degrees, about the middle."""
    cos, sin = angle.deg2rad().cos(), angle.deg2rad().sin()
    x, y = 0.5 * (width - 1), 0.5 * (height - 1)
    zeros = torch.zeros_like(cos)
    across, down = x - x * cos + y * sin, y - x * sin - y * cos
    return torch.stack([cos, -sin, across, sin, cos, down, zeros, zeros], dim=1)


def scaling_matrix(rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """Return the matrices (N, 8) that shrink images by factors (N,) about the middle."""
    zeros = torch.zeros_like(rows)
    across, down = (width - 1) / 2 * (1 - columns), (height - 1) / 2 * (1 - rows)
    return torch.stack([columns, zeros, across, zeros, rows, down, zeros, zeros], dim=1)


def shift_matrix(right: Tensor, down: Tensor) -> Tensor:
    """Return the matrices (N, 8) that shift images by pixels (N,)."""
    ones, zeros = torch.ones_like(right), torch.zeros_like(right)
    return torch.stack([ones, zeros, -right, zeros, ones, -down, zeros, zeros], dim=1)


def shear_matrix(across: Tensor, down: Tensor) -> Tensor:
    """Return the matrices (N, 8) that shear images by pixels a pixel (N,)."""
    ones, zeros = torch.ones_like(across), torch.zeros_like(across)
    return torch.stack([ones, across, zeros, down, ones, zeros, zeros, zeros], dim=1)


def homography(start_points: Tensor, end_points: Tensor) -> Tensor:
    """Return the matrices (N, 8) that move four points (N, 4, 2), as (x, y), to four others."""
    (x, y), (u, v) = start_points.unbind(-1), end_points.unbind(-1)  # each (N, 4)
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    for_x = torch.stack([u, v, ones, zeros, zeros, zeros, -x * u, -x * v], dim=-1)
    for_y = torch.stack([zeros, zeros, zeros, u, v, ones, -y * u, -y * v], dim=-1)
    return torch.linalg.solve(torch.cat([for_x, for_y], dim=1), torch.cat([x, y], dim=1))


def blur(images: Tensor, kernel_size: tuple[int, int], sigma: Tensor) -> Tensor:
    """Blur images (N, C, H, W) by a Gaussian kernel.

    Args:
        images: float (N, C, H, W); around them is 0.
        kernel_size: width and height of the kernel, odd, in pixels.
        sigma: float (2,), standard deviations across and down, pixels.
    """
    for axis, size, deviation in zip((3, 2), kernel_size, sigma, strict=True):
        distance = torch.arange(size, device=images.device, dtype=images.dtype) - (size - 1) / 2
        weights = torch.exp(-0.5 * (distance / deviation.to(images.dtype)) ** 2)
        shape = [1, 1, 1, size] if axis == 3 else [1, 1, size, 1]
        kernel = (weights / weights.sum()).view(shape).expand(images.shape[1], -1, -1, -1)
        images = F.conv2d(images, kernel, padding="same", groups=images.shape[1])
    return images


def distort(images: Tensor, scale: Tensor, dx: Tensor, dy: Tensor, sampling: Sampling) -> Tensor:
    """Sample images at places that are moved by smooth noise.

    Args:
        images: float (N, C, H, W).
        scale: float (), strength of the noise.
        dx: float (N, H, W), noise of a normal distribution.
        dy: the same, down.
        sampling: what is between the pixels and outside.
    """
    height, width = images.shape[-2:]
    sigma, alpha = min(height, width) * 0.05 * scale, max(height, width) * 0.1 * scale
    size = int(6 * sigma) | 1
    noise = torch.stack([dx, dy], dim=1) * sigma  # (N, 2, H, W)
    across, down = (alpha * blur(noise, (size, size), sigma.expand(2))).unbind(1)
    y, x = pixel_grid(images)
    return sample(images, y + down, x + across, sampling)
