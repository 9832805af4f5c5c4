"""Keras's initializers and L1/L2 regularizers, from their configs: https://keras.io/api/layers/initializers/."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.activations import number
from signs_lightning.keras_io.graph_parser import Layer
from signs_lightning.keras_io.layer_context import WeightSpec

# Variance scaling: scale, which fan, distribution.
SCALING = {
    "GlorotUniform": (1.0, "fan_avg", "uniform"),
    "GlorotNormal": (1.0, "fan_avg", "truncated_normal"),
    "HeUniform": (2.0, "fan_in", "uniform"),
    "HeNormal": (2.0, "fan_in", "truncated_normal"),
    "LecunUniform": (1.0, "fan_in", "uniform"),
    "LecunNormal": (1.0, "fan_in", "truncated_normal"),
}
CUT_NORMAL_STD = 0.87962566103423978  # standard deviation of a unit normal that is cut off at ±2
ALWAYS = {
    "beta": 0.0,
    "moving_mean": 0.0,
    "mean": 0.0,
    "count": 0.0,
    "gamma": 1.0,
    "moving_variance": 1.0,
    "variance": 1.0,
}


@torch.no_grad()
def initialize(tensor: Tensor, weight: WeightSpec, layer: Layer) -> None:
    """Draws a new layer's weight as Keras would; an initializer that is not known counts as Keras's default.

    Args:
        tensor: the parameter or buffer, changed in place.
        weight: what it is.
        layer: the layer that it belongs to.
    """
    if weight.keras in ALWAYS:
        tensor.fill_(ALWAYS[weight.keras])
        return
    name, config = _spec(layer.config.get(f"{_prefix(weight)}_initializer"))
    if weight.keras in {"bias", "alpha"} and name not in {
        "Constant",
        "Ones",
        "RandomNormal",
        "RandomUniform",
    }:
        tensor.zero_()
        return
    low, high = config.get("minval", -0.05), config.get("maxval", 0.05)
    if name in {"Zeros", "Ones", "Constant"}:
        tensor.fill_({"Zeros": 0.0, "Ones": 1.0}.get(name, config.get("value", 0.0)))
    elif name == "RandomUniform":
        tensor.uniform_(low, high)
    elif name in {"RandomNormal", "TruncatedNormal"}:
        mean, std = config.get("mean", 0.0), config.get("stddev", 0.05)
        cut = 2 if name == "TruncatedNormal" else math.inf
        nn.init.trunc_normal_(
            tensor, mean, std, mean - cut * std, mean + cut * std
        ) if cut == 2 else tensor.normal_(mean, std)
    else:
        default = SCALING["GlorotUniform"]
        if name == "VarianceScaling":
            default = (
                config.get("scale", 1.0),
                config.get("mode", "fan_in"),
                config.get("distribution", "truncated_normal"),
            )
        _scale_variance(tensor, weight.shape, *SCALING.get(name, default))


def _scale_variance(
    tensor: Tensor, shape: tuple[int, ...], scale: float, mode: str, distribution: str
) -> None:
    field = math.prod(shape[:-2])
    fan_in, fan_out = field * shape[-2], field * shape[-1]
    variance = scale / max(
        1.0, {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2)
    )
    if distribution == "uniform":
        tensor.uniform_(-math.sqrt(3 * variance), math.sqrt(3 * variance))
    elif distribution == "untruncated_normal":
        tensor.normal_(0, math.sqrt(variance))
    else:
        std = math.sqrt(variance) / CUT_NORMAL_STD
        nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def penalty(layer: Layer, weight: WeightSpec) -> tuple[float, float]:
    """A weight's L1 and L2 factor, (0, 0) where it has no regularizer.

    Raises:
        InputError: another regularizer, or a factor that is no number.
    """
    spec = layer.config.get(f"{_prefix(weight)}_regularizer")
    if spec is None:
        return 0.0, 0.0
    name, config = _spec(spec)
    default = {"L1": (0.01, 0.0), "L2": (0.0, 0.01), "L1L2": (0.0, 0.0)}.get(name.upper())
    if default is None:
        raise InputError(
            f"{layer} has a regularizer '{name}', expected L1, L2 or L1L2. Remove it in Keras "
            "before saving, or train there."
        )
    try:
        return (
            number(
                config.get(
                    "l1", config.get("l", default[0]) if name.upper() == "L1" else default[0]
                )
            ),
            number(
                config.get(
                    "l2", config.get("l", default[1]) if name.upper() == "L2" else default[1]
                )
            ),
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{layer} has a regularizer with an argument that cannot be used: {error}."
        ) from error


def _prefix(weight: WeightSpec) -> str:
    """The beginning of the argument's name: "depthwise" of `depthwise_initializer` for the weight `depthwise_kernel`."""
    return weight.keras.removesuffix("_kernel")


def _spec(spec: Any) -> tuple[str, dict[str, Any]]:
    """`"he_normal"` or `{"class_name": "HeNormal", "config": {…}}` → "HeNormal" and its arguments."""
    config: Any = {}
    if isinstance(spec, dict):
        spec, config = spec.get("class_name"), spec.get("config")
    name = str(spec)
    name = (
        name
        if "_" not in name and name[:1].isupper()
        else "".join(part.capitalize() for part in name.split("_"))
    )
    return name, config if isinstance(config, dict) else {}
