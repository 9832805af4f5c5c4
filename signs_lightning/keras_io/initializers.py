"""Keras's initializers, from their configs.

Formulas: https://keras.io/api/layers/initializers/.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from signs_lightning.keras_io.config_entries import class_and_arguments
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
    name, config = class_and_arguments(layer.config.get(f"{weight.argument}_initializer"))
    if weight.argument in {"bias", "alpha"} and name not in FOR_BIASES:
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
