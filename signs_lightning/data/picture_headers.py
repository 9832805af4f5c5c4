"""What JPEG and PNG files say of themselves before they are decoded."""

from __future__ import annotations

import io
import struct

from PIL import ExifTags
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from signs_lightning.runtime.image_files import SIDEWAYS, ImageHeader

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
NO_FRAMES = (0xC4, 0xC8, 0xCC)  # among JPEG's markers from 0xC0 to 0xCF


def read_picture_header(content: bytes) -> ImageHeader | None:
    """Return what a picture says of itself; None for no JPEG or PNG file."""
    open_header = PngImageFile if content.startswith(SIGNATURES[1]) else JpegImageFile
    try:
        with open_header(io.BytesIO(content)) as picture:
            is_turned = picture.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
            size = picture.size if is_turned else picture.size[::-1]
            return ImageHeader(str(picture.format), picture.mode, size)
    except Exception:  # Pillow raises anything where bytes are damaged
        return None


def read_jpeg_frame(content: bytes) -> tuple[int, int, int] | None:
    """Return height, width (pixels, as stored) and channels of a JPEG file, else None.

    It takes a tenth of the time of `read_picture_header`, and is done for every picture.
    """
    position = 2
    while content[:2] == b"\xff\xd8" and position + 10 <= len(content):
        start, marker, length = struct.unpack_from(">BBH", content, position)
        if start != 0xFF:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAMES:
            return struct.unpack_from(">HHB", content, position + 5)
        position += 1 if marker == 0xFF else 2 + length  # 0xFF fills
    return None
