"""Keras's regularizers of weights and of layers' outputs, from their configs.

Formulas: https://keras.io/api/layers/regularizers/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io.activations import number
from signs_lightning.keras_io.config_entries import class_and_arguments
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import Layer, LayerPath
from signs_lightning.keras_io.network_plan import Plan

Penalty = Callable[[Tensor], Tensor]  # of a weight, or of a batch of outputs → ()
FACTORS = {"L1": ("l1",), "L2": ("l2",), "L1L2": ()}  # those that are 0.01 by default


def l1_l2(values: Tensor, l1: float, l2: float) -> Tensor:
    """Return l1 · Σ|v| + l2 · Σv²."""
    return l1 * values.abs().sum() + l2 * values.square().sum()


def orthogonal(values: Tensor, factor: float, by_rows: bool) -> Tensor:
    """Return the factor times the mean of |cos| between each two rows, or columns, of a matrix."""
    rows = F.normalize(values if by_rows else values.mT, dim=1)
    products = (rows @ rows.mT).abs()
    size = len(rows)
    return factor * (products.sum() - products.diagonal().sum()) / (size * (size - 1))


def per_image(outputs: Tensor, penalty: Penalty) -> Tensor:
    """Return a penalty divided by the number of images; 0 without any."""
    return penalty(outputs) / max(len(outputs), 1)


@dataclass
class Regularization:
    """What the loss of a model has besides that of its predictions.

    Attributes:
        weights: of which weights the penalties are.
        activities: penalties of outputs, by the number of the step that gives them, from 1.
        unknown: what is not known here, such as "kernel_regularizer Mine", and of which layer.
    """

    weights: list[tuple[LayerPath, WeightSpec, Penalty]] = field(default_factory=list)
    activities: dict[int, Penalty] = field(default_factory=dict)
    unknown: list[tuple[str, Layer]] = field(default_factory=list)

    def check(self, frozen: set[LayerPath]) -> None:
        """Check that all that Keras adds to the loss is known.

        Args:
            frozen: layers whose weights are not trained, and have no penalty.

        Raises:
            InputError: it is not.
        """
        parts = [
            f"{what} of {layer}"
            for what, layer in self.unknown
            if layer.path not in frozen or what.startswith("activity")
        ]
        if parts:
            raise InputError(
                f"The model cannot be trained as in Keras, because of {', '.join(parts[:6])}; it "
                "can predict. To train it here, set this to None in Keras, as in "
                f"`layer.{parts[0].split()[0]} = None`, and save that."
            )


def read_regularization(plan: Plan) -> Regularization:
    """Return the regularization of a model.

    Raises:
        InputError: a regularizer has an argument that cannot be used.
    """
    found = Regularization()
    for layer, weights in plan.layers():
        for weight in weights:
            key = f"{weight.argument}_regularizer"
            for penalty in _penalties(found, layer, key, layer.config.get(key), len(weight.shape)):
                found.weights.append((layer.path, weight, penalty))
    for k, step in enumerate(plan.steps, start=1):
        layer, key = plan.graph.layers[step.path], "activity_regularizer"
        spec = layer.config.get(key)
        if layer.class_name == "ActivityRegularization":
            spec = {"class_name": "L1L2", "config": layer.config}
        # That of an attention layer is of the outputs of its parts.
        rank = 0 if layer.class_name == "MultiHeadAttention" else len(step.shape) + 1
        for penalty in _penalties(found, layer, key, spec, rank):
            found.activities[k] = _of_outputs(plan, k, layer, penalty)
    return found


def _penalties(
    found: Regularization, layer: Layer, key: str, spec: Any, rank: int
) -> Iterator[Penalty]:
    """Yield the penalty of a regularizer, if there is one; note those that are not known."""
    if spec is None:
        return
    name, config = class_and_arguments(spec)
    try:
        if name.upper() in FACTORS and rank:
            l1, l2 = (_factor(config, k, k in FACTORS[name.upper()]) for k in ("l1", "l2"))
            if l1 or l2:
                yield partial(l1_l2, l1=l1, l2=l2)
        elif name == "OrthogonalRegularizer" and rank == 2:
            factor, mode = number(config.get("factor", 0.01)), config.get("mode", "rows")
            if mode not in ("rows", "columns"):
                raise ValueError(f"mode is {str(mode)[:40]!r}, expected 'rows' or 'columns'")
            yield partial(orthogonal, factor=factor, by_rows=mode == "rows")
        elif ((what := f"{key} {name}"), layer) not in found.unknown:
            found.unknown.append((what, layer))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{layer} has a regularizer with an argument that cannot be used: {error}."
        ) from error


def _factor(config: dict[str, Any], key: str, is_default: bool) -> float:
    """Return l1 or l2, which early versions of Keras 2 called l where it was the only one."""
    value = config.get(key)
    if value is None and is_default:
        value = config.get("l", 0.01)
    return 0.0 if value is None else number(value)


def _of_outputs(plan: Plan, step: int, layer: Layer, penalty: Penalty) -> Penalty:
    """Return the penalty of the output that a step has in Keras.

    Keras divides by the number of images from version 3.14 on, and tf.keras did.
    """
    release = layer.release
    is_whole_batch = layer.is_before_tf_keras or (release and (3, 0) <= release < (3, 14))
    if not is_whole_batch:
        penalty = partial(per_image, penalty=penalty)
    ending = plan.ending
    if ending.call is None or step <= ending.call:
        return penalty
    return partial(_of_probabilities, kind=ending.kind, penalty=penalty)


def _of_probabilities(logits: Tensor, kind: str, penalty: Penalty) -> Tensor:
    """Return the penalty of what Keras makes of logits of any shape, which end the model."""
    if kind == "sigmoid":
        return penalty(logits.sigmoid())
    return penalty(torch.softmax(logits.flatten(1), dim=1).reshape(logits.shape))
