"""`predict` of models that were trained on other numbers than bytes, against NumPy's scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from signs_lightning import InputError, SignsFunctional
from signs_lightning.models.checkpoint_metadata import load_training_state
from signs_lightning.runtime.format_migrations import migrate_checkpoint

RNG = np.random.default_rng(0)
RAW = RNG.integers(1000, 3000, (4, 16, 16, 1))


def model_of(low: float | None, high: float, dtype: str) -> SignsFunctional:
    torch.manual_seed(0)
    values = {} if low is None else {"value_range": (low, high), "value_type": dtype}
    return SignsFunctional(num_classes=3, image_size=(16, 16, 1), **values).eval()  # type: ignore[arg-type]


def expected(model: SignsFunctional, unit: np.ndarray) -> np.ndarray:
    """Probabilities of images float (N, H, W, C) in 0..1, through the network alone."""
    with torch.inference_mode():
        images = torch.from_numpy(np.ascontiguousarray(unit.transpose(0, 3, 1, 2))).float()
        return model(images).softmax(dim=1).numpy()


@pytest.mark.parametrize("dtype", ["uint16", "int16", ">i2", "int32", "int64", "uint32"])
def test_whole_numbers(dtype: str) -> None:
    """Of any whole type, as array or tensor, one or several, channels last or first."""
    model = model_of(1000, 3000, "uint16")
    images, right = RAW.astype(dtype), expected(model, (RAW - 1000) / 2000)
    for given in (images, [*images], np.moveaxis(images, 3, 1), images[..., 0]):
        np.testing.assert_allclose(model.predict(given), right, atol=1e-6)
    np.testing.assert_allclose(model.predict(images[0]), right[:1], atol=1e-6)
    if dtype in ("int16", "uint16"):
        found = model.predict(torch.from_numpy(images))
        np.testing.assert_allclose(found.numpy(), right, atol=1e-6)


def test_small_differences_of_large_numbers() -> None:
    """2^30 and 2^30 + 1 are one number in float32."""
    model = model_of(2**30, 2**30 + 16, "int32")
    unit = RNG.integers(0, 17, (4, 16, 16, 1))
    right = expected(model, unit / 16)
    np.testing.assert_allclose(model.predict((unit + 2**30).astype("i4")), right, atol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-1000, 3000), (0, 255)])
def test_floats_of_a_model_of_floats(low: float, high: float) -> None:
    """They are in the numbers of its training files."""
    model, unit = model_of(low, high, "float32"), RNG.random((4, 16, 16, 1))
    found = model.predict((unit * (high - low) + low).astype("f4"))
    np.testing.assert_allclose(found, expected(model, unit), atol=1e-5)


def test_floats_of_a_model_of_whole_numbers_are_0_to_1() -> None:
    model, unit = model_of(1000, 3000, "uint16"), RNG.random((4, 16, 16, 1))
    np.testing.assert_allclose(model.predict(unit), expected(model, unit), atol=1e-6)
    with pytest.raises(InputError, match="floats from 1000"):
        model.predict(RAW.astype("f4"))


@pytest.mark.parametrize(
    ("values", "images", "message"),
    [
        ((None, 0, ""), RAW.astype("u2"), "are uint16, expected uint8"),
        ((0, 4095, "uint16"), RAW.astype("u1"), "bytes, and the model was trained on uint16 of 0"),
        ((0, 1, "float32"), RAW.astype("u2"), "uint16, and the model was trained on float32"),
        ((0, 255, "float32"), RAW / 3000, "all but black in 0..255"),
        ((0, 1, "float32"), RAW / 30, "expected 0 to 1"),
        ((-1, 1, "float32"), RAW / 300, "expected -1 to 1 as in training"),
    ],
)
def test_numbers_that_nothing_explains_are_refused(
    values: tuple[Any, Any, str], images: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError) as error:
        model_of(*values).predict(images)
    assert message in str(error.value)


def test_bytes_for_a_model_of_floats() -> None:
    """0..255 is 0..1, also where it is stored as -1..1; of another size bytes are resized, too."""
    images = RNG.integers(0, 256, (4, 16, 16, 1), dtype=np.uint8)
    for low in (0, -1):
        model = model_of(low, 1, "float32")
        np.testing.assert_allclose(model.predict(images), expected(model, images / 255), atol=1e-6)
    large = np.repeat(np.repeat(images, 2, 1), 2, 2)
    plain = model_of(None, 0, "").predict(large)
    np.testing.assert_allclose(model_of(0, 1, "float32").predict(large), plain, atol=2e-3)


def test_pictures_of_16_bits(tmp_path: Path) -> None:
    """They have the numbers of a model of 16 bits; those of 8 bits are refused by it."""
    model = model_of(1000, 3000, "uint16")
    paths = []
    for number, image in enumerate(RAW.astype("u2")):
        for ending in ("png", "tif"):
            paths.append(tmp_path / f"{number}.{ending}")
            Image.fromarray(image[..., 0]).save(paths[-1])
    right = np.repeat(expected(model, (RAW - 1000) / 2000), 2, axis=0)
    np.testing.assert_allclose(model.predict(paths), right, atol=1e-6)
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "byte.png")
    with pytest.raises(
        InputError, match="a picture of 8 bits, and the model was trained on uint16"
    ):
        model.predict(tmp_path / "byte.png")
    floats = model_of(0, 1, "float32")  # white is 65535 there
    right = np.repeat(expected(floats, RAW / 65535), 2, axis=0)
    np.testing.assert_allclose(floats.predict(paths), right, atol=1e-6)


def test_bytes_are_no_stored_numbers_of_another_model() -> None:
    """`preprocess` takes what files have, and does not guess by the dtype."""
    model, images = model_of(0, 1, "float32"), torch.rand(2, 16, 16, 1)
    np.testing.assert_allclose(model.preprocess(images), images.permute(0, 3, 1, 2), atol=1e-7)
    with pytest.raises(InputError, match="bytes, and the model takes float32"):
        model.preprocess(torch.zeros(2, 16, 16, 1, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"shape \(2, 1, 16, 16\), expected"):
        model.preprocess(torch.zeros(2, 1, 16, 16))  # prepared already


def test_a_checkpoint_of_before_rounds() -> None:
    """Its format has no range; one of today has that of the data."""
    old: dict[str, Any] = {
        "signs_lightning": {"format_version": 4, "model": "SignsFunctional"},
        "hyper_parameters": {"num_classes": 3},
    }
    migrate_checkpoint(old, "old.ckpt")
    assert old["hyper_parameters"]["value_range"] == "legacy"
    model = model_of(0, 1, "float32")
    with pytest.raises(InputError, match=r"trained on uint8 of 0\.\.255, rounded to bytes, and"):
        load_training_state(model, old)
