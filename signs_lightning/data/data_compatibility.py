"""Whether the files of a run fit together: one size of images, the same classes."""

from __future__ import annotations

from collections.abc import Sequence

from signs_lightning.data.image_set import ImageSet
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import format_shape


def check_same_data(image_sets: Sequence[ImageSet], class_names: list[str] | None = None) -> None:
    """Check that the files of a run have images of one size and the same classes.

    Args:
        image_sets: the files.
        class_names: the K names that the user gives.

    Raises:
        InputError: two of them differ.
    """
    first = image_sets[0]
    lister = next((images for images in image_sets if images.class_names), first)
    names, who = class_names or lister.class_names or [], lister.name
    who = who if class_names is None else "the run (--data.class_names, or its checkpoint)"
    num_classes = max(images.num_classes for images in image_sets)
    for images in image_sets:
        if images.is_one_hot and images.num_classes != num_classes:
            if images.labels.ndim == 2:
                raise InputError(
                    f"{images.name} has labels of {images.num_classes} columns, the run has "
                    f"{num_classes}. Files of one run must agree."
                )
            raise InputError(
                f"{images.name} has one-hot labels of {images.num_classes} classes, the run has "
                f"{num_classes}. Write class numbers instead, by which a class may be missing."
            )
        if images.shape[1:] != first.shape[1:]:
            size, first_size = (format_shape(s.shape[1:]) for s in (images, first))
            raise InputError(
                f"{images.name} has images of {size}, {first.name} of {first_size}. "
                "Files of one run must agree."
            )
        if images.class_names and images.class_names != names:
            raise InputError(
                f"{images.name} lists the classes {', '.join(images.class_names)}, {who} "
                f"lists {', '.join(names)}. Files of one run must agree."
            )
        if names and images.labels.ndim == 1 and (label := images.labels.max()) >= len(names):
            raise InputError(
                f"{images.name} holds the label {label}, but there are {len(names)} classes."
            )
