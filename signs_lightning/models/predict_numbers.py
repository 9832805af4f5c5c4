"""The numbers of arrays that `predict` takes: bytes, floats in 0..1, or as in training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.rank_zero_print import rank_zero_print
from signs_lightning.runtime.value_ranges import (
    BYTES,
    PLAIN_RANGES,
    RunValues,
    number_text,
)

ROUNDING = 1e-4  # by which floats in 0..1 may be beyond it


def as_numbers(given: Any, name: str, run: RunValues) -> Tensor | np.ndarray:
    """Return an array or tensor of bytes, floats, or whole numbers that a model was trained on.

    Args:
        given: an array or tensor.
        name: what a message begins with, such as "The images are".
        run: the numbers that the model was trained on.

    Raises:
        InputError: it is neither, or nothing tells what its numbers mean.
    """
    if not isinstance(given, Tensor | np.ndarray):
        if not hasattr(given, "__array__"):  # of JAX, TensorFlow, h5py
            raise InputError(
                f"{name} of the type {type(given).__name__}, expected an array, a tensor, a "
                "picture, its path, or a list of these. A data set goes to Trainer.predict."
            )
        given = np.asarray(given)
    kind = _kind(given)
    if kind == "uint8" and run.dtype != "uint8":
        check_bytes_mean_something(f"{name} bytes", run)
    is_whole = "int" in kind and kind != "uint8"
    if kind == "uint8" or "float" in kind or (is_whole and _are_whole(run)):
        return given
    if run.dtype != "uint8":
        raise InputError(
            f"{name} {shorten(kind)}, and the model was trained on {run}. Convert them."
        )
    way = "Give an array of images or paths as a list."
    if kind == "bool":
        way = "Convert truth values to floats."
    elif is_whole:
        way = "Convert whole numbers in 0..255 to uint8."
    raise InputError(f"{name} {shorten(kind)}, expected uint8 in 0..255 or floats in 0..1. {way}")


def check_bytes_mean_something(found: str, run: RunValues) -> None:
    """Check that bytes can be given to a model that was trained on other numbers.

    Raises:
        InputError: nothing tells which of its numbers is white.
    """
    if run.numbers not in PLAIN_RANGES:
        raise InputError(
            f"{found}, and the model was trained on {run}, which tells nothing of bytes. Give it "
            "such numbers."
        )


def is_prepared(values: Tensor | np.ndarray, run: RunValues) -> bool:
    """Whether images are floats in 0..1 for a model that was trained on no floats."""
    return "float" in _kind(values) and "float" not in run.dtype


def check_floats(values: Tensor, run: RunValues) -> None:
    """Check that floats are in the range that they should have.

    Args:
        values: of any shape.
        run: the numbers that they should be.

    Raises:
        InputError: they are not. Of a range that is no usual one a line says so.
    """
    if not values.numel():
        return
    low, high = (value.item() for value in values.aminmax())
    black, white = run.numbers
    expected = f"{number_text(black)} to {number_text(white)}"
    if math.isnan(low):
        raise InputError(f"The images hold values that are no numbers (NaN), expected {expected}.")
    if run.numbers == BYTES and 0 <= low <= high <= 1:
        raise InputError(
            f"The images are floats from {low:g} to {high:g}, which is all but black in 0..255. "
            "If they mean 0..1, give them times 255."
        )
    slack = ROUNDING * (white - black)
    if black - slack <= low <= high <= white + slack:
        return
    found = f"The images are floats from {low:g} to {high:g}"
    if run.numbers == (0, 1):
        raise InputError(
            f"{found}, expected {expected}. Divide values in 0..255 by 255, or give them as uint8."
        )
    if run.numbers in PLAIN_RANGES:
        raise InputError(f"{found}, expected {expected} as in training. Rescale them.")
    rank_zero_print(f"{found}, beyond {expected} of the training files.")


def scale_bytes(values: Tensor, run: RunValues) -> Tensor:
    """Return bytes as float32 in the numbers of a model that was trained on others."""
    black, white = run.numbers
    return values.float().mul_((white - black) / 255).add_(black)


def _kind(values: Tensor | np.ndarray) -> str:
    if isinstance(values, np.ndarray):
        return str(values.dtype.newbyteorder("="))
    return str(values.dtype).removeprefix("torch.")


def _are_whole(run: RunValues) -> bool:
    """Whether a model was trained on whole numbers other than bytes."""
    return run.dtype != "uint8" and "int" in run.dtype
