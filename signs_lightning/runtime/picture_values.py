"""Single pictures in the numbers that a model was trained on, also of 16 bits."""

from __future__ import annotations

import io
import sys
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.image_files import (
    STANDARD_INPUT,
    Differences,
    UnreadableImageError,
    open_picture,
    read_image,
)
from signs_lightning.runtime.resize_options import Fit, RememberedResize, unknown_resize
from signs_lightning.runtime.value_ranges import BYTES, PLAIN_RANGES, Range, RunValues

FULL: Range = (0.0, 65535.0)  # of a picture of 16 bits


def read_picture_values(
    path: str | BinaryIO | Image.Image,
    image_size: tuple[int, int, int],
    resizing: tuple[RememberedResize, Fit | None],
    run: RunValues,
    differences: Differences | None = None,
) -> np.ndarray:
    """Read one picture as a model takes it.

    Args:
        path: as of `read_image`, like the others.
        image_size: height, width (pixels) and channels of the model.
        resizing: how a picture of another size is resized.
        run: the numbers that the model was trained on.
        differences: takes the path where Keras would have made another picture of it.

    Returns:
        (H, W, C) in these numbers: uint8 for a model of bytes; else of the model's dtype, or
        float32 where the picture was resized. A picture of 16 bits, or of floats, has the model's
        numbers where these are no usual ones.

    Raises:
        InputError: the picture is of another size, and nothing tells how to resize it.
        UnreadableImageError: it cannot be read, or nothing tells what its numbers mean.
    """
    if run.dtype == "uint8":
        return read_image(path, image_size, *resizing, differences)
    name = path if isinstance(path, str) else "The picture"
    if path == STANDARD_INPUT:  # it is looked at twice
        path = io.BytesIO(sys.stdin.buffer.read())
    values, meaning = _read_values(path, image_size[2], run)
    if values is None:
        if run.numbers not in PLAIN_RANGES:
            raise UnreadableImageError(
                f"a picture of 8 bits, and the model was trained on {run}", "of another range"
            )
        values, meaning = read_image(path, image_size, *resizing, differences), BYTES
    (low, high), (black, white) = meaning, run.numbers
    unit = (values.astype(np.float64) - low) / (high - low)
    is_sized = values.shape[:2] == image_size[:2]
    if not is_sized:
        unit = _resize(unit, image_size[:2], resizing, name)
    found = unit * (white - black) + black
    if is_sized and "int" in run.dtype:
        return np.rint(found).astype(run.dtype)
    return found.astype(np.float32 if "int" in run.dtype else run.dtype)


def _read_values(
    path: str | BinaryIO | Image.Image, channels: int, run: RunValues
) -> tuple[np.ndarray | None, Range]:
    """Return (H, W, 1) of a picture of 16 bits or floats, and its range; None for any other."""
    with open_picture(path) as opened:
        is_deep = opened.mode.startswith("I") or opened.mode == "F"
        if not is_deep:
            return None, BYTES
        if channels != 1:
            raise UnreadableImageError(
                f"a grey picture of mode {opened.mode}, and the model takes {channels} channels",
                "of another range",
            )
        mode, values = opened.mode, np.asarray(ImageOps.exif_transpose(opened))[..., None]
    is_whole = "int" in run.dtype
    if run.numbers not in PLAIN_RANGES or is_whole:
        if is_whole and values.size and not (values == np.rint(values)).all():
            raise UnreadableImageError(
                f"a picture of floats, and the model was trained on {run}", "of another range"
            )
        return values, run.numbers  # the same numbers as in the training files
    return values, run.numbers if mode == "F" else FULL


def _resize(
    unit: np.ndarray,
    size: tuple[int, int],
    resizing: tuple[RememberedResize, Fit | None],
    name: str,
) -> np.ndarray:
    """Resize float64 (H, W, C) in 0..1."""
    import torch  # start-up: pictures of bytes need none

    from signs_lightning.runtime.resize import resize_images

    resize, fit = resizing
    if resize == "legacy" or resize == "unknown" or fit is None:
        found = f"{printable(name)} has {unit.shape[1]}×{unit.shape[0]} pixels"
        raise unknown_resize(f"{found}, the model takes {size[1]}×{size[0]}")
    images = torch.from_numpy(unit)[None].permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
    resized = resize_images(images, size, resize, fit)
    return resized[0].permute(1, 2, 0).numpy()  # (C, H, W) -> (H, W, C)


def check_pictures_mean_something(run: RunValues, channels: int) -> None:
    """Check that loose pictures can have the numbers that a model was trained on.

    Raises:
        InputError: they cannot.
    """
    if run.numbers not in PLAIN_RANGES and channels != 1:
        raise InputError(
            f"The model was trained on {run}, and pictures of {channels} channels have 8 bits. Use "
            "`predict` with --data.test_file and an HDF5 file of such images."
        )
