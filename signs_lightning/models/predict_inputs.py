"""What `predict` takes: arrays, tensors and pictures, in either order of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.models.other_inputs import split_inputs
from signs_lightning.models.predict_numbers import (
    as_numbers,
    check_floats,
    is_prepared,
    scale_bytes,
)
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.file_signatures import missing_file_message
from signs_lightning.runtime.image_files import UnreadableImageError
from signs_lightning.runtime.picture_values import read_picture_values
from signs_lightning.runtime.rank_zero_print import rank_zero_print
from signs_lightning.runtime.value_ranges import RunValues, native_dtype

if TYPE_CHECKING:
    from signs_lightning.models.model_with_preprocessing import ImageModel

Size = tuple[int, int, int]  # height, width, channels
# Orders of axes by their number, those of files before PyTorch's.
ORDERS = {2: ("HW",), 3: ("HWC", "CHW", "NHW"), 4: ("NHWC", "NCHW")}


class PredictImages:
    """The images of one call of `predict`, read batch by batch.

    Args:
        model: what they are for.
        given: as of `ImageModel.predict`.
        stored: as of it.

    Attributes:
        answers_tensor: whether they are tensors, so that the answer is one.

    Raises:
        InputError: they are nothing that `predict` takes.
    """

    def __init__(self, model: ImageModel, given: Any, stored: bool = False) -> None:
        self.model, self.stored = model, stored
        self.run = model.run_values or RunValues()
        self.items: Any = None
        if _is_picture(given):
            given = [given]
        if isinstance(given, list | tuple):
            self._check_list(given)
            self.items = given
            self.answers_tensor = all(isinstance(item, Tensor) for item in given)
        else:
            self.answers_tensor = isinstance(given, Tensor)
            values = given if stored else as_numbers(given, "The images are", self.run)
            self.values, self.order = values, "NHWC"
            if not stored:
                is_sized = is_prepared(values, self.run)
                self.values, self.order = arrange(
                    values, model.image_size, "The images have", is_sized
                )

    def _check_list(self, given: Sequence[Any]) -> None:
        if not given:
            raise InputError("The list of images is empty.")
        for number, item in enumerate(given):
            if _is_picture(item):
                continue
            values = as_numbers(item, f"Image {number} of the list is", self.run)
            name, is_sized = f"Image {number} of the list has", is_prepared(values, self.run)
            if len(arrange(values, self.model.image_size, name, is_sized)[0]) != 1:
                raise InputError(
                    f"{name} shape {tuple(values.shape)}, expected one image. Of a batch (images, "
                    "labels), give the images alone."
                )

    def __len__(self) -> int:
        return len(self.values if self.items is None else self.items)

    def batch(self, part: slice) -> Tensor:
        """Return what the network takes, float (n, C, H, W) in 0..1, on the model's device."""
        model = self.model
        if self.stored:
            images = [(torch.as_tensor(self.values[part]), False)]
        elif self.items is None:
            images = [self._to_tensor(self.values[part], self.order)]
        else:
            images = [self._read(item) for item in self.items[part]]
        first, is_ready = images[0]
        if part.start == 0 and first.dtype == torch.uint8 and first.max() == 1:
            rank_zero_print(
                "The images have the values 0 and 1 only, which is all but black in 0..255. If "
                "they mean 0..1, give them as floats, or times 255."
            )
        if len({(image.shape, image.dtype, ready) for image, ready in images}) == 1:
            images = [(torch.cat([image for image, _ in images]), is_ready)]
        found = [(image.to(model.device), ready) for image, ready in images]
        return torch.cat(
            [image.to(model.dtype) if ready else model.preprocess(image) for image, ready in found]
        )

    def _read(self, item: Any) -> tuple[Tensor, bool]:
        """One image of a list → as of `_to_tensor`."""
        if _is_picture(item):
            picture = np.array(read_picture(item, self.model))[None]  # writable
            return torch.from_numpy(picture), False
        values = as_numbers(item, "", self.run)
        is_sized = is_prepared(values, self.run)
        return self._to_tensor(*arrange(values, self.model.image_size, "", is_sized))

    def _to_tensor(self, values: Tensor | np.ndarray, order: str) -> tuple[Tensor, bool]:
        """Return images, and whether they are prepared: float (N, C, H, W) in 0..1.

        Else they are (N, H, W, C) in the numbers that the model was trained on.

        Raises:
            InputError: some are beyond what they should be.
        """
        if isinstance(values, np.ndarray):
            # a copy, because it may be read-only or run backwards, of a kind that PyTorch knows
            values = torch.from_numpy(np.array(values, dtype=native_dtype(values.dtype)))
        is_ready = is_prepared(values, self.run)
        if values.is_floating_point():
            check_floats(values, RunValues((0.0, 1.0), "float32") if is_ready else self.run)
        if values.dtype == torch.uint8 and self.run.dtype != "uint8":
            values = scale_bytes(values, self.run)
        if is_ready:  # (N, H, W, C) -> (N, C, H, W): channels_last in memory
            return values if order == "NCHW" else values.permute(0, 3, 1, 2), True
        # (N, C, H, W) -> (N, H, W, C)
        return values if order == "NHWC" else values.permute(0, 2, 3, 1), False


def read_inputs(
    model: ImageModel, given: Any, stored: bool = False
) -> tuple[PredictImages, list[np.ndarray]]:
    """Return the images that `predict` was given, and the other inputs in the model's order.

    Raises:
        InputError: they are nothing that the model takes.
    """
    name = model.image_input
    if not isinstance(given, Mapping):
        return split_inputs(model, PredictImages(model, given, stored))  # type: ignore[arg-type]
    if name in given:
        given = {**given, name: PredictImages(model, given[name], stored)}
    return split_inputs(model, given)


def read_picture(picture: Any, model: ImageModel) -> np.ndarray:
    """Read a picture's file, or a picture of Pillow, as (H, W, C) of the model's size and numbers.

    Raises:
        InputError: it cannot be read, or is nothing for the model.
    """
    channels = model.image_size[2]
    if channels not in (1, 3):
        raise InputError(
            f"The model takes images of {channels} channels, and a picture is read as 1 (grey) or "
            "3 (RGB). Give an array of shape (N, H, W, C)."
        )
    name = "The picture"
    if not isinstance(picture, Image.Image):
        name, path = printable(str(picture)), Path(picture)
        if path.is_dir():
            raise InputError(f"{name} is a folder. Give a list of the pictures in it.")
        if not path.is_file():
            raise InputError(printable(missing_file_message(path, "picture")))
        picture = str(path.absolute())  # `-` is a name here, and not the standard input
    try:
        run = model.run_values or RunValues()
        return read_picture_values(picture, model.image_size, model.resizing, run)
    except UnreadableImageError as error:
        raise InputError(f"{name} cannot be read: {error}.") from error


def arrange(values: Any, image_size: Size, name: str, is_sized: bool) -> tuple[Any, str]:
    """Return images as (N, H, W, C) or (N, C, H, W), and which of them.

    Args:
        values: one image or several.
        image_size: of the model.
        name: what a message begins with, such as "The images have".
        is_sized: whether they must have the model's height and width.

    Raises:
        InputError: no order of axes makes sense, or more than one.
    """
    order = _find_order(tuple(values.shape), image_size, is_sized, name)
    if "N" not in order:
        values, order = values[None], f"N{order}"
    if "C" not in order:
        values, order = values[..., None], f"{order}C"
    return values, order


def _find_order(shape: tuple[int, ...], image_size: Size, is_sized: bool, name: str) -> str:
    found = f"{name} shape {shape}"
    height, width, channels = image_size
    expected = f"(N, {height}, {width}, {channels}) or (N, {channels}, {height}, {width})"
    sizes = {order: _size(order, shape) for order in ORDERS.get(len(shape), ())}
    fit = [order for order, size in sizes.items() if size == image_size]
    if len(fit) > 1 and channels > 1 and is_sized:
        raise InputError(
            f"{found}, whose axes can be read in two ways. Give uint8 (N, H, W, C) in 0..255."
        )
    if fit:  # bytes in the order of files; of one channel, both orders are the same
        return fit[0]
    fit = [order for order, size in sizes.items() if "C" in order and size[2] == channels]
    fit = [order for order in fit if min(sizes[order]) > 0]
    if not fit:
        raise InputError(f"{found}, expected {expected}.")
    if is_sized:
        h, w, _ = sizes[fit[0]]
        raise InputError(
            f"{found}: {h}×{w} pixels, and the model takes {height}×{width}. Resize them, or give "
            "uint8 in 0..255, which is resized."
        )
    if len(fit) > 1:
        raise InputError(f"{found}, whose axes can be read in two ways. Resize them to {expected}.")
    return fit[0]


def _size(order: str, shape: tuple[int, ...]) -> Size:
    axes = dict(zip(order, shape, strict=True))
    return axes["H"], axes["W"], axes.get("C", 1)


def _is_picture(given: Any) -> bool:
    return isinstance(given, str | Path | Image.Image)
