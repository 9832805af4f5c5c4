"""Resizing: the bytes of Pillow, on any device; TensorFlow's within one grey level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from references import GOLDEN

from signs_lightning.errors import InputError
from signs_lightning.runtime.resize import resize_array, resize_by_matrix, resize_images
from signs_lightning.runtime.resize_options import FITS, RESIZES, choose_resizing, unknown_resize
from signs_lightning.runtime.resize_weights import place

PILLOW = ("bilinear", "nearest", "bicubic", "lanczos")


def draw_images(rng: np.random.Generator, channels: int) -> np.ndarray:
    """uint8 (2, H, W, C): noise, or black and white only, where filters overshoot."""
    height, width = rng.integers(1, 120, 2)
    images = rng.integers(0, 256, (2, height, width, channels), dtype=np.uint8)
    return images if rng.integers(2) else (images > 127).astype(np.uint8) * 255


def by_pillow(image: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    """A whole image (H, W, C), channel by channel."""
    method = Image.Resampling[resize.upper()]
    planes = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), method))
        for plane in np.ascontiguousarray(image.transpose(2, 0, 1))
    ]
    return np.stack(planes, axis=2)


@pytest.mark.parametrize("resize", PILLOW)
def test_images_have_pillows_bytes(resize):
    """Also on a GPU, which goes by matrices: here on the CPU, where all of them are exact."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        images = draw_images(rng, int(rng.integers(1, 14)))
        size = (int(rng.integers(1, 60)), int(rng.integers(1, 60)))
        expected = np.stack([by_pillow(image, size, resize) for image in images])
        tensors = torch.from_numpy(images).permute(0, 3, 1, 2)
        for function in (resize_images, resize_by_matrix):
            resized = function(tensors, size, resize, "stretch")
            assert resized.dtype == torch.uint8
            np.testing.assert_array_equal(resized.permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("resize", RESIZES)
def test_both_ways_agree(resize, fit, monkeypatch):
    """Matrices give what one image at a time does, also where they take several turns."""
    monkeypatch.setattr("signs_lightning.runtime.resize.MAX_VALUES", 1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        images = draw_images(rng, 3)
        size = (int(rng.integers(1, 60)), int(rng.integers(1, 60)))
        found = resize_by_matrix(torch.from_numpy(images).permute(0, 3, 1, 2), size, resize, fit)
        expected = np.stack([resize_array(image, size, resize, fit) for image in images])
        np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), expected)
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("fit", FITS)
def test_tf_bilinear_agrees_with_tensorflow(fit):
    """What Keras on TensorFlow read from files, within the rounding to bytes."""
    with np.load(GOLDEN / "resized.npz") as stored:
        for number, expected in enumerate(stored[fit]):
            image = stored[f"picture_{number}"]
            resized = resize_array(image, (12, 16), "tf-bilinear", fit)
            np.testing.assert_allclose(resized, expected, rtol=0, atol=0.501)


def test_padding_is_in_the_middle_and_black():
    white = np.full((30, 10, 3), 255, np.uint8)
    for resize in RESIZES:
        padded = resize_array(white, (16, 16), resize, "pad")
        assert (padded[:, 5:10] == 255).all()
        assert padded.sum() == 255 * 3 * 16 * 5


def test_crop_is_the_middle():
    """Keras's whole pixels, where Pillow's own `fit` takes shares of them."""
    image = np.random.default_rng(2).integers(0, 256, (50, 81, 3), dtype=np.uint8)
    cropped = resize_array(image, (50, 50), "nearest", "crop")
    np.testing.assert_array_equal(cropped, image[:, 15:65])
    picture = Image.fromarray(image[:, :80])
    fitted = np.asarray(ImageOps.fit(picture, (25, 25), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize_array(image[:, :80], (25, 25)), fitted)
    assert place((1, 3), (3, 1), "crop").box == (1, 0, 2, 1)  # never empty


def test_images_that_fit_are_left_alone():
    images = torch.zeros(2, 3, 8, 9, dtype=torch.uint8)
    assert resize_images(images, (8, 9)) is images


def test_options_win_over_what_is_remembered():
    """What is not given stays; a model from Keras needs both."""
    assert choose_resizing((None, None), None, None) == (None, None)
    assert choose_resizing((None, None), "nearest", None) == ("nearest", "crop")
    assert choose_resizing(("nearest", "pad"), None, "crop") == ("nearest", "crop")
    assert choose_resizing(("legacy", None), None, None) == ("legacy", None)
    assert choose_resizing(("legacy", None), None, "stretch") == ("bilinear", "stretch")
    assert choose_resizing(("unknown", None), "bicubic", "pad") == ("bicubic", "pad")
    with pytest.raises(InputError, match="resize is 'cubic', expected one of bilinear, nearest"):
        choose_resizing((None, None), "cubic", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Only one of"):
        choose_resizing(("unknown", None), "bicubic", None)
    assert "`--data.resize nearest --data.fit stretch`" in str(unknown_resize("x"))
