"""Checks of what a fit trains and validates on: rows, scale, size, form of labels."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from signs_lightning.translate.array_origins import Rows
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.batches import Batches
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.values import Place, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.data_settings import DataSettings

TOLD = ("folder", "keras")  # origins whose labels are numbers unless something changes them
# Losses, and whether they take a number for each class where the model gives several.
TAKE_ROWS = {
    "categoricalcrossentropy": True,
    "binarycrossentropy": True,
    "sparsecategoricalcrossentropy": False,
}


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


def label_problem(labels: Value, losses: list[str], width: int) -> str:
    """Return why Keras stops at labels of another form than the loss takes; empty if it does not.

    Args:
        labels: to train with.
        losses: names of the losses, in lower case without underscores.
        width: how many values the model gives for an image.
    """
    loss = losses[0] if len(losses) == 1 else ""
    if not isinstance(labels, ArrayRecord) or labels.unknown is not None or loss not in TAKE_ROWS:
        return ""
    takes_rows = width > 1 and TAKE_ROWS[loss]
    classes, is_folder = labels.classes, labels.origin.kind == "folder"
    count = classes if isinstance(classes, int) else None
    outputs = "one output" if width == 1 else f"{width} outputs"
    if classes is None:
        is_number = labels.is_labels and labels.origin.kind in TOLD
        wrong = f"labels are numbers, and {loss} of {outputs} takes one-hot rows"
        return wrong if takes_rows and is_number else ""
    if takes_rows:
        wrong = f"labels are one-hot rows of {count}, and the model has {outputs}"
        return wrong if count not in (None, width) else ""
    # A LabelBinarizer makes one column of two classes, whose number only the data tell.
    is_told = count is not None and count != session().facts.get("classes")
    if not is_folder and not is_told and width <= 2:
        return ""
    how = " (class_mode or label_mode 'categorical')" if is_folder else ""
    return f"labels are one-hot rows{how}, and {loss} of {outputs} takes numbers"
