"""Builders of the layers that resize or crop images.

The numbers are those of Keras on JAX. TensorFlow reads the bicubic kernel from a table of 1,024
steps, so that its numbers differ by up to 6e-4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext
from signs_lightning.keras_io.modules import Apply
from signs_lightning.models.layers import Pair

LEAST_SUM = 1000 * torch.finfo(torch.float32).eps  # of the weights of one pixel; 0 below
MAX_WEIGHTS = 2**26  # along one axis


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Return the kernel of Keys 1981 with a = -0.5; PyTorch's has -0.75."""
    near = ((1.5 * x - 2.5) * x) * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x >= 2, 0.0, torch.where(x >= 1, far, near))


def _lanczos(x: Tensor, radius: float) -> Tensor:
    return torch.where(x >= radius, 0.0, torch.sinc(x) * torch.sinc(x / radius))


KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos3": partial(_lanczos, radius=3.0),
    "lanczos5": partial(_lanczos, radius=5.0),
}


def _resizing_matrix(size: int, target: int, method: str, antialias: bool) -> Tensor:
    """Return the weights (target, size) of the pixels along one axis, float32."""
    if size == target:
        return torch.eye(size)
    step = size / target
    centers = (torch.arange(target, dtype=torch.float64) + 0.5) * step - 0.5
    distances = (centers[:, None] - torch.arange(size, dtype=torch.float64)).abs()
    weights = KERNELS[method](distances / (max(step, 1.0) if antialias else 1.0))
    total = weights.sum(1, keepdim=True)  # less than all of the kernel at an edge
    return torch.where(total.abs() > LEAST_SUM, weights / total, 0.0).float()


class SeparableResize(nn.Module):
    """Resizes the rows and columns of images, each by a matrix of weights.

    Shape:
        float (N, C, H, W) → float (N, C, H', W')
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size: Pair, target: Pair, method: str, antialias: bool) -> None:
        super().__init__()
        self.size, self.target, self.method, self.antialias = size, target, method, antialias
        for name, source, wanted in zip(("rows", "columns"), size, target, strict=True):
            matrix = _resizing_matrix(source, wanted, method, antialias)
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.rows @ (images @ self.columns.mT)


class NearestResize(nn.Module):
    """Takes the pixel at the centre of each new one.

    A centre between two pixels is common: in the middle of an odd number of rows. Which of the two
    it is depends on rounding, so this multiplies by the reciprocal as JAX compiles it.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, size: Pair, target: Pair) -> None:
        super().__init__()
        self.size, self.target = size, target
        for name, source, wanted in zip(("rows", "columns"), size, target, strict=True):
            step = torch.tensor(float(source)) * (1 / torch.tensor(float(wanted)))
            indices = ((torch.arange(wanted) + 0.5) * step).long().clamp(max=source - 1)
            self.register_buffer(name, indices, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images.index_select(2, self.rows).index_select(3, self.columns)


class RandomCrop(nn.Module):
    """Crops all images of a batch at one place, drawn anew for each batch in training.

    Args:
        size: height and width of the crop, pixels, both less than the images'.
        at_rest: the module that is called otherwise.
    """

    def __init__(self, size: Pair, at_rest: nn.Module) -> None:
        super().__init__()
        self.size, self.at_rest = size, at_rest

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return self.at_rest(images)
        (height, width), (rows, columns) = self.size, images.shape[-2:]
        top = int(torch.randint(rows - height + 1, ()))
        left = int(torch.randint(columns - width + 1, ()))
        return images[..., top : top + height, left : left + width]


def _pad(left: int, right: int, top: int, bottom: int, value: float = 0.0) -> nn.Module:
    """Return a module that pads images, or crops them where a number is negative."""
    return Apply(partial(F.pad, pad=(left, right, top, bottom), value=value))


def _fitting(size: Pair, target: Pair) -> Pair:
    """Return the height of the target's ratio at the width of `size`, and the reverse."""
    (height, width), (rows, columns) = size, target
    return int(width * rows / columns), int(height * columns / rows)


def _crop_to_ratio(size: Pair, target: Pair) -> tuple[nn.Module, Pair]:
    """Return a centre crop with the target's ratio, and its height and width."""
    (height, width), (rows, columns) = size, _fitting(size, target)
    rows, columns = max(min(height, rows), 1), max(min(width, columns), 1)
    top, left = (height - rows) // 2, (width - columns) // 2
    crop = _pad(-left, left + columns - width, -top, top + rows - height)
    return crop, (rows, columns)


def _pad_to_ratio(size: Pair, target: Pair, value: float) -> tuple[nn.Module, Pair]:
    """Return a padding to the target's ratio, and the height and width that it gives."""
    (height, width), (rows, columns) = size, _fitting(size, target)
    top, left = max(rows - height, 0) // 2, max(columns - width, 0) // 2
    left = 0 if top else left  # as Keras, which pads along one axis and never by an odd pixel
    return _pad(left, left, top, top, value), (height + 2 * top, width + 2 * left)


def _resize(size: Pair, target: Pair, method: str, antialias: bool = False) -> nn.Module:
    if method == "nearest":
        return NearestResize(size, target)
    if method == "bilinear" and not antialias:
        function = partial(F.interpolate, size=target, mode="bilinear", align_corners=False)
        return Apply(function)
    if max(size) * max(target) > MAX_WEIGHTS:
        raise ValueError(f"they are too large to resize them with {method}")
    return SeparableResize(size, target, method, antialias)


def _smart_resize(size: Pair, target: Pair) -> nn.Module:
    """Return what `keras.preprocessing.image.smart_resize` does."""
    crop, size = _crop_to_ratio(size, target)
    return nn.Sequential(crop, _resize(size, target, "bilinear"))


def _method(layer: LayerContext, default: str) -> str:
    layer.config.setdefault("interpolation", default)
    layer.check_option("interpolation", "nearest", *KERNELS)
    return layer.config["interpolation"]


def up_sampling2d(layer: LayerContext) -> BuiltLayer:
    """Build an UpSampling2D."""
    (height, width, _), (rows, columns) = layer.image, layer.pair("size", 2)
    target = height * rows, width * columns
    return _resize((height, width), target, _method(layer, "nearest")), []


def resizing(layer: LayerContext) -> BuiltLayer:
    """Build a Resizing."""
    height, width, _ = layer.image
    size, target = (height, width), (layer.integer("height"), layer.integer("width"))
    method, antialias = _method(layer, "bilinear"), layer.flag("antialias", False)
    steps: list[nn.Module] = []
    is_padded = layer.flag("pad_to_aspect_ratio", False)
    if layer.flag("crop_to_aspect_ratio", False):
        layer.check_option("pad_to_aspect_ratio", False)
        crop, size = _crop_to_ratio(size, target)
        steps.append(crop)
    elif is_padded:
        layer.check_option("fill_mode", "constant")
        pad, size = _pad_to_ratio(size, target, layer.number("fill_value", 0.0))
        steps.append(pad)
    return nn.Sequential(*steps, _resize(size, target, method, antialias)), []


def center_crop(layer: LayerContext) -> BuiltLayer:
    """Build a CenterCrop, which resizes images that are too small."""
    height, width, _ = layer.image
    rows, columns = layer.integer("height"), layer.integer("width")
    if rows > height or columns > width:
        return _smart_resize((height, width), (rows, columns)), []
    top, left = (height - rows) // 2, (width - columns) // 2
    return _pad(-left, left + columns - width, -top, top + rows - height), []


def random_crop(layer: LayerContext) -> BuiltLayer:
    """Build a RandomCrop.

    At rest Keras 2 resizes as CenterCrop does with small images. Versions of Keras 3 differ; 3.15
    gives images of another size than it says, so that only an image of the crop's size is sure.
    """
    height, width, _ = layer.image
    size, target = (height, width), (layer.integer("height"), layer.integer("width"))
    if size == target:
        return nn.Identity(), []
    if layer.layer.keras >= 3:
        layer.fail("height and width", target, f"those of its images, {height} and {width}")
    at_rest = _smart_resize(size, target)
    is_smaller = target[0] <= height and target[1] <= width
    return RandomCrop(target, at_rest) if is_smaller else at_rest, []
