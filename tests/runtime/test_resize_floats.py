"""Floats of another size, against Pillow's own pictures of floats and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from signs_lightning.runtime.resize import resize_images

SIZES = [((20, 14), (9, 11)), ((7, 9), (16, 21)), ((12, 12), (12, 5))]


@pytest.mark.parametrize("method", ["bilinear", "nearest", "bicubic", "lanczos"])
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_as_pillow_does_pictures_of_floats(
    method: str, before: tuple[int, int], after: tuple[int, int]
) -> None:
    images = np.random.default_rng(0).random((2, *before, 3), np.float32) * 3 - 1
    found = resize_images(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        after,
        method,  # type: ignore[arg-type]
        "stretch",
    )
    assert found.dtype == torch.float32
    for image, result in zip(images, found.permute(0, 2, 3, 1).numpy(), strict=True):
        for k in range(3):
            kind = Image.Resampling[method.upper()]
            expected = Image.fromarray(image[..., k]).resize(after[::-1], kind)
            np.testing.assert_allclose(result[..., k], np.asarray(expected), atol=2e-5)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_tf_bilinear(before: tuple[int, int], after: tuple[int, int]) -> None:
    """Two pixels of a row and of a column, as PyTorch without antialiasing mixes them."""
    images = torch.rand(2, 3, *before, generator=torch.Generator().manual_seed(0))
    found = resize_images(images, after, "tf-bilinear", "stretch")
    expected = torch.nn.functional.interpolate(images, after, mode="bilinear")
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)


def test_bars_are_black() -> None:
    found = resize_images(torch.ones(1, 1, 4, 8), (8, 8), "bilinear", "pad")
    assert found[0, 0, :2].eq(0).all()
    np.testing.assert_allclose(found[0, 0, 2:6].numpy(), 1, atol=1e-6)
