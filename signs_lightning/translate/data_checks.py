"""Checks of what a fit trains and validates on: rows, scale and size."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from signs_lightning.translate.array_origins import Rows
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.batches import Batches
from signs_lightning.translate.values import Place, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.data_settings import DataSettings


def share_of(array: Value) -> float | None:
    """Return which share of a file an array has; None where that is not known."""
    share = 1.0
    rows: tuple[Rows, ...] = getattr(array, "rows", ())
    for row in rows:
        if row.share is None:
            return None
        share *= row.share
    return share


def check_pairs(made: DataSettings, batches: Batches, place: Place) -> None:
    """Note as a problem images and labels that are not of the same rows."""
    images, labels = batches.images, batches.labels
    if not isinstance(images, ArrayRecord) or not isinstance(labels, ArrayRecord):
        return
    roles = {images.origin.role, labels.origin.role} - {""}
    if images.origin.kind == "keras" and len(roles) > 1:
        reason = f"labels of '{labels.origin.role}' for images of '{images.origin.role}'"
        made.problems.append(Unknown(reason, place))
    for one, two in zip_longest(images.rows, labels.rows):
        if one is None or two is None or one.how != two.how or one.is_other(two):
            reason = f"rows of {labels.name} that are not those of {images.name}"
            made.problems.append(Unknown(reason, (one or two or images.rows[0]).place))
            return


def check_validation(
    made: DataSettings, images: Value, val_images: Value, is_one_file: bool, place: Place
) -> None:
    """Note what is other in the images to validate on than Keras's training has it."""
    if not isinstance(val_images, ArrayRecord):
        return
    if not is_one_file and share_of(val_images) != 1:
        made.note(place, f"validates on a part of {val_images.name} in Keras, on all of it here")
    if not is_one_file and val_images.origin.role == "test":
        text = (
            "validates on the test images: best.ckpt is chosen by them. Where no figure is to be "
            "chosen by the test, name the file as test_file and not as val_file"
        )
        made.note(place, text)
    if val_images.augmentation:
        text = "Keras changes the images to validate on by chance, too; here they stay as they are"
        made.note(place, text)
    if isinstance(images, ArrayRecord) and images.unknown is None and val_images.unknown is None:
        one, two = images.scale(), val_images.scale()
        if one != two:
            reason = f"images to validate on that are scaled otherwise ({two}, and not {one})"
            made.problems.append(Unknown(reason, place))
        if images.size != val_images.size:
            made.problems.append(Unknown("images to validate on of another size", place))
