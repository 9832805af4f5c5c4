"""Checks of what a model was made for against the data that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten


def check_data_compatibility(
    given: Mapping[str, Any],
    num_classes: int,
    image_size: tuple[int, int, int],
    class_names: list[str] | None,
) -> None:
    """Check that a model, or its checkpoint, was made for such data.

    Args:
        given: the model's num_classes, class_names and image_size; None where it takes the data's.
        num_classes: number of classes K of the data.
        image_size: height, width (pixels) and channels of the data.
        class_names: the K names, where the data list them.

    Raises:
        InputError: they differ.
    """
    retrain = "Train a new model on these data, or name the file that it was made for."
    if given["num_classes"] not in (None, num_classes):
        made_for = f"The model was made for {given['num_classes']} classes"
        raise InputError(f"{made_for}, the data have {num_classes}. {retrain}")
    if class_names and given["class_names"] and list(given["class_names"]) != list(class_names):
        made_for = f"The model was made for the classes {', '.join(given['class_names'])}"
        raise InputError(f"{made_for}, the data have {', '.join(class_names)}. {retrain}")
    if given["image_size"] is None or tuple(given["image_size"]) == tuple(image_size):
        return
    (h, w, c), (height, width, channels) = given["image_size"], image_size
    if c != channels:
        raise InputError(
            f"The model takes images of {c} channels, the data have {channels}. Train a new model "
            "on them."
        )
    raise InputError(
        f"The model takes {h}×{w} images, the data have {height}×{width}. "
        f"Add `--data.image_size {h if h == w else f'[{h},{w}]'}` to resize them."
    )


def check_image_size(size: Any) -> None:
    """Check that a model's image_size, where it has one, is three numbers of at least 1.

    Raises:
        InputError: it is anything else.
    """
    numbers = size if isinstance(size, list | tuple) else []
    if size is not None and not (
        len(numbers) == 3 and all(type(n) is int and n >= 1 for n in numbers)
    ):
        raise InputError(
            f"image_size is {shorten(str(size))}, expected height, width and channels, each at "
            "least 1."
        )


def check_class_counts(given: Mapping[str, Any], num_classes: int) -> None:
    """Check that lists with an entry for each class have the right length.

    Args:
        given: the model's class_names and class_weights, where it has them.
        num_classes: number of classes K.

    Raises:
        InputError: one of them has another length.
    """
    for name, entries in (("class_names", "names"), ("class_weights", "values")):
        values = given.get(name)
        if values not in (None, "balanced") and len(values) != num_classes:
            raise InputError(
                f"{name} has {len(values)} {entries}, expected one for each of {num_classes} "
                "classes."
            )
