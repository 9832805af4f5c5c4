"""Models that end in an average of probabilities, or in a Dropout of them.

Such a model gives probabilities that no logits stand behind: here the logits are their logarithms.
`bounded_cross_entropy` of them is the loss, which Keras bounds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from signs_lightning.keras_io import activations
from signs_lightning.keras_io.layer_context import Shape
from signs_lightning.keras_io.model_graph import Call, Graph
from signs_lightning.keras_io.stateless_layers import DROPOUTS

EPSILON = 1e-7  # of Keras's losses
TINY = 1e-30  # a probability that is as good as 0 and has a logarithm in float32
UNCHANGED = {"Identity", "ActivityRegularization", "StopGradient", "Cast", *DROPOUTS}
RESHAPED = {"Flatten", "Reshape", "Squeeze", "ExpandDims"}
POOLED = {"GlobalAveragePooling2D", "AveragePooling2D", "Mean"}


def to_logits(probabilities: Tensor) -> Tensor:
    """Return logits whose softmax (or sigmoid, of one column) gives these probabilities.

    Args:
        probabilities: float (N, K), or (N, 1) of class 1.

    Returns:
        float (N, K) or (N, 1): a probability counts as a share of its row's sum, one of two classes
        also as at least 1e-7 and at most 1 - 1e-7, as in Keras's loss.
    """
    if probabilities.shape[1] == 1:
        p = probabilities.clamp(EPSILON, 1 - EPSILON)
        return torch.log(p) - torch.log1p(-p)
    p = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    total = p.sum(1, keepdim=True).clamp(min=EPSILON)  # 0 where all are dropped
    return torch.log((p / total).clamp(min=TINY))


def gives_probabilities(graph: Graph, shapes: list[Shape]) -> bool:
    """Return whether a model's output is a weighted mean of softmaxes, or of sigmoids.

    Args:
        graph: the model's.
        shapes: Keras's shape of each call's result, without the batch.
    """
    sums: list[float | None] = []  # what the last axis of each value adds up to; None: unknown
    for k, call in enumerate(graph.calls):
        taken = [sums[index - 1] if index > 0 else None for index in call.value_indices]
        given = [shapes[index - 1] if index > 0 else () for index in call.value_indices]
        sums.append(_sum_of(call, shapes[k], taken, given))
    return sums[-1] is not None and abs(sums[-1] - 1) < 1e-4


def _sum_of(
    call: Call, shape: Shape, taken: list[float | None], given: list[Shape]
) -> float | None:
    """Return what a call's last axis adds up to, where that is known.

    A sigmoid of one value, which stands for two classes, counts as 1.
    """
    layer, config = call.layer, call.layer.config
    name = _function_of(call)
    if name is not None:
        axis = config.get("axis", -1) if layer.class_name == "Softmax" else -1
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        is_last = axis in (-1, len(shape)) and bool(shape)
        is_whole = (shape[-1] == 1) == (name == "sigmoid") if shape else False
        return 1.0 if is_last and is_whole else None
    sums = [value for value in taken if value is not None]
    if not sums or len(sums) < len(taken) or not shape:
        return None
    kind, first = layer.class_name, sums[0]
    keeps_rows = shape[-1] == given[0][-1]
    if kind in UNCHANGED or (kind in RESHAPED and keeps_rows):
        return first
    if kind in POOLED:
        is_first = config.get("data_format") == "channels_first"
        return first if keeps_rows and not is_first and not _means_classes(call, given[0]) else None
    if kind == "Rescaling":
        scale: Any = config.get("scale")
        offset = config.get("offset", 0)
        return first * scale if _is_number(scale) and offset == 0 else None
    if kind in ("Add", "Average") and set(given) == {shape} and not call.constants:
        return sum(sums) / (len(sums) if kind == "Average" else 1)
    if kind in ("Multiply", "TrueDivide", "Divide") and len(sums) == len(call.constants) == 1:
        ((position, factor),) = call.constants.items()
        if not _is_number(factor) or factor == 0 or (kind != "Multiply" and position == 0):
            return None
        return first * factor if kind == "Multiply" else first / factor
    if kind in ("Stack", "Concatenate") and keeps_rows and len(set(sums)) == 1:
        axis = config.get("axis", -1 if kind == "Concatenate" else 0)
        return first if _is_number(axis) and axis % (len(shape) + 1) != len(shape) else None
    return None


def _function_of(call: Call) -> str | None:
    """Return "softmax" or "sigmoid" where one ends a layer."""
    layer = call.layer
    if layer.class_name in ("Softmax", "Sigmoid"):
        return layer.class_name.lower()
    name = None if layer.is_operation else activations.name_of(layer.config.get("activation"))
    spec: Any = layer.config.get("activation")
    if name == "Softmax" and spec["config"].get("axis", -1) == -1:
        return "softmax"
    return name if name in ("softmax", "sigmoid") else None


def _means_classes(call: Call, shape: Shape) -> bool:
    """Return whether a mean is over the last axis."""
    if call.layer.class_name != "Mean":
        return False
    axis: Any = call.layer.config.get("axis")
    axes = axis if isinstance(axis, list) else [axis]
    return any(not _is_number(a) or a % (len(shape) + 1) == len(shape) for a in axes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
