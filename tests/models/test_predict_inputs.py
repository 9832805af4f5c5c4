"""What `predict` takes: right, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from signs_lightning import InputError, SignsFunctional

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
FIRST = IMAGES.transpose(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
GREY = SignsFunctional(image_size=(28, 28, 1))


@pytest.fixture(scope="module")
def model() -> SignsFunctional:
    torch.manual_seed(0)
    return SignsFunctional().eval()


@pytest.fixture(scope="module")
def expected(model: SignsFunctional) -> np.ndarray:
    """What the network itself makes of the images, float (N, C, H, W) in 0..1."""
    scaled = torch.from_numpy(FIRST / np.float32(255)).contiguous()
    return model(scaled).softmax(1).detach().numpy()


class OfAnotherLibrary:
    """An array of JAX or TensorFlow, or a dataset of h5py."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        return IMAGES


SPELLINGS: dict[str, Any] = {
    "bytes": IMAGES,
    "x / 255.": IMAGES / 255.0,
    "float32": (IMAGES / 255).astype(np.float32),
    "big-endian": (IMAGES / 255).astype(">f4"),
    "longdouble": (IMAGES / 255).astype(np.longdouble),
    "channels first": FIRST / 255,
    "bytes, channels first": FIRST,
    "tensor": torch.from_numpy(IMAGES),
    "tensor / 255": torch.from_numpy(IMAGES) / 255,
    "tensor, channels first": torch.from_numpy(FIRST / 255),
    "list": list(IMAGES),
    "list of tensors": list(torch.from_numpy(IMAGES)),
    "mixed list": [IMAGES[0], FIRST[1] / 255, Image.fromarray(IMAGES[2])],
    "pictures": [Image.fromarray(image) for image in IMAGES],
    "another library's": OfAnotherLibrary(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_the_same_images(model, expected, spelling):
    """The network's own probabilities; a tensor for tensors, else NumPy."""
    given = SPELLINGS[spelling]
    found = model.predict(given, batch_size=2)
    assert isinstance(found, torch.Tensor if "tensor" in spelling else np.ndarray)
    assert "float32" in str(found.dtype)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "one",
    [IMAGES[0], IMAGES[0] / 255, FIRST[0], torch.from_numpy(FIRST[0] / 255), "path", "Path"],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_one_image_gives_one_row(model, expected, tmp_path, one):
    """`argmax()` of it is the class, as of `predict(images[:1])`."""
    Image.fromarray(IMAGES[0]).save(tmp_path / "hand.png")
    if isinstance(one, str):
        one = str(tmp_path / "hand.png") if one == "path" else tmp_path / "hand.png"
    found = model.predict(one)
    assert found.shape == (1, 6)
    np.testing.assert_allclose(found, expected[:1], rtol=0, atol=1e-6)


def test_images_of_any_size_are_resized_and_none_are_none(model):
    """Pillow resizes the picture to what the array is resized to."""
    large = IMAGES.repeat(2, axis=1).repeat(2, axis=2)
    pillow = [Image.fromarray(x).resize((64, 64), Image.Resampling.BILINEAR) for x in large]
    small = np.stack([np.asarray(picture) for picture in pillow])
    resized = model.predict(small)
    np.testing.assert_allclose(model.predict(large), resized, rtol=0, atol=1e-6)
    mixed = [large[0], IMAGES[1], Image.fromarray(large[2])]
    found = model.predict(mixed)
    np.testing.assert_allclose(found[[0, 2]], resized[[0, 2]], rtol=0, atol=1e-6)
    assert model.predict(IMAGES[:0]).shape == (0, 6)


@pytest.mark.parametrize(
    ("shape", "count"),
    [((5, 28, 28), 5), ((28, 28), 1), ((28, 28, 1), 1), ((1, 28, 28), 1), ((5, 1, 28, 28), 5)],
)
def test_grey_images_need_no_axis_of_channels(shape, count):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = GREY.predict(images.reshape(count, 28, 28, 1))
    for given in (images, images / 255, list(images.reshape(count, 28, 28))):
        np.testing.assert_allclose(GREY.predict(given), expected, rtol=0, atol=1e-6)


REFUSED: dict[str, tuple[Any, str]] = {
    "whole numbers": (IMAGES.astype(int), "are int64, expected uint8 in 0..255 or floats in 0..1"),
    "floats in 0..255": (IMAGES / 1.0, "floats from 0 to 255, expected 0 to 1. Divide"),
    "floats in -1..1": (IMAGES / 127.5 - 1, "floats from -1 to 1, expected 0 to 1"),
    "NaN": (np.full(IMAGES.shape, np.nan), "no numbers (NaN)"),
    "truth values": (IMAGES > 9, "in 0..1. Convert truth values to floats"),
    "an array of paths": (
        np.array(["a.png", "b.png"]),
        "Give an array of images or paths as a list",
    ),
    "small floats": (IMAGES[:, :32] / 255, "32×64 pixels, and the model takes 64×64. Resize them"),
    "grey": (IMAGES[:2, ..., 0], "shape (2, 64, 64), expected (N, 64, 64, 3)"),
    "four channels": (IMAGES[..., [0, 1, 2, 2]], "shape (3, 64, 64, 4), expected (N, 64, 64, 3)"),
    "rows": (IMAGES.reshape(3, -1), "shape (3, 12288), expected (N, 64, 64, 3)"),
    "either order": (np.zeros((2, 3, 20, 3), np.uint8), "axes can be read in two ways"),
    "a batch with labels": ((IMAGES, np.arange(3)), "Of a batch (images, labels), give the images"),
    "an empty list": ([], "list of images is empty"),
    "a list of numbers": ([1, 2], "Image 0 of the list is of the type int"),
    "nothing": (None, "type NoneType, expected an array"),
    "no file": ("hand.png", "No such picture: hand.png"),
    "standard input": ("-", "No such picture: -."),
    "a folder": (Path("/"), "/ is a folder. Give a list"),
    "no picture": (__file__, "cannot be read: not a picture"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_right_is_refused(model, case):
    given, message = REFUSED[case]
    with pytest.raises(InputError) as refusal:
        model.predict(given)
    assert message in str(refusal.value)


@pytest.mark.parametrize("spelling", [np.asarray, list, torch.from_numpy])
def test_bytes_of_0_and_1_are_said_to_be_black(model, capsys, spelling):
    """`x // 255` and `(x / 255).astype(np.uint8)` are such; said once, not for every batch."""
    model.predict(spelling(IMAGES // 255), batch_size=1)
    assert capsys.readouterr().out.count("0 and 1 only, which is all but black") == 1
    model.predict(spelling(IMAGES), batch_size=1)
    model.predict(spelling(IMAGES * 0), batch_size=1)
    model.predict(spelling((IMAGES // 255).astype(np.float32)), batch_size=1)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("shape", [(28, 28, 3), (20, 20), (3, 20, 20), (5, 784)])
def test_a_grey_model_takes_no_colours_for_images(shape):
    """28 rows of 28×3 pixels would be as many images, and wrong figures."""
    with pytest.raises(InputError, match=r"expected \(N, 28, 28, 1\)"):
        GREY.predict(np.zeros(shape, np.uint8))


def test_axes_of_one_length_are_those_of_files_or_refused():
    """8×8 images of 8 channels: bytes are (N, H, W, C), as in files; floats might be either."""
    model = SignsFunctional(image_size=(8, 8, 8))
    with pytest.raises(InputError, match="can be read in two ways"):
        model.predict(np.zeros((2, 8, 8, 8)))
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 8), dtype=np.uint8)
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    expected = model(scaled).softmax(1).detach().numpy()
    np.testing.assert_allclose(model.predict(images), expected, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="images of 8 channels, and a picture"):
        model.predict(Image.new("RGB", (8, 8)))
