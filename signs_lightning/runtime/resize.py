"""Images of another size → the size that a model takes, as Keras's loaders do it.

Pillow's filters are two passes of whole-number weights, each rounded to bytes. Pictures and images
on the CPU go through Pillow itself; on a GPU the same weights are float64 matrices, whose products
of whole numbers are exact. Both give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from signs_lightning.runtime.resize_options import DEFAULT_FIT, DEFAULT_RESIZE, Fit, Resize
from signs_lightning.runtime.resize_weights import (
    BITS,
    TF_BITS,
    nearest_positions,
    pillow_weights,
    place,
    tf_weights,
)

if TYPE_CHECKING:
    from torch import Tensor

MAX_VALUES = 2**25  # float64 values of the images that a GPU resizes at a time

Images = TypeVar("Images", np.ndarray, "Tensor")


def resize_images(
    images: Tensor, size: tuple[int, int], resize: Resize = DEFAULT_RESIZE, fit: Fit = DEFAULT_FIT
) -> Tensor:
    """Resize images, on the device that they are on.

    Args:
        images: uint8 (N, C, H, W) in 0..255, or floats in any range.
        size: height and width of the result, pixels.
        resize: "bilinear", "nearest", "bicubic" or "lanczos" as Pillow and `keras.utils.load_img`
            do it; or "tf-bilinear" as `keras.utils.image_dataset_from_directory`, which mixes two
            pixels of a row and of a column however much it shrinks, rounded to bytes.
        fit: "stretch" takes the whole image whatever its aspect ratio, "crop" the largest part of
            the wanted ratio out of the middle, and "pad" leaves black bars beside the image.

    Returns:
        (N, C, height, width) of the same dtype in channels_last, floats not rounded and bars 0; the
        images themselves if they fit.
    """
    import torch  # start-up: reading pictures needs none

    if tuple(images.shape[-2:]) == tuple(size):
        return images
    if images.device.type == "mps":  # it has no float64
        return resize_images(images.cpu(), size, resize, fit).to(images.device)
    if images.device.type != "cpu" or images.is_floating_point():
        return resize_by_matrix(images, size, resize, fit)
    rows = images.permute(0, 2, 3, 1).numpy()  # (N, C, H, W) -> (N, H, W, C)
    resized = np.empty((len(rows), *size, rows.shape[3]), np.uint8)
    for image, result in zip(rows, resized, strict=True):
        result[:] = resize_array(image, size, resize, fit)
    return torch.from_numpy(resized).permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)


def resize_array(
    image: np.ndarray,
    size: tuple[int, int],
    resize: Resize = DEFAULT_RESIZE,
    fit: Fit = DEFAULT_FIT,
) -> np.ndarray:
    """Resize one image on the CPU.

    Args:
        image: uint8 (H, W, C) in 0..255.
        size: height and width of the result, pixels.
        resize: as of `resize_images`.
        fit: as of `resize_images`.

    Returns:
        uint8 (height, width, C); the image itself if it fits.
    """
    if image.shape[:2] == tuple(size):
        return image
    box, inner, (row, column) = place((image.shape[0], image.shape[1]), size, fit)
    if resize == "tf-bilinear":
        left, top, right, bottom = box
        source = (bottom - top, right - left)
        axes = (tf_weights(*axis) for axis in zip(source, inner, strict=True))
        part = _tf_bilinear(image[None, top:bottom, left:right], *axes)[0].astype(np.uint8)
    else:
        part = _by_pillow(image, box, inner, resize)
    if inner == tuple(size):
        return part
    result = np.zeros((*size, image.shape[2]), np.uint8)
    result[row : row + inner[0], column : column + inner[1]] = part
    return result


def _by_pillow(
    image: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int], resize: Resize
) -> np.ndarray:
    """Return a box of an image uint8 (H, W, C), resized by Pillow."""
    channels = image.shape[2]
    if channels not in (1, 3):
        planes = [_by_pillow(image[..., k : k + 1], box, size, resize) for k in range(channels)]
        return np.concatenate(planes, axis=2)
    picture = Image.fromarray(image if channels == 3 else image[..., 0])
    method = Image.Resampling[resize.upper()]
    resized = picture.resize((size[1], size[0]), method, box=box)
    return np.asarray(resized).reshape(*size, channels)


def resize_by_matrix(images: Tensor, size: tuple[int, int], resize: Resize, fit: Fit) -> Tensor:
    """Resize images by matrix products, on any device that has float64.

    Arguments and result are those of `resize_images`.
    """
    import torch  # start-up: as above

    is_byte = images.dtype == torch.uint8

    def on_device(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(images.device)

    count, channels, height, width = images.shape
    (left, top, right, bottom), inner, (row, column) = place((height, width), size, fit)
    # (N, C, H, W) -> (N, H, W, C): as bytes lie in memory
    result = images.new_zeros((count, *size, channels)).permute(0, 3, 1, 2)
    target = result[:, :, row : row + inner[0], column : column + inner[1]]
    axes = (height, top, bottom, inner[0]), (width, left, right, inner[1])
    if resize == "nearest":
        rows, columns = (on_device(nearest_positions(*axis)) for axis in axes)
        target.copy_(images[:, :, rows][..., columns])
    elif resize == "tf-bilinear":
        source = (bottom - top, right - left)
        taps = [tf_weights(*axis) for axis in zip(source, inner, strict=True)]
        weights = (tuple(map(on_device, tap)) for tap in taps)
        part = images[:, :, top:bottom, left:right].permute(0, 2, 3, 1)  # -> (N, H, W, C)
        mixed = _tf_bilinear(part if is_byte else part.double(), *weights)
        target.copy_(mixed.permute(0, 3, 1, 2))  # -> (N, C, H, W)
    else:
        # (height', H) and (width', W)
        down, across = (on_device(pillow_weights(*axis, resize)) for axis in axes)
        step = max(1, MAX_VALUES // (channels * height * width))
        for start in range(0, count, step):
            values = images[start : start + step].double()
            finish = _to_bytes if is_byte else _to_sums
            values = finish(values @ across.T)  # (n, C, H, width')
            target[start : start + step] = finish(down @ values)  # (n, C, height', width')
    return result


def _tf_bilinear(images: Images, down: tuple[Any, ...], across: tuple[Any, ...]) -> Images:
    """Mix four pixels of an image for each resized one, as TensorFlow does.

    Args:
        images: uint8 or float64 (N, H, W, C).
        down: what `tf_weights` returns, for the columns.
        across: the same for the rows.

    Returns:
        int64 (N, height, width, C), rounded; float64 that is not.
    """
    (top, bottom, lower), (left, right, later) = down, across
    one, lower, later = 2**TF_BITS, lower[:, None, None], later[:, None]
    rows = images[:, top] * (one - lower) + images[:, bottom] * lower  # (N, height, W, C)
    values = rows[:, :, left] * (one - later) + rows[:, :, right] * later
    if str(values.dtype).endswith("float64"):
        return values * 0.5 ** (2 * TF_BITS)
    return (values + 2 ** (2 * TF_BITS - 1)) >> 2 * TF_BITS


def _to_bytes(sums: Tensor) -> Tensor:
    """Fixed-point sums → whole numbers in 0..255, still float64."""
    return sums.mul_(0.5**BITS).add_(0.5).floor_().clamp_(0, 255)


def _to_sums(sums: Tensor) -> Tensor:
    """Fixed-point sums → float64, not rounded."""
    return sums.mul_(0.5**BITS)


def resize_legacy(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images as the first checkpoint formats were trained: stretched, antialiased.

    Args:
        images: float (N, C, H, W) in 0..255.
        size: height and width of the result, pixels.

    Returns:
        float (N, C, height, width), whole numbers.
    """
    from torch.nn.functional import interpolate  # start-up: as above

    images = interpolate(images, size, mode="bilinear", antialias=True)
    return images.clamp_(0, 255).round_()
