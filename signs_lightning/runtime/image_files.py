"""Single pictures, read as a model takes them."""

from __future__ import annotations

import functools
import glob
import io
import math
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import printable, shorten
from signs_lightning.runtime.file_read_errors import os_reason
from signs_lightning.runtime.file_signatures import is_hdf5, missing_file_message
from signs_lightning.runtime.resize import resize_array
from signs_lightning.runtime.resize_options import (
    DEFAULT_FIT,
    DEFAULT_RESIZE,
    Fit,
    RememberedResize,
    unknown_resize,
)
from signs_lightning.runtime.warning_filters import NO_WARNINGS

FORMATS = "png jpg jpeg jpe jfif bmp gif tif tiff webp avif heic heif hif jp2 tga ppm pgm pbm pnm"
SUFFIXES = {f".{name}" for name in FORMATS.split()}
RUN_PROGRAMS = {"EPS"}  # formats for which Pillow starts another program (Ghostscript): never read
STUBS = {"BUFR", "GRIB", "HDF5", "WMF"}  # that Pillow knows by name only
STANDARD_INPUT = "-"
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1"}
ANIMATIONS = {"GIF", "WEBP", "PNG", "AVIF", "FLI"}  # others have pages, of which the first is read
SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap the sides
TURNED, SCALED, WHITENED = DIFFERENCES = (  # from what Keras makes of the same picture
    "turned by EXIF orientation, as Keras does not",
    "scaled from 16 bits to 8, where Keras cuts off",
    "put on white where transparent, as Keras does not",
)
Differences = dict[str, list[str]]  # one of `DIFFERENCES` → paths


class UnreadableImageError(ValueError):
    """A picture cannot be read; the message says why, and others can still be.

    Attributes:
        kind: "damaged", "animated", "HEIC", "unknown", "not readable" or "of another range".
    """

    def __init__(self, message: str, kind: str = "damaged") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class ImageHeader:
    """What a picture says of itself before it is unpacked.

    Attributes:
        format: as Pillow calls it, such as "JPEG".
        mode: as Pillow calls it, such as "RGB" or "I;16".
        size: height and width (pixels), upright.
    """

    format: str
    mode: str
    size: tuple[int, int]

    @property
    def is_grey(self) -> bool:
        """Whether one channel holds all that the picture shows."""
        return self.mode in ("1", "L", "LA", "I", "F") or self.mode.startswith("I;16")


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
            if not (pictures := sorted(str(p) for p in path.rglob("*") if is_picture(p))):
                raise InputError(f"{argument} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
            paths += pictures
        elif not glob.has_magic(argument):
            raise InputError(missing_file_message(path, "picture or folder"))
        elif matches := sorted(glob.glob(argument, recursive=True)):
            paths += filter(os.path.isfile, matches)
        else:
            raise InputError(f"No picture matches {argument}. Check the pattern.")
    return list(dict.fromkeys(paths))


def is_picture(path: Path) -> bool:
    """Whether a name in a folder says picture; `._` begins macOS's companion files."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def read_image(
    path: str | BinaryIO | Image.Image,
    image_size: tuple[int, int, int],
    resize: RememberedResize = DEFAULT_RESIZE,
    fit: Fit | None = DEFAULT_FIT,
    differences: Differences | None = None,
) -> np.ndarray:
    """Read one picture as the model takes it.

    It is turned as its EXIF orientation says, 16 bits are scaled to 8, transparency becomes white;
    all else is as `keras.utils.load_img` does it.

    Args:
        path: of the file, `-` for standard input; or an open file, or a picture of Pillow.
        image_size: height, width (pixels) and channels of the model, 1 (grey) or 3 (RGB).
        resize: how a picture of another size is resized, see `resize_images`.
        fit: what becomes of another aspect ratio, see there; None where a model does not know.
        differences: takes the path where Keras would have made another picture of it.

    Returns:
        uint8 (H, W, C) in 0..255.

    Raises:
        InputError: the picture is of another size, and nothing tells how to resize it.
        UnreadableImageError: it is not a picture, cannot be read, is damaged, or unpacks to more
            pixels than Pillow allows.
    """
    height, width, channels = image_size
    name = path if isinstance(path, str) else STANDARD_INPUT
    with open_picture(path) as opened:
        picture, changes = _flatten(opened)
        picture = picture.convert("L" if channels == 1 else "RGB")
    if differences is not None:
        for change in changes:
            differences.setdefault(change, []).append(name)
    if resize == "legacy":
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    image = np.asarray(picture).reshape(picture.height, picture.width, channels)
    if image.shape[:2] == (height, width):
        return image
    if resize == "legacy" or resize == "unknown" or fit is None:
        size = f"{printable(name)} has {picture.width}×{picture.height} pixels"
        raise unknown_resize(f"{size}, the model takes {width}×{height}")
    return resize_array(image, (height, width), resize, fit)


def describe_differences(differences: Differences) -> list[str]:
    """Return a line for each way in which pictures differ from those that Keras reads."""
    lines = []
    for difference, paths in differences.items():
        count, more = len(paths), ", …" if len(paths) > 1 else ""
        pictures = "1 picture was" if count == 1 else f"{count:,} pictures were"
        lines.append(f"{pictures} {difference} ({printable(paths[0])}{more}).")
    return lines


def _flatten(opened: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return a picture upright, with 8 bits a channel, without transparency, and what was done."""
    changes = []
    picture: Image.Image = ImageOps.exif_transpose(opened)
    if opened.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        changes.append(TURNED)
    is_16_bit = opened.mode.startswith("I;16") or opened.format in ("PNG", "PPM")
    if opened.mode.startswith("I") and is_16_bit:
        # 16 bits of grey, which Pillow's own conversion clips at 255 instead of scaling them
        picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
        changes.append(SCALED)
    elif opened.mode in ("I", "F"):
        values = np.asarray(picture)
        low, high = float(values.min()), float(values.max())
        if not 0 <= low <= high <= 255 or (opened.mode == "F" and 0 < high <= 1):
            raise UnreadableImageError(
                f"a picture of values from {low:g} to {high:g}, expected 0 to 255; save it with 8 "
                "or 16 bits",
                "of another range",
            )
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if np.asarray(picture.getchannel("A")).min() < 255:
            changes.append(WHITENED)
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture, changes


def read_header(path: str) -> ImageHeader:
    """Read what a picture says of itself, without unpacking it.

    Args:
        path: of the file.

    Raises:
        UnreadableImageError: it is not a picture, is animated, or its header cannot be read.
    """
    with open_picture(path) as opened:
        frames = getattr(opened, "n_frames", 1) if opened.format in ANIMATIONS else 1
        if frames > 1:
            raise UnreadableImageError(f"animated ({frames} frames)", "animated")
        # A PNG's own method would unpack it, to look for EXIF after the pixels.
        is_turned = Image.Image.getexif(opened).get(ExifTags.Base.Orientation) in SIDEWAYS
        size = (opened.width, opened.height) if is_turned else opened.size[::-1]
        return ImageHeader(str(opened.format), opened.mode, size)


@contextmanager
def open_picture(path: str | BinaryIO | Image.Image) -> Iterator[Image.Image]:
    """Open a picture; whatever is wrong with it is an `UnreadableImageError`."""
    try:
        with NO_WARNINGS, _opened(path) as opened:
            if opened.width * opened.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            yield opened
    except Exception as error:  # a format's reader raises anything where bytes are damaged
        raise _explain(error, path if isinstance(path, str) else STANDARD_INPUT) from error


def _opened(path: str | BinaryIO | Image.Image) -> AbstractContextManager[Image.Image]:
    if isinstance(path, Image.Image):
        return nullcontext(path)  # not ours to close
    source = io.BytesIO(sys.stdin.buffer.read()) if path == STANDARD_INPUT else path
    _load_heic_plugin(source)
    return Image.open(source, formats=_formats())


def _explain(error: Exception, path: str) -> UnreadableImageError:
    """Return why a picture cannot be read, from what its reader raised."""
    if isinstance(error, UnreadableImageError):
        return error
    if isinstance(error, UnidentifiedImageError):
        if path != STANDARD_INPUT and is_hdf5(Path(path)):
            reason = "an HDF5 file, no picture; name a file of images with --data.test_file"
            return UnreadableImageError(reason, "unknown")
        has_name = path == STANDARD_INPUT or Path(path).suffix.lower() in SUFFIXES
        kind = "damaged" if has_name else "unknown"
        return UnreadableImageError("not a picture in any format that Pillow knows", kind)
    if isinstance(error, Image.DecompressionBombError):
        return UnreadableImageError("it unpacks to too many pixels")
    if (found := os_reason(error)) is not None:
        return UnreadableImageError(found[0], "not readable")
    return UnreadableImageError(f"damaged ({shorten(str(error), 200) or type(error).__name__})")


def _load_heic_plugin(source: str | BinaryIO) -> None:
    """Let Pillow read HEIC pictures, once one is met.

    Raises:
        UnreadableImageError: the picture is one, and the plugin is not installed.
    """
    try:
        if isinstance(source, str):
            with open(source, "rb") as file:
                head = file.read(32)
        else:
            head = source.read(32)
            source.seek(0)
    except OSError:  # reported where the picture is read
        return
    is_heic = head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS and b"avif" not in head
    if not is_heic or "HEIF" in _formats():
        return
    try:
        import pillow_heif  # optional: the extra `heic`
    except ImportError as error:
        message = "a HEIC picture, which needs `pip install pillow-heif`"
        raise UnreadableImageError(message, "HEIC") from error
    pillow_heif.register_heif_opener()
    _formats.cache_clear()


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return every format that Pillow reads by itself, HEIC before AVIF."""
    Image.init()
    names = (name for name in Image.ID if name not in RUN_PROGRAMS | STUBS)
    return tuple(sorted(names, key=lambda name: name != "HEIF"))
