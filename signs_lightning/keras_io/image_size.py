"""Which images a Keras model takes: height, width and channels."""

from __future__ import annotations

import math

from signs_lightning.errors import InputError
from signs_lightning.keras_io.model_graph import Graph


def find_image_size(graph: Graph, given: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return height, width and channels of the images that a model takes.

    Args:
        graph: the model's.
        given: what the user says, or None.

    Raises:
        InputError: the model does not tell the size and nobody says it, or it takes another one.
    """
    own = graph.image_size
    if len(graph.input_shape) == 1:
        return _size_of_row(graph, given)
    if given is None and None in own:
        option = "" if own[2] == 3 else f" --channels {own[2]}"
        raise InputError(
            f"The model takes images of any size, {own[2]} channels. Give image_size, such as "
            f"`--image_size 64{option}`, to fix it."
        )
    height, width, channels = (s or g for s, g in zip(own, given or own, strict=True))
    size = (height or 0, width or 0, channels or 0)  # for mypy: no size is missing by now
    if given is not None and size != tuple(given):
        raise InputError(
            f"The model takes images of {'×'.join(map(str, size))}, image_size is "
            f"{'×'.join(map(str, given))}."
        )
    return size


def _size_of_row(graph: Graph, given: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Return the size of images whose values the model takes in a row."""
    (count,), (height, width, channels) = graph.input_shape, graph.image_size
    if given is None and height and width and channels:
        return height, width, channels
    if given is None or math.prod(given) != count:
        side = math.isqrt((count or 0) // 3)
        is_color = 3 * side * side == count
        option = f"{side} --channels 3" if is_color else "HEIGHT WIDTH --channels CHANNELS"
        if height:
            option = f"{height} --channels 1"
        found = "" if given is None else f", and image_size is {'×'.join(map(str, given))}"
        raise InputError(
            f"The model takes {count:,} values in a row{found}. Say which images they are, height, "
            f"width and channels in this order, such as `--image_size {option}`."
        )
    return given


def describe_row(graph: Graph, size: tuple[int, int, int]) -> str | None:
    """Return the line on images whose size was inferred from a row of values, else None."""
    if len(graph.input_shape) != 1:
        return None
    return (
        f"images: {'×'.join(map(str, size))}, because the model takes "
        f"{graph.input_shape[0]:,} values in a row; say another size with "
        "--image_size (for fit, --model.image_size)."
    )
