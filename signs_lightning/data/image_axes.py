"""Which axis of stored images is which: channels first or last, MATLAB's order, flat rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import format_shape

MAX_CHANNELS = 16
MIN_SIDE = 4  # pixels: an axis shorter than that is none of height and width, if it can be channels
MAX_IMAGE_VALUES = 2**27  # of one image, such as 6,600×6,600 RGB
MATLAB = b"MATLAB 7.3"
AXES = "--data.axes"


def is_matlab(path: Path) -> bool:
    """Whether MATLAB wrote an HDF5 file, which its first bytes say."""
    with path.open("rb") as file:
        return file.read(len(MATLAB)) == MATLAB


def find_axes(
    where: str,
    shape: tuple[int, ...] | None,
    axes: str | None = None,
    row_shape: Sequence[int] | None = None,
    is_matlab: bool = False,
    count: int | None = None,
) -> tuple[str, tuple[int, int, int, int]]:
    """Return what the stored axes of images are, and the images' shape.

    Args:
        where: what messages call the images.
        shape: of the dataset or array; None for HDF5's dataset without any value.
        axes: of one image as the user names them, such as "H,W,C" or "C,H,W" (N comes first, unless
            it is named, too); found by the shape when None.
        row_shape: height and width (pixels) of images in flat rows; square when None.
        is_matlab: whether MATLAB wrote the file, which reverses all axes.
        count: number of labels, where it is known.

    Returns:
        One letter for each axis, such as "NCHW" (of flat rows, that a row unfolds to), and N, H, W,
        C.

    Raises:
        InputError: they are no images, too large ones, or of a shape that several readings fit.
    """
    if shape is None or len(shape) not in (2, 3, 4):
        found = f"has shape {format_shape(shape)}" if shape else "is a single value"
        found = "is an empty dataset" if shape is None else found
        raise InputError(f"{where} {found}, expected images (N, height, width, channels).")
    if 0 in shape:
        raise InputError(
            f"{where} holds zero images (shape {format_shape(shape)}), expected at least one."
        )
    letters = _named_axes(axes) if axes is not None else None
    is_last = count is not None and shape[0] != count == shape[-1] > MAX_CHANNELS
    if is_matlab and letters is None and len(shape) == 3 and shape[0] == shape[-1] == count:
        raise InputError(
            f"{where} has shape {format_shape(shape)}, and MATLAB may count the images along the "
            f"first axis or the last. Add `{AXES} N,W,H` or `{AXES} W,H,N`."
        )
    if len(shape) == 2:
        letters, shape = _unfold(where, shape, letters, row_shape, is_last)
    elif letters is None:
        letters = _guess(where, shape, is_matlab, is_last)
    elif "N" not in letters:
        letters = f"{letters}N" if is_last else f"N{letters}"
    if len(letters) != len(shape):
        raise InputError(
            f"{AXES} names {len(letters) - 1} axes of an image, {where} has {len(shape) - 1} "
            f"(shape {format_shape(shape)}). Drop it, or name them all."
        )
    sizes = dict(zip(letters, shape, strict=True))
    n, height, width, channels = (sizes.get(letter, 1) for letter in "NHWC")
    if channels > MAX_CHANNELS:
        todo = f"Name the axes of an image in their order, such as `{AXES} C,H,W`"
        if min(height, width) > MAX_CHANNELS:  # no order of the axes would do
            todo = "Keep some of them"
        raise InputError(
            f"{where} has images of {channels} channels (shape {format_shape(shape)}), expected 1 "
            f"to {MAX_CHANNELS}. {todo}."
        )
    if height * width * channels > MAX_IMAGE_VALUES:
        raise InputError(
            f"{where} claims to hold images of {height:,}×{width:,} pixels, which cannot be read. "
            "Scale them down."
        )
    return letters, (n, height, width, channels)


def _named_axes(axes: str) -> str:
    """Return `H,W,C` as letters.

    Raises:
        InputError: these are no axes.
    """
    letters = "".join(axes.upper().replace(",", " ").split())
    if sorted(letters.replace("N", "", 1)) not in (sorted("HW"), sorted("HWC")):
        raise InputError(
            f"{AXES} is {axes}, expected the axes of an image in their order, such as H,W,C or "
            "C,H,W."
        )
    return letters


def _unfold(
    where: str,
    shape: tuple[int, ...],
    letters: str | None,
    row_shape: Sequence[int] | None,
    is_last: bool,
) -> tuple[str, tuple[int, ...]]:
    """Return the axes and the shape that flat rows (N, D) unfold to."""
    count, length = shape[::-1] if is_last else shape
    flat = f"{where} has flat rows of {length:,} values (shape {format_shape(shape)})"
    side, color_side = math.isqrt(length), math.isqrt(length // 3)
    if letters is None:
        ways = [f"`{AXES} H,W`"] if side * side == length else []
        if 3 * color_side**2 == length:
            ways += [f"`{AXES} H,W,C`", f"`{AXES} C,H,W`"]
        ways = ways or [f"`{AXES} H,W --data.row_shape HEIGHT,WIDTH`"]
        raise InputError(f"{flat}. Say how an image lies in a row with {' or '.join(ways)}.")
    channels = 3 if "C" in letters else 1
    side = side if channels == 1 else color_side
    height, width = row_shape or (side, side)
    if height * width * channels != length:
        found = f"no {height}×{width} image" if row_shape else "no square image"
        colors = "three channels" if channels == 3 else "one channel"
        raise InputError(
            f"{flat}, which is {found} of {colors}. Give height and width with "
            "`--data.row_shape HEIGHT,WIDTH`."
        )
    letters = letters.replace("N", "")
    letters = f"{letters}N" if is_last else f"N{letters}"
    sizes = {"N": count, "H": height, "W": width, "C": channels}
    return letters, tuple(sizes[letter] for letter in letters)


def _guess(where: str, shape: tuple[int, ...], is_matlab: bool, is_last: bool) -> str:
    """Return the only reading of a shape that makes sense.

    Raises:
        InputError: several do; the message names the options.
    """
    grey, color = (["WH"], ["CWH", "WHC"]) if is_matlab else (["HW"], ["HWC", "CHW"])
    images = grey if len(shape) == 3 else color
    readings = [f"{letters}N" if is_last else f"N{letters}" for letters in images]
    possible = [x for x in readings if "C" not in x or shape[x.index("C")] <= MAX_CHANNELS]
    sensible = [x for x in possible if min(_sides(x, shape)) >= MIN_SIDE]
    square = [x for x in sensible if len(set(_sides(x, shape))) == 1]
    many = [x for x in readings if x not in possible and len(set(_sides(x, shape))) == 1]
    if not square and many and min(_sides(many[0], shape)) >= MIN_SIDE:
        return many[0]  # 9×9 pixels of 200 channels, and not 9×200 of 9: refused by the caller
    if len(sensible) > 1 and len(square) != 1:
        ways = " or ".join(f"`{AXES} {','.join(x.replace('N', ''))}`" for x in sensible)
        raise InputError(
            f"{where} has shape {format_shape(shape)}: channels may come first or last. Add {ways}."
        )
    return (square or sensible or possible or readings)[0]


def _sides(letters: str, shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[letters.index("H")], shape[letters.index("W")]
