"""Images with labels, checked: what is read, and what messages call it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from signs_lightning.data.hdf5_opening import DAMAGE
from signs_lightning.data.value_range import Values
from signs_lightning.errors import InputError
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.resize_options import Fit, Resize


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, checked.

    Attributes:
        name: what messages call it: the file's path, or "the arrays".
        shape: N, height, width (pixels), channels, as the model sees them.
        values: what the numbers are, and how they are given.
        labels: int64 (N,) in 0..K-1, or the rows of floats of `read_task_labels`.
        class_names: the K names where they are known, else None; of columns where labels are rows.
        num_classes: K; without names, one more than the largest label.
        path: the HDF5 file, None for arrays.
        images_key: the dataset inside it.
        array: the images themselves when they came as an array (N, H, W, C).
        note: what to tell the user about the values, or an empty string.
        axes: what the stored axes are, one letter each: "NHWC", "NCHW", "NHW" (one channel), "NCWH"
            (MATLAB's order), "HWCN" and so on. Images in flat rows (N, D) have the axes that a row
            unfolds to, such as "NCHW".
        is_encoded: whether each image is a picture file's bytes (JPEG or PNG); `images_key` is then
            a dataset of N of them, or the group of N datasets.
        layout: where things were found, such as "images X_train, labels y_train".
        other_roles: the roles of other images in the file.
        follow_links: whether the images may lie in any other files that the file leads to.
        is_one_hot: whether the labels are rows of K values, which tell K.
        words: the labels as the file has them, object (N,) of str, where they are words, or names
            of folders.
        resizing: method and fit by which encoded pictures are brought to `shape`; None where all of
            them must have it.
    """

    name: str
    shape: tuple[int, int, int, int]
    values: Values
    labels: np.ndarray = field(repr=False)
    class_names: list[str] | None
    num_classes: int
    path: Path | None = None
    images_key: str = ""
    array: np.ndarray | None = field(default=None, repr=False)
    note: str = ""
    axes: str = "NHWC"
    is_encoded: bool = False
    layout: str = ""
    other_roles: tuple[str, ...] = ()
    follow_links: bool = False
    is_one_hot: bool = False
    words: np.ndarray | None = field(default=None, repr=False)
    resizing: tuple[Resize, Fit] | None = None

    @property
    def image_bytes(self) -> int:
        """Bytes of one image, as it is stored or as it is given, whichever are more."""
        return math.prod(self.shape[1:]) * max(self.values.dtype.itemsize, self.dtype.itemsize)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the images as they are given."""
        return self.values.given_dtype

    def as_bytes(self) -> ImageSet:
        """Return the images as bytes to look at, from smallest to largest where nothing tells."""
        values = self.values
        if values.are_bytes:
            return self
        meaning = values.meaning or (values.low, max(values.high, values.low + 1))
        return replace(self, values=replace(values, meaning=meaning, given="bytes"))


@contextmanager
def translate_read_errors(images: ImageSet) -> Iterator[None]:
    """Raise an `InputError` for bytes that cannot be read or unpacked."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        raise os_error_message(error, images.name) or damaged_data_error(images, error) from error


def damaged_data_error(images: ImageSet, reason: object) -> InputError:
    """Return the error for images whose bytes cannot be read."""
    return InputError(
        f"'{images.images_key}' in {images.name} is damaged: {reason}. Fetch or write it again."
    )
