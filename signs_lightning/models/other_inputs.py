"""Inputs of a model beside the image, such as a vector or a second picture; Keras has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

Shape = tuple[int, ...]


class HasInputs(Protocol):
    """A model, trained or exported, with the names of its inputs."""

    @property
    def image_input(self) -> str:
        """Name of the image's input."""

    @property
    def other_inputs(self) -> Mapping[str, Shape]:
        """Names of the inputs beside the image, and the shape of one value of each."""


def check_images_suffice(model: HasInputs, verb: str) -> None:
    """Check that a model takes images alone, for what feeds it nothing else.

    Raises:
        InputError: it takes other inputs, too.
    """
    if model.other_inputs:
        raise InputError(
            f"The model takes {describe_inputs(model.other_inputs)} beside the image, and {verb} "
            "feeds images alone. Only predict (with --inputs), export and summary take such a "
            "model."
        )


def describe_inputs(inputs: Mapping[str, Shape]) -> str:
    """Return `'meta' (4) and 'right' (64, 64, 3)`."""
    return " and ".join(f"'{shorten(n)}' ({format_sizes(s)})" for n, s in inputs.items())


def format_sizes(shape: Shape) -> str:
    """(64, 64, 3) → `64, 64, 3`"""
    return ", ".join(map(str, shape))


def split_inputs(
    model: HasInputs, given: Tensor | np.ndarray | Mapping[str, Any]
) -> tuple[Any, list[np.ndarray]]:
    """Return images, and the other inputs in the model's order.

    Args:
        model: takes them.
        given: images alone; or a dict of all inputs by their names.

    Raises:
        InputError: an input is missing, unknown, or of another shape than the model takes.
    """
    image = model.image_input
    if not isinstance(given, Mapping):
        given = {image: given}
    expected = [image, *model.other_inputs]
    if set(given) != set(expected):
        names = ", ".join(f"'{shorten(str(name))}'" for name in given)
        raise InputError(
            f"The model got {names}, and takes a dict of '{shorten(image)}', the images"
            + "".join(f", and {describe_inputs({n: s})}" for n, s in model.other_inputs.items())
            + "."
        )
    others = {name: given[name] for name in model.other_inputs}
    return given[image], list(check_other_inputs(model, others, len(given[image])).values())


def check_other_inputs(
    model: HasInputs, arrays: Mapping[str, Any], count: int
) -> dict[str, np.ndarray]:
    """Return the inputs beside the image, each with a value for every image.

    Args:
        model: takes them.
        arrays: a number array (N, …) for each of them by its name, or one value for all images.
        count: number of images N.

    Raises:
        InputError: one of them is missing, holds no numbers, or has another shape.
    """
    checked = {}
    for name, shape in model.other_inputs.items():
        if name not in arrays:
            found = ", ".join(f"'{shorten(str(key))}'" for key in list(arrays)[:10]) or "nothing"
            raise InputError(
                f"The model takes {describe_inputs({name: shape})} beside the image, and there "
                f"is {found}. Give an array of that name."
            )
        value = arrays[name]
        value = value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if value.dtype.kind not in "biuf":
            raise InputError(f"'{shorten(name)}' holds {value.dtype}, expected numbers.")
        if value.shape == shape:
            value = np.broadcast_to(value, (count, *shape))
        elif value.shape == (count,) and shape == (1,):
            value = value[:, None]
        if value.shape != (count, *shape):
            raise InputError(
                f"'{shorten(name)}' has shape ({format_sizes(value.shape)}), expected ({count}, "
                f"{format_sizes(shape)}): a value for each of {count} images; or "
                f"({format_sizes(shape)}), one for all."
            )
        checked[name] = value
    return checked
