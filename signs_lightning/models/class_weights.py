"""Weights of classes by how many training images each has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import list_names, printable

LARGE_RATIO = 10  # of the largest class to the smallest, from which on it is told
MAX_NAMED = 6


def balanced_weights(labels: np.ndarray | None, class_names: Sequence[str]) -> list[float]:
    """Return n / (K · n_k) for each class k, as scikit-learn's "balanced".

    Args:
        labels: int64 (n,) of the training images; None where nothing tells them.
        class_names: the K names.

    Raises:
        InputError: the labels are not known, or a class has no image.
    """
    if labels is None:
        raise InputError(
            "class_weights is 'balanced', and only an H5DataModule tells how many images each "
            "class has. Give a number for each class."
        )
    counts = np.bincount(labels, minlength=len(class_names))
    if missing := [name for name, count in zip(class_names, counts, strict=True) if not count]:
        raise InputError(
            f"class_weights is 'balanced', and no training image has the class "
            f"{list_names(missing, '', MAX_NAMED, ' or ')}. Give a number for each class: "
            "`--model.class_weights '[1.0, …]'`."
        )
    return [len(labels) / (len(counts) * int(count)) for count in counts]


def describe_imbalance(labels: np.ndarray, class_names: Sequence[str]) -> str | None:
    """Return a line where the largest class is over ten times the smallest that has images.

    Args:
        labels: int64 (n,) of the training images.
        class_names: the K names.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    present = np.flatnonzero(counts)
    small, large = present[counts[present].argmin()], int(counts.argmax())
    if counts[large] <= LARGE_RATIO * counts[small]:
        return None
    names = [printable(class_names[k]) for k in (large, small)]
    return (
        f"The classes are uneven: '{names[0]}' has {counts[large]:,} training images, '{names[1]}' "
        f"{counts[small]:,}. With --model.class_weights balanced each class counts as much."
    )
