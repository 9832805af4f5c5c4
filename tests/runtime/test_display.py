"""What is drawn of images of any number of channels."""

from __future__ import annotations

import numpy as np
import pytest

from signs_lightning.runtime.display import describe_drawn_channels, to_grey_or_rgb


@pytest.mark.parametrize(
    ("channels", "drawn", "sentence"),
    [
        (1, [0], ""),
        (2, [0], "Pictures show the first of the 2 channels, as grey."),
        (3, [0, 1, 2], ""),
        (4, [0, 1, 2], "Pictures show the first 3 of the 4 channels, as red, green and blue."),
        (13, [0, 1, 2], "Pictures show the first 3 of the 13 channels, as red, green and blue."),
    ],
)
def test_channels_that_are_drawn(channels: int, drawn: list[int], sentence: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, channels), dtype=np.uint8)
    np.testing.assert_array_equal(to_grey_or_rgb(images), np.take(images, drawn, axis=-1))
    np.testing.assert_array_equal(to_grey_or_rgb(images[0]), np.take(images[0], drawn, axis=-1))
    assert describe_drawn_channels(channels) == sentence
