"""Images as files have them → what a network takes."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.runtime.resize import resize_images, resize_legacy
from signs_lightning.runtime.resize_options import Fit, RememberedResize, unknown_resize
from signs_lightning.runtime.value_ranges import BYTES, RunValues, scale_to_unit


def prepare_stored(
    images: Tensor,
    values: RunValues,
    image_size: tuple[int, int, int],
    resizing: tuple[RememberedResize, Fit | None],
    dtype: torch.dtype,
) -> Tensor:
    """Turn stored numbers into what a network takes, on the device that they are on.

    Args:
        images: (N, H, W, C) of any dtype, height and width.
        values: the numbers that the model is trained on.
        image_size: height and width of the result, pixels, and channels.
        resizing: how images of another size are resized.
        dtype: of the result.

    Returns:
        (N, C, height, width), 0 for black and 1 for white. Bytes that are resized are rounded to
        bytes, as files hold them; other numbers are not rounded.

    Raises:
        InputError: they have other axes, nothing tells how they are resized, or they are bytes and
            the model takes other numbers.
    """
    size, channels = image_size[:2], image_size[2]
    if images.ndim != 4 or images.shape[3] != channels:
        raise InputError(
            f"The images have shape {tuple(images.shape)}, expected (N, height, width, {channels}) "
            "as files have them. What is prepared already goes to the model as it is."
        )
    is_byte = images.dtype == torch.uint8
    if is_byte and values.dtype != "uint8":
        raise InputError(
            f"The images are bytes, and the model takes {values}. Give it the numbers that it was "
            "trained on."
        )
    # (N, H, W, C) -> (N, C, H, W): channels_last in memory
    images = images.permute(0, 3, 1, 2)
    if not is_byte or values.numbers != BYTES:
        # Before they are resized, so that bars are black.
        return _resize(scale_to_unit(images, values.numbers), size, resizing).to(dtype)
    if tuple(images.shape[-2:]) != size:
        is_legacy = resizing[0] == "legacy"
        images = _resize(images.to(dtype) if is_legacy else images, size, resizing)
    return images.to(dtype).div_(255)


def standardizes(scale: Any) -> bool:
    """Whether a model's argument `scale` is "standardize", or means and deviations."""
    is_pair = isinstance(scale, list | tuple) and len(scale) == 2
    return scale == "standardize" or (is_pair and all(isinstance(x, list | tuple) for x in scale))


def standardize(images: Tensor, scale: Any) -> Tensor:
    """Return images less each channel's mean, by its deviation, where a model's `scale` has them.

    Args:
        images: float (N, C, H, W) in 0..1.
        scale: means and deviations, of each channel one; "standardize" before they are known;
            anything else leaves the images as they are.

    Raises:
        InputError: they are not known.
    """
    if not standardizes(scale):
        return images
    if scale == "standardize":
        raise InputError(
            "scale is standardize, and no images to train on have been seen. Fit with an "
            "H5DataModule first, which tells mean and deviation."
        )
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in scale)
    return (images - mean) / deviation


def adopt_from_data(model: Any, values: RunValues | None, train_data: Any) -> None:
    """Give a model its data's numbers, and mean and deviation if it standardizes; each once.

    Args:
        model: an `ImageModel`.
        values: the numbers, where the data know them.
        train_data: a data module whose images it is trained on, or None.

    Raises:
        InputError: the model standardizes, and calls its layers itself.
    """
    if values is not None and model.hparams.get("value_range") is None:
        model.hparams.update(values.arguments())
    moments = getattr(train_data, "channel_moments", None)
    if model.hparams.get("scale") != "standardize" or moments is None:
        return
    if not type(model).forward.__module__.startswith("signs_lightning."):
        raise InputError(
            f"{type(model).__name__} has a `forward` of its own, which scale standardize does not "
            "reach. Make the network in `build`, or standardize in `forward`."
        )
    model.hparams["scale"] = moments()


def reads_files(model: LightningModule) -> bool:
    """Whether the batches of a model's Trainer are of a data module that knows their numbers."""
    try:
        trainer: Any = model.trainer
    except RuntimeError:  # it has none
        return False
    return hasattr(getattr(trainer, "datamodule", None), "run_values")


def _resize(
    images: Tensor, size: tuple[int, int], resizing: tuple[RememberedResize, Fit | None]
) -> Tensor:
    """(N, C, H, W) → (N, C, height, width)."""
    if tuple(images.shape[-2:]) == size:
        return images
    resize, fit = resizing
    if resize == "legacy":
        return resize_legacy(images, size)
    if resize == "unknown" or fit is None:
        found, expected = (f"{h}×{w}" for h, w in (images.shape[-2:], size))
        raise unknown_resize(f"The images have {found} pixels, the model takes {expected}")
    return resize_images(images, size, resize, fit)
