"""Loose image files → model input."""

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
from signs_lightning.runtime.file_type import is_hdf5
from signs_lightning.runtime.os_errors import os_reason

SUFFIXES = {
    *(
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".jp2",
        ".tga",
    ),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
}
RUN_PROGRAMS = {"EPS"}  # formats for which Pillow starts another program (Ghostscript): never read
STANDARD_INPUT = "-"


class UnreadableImageError(ValueError):
    """One picture cannot be read; the message says why, and the others go on."""


def find_images(arguments: list[str]) -> list[str]:
    """Files, folders (all pictures below them), patterns and `-` (standard input) → paths, in order, without repetition.

    Raises:
        InputError: an argument names nothing.
    """
    found: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STANDARD_INPUT or path.is_file():
            found.append(argument)
        elif path.is_dir():
            inside = sorted(
                str(p)
                for p in path.rglob("*")
                if p.suffix.lower() in SUFFIXES and not p.name.startswith("._")
            )
            if not inside:
                raise InputError(f"{argument} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
            found += inside
        elif glob.has_magic(argument) and (matches := sorted(glob.glob(argument, recursive=True))):
            found += [match for match in matches if os.path.isfile(match)]
        else:
            raise InputError(f"No such picture or folder: {argument}. Check the path.")
    return list(dict.fromkeys(found))


def read_image(path: str, image_size: tuple[int, int, int]) -> np.ndarray:
    """One picture as the model takes it.

    It is turned as its EXIF orientation says, transparency becomes white, and the largest part of
    the model's aspect ratio is cut out of the middle and scaled.

    Args:
        path: of the file, or `-` for standard input.
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
            warnings.simplefilter("ignore")  # of odd metadata, which matter to nobody here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=_formats()) as opened:
                picture: Image.Image = ImageOps.exif_transpose(opened)
                if opened.mode.startswith("I;16") or (
                    opened.mode == "I" and opened.format == "PNG"
                ):
                    # 16 bits of grey, which Pillow's own conversion clips at 255 instead of scaling
                    # them
                    picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
                if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                    picture = picture.convert("RGBA")
                    picture = Image.alpha_composite(
                        Image.new("RGBA", picture.size, "white"), picture
                    )
                picture = picture.convert("L" if channels == 1 else "RGB")
                picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not a picture in any format that Pillow knows") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("it unpacks to too many pixels") from error
    except Exception as error:
        if (found := os_reason(error)) is not None:
            raise UnreadableImageError(found[0]) from error
        if path != STANDARD_INPUT and is_hdf5(Path(path)):
            raise UnreadableImageError(
                "an HDF5 file, no picture; name a file of images with --data.test_file"
            ) from error
        # A format's reader raises whatever damaged bytes lead it to.
        raise UnreadableImageError(
            f"damaged ({shorten(str(error), 200) or type(error).__name__})"
        ) from error
    return np.asarray(picture).reshape(height, width, channels)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Every format that Pillow reads by itself."""
    Image.init()
    return tuple(name for name in Image.ID if name not in RUN_PROGRAMS)
