"""What the numbers of a run's files mean: one range for the model, to which all files are brought.

The training files tell it, or the option, or the model that was trained before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.value_range import (
    Values,
    describe_extremes,
    describe_meaning,
    goes_beyond,
    infer_meaning,
    range_question,
)
from signs_lightning.errors import InputError
from signs_lightning.runtime.value_ranges import (
    BYTES,
    PLAIN_RANGES,
    Range,
    RunValues,
    parse_range,
    range_text,
)

if TYPE_CHECKING:
    from signs_lightning.data.file_roles import RoleFiles
    from signs_lightning.data.layouts import Role

ValueOption = Range | Literal["minmax"] | None


def find_run_values(
    image_sets: Sequence[ImageSet], option: ValueOption, is_training: bool = True
) -> RunValues:
    """Return what the numbers of the first images that are opened mean, those to train on if any.

    Args:
        image_sets: all of them.
        option: what the user says of them.
        is_training: whether they are trained on.

    Raises:
        InputError: nothing tells.
    """
    found = _seen_together(image_sets)
    if option == "minmax":
        option = _extremes(image_sets)
    if option is not None:
        return RunValues(option, _common_dtype([replace(v, meaning=option) for v in found]))
    for images, values in zip(image_sets, found, strict=True):
        if values.meaning is None:
            raise range_question(where(images), values, is_training)
    meanings = {values.meaning for values in found}
    meaning = meanings.pop() if len(meanings) == 1 else None
    return RunValues(meaning or BYTES, _common_dtype(found) if meaning else "float32")


def _extremes(image_sets: Sequence[ImageSet]) -> Range:
    """Return the smallest and the largest value of all files to train on."""
    if any(images.values.are_bytes for images in image_sets):
        raise InputError(
            f"{where(image_sets[0])} holds bytes, and --data.value_range is minmax, which is for "
            "other numbers. Leave it out: 0 is black and 255 white."
        )
    low = min(images.values.low for images in image_sets)
    high = max(images.values.high for images in image_sets)
    if low == high:
        raise InputError(
            f"{where(image_sets[0])} holds the value {low:g} alone, and --data.value_range minmax "
            "needs two. Say which numbers are black and white."
        )
    return low, high


def settle_values(
    image_sets: Sequence[ImageSet], option: ValueOption, run: RunValues
) -> list[ImageSet]:
    """Return images of one role whose values are given as the model of a run takes them.

    Args:
        image_sets: of one role.
        option: what the user says of the numbers of files.
        run: what the model takes.

    Raises:
        InputError: nothing tells what the numbers of a file mean.
    """
    values = [
        replace(seen, meaning=_find_meaning(where(images), seen, option, run))
        for images, seen in zip(image_sets, _seen_together(image_sets), strict=True)
    ]
    if run.range == "legacy":
        is_byte = [v.are_bytes and v.meaning == BYTES for v in values]
        values = [
            v if b else replace(v, given="bytes") for v, b in zip(values, is_byte, strict=True)
        ]
    else:
        values = [replace(v, given="bytes") if _has_bytes(v) else v for v in values]
        dtypes = {v.given_dtype for v in values}
        takes_bytes = run.dtype == "uint8"
        is_ready = len(dtypes) == 1 and (np.dtype(np.uint8) in dtypes) == takes_bytes
        if not is_ready or any(v.meaning != run.range for v in values):
            values = [replace(v, given=run.range) for v in values]
    settled = []
    for images, v in zip(image_sets, values, strict=True):
        own = replace(images.values, meaning=v.meaning, given=v.given)  # with its own extremes
        note = describe_meaning(where(images), own) or (images.note if v.are_bytes else "")
        settled.append(replace(images, values=own, note=note))
    return settled


def settle_role(files: RoleFiles, role: Role, image_sets: list[ImageSet]) -> list[ImageSet]:
    """Do so for a role of a run; the first that is opened tells what the run's numbers are.

    Raises:
        InputError: nothing tells; or it would be the training files, of which there are none.
    """
    option = parse_range(files.options.get("value_range"))
    if files.run_values is None and option == "minmax" and role != "train":
        if files.files["train"] is None:
            raise InputError(
                "--data.value_range is minmax, which takes the extremes of training files, and "
                "there are none. Give the numbers of black and white in its place."
            )
        files.open("train")
    if files.run_values is None:
        files.run_values = find_run_values(image_sets, option, role == "train")
    return settle_values(image_sets, option, files.run_values)


def where(images: ImageSet) -> str:
    """Return what messages call the images of a set."""
    return "images" if images.path is None else f"'{images.images_key}' in {images.name}"


def _has_bytes(values: Values) -> bool:
    """Whether values are wider whole numbers that are bytes all the same."""
    fits = values.meaning == BYTES and values.low >= 0 and values.high <= 255
    return fits and values.dtype.kind != "f" and not values.are_bytes


def _common_dtype(found: Sequence[Values]) -> str:
    dtypes = {"uint8" if _has_bytes(values) else str(values.dtype) for values in found}
    return dtypes.pop() if len(dtypes) == 1 else "float32"


def _seen_together(image_sets: Sequence[ImageSet]) -> list[Values]:
    """Return values with the extremes of all sets of their dtype, of which one may be dark."""
    found = []
    for values in (images.values for images in image_sets):
        alike = [images.values for images in image_sets if images.values.dtype == values.dtype]
        if len(alike) > 1 and not values.are_bytes:
            low, high = min(v.low for v in alike), max(v.high for v in alike)
            meaning = infer_meaning(values.dtype, low, high)
            values = replace(values, low=low, high=high, meaning=meaning)
        found.append(values)
    return found


def _find_meaning(where: str, values: Values, option: ValueOption, run: RunValues) -> Range:
    """Return the numbers of a file that are black and white.

    Args:
        where: what messages call it.
        values: of the file.
        option: what the user says of the numbers of files; not of bytes beside other numbers.
        run: what the model takes.
    """
    takes_bytes, is_plain = run.dtype == "uint8", run.numbers in PLAIN_RANGES
    if values.are_bytes and not takes_bytes:
        if not is_plain:
            raise InputError(
                f"{where} holds bytes, and the model is trained on {run}, which tells nothing of "
                "bytes. Write the images in the numbers of the training files."
            )
        return BYTES
    if isinstance(option, tuple):
        return option
    is_alike = not takes_bytes and values.are_float == (np.dtype(run.dtype).kind == "f")
    if not is_plain and (is_alike or values.are_bytes or not takes_bytes):
        return run.numbers
    if is_alike and run.numbers != BYTES and not goes_beyond(values, run.numbers):
        return run.numbers  # 0..1, or -1..1 of which a file may have one half
    if values.meaning is not None and not (run.range == "legacy" and values.meaning[0] < 0):
        return values.meaning
    if is_alike:
        return run.numbers  # with a line that some are beyond
    if run.range == "legacy":
        raise InputError(
            f"{where} holds {describe_extremes(values)}, and the model was trained on images that "
            "were rounded to 8 bits, from 0..255 or 0..1. Rescale them."
        )
    raise range_question(where, values, is_training=False)


def describe_run(run: RunValues, option: ValueOption) -> str | None:
    """Return a line on a range that was taken from the training files, None where none was."""
    if option != "minmax" or run.range == "legacy":
        return None
    return (
        f"Values of {range_text(run.range)}, the training files' extremes, are 0..1 for the model."
    )
