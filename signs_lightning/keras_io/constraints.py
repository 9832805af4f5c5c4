"""Keras's constraints of weights, from their configs.

Formulas: https://keras.io/api/layers/constraints/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io.activations import number
from signs_lightning.keras_io.config_entries import class_and_arguments
from signs_lightning.keras_io.layer_context import WeightSpec, is_integer
from signs_lightning.keras_io.model_graph import Layer, LayerPath
from signs_lightning.keras_io.network_plan import Plan

Projection = Callable[[Tensor], Tensor]  # of a weight with Keras's axes
EPSILON = 1e-7  # `keras.config.epsilon()`
ALIASES = {"Maxnorm": "MaxNorm", "Nonneg": "NonNeg", "Unitnorm": "UnitNorm"}  # of Keras 2


def non_negative(weight: Tensor) -> Tensor:
    """Return the weight with zeros in place of negative values."""
    return weight.clamp(min=0)


def clip_norms(
    weight: Tensor, axes: list[int], least: float, most: float, rate: float = 1.0
) -> Tensor:
    """Move the norms along some axes into a range, by a share `rate` of the way."""
    norms = weight.square().sum(axes, keepdim=True).sqrt()
    wanted = rate * norms.clamp(least, most) + (1 - rate) * norms
    return weight * (wanted / (EPSILON + norms))


def unit_norms(weight: Tensor, axes: list[int]) -> Tensor:
    """Make the norms along some axes 1."""
    return weight / (EPSILON + weight.square().sum(axes, keepdim=True).sqrt())


@dataclass
class Constraints:
    """The constraints of a model's weights.

    Attributes:
        weights: each weight and what becomes of it after a step.
        unknown: what is not known here, such as "kernel_constraint Mine", and of which layer.
    """

    weights: list[tuple[LayerPath, WeightSpec, Projection]] = field(default_factory=list)
    unknown: list[tuple[str, Layer]] = field(default_factory=list)


def read_constraints(plan: Plan) -> Constraints:
    """Return the constraints of a model.

    Raises:
        InputError: one has an argument that cannot be used.
    """
    found = Constraints()
    for layer, weights in plan.layers():
        for weight in weights:
            key = f"{weight.argument}_constraint"
            spec = layer.config.get(key)
            if spec is None or not weight.trainable:
                continue
            try:
                projection = _read_constraint(spec, len(weight.shape))
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{layer} has a {key} with an argument that cannot be used: {error}."
                ) from error
            what = (f"{key} {class_and_arguments(spec)[0]}", layer)
            if projection is not None:
                found.weights.append((layer.path, weight, projection))
            elif what not in found.unknown:
                found.unknown.append(what)
    return found


def _read_constraint(spec: Any, rank: int) -> Projection | None:
    name, config = class_and_arguments(spec)
    name = ALIASES.get(name, name)
    if name == "NonNeg":
        return non_negative
    if name == "UnitNorm":
        return partial(unit_norms, axes=_axes(config, rank))
    if name == "MaxNorm":
        most = number(config.get("max_value", 2))
        return partial(clip_norms, axes=_axes(config, rank), least=0.0, most=most)
    if name == "MinMaxNorm":
        least, most = number(config.get("min_value", 0.0)), number(config.get("max_value", 1.0))
        rate, axes = number(config.get("rate", 1.0)), _axes(config, rank)
        return partial(clip_norms, axes=axes, least=least, most=most, rate=rate)
    return None


def _axes(config: dict[str, Any], rank: int) -> list[int]:
    axis = config.get("axis", 0)
    axes = axis if isinstance(axis, list) else [axis]
    if not axes or not all(is_integer(k) and -rank <= k < rank for k in axes):
        raise ValueError(f"axis is {str(axis)[:40]}, expected axes of {rank}")
    return axes
