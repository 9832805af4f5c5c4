"""Loose pictures become what keras.utils.load_img makes of them, to the bit."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from signs_lightning.runtime.image_files import Differences, describe_differences, read_image

MODES = {  # file type → modes that it holds
    "png": ("RGB", "L", "P", "1"),
    "bmp": ("RGB", "L", "P", "1"),
    "gif": ("RGB", "L", "P"),
    "jpg": ("RGB", "L", "CMYK"),
    "tif": ("RGB", "L", "CMYK", "1"),
    "webp": ("RGB",),
}
METHODS = ("nearest", "bilinear", "bicubic", "lanczos")


def draw_picture(rng: np.random.Generator, mode: str) -> Image.Image:
    """Noise, or blocks of colours."""
    height, width = (int(side) for side in rng.integers(20, 160, 2))
    side = 8 if rng.integers(2) else 300
    blocks = rng.integers(0, 256, (min(side, height), min(side, width), 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)
    return picture.convert(mode)


def test_100_pictures_agree_with_keras(tmp_path: Path) -> None:
    """Sizes, modes, file types, filters and fits at random."""
    rng = np.random.default_rng(16)
    kinds = [(suffix, mode) for suffix, modes in MODES.items() for mode in modes]
    for number in range(100):
        suffix, mode = kinds[number % len(kinds)]
        path = str(tmp_path / f"{number}.{suffix}")
        draw_picture(rng, mode).save(path)
        height, width = (int(side) for side in rng.integers(8, 100, 2))
        channels, crop = int(rng.choice([1, 3])), bool(rng.integers(2))
        method = METHODS[number // len(kinds) % 4]
        expected = keras.utils.load_img(
            path,
            color_mode="grayscale" if channels == 1 else "rgb",
            target_size=(height, width),
            interpolation=method,
            keep_aspect_ratio=crop,
        )
        differences: Differences = {}
        size, fit = (height, width, channels), "crop" if crop else "stretch"
        found = read_image(path, size, method, fit, differences)  # type: ignore[arg-type]
        expected = keras.utils.img_to_array(expected, dtype="uint8")
        np.testing.assert_array_equal(found, expected, err_msg=f"{path} {method} {fit}")
        assert differences == {}


def test_what_keras_does_not_do_is_noted(tmp_path: Path) -> None:
    """And only where it changes a picture: in one line each, with the first path."""
    rng = np.random.default_rng(17)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, plain, deep, clear, opaque = (
        str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.png", "d.png", "e.png")
    )
    draw_picture(rng, "RGB").save(turned, exif=exif)
    exif[0x0112] = 1
    draw_picture(rng, "RGB").save(plain, exif=exif)
    Image.fromarray(rng.integers(0, 2**16, (40, 50), dtype=np.uint16)).save(deep)
    picture = draw_picture(rng, "RGB").convert("RGBA")
    picture.save(opaque)
    picture.putpixel((3, 3), (1, 2, 3, 9))
    picture.save(clear)
    differences: Differences = {}
    differs = {}
    for path in (turned, plain, deep, clear, opaque, turned):
        found = read_image(path, (16, 16, 3), "nearest", "stretch", differences)
        by_keras = keras.utils.load_img(path, target_size=(16, 16), interpolation="nearest")
        differs[path] = not np.array_equal(found, np.asarray(by_keras))
    assert (differs[turned], differs[plain], differs[deep], differs[opaque]) == (1, 0, 1, 0)
    assert describe_differences(differences) == [
        f"2 pictures were turned by EXIF orientation, as Keras does not ({turned}, …).",
        f"1 picture was scaled from 16 bits to 8, where Keras cuts off ({deep}).",
        f"1 picture was put on white where transparent, as Keras does not ({clear}).",
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_that_fits_asks_nothing(channels: int, tmp_path: Path) -> None:
    """Whatever a model remembers."""
    picture = draw_picture(np.random.default_rng(18), "RGB")
    picture.save(tmp_path / "a.png")
    size = (picture.height, picture.width, channels)
    expected = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(size)
    for resize in ("unknown", "legacy", "nearest"):
        found = read_image(str(tmp_path / "a.png"), size, resize, None)
        np.testing.assert_array_equal(found, expected)
