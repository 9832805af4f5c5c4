"""JPEG and PNG files inside an HDF5 file, decoded on all cores."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from signs_lightning.data.encoded_pictures import EncodedPictures
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.data.image_axes import MAX_IMAGE_VALUES
from signs_lightning.data.image_set import ImageSet, translate_read_errors
from signs_lightning.data.picture_headers import read_jpeg_frame, read_picture_header
from signs_lightning.errors import InputError
from signs_lightning.runtime.cores import count_cores
from signs_lightning.runtime.image_files import UnreadableImageError, read_image
from signs_lightning.runtime.resize import resize_array

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
        if len(numbers) == 1:
            return self._decode_row(handle, numbers[0])[None]
        images = np.empty((len(numbers), *self.images.shape[1:]), np.uint8)

        def decode(place: int, row: int) -> None:
            images[place] = self._decode_row(handle, row)

        list(_decoding_threads(os.getpid()).map(decode, range(len(numbers)), numbers))
        return images

    def _decode_row(self, pictures: EncodedPictures, row: int) -> np.ndarray:
        """Return one picture uint8 (H, W, C)."""
        height, width, channels = self.images.shape[1:]
        with translate_read_errors(self.images):
            content = pictures.read(row)
        decoder, frame = self._decode_jpeg, read_jpeg_frame(content)
        if frame is None or frame[2] not in (1, channels):
            decoder = None  # PNG, CMYK, or colour among grey: Pillow, as for loose pictures
        header = read_picture_header(content) if decoder is None else None
        size = frame if header is None else header.size
        if size is None:
            raise self._damage(pictures, row, "neither JPEG nor PNG, or cut off in its header")
        if size[0] * size[1] * 3 > MAX_IMAGE_VALUES:
            pixels = f"{size[0]:,}×{size[1]:,}"
            raise self._damage(pictures, row, f"it claims to have {pixels} pixels")
        try:
            if decoder is None:
                picture = read_image(io.BytesIO(content), (size[0], size[1], channels))
            else:
                encoded = self._torch.frombuffer(bytearray(content), dtype=self._torch.uint8)
                color = "RGB" if channels == 3 else "GRAY"
                decoded = decoder(encoded, color, apply_exif_orientation=True)
                picture = decoded.permute(1, 2, 0).numpy()  # (C, h, w) -> (h, w, C)
        except (RuntimeError, UnreadableImageError) as error:  # RuntimeError is torchvision's
            raise self._damage(pictures, row, str(error).partition("\n")[0][:200]) from error
        if picture.shape[:2] == (height, width):
            return picture
        if self.images.resizing is None:
            raise InputError(
                f"{pictures.describe(row)} has {picture.shape[0]}×{picture.shape[1]} pixels, "
                f"others have {height}×{width}. Name the size to scale them to: "
                f"`--data.image_size {height}` or another."
            )
        return resize_array(picture, (height, width), *self.images.resizing)

    def _damage(self, pictures: EncodedPictures, row: int, reason: str) -> InputError:
        return InputError(
            f"{pictures.describe(row)} is damaged: {reason}. Fetch or write it again."
        )


@cache
def _decoding_threads(process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a fork has none of its parent's."""
    return ThreadPoolExecutor(count_cores(), "decode")


def _find_jpeg_decoder() -> Callable[..., Tensor] | None:
    """Return torchvision's decoder; None where it has none, which it says of later versions."""
    try:
        from torchvision.io import decode_jpeg  # start-up time, as above
    except ImportError:
        return None
    return decode_jpeg
