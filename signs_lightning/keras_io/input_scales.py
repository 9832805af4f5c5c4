"""What the images of a Keras model were scaled to; does not import PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from signs_lightning.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Scale = Literal["/255", "raw", "tf", "caffe", "torch"]
RANGES: dict[Scale, str] = {
    "/255": "0..1",
    "raw": "0..255",
    "tf": "-1..1",
    "caffe": "0..255 less ImageNet's means, blue first",
    "torch": "0..1, standardised with ImageNet's means",
}
SCALES = tuple(RANGES)
CAFFE_MEANS = (103.939, 116.779, 123.68)  # blue, green, red of ImageNet, 0..255
TORCH_MEANS = (0.485, 0.456, 0.406)  # red, green, blue of ImageNet, 0..1
TORCH_DEVIATIONS = (0.229, 0.224, 0.225)


def check_channels(scale: Scale | None, channels: int) -> None:
    """Check that a scale is one for images of so many channels.

    Raises:
        InputError: it is for three channels, and these are others.
    """
    if scale in {"caffe", "torch"} and channels != 3:
        raise InputError(
            f"scale is '{scale}', which is for three channels, and the model takes {channels}."
        )


def rescale_inputs(images: Tensor, scale: Scale) -> Tensor:
    """Return images as a Keras model was trained on them.

    Args:
        images: float (N, C, H, W) in 0..1, red, green, blue.
        scale: see `from_keras`.

    Returns:
        float (N, C, H, W); for "caffe" blue, green, red.
    """
    if scale == "raw":
        return images * 255
    if scale == "tf":
        return images * 2 - 1
    if scale == "caffe":
        return images.flip(1) * 255 - images.new_tensor(CAFFE_MEANS)[:, None, None]
    if scale == "torch":
        deviations = images.new_tensor(TORCH_DEVIATIONS)[:, None, None]
        return (images - images.new_tensor(TORCH_MEANS)[:, None, None]) / deviations
    return images
