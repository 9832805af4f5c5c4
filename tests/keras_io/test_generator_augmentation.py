"""Keras's ImageDataGenerator: the same pixels for the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from signs_lightning.errors import InputError
from signs_lightning.keras_io.generator_augmentation import (
    GeneratorAugmentation,
    generator_matrices,
)

KERAS = pytest.importorskip("keras.src.legacy.preprocessing.image")
PARAMETERS = [
    {"theta": 25.0, "tx": 3.3, "ty": -2.1, "shear": 12.0, "zx": 0.9, "zy": 1.2},
    {"theta": -7.5, "tx": -5.0, "ty": 1.0, "shear": 0.0, "zx": 1.0, "zy": 1.0},
    {"theta": 0.0, "tx": 0.0, "ty": 0.0, "shear": -20.0, "zx": 0.7, "zy": 0.8},
]


class _SciPy:
    """SciPy with the name by which Keras calls it, and which SciPy is about to drop."""

    class ndimage:  # noqa: N801
        interpolation = scipy.ndimage


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect", "constant"])
@pytest.mark.parametrize("given", PARAMETERS)
def test_affine_changes_are_those_of_keras(
    given: dict[str, float], fill_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KERAS, "scipy", _SciPy)
    image = np.random.default_rng(0).random((20, 28, 3)).astype(np.float32)
    wanted = KERAS.apply_affine_transform(
        image.copy(), **given, row_axis=0, col_axis=1, channel_axis=2, fill_mode=fill_mode, cval=0.3
    )
    names = ("theta", "shear", "tx", "ty", "zx", "zy")
    theta, shear, *others = (torch.tensor([given[name]]) for name in names)
    tx, ty, zx, zy = others
    change = GeneratorAugmentation(rotation_range=1, fill_mode=fill_mode, fill_value=0.3)
    images = torch.from_numpy(image).permute(2, 0, 1)[None]
    found = change.move(images, generator_matrices(theta, shear, tx, ty, zx, zy, 20, 28))
    assert np.abs(found[0].permute(1, 2, 0).numpy() - wanted).max() < 1e-4


def test_ranges_bound_what_is_drawn() -> None:
    images = torch.full((200, 1, 4, 4), 0.5)
    change = GeneratorAugmentation(brightness_range=[0.4, 0.6], channel_shift_range=20)
    changed = change(images)
    assert 0.2 <= float(changed.min()) < 0.22
    assert 0.28 < float(changed.max()) <= 0.3
    ramp = torch.arange(16.0).view(1, 1, 4, 4) / 16
    flipped = GeneratorAugmentation(horizontal_flip=True)(ramp.expand(200, 1, 4, 4))
    share = float((flipped == ramp.flip(-1)).all((1, 2, 3)).float().mean())
    assert 0.35 < share < 0.65


def test_whole_pixels_are_shifted_by_less_than_their_number() -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 9, 9)
    image[..., 4, 4] = 1
    moved = GeneratorAugmentation(height_shift_range=3)(image.expand(100, 1, 9, 9))
    columns = {int(k) for k in moved.amax((1, 2)).argmax(-1)}
    assert columns == {2, 3, 4, 5, 6}


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="wrap"):
        GeneratorAugmentation(fill_mode="wrap")
