"""The images on which an exported file is compared with its model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.data.file_roles import Role
from signs_lightning.errors import InputError
from signs_lightning.export.onnx_classifier import resize_batch
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.value_ranges import RunValues

MAX_COMPARED = 128  # images that the two are compared on


def torch_dtype(model: ImageClassifier) -> torch.dtype:
    """Return the dtype of the images that a model was trained on."""
    values = model.run_values or RunValues()
    return torch.from_numpy(np.empty(0, values.dtype)).dtype


def images_to_compare(model: ImageClassifier, settings: dict[str, Any]) -> tuple[Tensor, str]:
    """Return images of the run's data, or random ones without its files.

    Args:
        model: decides their size.
        settings: of the `H5DataModule` that the model was trained on; empty when unknown.

    Returns:
        (n, H, W, C) of the model's size and numbers, at most 128, and a description: "120 test
        images".
    """
    values = model.run_values or RunValues()
    roles: tuple[tuple[str, Role], ...] = (("test", "test"), ("validation", "val"))
    for name, role in roles if settings else ():
        try:
            data = H5DataModule(**settings)
            data.adopt_values(values)
            data.prepare_data()
            data.setup("test" if role == "test" else "validate")
            found, _ = data.images(role, MAX_COMPARED)
            if len(found) < 2 or found.shape[3] != model.image_size[2]:
                continue
            is_byte = found.dtype == np.uint8  # others are not resized there
            if found.dtype != values.dtype or not (is_byte or found.shape[1:] == model.image_size):
                continue
            resized = resize_batch(found, model.image_size[:2], *model.resizing)
        except InputError:  # the files are missing, or a model from Keras does not tell how
            continue
        return torch.from_numpy(resized), f"{len(found)} {name} images"
    images = random_images(64, model.image_size)
    if not values.are_bytes:
        low, high = values.numbers
        spread = images.double() / 255 * (high - low) + low
        images = (spread if "float" in values.dtype else spread.round()).to(torch_dtype(model))
    return images, "64 random images"


def random_images(count: int, image_size: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Return uint8 (count, H, W, C): noise of a seed, smooth in half of the images."""
    height, width, channels = image_size
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, -(-height // 8), -(-width // 8), generator=generator)
    images = F.interpolate(coarse, (height, width), mode="bilinear")
    images[::2] = torch.rand(images[::2].shape, generator=generator)
    return (images * 255).byte().permute(0, 2, 3, 1).contiguous()  # (N, C, H, W) -> (N, H, W, C)
