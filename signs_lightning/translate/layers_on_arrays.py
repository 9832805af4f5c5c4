"""Layers of Keras that are called on data, outside a model: `Rescaling(1. / 255)(images)`."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_scales import plain_numbers
from signs_lightning.translate.values import NotUnderstoodError, Place, Value


def layer_on_array(array: ArrayRecord, layer: Any, kwargs: dict[str, Value], place: Place) -> Value:
    """Return what a layer makes of an array.

    Args:
        array: the data.
        layer: the layer, or a model.
        kwargs: further arguments of the call.
        place: of the call.

    Raises:
        NotUnderstoodError: it is another layer than one that scales by known numbers.
    """
    config = getattr(layer, "config", None)
    is_scale = layer.class_name == "Rescaling" and layer.module == "keras.layers"
    if not is_scale or kwargs or layer.unknowns or not isinstance(config, dict):
        raise NotUnderstoodError(f"{layer.describe()} called on {array.describe()}")
    scale, offset = plain_numbers(config.get("scale")), plain_numbers(config.get("offset"))
    if scale is None or offset is None:
        raise NotUnderstoodError(f"{layer.describe()} called on {array.describe()}")
    scaled = array.operate("*", scale, False, place)
    made = scaled.operate("+", offset, False, place) if isinstance(scaled, ArrayRecord) else scaled
    return made.with_(dtype="float32") if isinstance(made, ArrayRecord) else made
