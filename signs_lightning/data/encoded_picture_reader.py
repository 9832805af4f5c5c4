"""JPEG and PNG files inside an HDF5 file, decoded on all cores."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from signs_lightning.data.encoded_pictures import EncodedPictures, read_picture_header
from signs_lightning.data.hdf5_image_set import ImageSet, translate_read_errors
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.data.image_axes import MAX_IMAGE_VALUES
from signs_lightning.data.image_files import UnreadableImageError, read_image
from signs_lightning.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class EncodedPictureReader:
    """Any pictures of an encoded set as uint8 (n, H, W, C) in 0..255. Safe in several threads.

    Args:
        images: the set; its shape is what pictures are decoded to.
    """

    def __init__(self, images: ImageSet) -> None:
        import torch  # start-up time: `inspect` of other files does without

        self.images, self._torch = images, torch
        self._decode_jpeg = _find_jpeg_decoder()

    def open(self) -> EncodedPictures:
        assert self.images.path is not None
        return EncodedPictures(
            self.images.path, open_read_only(self.images.path), self.images.images_key
        )

    def read(self, handle: EncodedPictures, rows: slice | np.ndarray) -> np.ndarray:
        numbers = range(rows.start, rows.stop) if isinstance(rows, slice) else rows.tolist()
        images = np.empty((len(numbers), *self.images.shape[1:]), np.uint8)

        def decode(place: int, row: int) -> None:
            images[place] = self._decode_row(handle, row)

        if len(numbers) == 1:
            decode(0, numbers[0])
        else:
            list(_decoding_threads(os.getpid()).map(decode, range(len(numbers)), numbers))
        return images

    def _decode_row(self, pictures: EncodedPictures, row: int) -> np.ndarray:
        """Return one picture uint8 (H, W, C)."""
        height, width = self.images.shape[1:3]
        with translate_read_errors(self.images):
            content = pictures.read(row)
        header = read_picture_header(content)
        if header is None:
            raise self._damage(pictures, row, "neither JPEG nor PNG, or cut off in its header")
        if header[0] * header[1] * 3 > MAX_IMAGE_VALUES:
            raise self._damage(
                pictures, row, f"it claims to have {header[0]:,}×{header[1]:,} pixels"
            )
        if header[:2] != (height, width) and self.images.resizing is None:
            raise InputError(
                f"{pictures.describe(row)} has {header[0]}×{header[1]} pixels, others have "
                f"{height}×{width}. Name the size to scale them to: `--data.image_size {height}` "
                "or another."
            )
        try:
            picture = self._decode(content, header)
        except (RuntimeError, UnreadableImageError) as error:  # RuntimeError is torchvision's
            raise self._damage(pictures, row, str(error).partition("\n")[0][:200]) from error
        if picture.shape[:2] != (height, width):
            picture = _resize(picture, (height, width))
        return picture

    def _decode(self, content: bytes, header: tuple[int, int, str]) -> np.ndarray:
        """Return a picture upright, uint8 (h, w, C).

        What is no common JPEG file (PNG, CMYK) is read as a loose picture is, by Pillow.
        """
        height, width, mode = header
        channels = self.images.shape[3]
        if self._decode_jpeg is None or content[0] != 0xFF or mode not in ("L", "RGB"):
            return read_image(io.BytesIO(content), (height, width, channels))
        encoded = self._torch.frombuffer(bytearray(content), dtype=self._torch.uint8)
        color = "RGB" if channels == 3 else "GRAY"
        # (C, h, w) -> (h, w, C)
        return (
            self._decode_jpeg(encoded, color, apply_exif_orientation=True).permute(1, 2, 0).numpy()
        )

    def _damage(self, pictures: EncodedPictures, row: int, reason: str) -> InputError:
        return InputError(
            f"{pictures.describe(row)} is damaged: {reason}. Fetch or write it again."
        )


@cache
def _decoding_threads(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a fork has none of its parent's."""
    return ThreadPoolExecutor(_count_cores(), "decode")


def _find_jpeg_decoder() -> Callable[..., Tensor] | None:
    """Return torchvision's decoder; None where it has none, which it says of later versions."""
    try:
        from torchvision.io import decode_jpeg  # start-up time, as above
    except ImportError:
        return None
    return decode_jpeg


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the middle of a picture (h, w, C) at a height and width."""
    channels = picture.shape[2]
    opened = Image.fromarray(picture if channels == 3 else picture[..., 0])
    resized = ImageOps.fit(opened, size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(*size, channels)


def _count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
