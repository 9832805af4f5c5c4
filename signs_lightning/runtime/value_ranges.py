"""What the numbers of stored images mean: which is black (0), which is white (1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

if TYPE_CHECKING:
    from torch import Tensor

Range = tuple[float, float]  # the numbers that are black and white
BYTES: Range = (0.0, 255.0)
# Ranges in which a picture is usually stored, so that one of them means what another does.
PLAIN_RANGES: tuple[Range, ...] = (BYTES, (0.0, 1.0), (-1.0, 1.0))


class RunValues(NamedTuple):
    """The numbers that a model is trained on.

    Attributes:
        range: those that are black and white; or "legacy", of models whose images were all rounded
            to bytes.
        dtype: of the training images, such as "uint8" or "int16".
    """

    range: Range | Literal["legacy"] = BYTES
    dtype: str = "uint8"

    @classmethod
    def remembered(cls, arguments: Mapping[str, Any]) -> RunValues | None:
        """Return what a model's arguments value_range and value_type say, None where nothing.

        Raises:
            InputError: value_range is neither "legacy" nor two numbers.
        """
        found = arguments.get("value_range")
        if found is None:
            return None
        numbers: Any = "legacy" if found == "legacy" else parse_range(found)
        if numbers == "minmax":  # which a run's data have told
            raise InputError("A model's value_range is minmax, expected two numbers.")
        return cls(numbers, arguments.get("value_type") or "uint8")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a model that say so, as plain values."""
        numbers = self.range if self.range == "legacy" else list(self.range)
        return {"value_range": numbers, "value_type": self.dtype}

    @property
    def numbers(self) -> Range:
        """The numbers that are black and white, as the network's images have them."""
        return BYTES if self.range == "legacy" else self.range

    @property
    def are_bytes(self) -> bool:
        """Whether it takes bytes, of which 0 is black and 255 white."""
        return self.dtype == "uint8" and self.numbers == BYTES

    def __str__(self) -> str:
        return f"{self.dtype} of {range_text(self.numbers)}"


def parse_range(value: Any) -> Range | Literal["minmax"] | None:
    """Return the option `value_range`: LOW,HIGH as a text or two numbers, or "minmax".

    Raises:
        InputError: it is neither.
    """
    if value is None or value == "minmax":
        return value
    parts = value.split(",") if isinstance(value, str) else value
    try:
        low, high = map(float, parts)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise InputError(
            f"value_range is {shorten(str(value))}, expected the numbers of black and white, the "
            "smaller one first, such as `--data.value_range=0,4095`; or minmax."
        )
    return low, high


def number_text(value: float) -> str:
    """Return a number as it would be typed: 4095, -0.5."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def range_text(values: Range) -> str:
    """Return a range in words: "0..4095"."""
    low, high = map(number_text, values)
    return f"{low}..{high}"


def range_option(values: Range) -> str:
    """Return the option that says that numbers have this range."""
    return f"--data.value_range={','.join(map(number_text, values))}"


def scale_to_unit(images: Tensor, values: Range) -> Tensor:
    """Return stored numbers as 0 for black and 1 for white, without cutting off those beyond.

    Args:
        images: of any dtype and shape.
        values: the numbers of black and white.

    Returns:
        float32 of the same shape; numbers that float32 does not hold are subtracted in float64.
    """
    import torch  # start-up: readers of files need none

    is_wide = images.dtype in (torch.float64, torch.int32, torch.int64)
    low, high = values
    numbers = images.to(torch.float64 if is_wide else torch.float32)
    return ((numbers - low) / (high - low)).float()


def to_bytes(images: np.ndarray, values: Range) -> np.ndarray:
    """Return stored numbers as uint8, to be looked at; those beyond black and white are cut off."""
    if images.dtype == np.uint8 and values == BYTES:
        return images
    low, high = values
    unit = (images.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def native_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype in which numbers of a file come to PyTorch, of this machine's byte order."""
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    if dtype.kind == "u" and dtype.itemsize > 2:  # which PyTorch can hardly do anything with
        return np.dtype(np.int64)
    return dtype.newbyteorder("=")
