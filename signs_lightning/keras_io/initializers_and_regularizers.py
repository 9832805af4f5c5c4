"""Keras's initializers and L1/L2 regularizers, from their configs.

Formulas: https://keras.io/api/layers/initializers/.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.activations import number
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import Layer

# Arguments of variance scaling: scale, which fan, distribution.
SCALING = {
    "GlorotUniform": (1.0, "fan_avg", "uniform"),
    "GlorotNormal": (1.0, "fan_avg", "truncated_normal"),
    "HeUniform": (2.0, "fan_in", "uniform"),
    "HeNormal": (2.0, "fan_in", "truncated_normal"),
    "LecunUniform": (1.0, "fan_in", "uniform"),
    "LecunNormal": (1.0, "fan_in", "truncated_normal"),
}
TRUNCATED_STD = 0.87962566103423978  # standard deviation of a unit normal truncated at ±2
CONSTANTS = {"Zeros": 0.0, "Ones": 1.0}
# Weights that start as the same number whatever their initializer is.
ALWAYS = dict.fromkeys(("beta", "moving_mean", "mean", "count"), 0.0)
ALWAYS |= dict.fromkeys(("gamma", "moving_variance", "variance"), 1.0)
ALWAYS |= dict.fromkeys(("scale", "concat_score_weight"), 1.0)
FOR_BIASES = {"Constant", "Ones", "RandomNormal", "RandomUniform"}  # others leave a bias at 0


@torch.no_grad()
def initialize(tensor: Tensor, weight: WeightSpec, layer: Layer) -> None:
    """Draw a new layer's weight as Keras would, in place.

    An initializer that is not known counts as Keras's default.

    Args:
        tensor: the parameter or buffer.
        weight: which weight of the layer it is.
        layer: the layer.
    """
    if weight.keras in ALWAYS:
        tensor.fill_(ALWAYS[weight.keras])
        return
    name, config = _read_spec(layer.config.get(f"{_prefix(weight)}_initializer"))
    if _prefix(weight) in {"bias", "alpha"} and name not in FOR_BIASES:
        tensor.zero_()
    elif name in CONSTANTS or name == "Constant":
        tensor.fill_(CONSTANTS.get(name, config.get("value", 0.0)))
    elif name == "RandomUniform":
        tensor.uniform_(config.get("minval", -0.05), config.get("maxval", 0.05))
    elif name == "RandomNormal":
        tensor.normal_(config.get("mean", 0.0), config.get("stddev", 0.05))
    elif name == "TruncatedNormal":
        mean, std = config.get("mean", 0.0), config.get("stddev", 0.05)
        nn.init.trunc_normal_(tensor, mean, std, mean - 2 * std, mean + 2 * std)
    elif name == "VarianceScaling":
        scale, mode = config.get("scale", 1.0), config.get("mode", "fan_in")
        distribution = config.get("distribution", "truncated_normal")
        _scale_variance(tensor, weight.shape, scale, mode, distribution)
    else:
        _scale_variance(tensor, weight.shape, *SCALING.get(name, SCALING["GlorotUniform"]))


def _scale_variance(
    tensor: Tensor, shape: tuple[int, ...], scale: float, mode: str, distribution: str
) -> None:
    pixels = math.prod(shape[:-2])
    inputs = shape[-2] if len(shape) > 1 else shape[0]
    fans = {"fan_in": pixels * inputs, "fan_out": pixels * shape[-1]}
    variance = scale / max(1.0, fans.get(mode, sum(fans.values()) / 2))
    if distribution == "uniform":
        tensor.uniform_(-math.sqrt(3 * variance), math.sqrt(3 * variance))
    elif distribution == "untruncated_normal":
        tensor.normal_(0, math.sqrt(variance))
    else:
        std = math.sqrt(variance) / TRUNCATED_STD
        nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def penalty(layer: Layer, weight: WeightSpec) -> tuple[float, float]:
    """Return a weight's L1 and L2 factors, (0, 0) if it has no regularizer.

    Raises:
        InputError: another regularizer, or a factor that is not a number.
    """
    spec = layer.config.get(f"{_prefix(weight)}_regularizer")
    if spec is None:
        return 0.0, 0.0
    name, config = _read_spec(spec)
    kinds = {"L1": ("l1",), "L2": ("l2",), "L1L2": ()}  # those with a factor by default
    kind = kinds.get(name.upper())
    if kind is None:
        raise InputError(
            f"{layer} has a regularizer '{name}', expected L1, L2 or L1L2. Remove it in Keras "
            "before saving, or train there."
        )
    defaults = {key: config.get("l", 0.01) if key in kind else 0.0 for key in ("l1", "l2")}
    try:
        l1, l2 = (number(config.get(key, default)) for key, default in defaults.items())
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{layer} has a regularizer with an argument that cannot be used: {error}."
        ) from error
    return l1, l2


def _prefix(weight: WeightSpec) -> str:
    """Return "depthwise", as in `depthwise_initializer`, for `depthwise_kernel`.

    So it is "kernel" for `query/kernel`.
    """
    return weight.keras.rpartition("/")[2].removesuffix("_kernel")


def _read_spec(spec: Any) -> tuple[str, dict[str, Any]]:
    """Return class name and arguments of a spec: "he_normal", or a dict of both."""
    config: Any = {}
    if isinstance(spec, dict):
        spec, config = spec.get("class_name"), spec.get("config")
    name = str(spec)
    if "_" in name or not name[:1].isupper():
        name = "".join(part.capitalize() for part in name.split("_"))
    return name, config if isinstance(config, dict) else {}
