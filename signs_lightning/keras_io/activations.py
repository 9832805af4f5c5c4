"""Keras's activations by name, as functions of a tensor.

Formulas: https://keras.io/api/layers/activations/.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def linear(x: Tensor) -> Tensor:
    return x


def hard_sigmoid_keras2(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)  # Keras 3 took relu6(x + 3) / 6 instead


def relu(
    x: Tensor, max_value: float | None = None, threshold: float = 0.0, negative_slope: float = 0.0
) -> Tensor:
    """Return x above the threshold, `negative_slope` · (x − threshold) below."""
    if threshold == 0:
        y = F.leaky_relu(x, negative_slope) if negative_slope else F.relu(x)
    else:
        y = torch.where(x > threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else y.clamp(max=max_value)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    # Not F.elu: Keras's backends take exp(x) − 1 with expm1, and so does this.
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def squareplus(x: Tensor, b: float = 4.0) -> Tensor:
    return (x + torch.sqrt(x * x + b)) / 2


def sparse_plus(x: Tensor) -> Tensor:
    return torch.where(x <= -1, 0.0, torch.where(x < 1, (x + 1) ** 2 / 4, x))


def sparse_sigmoid(x: Tensor) -> Tensor:
    return ((x + 1) / 2).clamp(0, 1)


def sparsemax(x: Tensor, dim: int) -> Tensor:
    """Compute sparsemax (Martins and Astudillo 2016) as Keras does.

    Keras adds up the cumulative sums, of which the paper takes the last.
    """
    z = x.movedim(dim, -1)
    ordered, _ = z.topk(z.shape[-1])  # a sort whose length an exported file knows
    sums = ordered.cumsum(-1)
    ranks = torch.arange(1, z.shape[-1] + 1, device=x.device, dtype=x.dtype)
    support = ordered - (sums - 1) / ranks > 0
    k = support.sum(-1, keepdim=True)
    tau = ((sums * support).sum(-1, keepdim=True) - 1) / k
    return (z - tau).clamp(min=0).movedim(-1, dim)


def threshold(x: Tensor, threshold: float = 0.0, default_value: float = 0.0) -> Tensor:
    return torch.where(x > threshold, x, default_value)


# Every name that Keras 2 and 3 know but glu, with which Keras itself builds no layer: it takes the
# shape for unchanged.
ELEMENTWISE: dict[str, Function] = {
    "linear": linear,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.2),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": elu,
    "selu": F.selu,
    "celu": F.celu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "mish": F.mish,
    "exponential": torch.exp,
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
    "hard_swish": F.hardswish,
    "hard_tanh": F.hardtanh,
    "hard_shrink": F.hardshrink,
    "soft_shrink": F.softshrink,
    "tanh_shrink": F.tanhshrink,
    "log_sigmoid": F.logsigmoid,
    "squareplus": squareplus,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
}
ALONG_AXIS: dict[str, Callable[..., Tensor]] = {
    "softmax": torch.softmax,
    "log_softmax": torch.log_softmax,
    "sparsemax": sparsemax,
}
# Layers that Keras also accepts as an `activation=`.
LAYERS = ("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU", "Softmax")


def name_of(spec: Any) -> str | None:
    """Return the name of an `activation=`, or None if it is not one of Keras's."""
    if spec is None:
        return "linear"
    if isinstance(spec, str):
        return spec if spec in ELEMENTWISE or spec in ALONG_AXIS else None
    if not isinstance(spec, dict):
        return None
    name, config, registered = (spec.get(k) for k in ("class_name", "config", "registered_name"))
    if name == "function" and registered in (None, "function", config):
        return name_of(config) if isinstance(config, str) else None
    is_layer = name in LAYERS and isinstance(config, dict) and ">" not in str(registered)
    return name if is_layer else None


def describe(spec: Any) -> str:
    """Return what a message calls an activation."""
    if isinstance(spec, dict):
        spec = spec.get("registered_name") or spec.get("config") or spec.get("class_name")
    return str(spec)[:60]


def function_of(spec: Any, axis: int, keras: int) -> Function:
    """Return the function of an `activation=` that `name_of` knows.

    Args:
        spec: as in a config: None, a name, or a dict.
        axis: of the tensor, where Keras's last axis lies.
        keras: major version of the Keras that wrote the config.
    """
    name = name_of(spec)
    if name in LAYERS:
        return rectifier(name, spec["config"], axis)
    if name == "hard_sigmoid" and keras < 3:
        return hard_sigmoid_keras2
    if name in ALONG_AXIS:
        return partial(ALONG_AXIS[name], dim=axis)
    return ELEMENTWISE[str(name)]


def rectifier(name: str, config: dict[str, Any], axis: int) -> Function:
    """Return the function of a layer in `LAYERS`.

    Raises:
        TypeError, ValueError: an argument is not a number.
    """
    if name == "Softmax":
        return partial(torch.softmax, dim=axis)
    if name == "ReLU":
        limit = config.get("max_value")
        return partial(
            relu,
            max_value=None if limit is None else number(limit),
            threshold=number(config.get("threshold") or 0.0),
            negative_slope=number(config.get("negative_slope") or 0.0),
        )
    if name == "LeakyReLU":
        slope = config.get("negative_slope", config.get("alpha", 0.3))  # alpha in Keras 2
        return partial(F.leaky_relu, negative_slope=number(slope))
    if name == "ELU":
        return partial(elu, alpha=number(config.get("alpha", 1.0)))
    return partial(threshold, threshold=number(config.get("theta", 1.0)))


def number(value: Any) -> float:
    """Return a number; Keras 2 wrote some as {"type": "ndarray", "value": 0.3}.

    Raises:
        TypeError, ValueError: it is not a number.
    """
    if isinstance(value, dict):
        value = value.get("value", (value.get("config") or {}).get("value"))
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise TypeError(f"{str(value)[:40]!r} is not a number")
    return float(value)
