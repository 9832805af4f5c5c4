"""Which images a Keras model takes: height, width and channels."""

from __future__ import annotations

import math
from collections.abc import Iterable

from signs_lightning.errors import InputError
from signs_lightning.keras_io.model_graph import Graph, Layer

# Layers that read rows, columns and channels of images; a Flatten only orders them.
OF_IMAGES = {
    *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "MaxPooling2D"),
    *("AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D", "ZeroPadding2D"),
    *("Cropping2D", "UpSampling2D", "SpatialDropout2D"),
}
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [3, 1, 2], [2, 3, 1]  # of Permute


def is_channels_first(layers: Iterable[Layer], shape: tuple[int | None, ...]) -> bool:
    """Return whether a model's images are (C, H, W), by the first layer that reads images.

    Args:
        layers: the model's, in its order.
        shape: that of its input, without the batch; it decides where no layer reads images.
    """
    is_permuted = False
    for layer in layers:
        axes = layer.config.get("axes")
        dims = axes[1:] if isinstance(axes, list) else layer.config.get("dims")
        if layer.class_name in ("Permute", "Transpose"):
            is_permuted ^= dims in (TO_CHANNELS_FIRST, TO_CHANNELS_LAST)
        elif layer.class_name in OF_IMAGES:
            return (layer.config.get("data_format") == "channels_first") != is_permuted
    return len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3, 4)


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
