"""Single pictures, read as a model takes them."""

from __future__ import annotations

import functools
import glob
import io
import os
import sys
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import os_reason
from signs_lightning.runtime.file_signatures import is_hdf5

FORMATS = "png jpg jpeg jpe jfif bmp gif tif tiff webp avif jp2 tga ppm pgm pbm pnm"
SUFFIXES = {f".{name}" for name in FORMATS.split()}
RUN_PROGRAMS = {"EPS"}  # formats for which Pillow starts another program (Ghostscript): never read
STANDARD_INPUT = "-"


class UnreadableImageError(ValueError):
    """A picture cannot be read; the message says why, and others can still be."""


def check_picture_channels(channels: int) -> None:
    """Check that loose pictures can be read for a model that takes images of so many channels.

    Raises:
        InputError: they are neither grey nor RGB.
    """
    if channels not in (1, 3):
        raise InputError(
            f"The model takes images of {channels} channels, and a picture is read as 1 (grey) or "
            "3 (RGB). Use `predict` with --data.test_file and an HDF5 file of such images."
        )


def find_images(arguments: list[str]) -> list[str]:
    """Return the paths that arguments name, in order and without repetition.

    Args:
        arguments: files, folders (all pictures below them), patterns, and `-` for standard input.

    Raises:
        InputError: an argument names nothing.
    """
    paths: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STANDARD_INPUT or path.is_file():
            paths.append(argument)
        elif path.is_dir():
            pictures = sorted(str(p) for p in path.rglob("*") if _is_picture(p))
            if not pictures:
                raise InputError(f"{argument} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
            paths += pictures
        elif glob.has_magic(argument) and (matches := sorted(glob.glob(argument, recursive=True))):
            paths += filter(os.path.isfile, matches)
        else:
            raise InputError(f"No such picture or folder: {argument}. Check the path.")
    return list(dict.fromkeys(paths))


def _is_picture(path: Path) -> bool:
    """Whether a name in a folder says picture; `._` begins macOS's companion files."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def read_image(path: str | BinaryIO, image_size: tuple[int, int, int]) -> np.ndarray:
    """Read one picture as the model takes it.

    It is turned as its EXIF orientation says, transparency becomes white, and the largest part of
    the model's aspect ratio is cut out of the middle and scaled.

    Args:
        path: of the file, `-` for standard input, or an open file.
        image_size: height, width (pixels) and channels of the model, 1 (grey) or 3 (RGB).

    Returns:
        uint8 (H, W, C) in 0..255.

    Raises:
        UnreadableImageError: it is not a picture, cannot be read, is damaged, or unpacks to more
            pixels than Pillow allows.
    """
    height, width, channels = image_size
    source: str | BinaryIO = io.BytesIO(sys.stdin.buffer.read()) if path == STANDARD_INPUT else path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=_formats()) as opened:
                picture = _flatten(opened).convert("L" if channels == 1 else "RGB")
                picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not a picture in any format that Pillow knows") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("it unpacks to too many pixels") from error
    except Exception as error:  # a format's reader raises anything where bytes are damaged
        if (found := os_reason(error)) is not None:
            reason = found[0]
        elif isinstance(path, str) and path != STANDARD_INPUT and is_hdf5(Path(path)):
            reason = "an HDF5 file, no picture; name a file of images with --data.test_file"
        else:
            reason = f"damaged ({shorten(str(error), 200) or type(error).__name__})"
        raise UnreadableImageError(reason) from error
    return np.asarray(picture).reshape(height, width, channels)


def _flatten(opened: Image.Image) -> Image.Image:
    """Return a picture upright, with 8 bits a channel, and without transparency."""
    picture: Image.Image = ImageOps.exif_transpose(opened)
    if opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format == "PNG"):
        # 16 bits of grey, which Pillow's own conversion clips at 255 instead of scaling them
        picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return every format that Pillow reads by itself."""
    Image.init()
    return tuple(name for name in Image.ID if name not in RUN_PROGRAMS)
