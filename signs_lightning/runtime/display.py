"""Images of any number of channels: what is drawn of them, and where `predict` finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # start-up of `inspect`
    import numpy as np


def to_grey_or_rgb(images: np.ndarray) -> np.ndarray:
    """Return what is drawn of images: the first of two channels, the first three of more.

    Args:
        images: uint8 (..., H, W, C) of any number of channels.

    Returns:
        uint8 (..., H, W, 1), grey, or (..., H, W, 3), RGB; images of 1 or 3 channels as they are.
    """
    return images[..., : 1 if images.shape[-1] < 3 else 3]


def describe_drawn_channels(channels: int) -> str:
    """Return a sentence about the channels that are drawn; empty where these are all."""
    if channels in (1, 3):
        return ""
    if channels == 2:
        return "Pictures show the first of the 2 channels, as grey."
    return f"Pictures show the first 3 of the {channels} channels, as red, green and blue."


def predict_option(channels: int) -> str:
    """Return the option of `predict` to suggest: pictures are grey or RGB only, files are not."""
    return "--images PICTURE" if channels in (1, 3) else "--data.test_file FILE.h5"
