"""What `predict` takes: arrays, tensors and pictures, in either order of axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.models.other_inputs import split_inputs
from signs_lightning.runtime.escaping import printable, shorten
from signs_lightning.runtime.image_files import UnreadableImageError, read_image
from signs_lightning.runtime.rank_zero_print import rank_zero_print

if TYPE_CHECKING:
    from signs_lightning.models.model_with_preprocessing import ImageModel

Size = tuple[int, int, int]  # height, width, channels
# Orders of axes by their number, those of files before PyTorch's.
ORDERS = {2: ("HW",), 3: ("HWC", "CHW", "NHW"), 4: ("NHWC", "NCHW")}
ROUNDING = 1e-4  # by which floats in 0..1 may be beyond it


class PredictImages:
    """The images of one call of `predict`, read batch by batch.

    Args:
        model: what they are for.
        given: as of `ImageModel.predict`.

    Attributes:
        answers_tensor: whether they are tensors, so that the answer is one.

    Raises:
        InputError: they are nothing that `predict` takes.
    """

    def __init__(self, model: ImageModel, given: Any) -> None:
        self.model = model
        self.items: Any = None
        if _is_picture(given):
            given = [given]
        if isinstance(given, list | tuple):
            self._check_list(given)
            self.items = given
            self.answers_tensor = all(isinstance(item, Tensor) for item in given)
        else:
            self.answers_tensor = isinstance(given, Tensor)
            values = _as_array(given, "The images are")
            self.values, self.order = arrange(values, model.image_size, "The images have")

    def _check_list(self, given: Sequence[Any]) -> None:
        if not given:
            raise InputError("The list of images is empty.")
        for number, item in enumerate(given):
            if _is_picture(item):
                continue
            values = _as_array(item, f"Image {number} of the list is")
            name = f"Image {number} of the list has"
            if len(arrange(values, self.model.image_size, name)[0]) != 1:
                raise InputError(
                    f"{name} shape {tuple(values.shape)}, expected one image. Of a batch (images, "
                    "labels), give the images alone."
                )

    def __len__(self) -> int:
        return len(self.values if self.items is None else self.items)

    def batch(self, part: slice) -> Tensor:
        """Return what the network takes, float (n, C, H, W) in 0..1, on the model's device."""
        model = self.model
        if self.items is None:
            images = [_to_tensor(self.values[part], self.order).to(model.device)]
        else:
            images = [self._read(item).to(model.device) for item in self.items[part]]
        if part.start == 0 and images[0].dtype == torch.uint8 and images[0].max() == 1:
            rank_zero_print(
                "The images have the values 0 and 1 only, which is all but black in 0..255. If "
                "they mean 0..1, give them as floats, or times 255."
            )
        if len({(image.shape, image.dtype) for image in images}) == 1:
            return model.preprocess(torch.cat(images))
        return torch.cat([model.preprocess(image) for image in images])

    def _read(self, item: Any) -> Tensor:
        """One image of a list → what `preprocess` takes."""
        if not _is_picture(item):
            return _to_tensor(*arrange(_as_array(item, ""), self.model.image_size, ""))
        return torch.from_numpy(np.array(read_picture(item, self.model))[None])  # writable


def read_inputs(model: ImageModel, given: Any) -> tuple[PredictImages, list[np.ndarray]]:
    """Return the images that `predict` was given, and the other inputs in the model's order.

    Raises:
        InputError: they are nothing that the model takes.
    """
    name = model.image_input
    if not isinstance(given, Mapping):
        return split_inputs(model, PredictImages(model, given))  # type: ignore[arg-type]
    if name in given:
        given = {**given, name: PredictImages(model, given[name])}
    return split_inputs(model, given)


def read_picture(picture: Any, model: ImageModel) -> np.ndarray:
    """Read a picture's file, or a picture of Pillow, as uint8 (H, W, C) of the model's size.

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
            raise InputError(f"No such picture: {name}. Check the path.")
        picture = str(path.absolute())  # `-` is a name here, and not the standard input
    try:
        return read_image(picture, model.image_size, *model.resizing)
    except UnreadableImageError as error:
        raise InputError(f"{name} cannot be read: {error}.") from error


def arrange(values: Any, image_size: Size, name: str) -> tuple[Any, str]:
    """Return images as (N, H, W, C) or (N, C, H, W), and which of them.

    Args:
        values: uint8 of any height and width, or floats of the model's; one image or several.
        image_size: of the model.
        name: what a message begins with, such as "The images have".

    Raises:
        InputError: no order of axes makes sense, or more than one.
    """
    order = _find_order(tuple(values.shape), image_size, values.dtype, name)
    if "N" not in order:
        values, order = values[None], f"N{order}"
    if "C" not in order:
        values, order = values[..., None], f"{order}C"
    return values, order


def _find_order(shape: tuple[int, ...], image_size: Size, dtype: Any, name: str) -> str:
    found = f"{name} shape {shape}"
    height, width, channels = image_size
    expected = f"(N, {height}, {width}, {channels}) or (N, {channels}, {height}, {width})"
    sizes = {order: _size(order, shape) for order in ORDERS.get(len(shape), ())}
    fit = [order for order, size in sizes.items() if size == image_size]
    is_bytes = str(dtype).endswith("uint8")
    if len(fit) > 1 and channels > 1 and not is_bytes:
        raise InputError(
            f"{found}, whose axes can be read in two ways. Give uint8 (N, H, W, C) in 0..255."
        )
    if fit:  # bytes in the order of files; of one channel, both orders are the same
        return fit[0]
    fit = [order for order, size in sizes.items() if "C" in order and size[2] == channels]
    fit = [order for order in fit if min(sizes[order]) > 0]
    if not fit:
        raise InputError(f"{found}, expected {expected}.")
    if not is_bytes:
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


def _as_array(given: Any, name: str) -> Tensor | np.ndarray:
    """Return an array or tensor of bytes or floats."""
    if not isinstance(given, Tensor | np.ndarray):
        if not hasattr(given, "__array__"):  # of JAX, TensorFlow, h5py
            raise InputError(
                f"{name} of the type {type(given).__name__}, expected an array, a tensor, a "
                "picture, its path, or a list of these. A data set goes to Trainer.predict."
            )
        given = np.asarray(given)
    kind = str(given.dtype).removeprefix("torch.")
    is_float = given.is_floating_point() if isinstance(given, Tensor) else given.dtype.kind == "f"
    if not is_float and kind != "uint8":
        way = "Give an array of images or paths as a list."
        if kind == "bool":
            way = "Convert truth values to floats."
        elif "int" in kind:
            way = "Convert whole numbers in 0..255 to uint8."
        raise InputError(
            f"{name} {shorten(kind)}, expected uint8 in 0..255 or floats in 0..1. {way}"
        )
    return given


def _to_tensor(values: Tensor | np.ndarray, order: str) -> Tensor:
    """Return uint8 (N, H, W, C), or float (N, C, H, W) in 0..1: what `preprocess` takes.

    Raises:
        InputError: floats are beyond 0..1.
    """
    if isinstance(values, np.ndarray):
        # a copy, because it may be read-only or run backwards, of a kind that PyTorch knows
        kind = values.dtype.newbyteorder("=") if values.dtype.itemsize <= 8 else np.float64
        values = torch.from_numpy(np.array(values, dtype=kind))
    if values.dtype == torch.uint8:
        # (N, C, H, W) -> (N, H, W, C)
        return values if order == "NHWC" else values.permute(0, 2, 3, 1)
    if values.numel():
        low, high = (value.item() for value in values.aminmax())
        if math.isnan(low):
            raise InputError("The images hold values that are no numbers (NaN), expected 0 to 1.")
        if not -ROUNDING <= low <= high <= 1 + ROUNDING:
            raise InputError(
                f"The images are floats from {low:g} to {high:g}, expected 0 to 1. Divide values "
                "in 0..255 by 255, or give them as uint8."
            )
    # (N, H, W, C) -> (N, C, H, W): channels_last in memory
    return values if order == "NCHW" else values.permute(0, 3, 1, 2)


def _is_picture(given: Any) -> bool:
    return isinstance(given, str | Path | Image.Image)
