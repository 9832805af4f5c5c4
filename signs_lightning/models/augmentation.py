"""Random changes of whole batches of images by torchvision's transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from signs_lightning.errors import InputError

COLOR_CHANGES = ("brightness", "contrast", "saturation", "hue")
INTERPOLATIONS = {"0": "nearest", "2": "bilinear"}  # by PIL's numbers


class Augmentation:
    """Apply torchvision transforms, in order, to the images of a batch.

    A transform of torchvision draws its parameters once for all that it is given. Here flips,
    RandomAffine and ColorJitter run on the whole batch with parameters of each image's own, on the
    device that the images are on; MixUp and CutMix take the whole batch, as torchvision means them;
    every other transform is called image by image, which takes longer.

    Args:
        transforms: of torchvision.transforms.v2, on float images in 0..1.
        num_classes: number of classes K, for MixUp and CutMix that have none.
        task: the model's, where images have no single class: MixUp and CutMix are refused.

    Shape:
        images float (N, C, H, W) in 0..1 and labels int64 (N,) → images float (N, C, H, W) and the
        labels, which MixUp and CutMix turn into probabilities float (N, K); a task's labels float
        (N, K) stay as they are

    Raises:
        InputError: a transform mixes images, and there is a task.
    """

    def __init__(
        self, transforms: Sequence[nn.Module], num_classes: int, task: str | None = None
    ) -> None:
        self.transforms: list[Any] = list(transforms)
        for transform in transforms:
            if task is not None and mixes_batches(transform):
                raise InputError(
                    f"{type(transform).__name__} mixes images of one class each, and the task is "
                    f"{task}. Leave it out."
                )
            for part in getattr(transform, "transforms", [transform]):
                if isinstance(part, v2.MixUp | v2.CutMix) and part.num_classes is None:
                    part.num_classes = num_classes

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        shape = images.shape[1:]
        for transform in self.transforms:
            if mixes_batches(transform):
                images, labels = transform(images, labels)
            else:
                images = _transform_batch(transform, images)
            if images.shape[1:] != shape:
                (c, h, w), (channels, height, width) = images.shape[1:], shape
                raise InputError(
                    f"{type(transform).__name__} makes {h}×{w}×{c} images of "
                    f"{height}×{width}×{channels}. Give it the images' own size and channels, or "
                    "leave it out."
                )
        return images, labels

    def stop_mixing(self) -> None:
        """Leave MixUp and CutMix out from now on."""
        self.transforms = [one for one in self.transforms if not mixes_batches(one)]


def _transform_batch(transform: Any, images: Tensor) -> Tensor:
    """Each image of (N, C, H, W) with parameters of its own."""
    if type(transform) is v2.RandomHorizontalFlip:
        return flip(images, transform.p, horizontal=True)
    if type(transform) is v2.RandomVerticalFlip:
        return flip(images, transform.p, horizontal=False)
    if type(transform) is v2.RandomAffine:
        return random_affine(images, transform)
    if type(transform) is v2.ColorJitter:
        return color_jitter(images, transform)
    return one_by_one(transform, images)


def mixes_batches(transform: Any) -> bool:
    """Whether a transform is MixUp or CutMix, or torchvision's RandomChoice of them."""
    choices = transform.transforms if type(transform) is v2.RandomChoice else [transform]
    return any(isinstance(choice, v2.MixUp | v2.CutMix) for choice in choices)


def one_by_one(transform: Any, images: Tensor) -> Tensor:
    """Apply a transform of single images (C, H, W) to each of (N, C, H, W).

    Raises:
        InputError: it cannot take the images, or makes some larger than others.
    """
    try:
        return torch.stack([transform(image) for image in images])
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(
            f"The augmentation {type(transform).__name__} cannot be used: {reason}. Change or drop "
            "it."
        ) from error


def uniform(bounds: Sequence[float], count: int, device: torch.device) -> Tensor:
    """Draw float32 (count,), uniform between two bounds, on the device."""
    return torch.empty(count, device=device).uniform_(*bounds)


def flip(images: Tensor, p: float, horizontal: bool) -> Tensor:
    """Mirror each image of (N, C, H, W) with probability p."""
    chosen = torch.rand(len(images), device=images.device) < p
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(-1 if horizontal else -2), images)


def random_affine(images: Tensor, transform: v2.RandomAffine) -> Tensor:
    """Apply RandomAffine with angle, shift, scale and shear of each image's own.

    Args:
        images: float (N, C, H, W).
        transform: its ranges, fill and interpolation.

    Returns:
        float (N, C, H, W)

    Raises:
        InputError: its interpolation is neither nearest nor bilinear, or its fill is for images of
            other channels.
    """
    count, device, channels = len(images), images.device, images.shape[1]
    height, width = images.shape[-2:]
    angle = uniform(transform.degrees, count, device)
    across, down = transform.translate or (0.0, 0.0)
    # whole pixels, as torchvision shifts
    shift_x = uniform((-across * width, across * width), count, device).round()
    shift_y = uniform((-down * height, down * height), count, device).round()
    scale = uniform(transform.scale or (1.0, 1.0), count, device)
    shear = transform.shear or (0.0, 0.0)
    shear_x = uniform(shear[:2], count, device)
    shear_y = uniform(shear[2:] or (0.0, 0.0), count, device)
    x, y = transform.center or (width / 2, height / 2)
    center = (x - width / 2, y - height / 2)
    inverse = inverse_affine(angle, shift_x, shift_y, scale, shear_x, shear_y, center)
    fill = transform.fill if isinstance(transform.fill, int | float | list | tuple) else 0
    if isinstance(fill, list | tuple) and len(fill) not in (1, channels):
        raise InputError(
            f"RandomAffine's fill has {len(fill)} values for images of {channels} channels. Give "
            "it one, or one for each channel."
        )
    # older torchvisions: BILINEAR
    mode = str(getattr(transform.interpolation, "value", transform.interpolation)).lower()
    mode = INTERPOLATIONS.get(mode, mode)
    if mode not in INTERPOLATIONS.values():
        raise InputError(f"RandomAffine's interpolation is {mode}, expected nearest or bilinear.")
    return warp(images, inverse, fill, mode)


def inverse_affine(
    angle: Tensor,
    shift_x: Tensor,
    shift_y: Tensor,
    scale: Tensor,
    shear_x: Tensor,
    shear_y: Tensor,
    center: tuple[float, float],
) -> Tensor:
    """Return the matrices that say where each pixel of the result comes from.

    Args:
        angle: (N,), degrees clockwise.
        shift_x: (N,), pixels to the right.
        shift_y: (N,), pixels down.
        scale: (N,), factor.
        shear_x: (N,), degrees.
        shear_y: (N,), degrees.
        center: x and y of the fixed point, pixels from the image's middle.

    Returns:
        float (N, 2, 3): coordinates (x, y, 1) in the result, pixels from the middle → (x, y) in the
            image.
    """
    rotation, sx, sy = (value.deg2rad() for value in (angle, shear_x, shear_y))
    # the result = T(shift) C R(rotation) Shear Scale C⁻¹ of the image, as in torchvision's
    # _get_inverse_affine_matrix
    a = (rotation - sy).cos() / sy.cos()
    b = -(rotation - sy).cos() * sx.tan() / sy.cos() - rotation.sin()
    c = (rotation - sy).sin() / sy.cos()
    d = -(rotation - sy).sin() * sx.tan() / sy.cos() + rotation.cos()
    matrix = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2) / scale.view(-1, 1, 1)
    fixed = torch.tensor(center, device=angle.device)
    moved = fixed + torch.stack([shift_x, shift_y], dim=1)  # (N, 2): where the fixed point goes
    offset = fixed.view(1, 2, 1) - matrix @ moved.unsqueeze(2)
    return torch.cat([matrix, offset], dim=2)


def warp(images: Tensor, inverse: Tensor, fill: float | Sequence[float], mode: str) -> Tensor:
    """Sample images at other places.

    Args:
        images: float (N, C, H, W).
        inverse: float (N, 2, 3), as `inverse_affine` gives it.
        fill: value of pixels from outside the image, one for all channels or one for each.
        mode: "bilinear" or "nearest".

    Returns:
        float (N, C, H, W)
    """
    height, width = images.shape[-2:]
    half = inverse.new_tensor([width / 2, height / 2])
    units = torch.cat([half, half.new_ones(1)])
    theta = inverse * units / half.view(2, 1)  # from pixels to grid_sample's -1..1
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.dtype)
    background = images.new_tensor(fill).view(-1, 1, 1)
    if not background.any():
        return F.grid_sample(images, grid, mode, "zeros", align_corners=False)
    return F.grid_sample(images - background, grid, mode, "zeros", align_corners=False) + background


def color_jitter(images: Tensor, transform: v2.ColorJitter) -> Tensor:
    """Apply ColorJitter with factors of each image's own, in an order of the batch's.

    Args:
        images: float (N, C, H, W) in 0..1.
        transform: its ranges.

    Returns:
        float (N, C, H, W) in 0..1

    Raises:
        InputError: it changes colours, and the images are neither grey nor RGB.
    """
    channels = images.shape[1]
    if channels not in (1, 3) and (transform.saturation or transform.hue):
        raise InputError(
            f"ColorJitter's saturation and hue are of grey or RGB images, these have {channels} "
            "channels. Leave them out; brightness and contrast work."
        )
    for number in torch.randperm(4).tolist():
        change = COLOR_CHANGES[number]
        bounds = getattr(transform, change)
        if bounds is None:
            continue
        factors = uniform(bounds, len(images), images.device)
        if change == "hue":
            pairs = zip(images, factors, strict=True)
            images = torch.stack([v2.functional.adjust_hue(image, float(f)) for image, f in pairs])
        else:
            images = blend(images, factors, change)
    return images


def blend(images: Tensor, factors: Tensor, change: str) -> Tensor:
    """Move images away from black, from their mean grey, or from their grey picture.

    Args:
        images: float (N, C, H, W) in 0..1; where C is not 3, the grey is the mean of all channels
            for the contrast, and the image itself for the saturation.
        factors: float (N,); 1 changes nothing.
        change: "brightness", "contrast" or "saturation", in this order.

    Returns:
        float (N, C, H, W) in 0..1
    """
    factor = factors.to(images.dtype).view(-1, 1, 1, 1)
    if change == "brightness":
        return (images * factor).clamp_(0, 1)
    grey = v2.functional.rgb_to_grayscale(images) if images.shape[1] == 3 else images
    base = grey.mean(dim=(1, 2, 3), keepdim=True) if change == "contrast" else grey
    return torch.lerp(base, images, factor).clamp_(0, 1)
