"""Images as data URIs, which a page holds in itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image


def data_uri(content: bytes, kind: str = "png") -> str:
    """Return an encoded image as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def image_uri(image: np.ndarray, kind: str = "png", side: int | None = None, **options: Any) -> str:
    """Return an image as a data URI.

    Args:
        image: uint8 (H, W, C) in 0..255, C of 1 or 3.
        kind: "png" or "jpeg".
        side: the largest height and width, pixels; a larger image is made smaller.
        options: of Pillow's encoder.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    if side is not None:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return data_uri(buffer.getvalue(), kind)
