"""Adamax, Nadam and Lion as Keras computes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from signs_lightning.models.keras_optimizers import (
    Group,
    KerasOptimizer,
    State,
    one_minus_power,
)


class KerasAdamax(KerasOptimizer):
    """Adamax with the epsilon added to the norm.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        betas: decay rates of the first moment and of the norm.
        eps: added to the norm.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps}, **kwargs)

    def slots(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0, "norm": 0.0}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        beta1, beta2 = group["betas"]
        mean = state["momentum"].lerp_(gradient, 1 - beta1)
        norm = state["norm"].mul_(beta2)
        torch.maximum(norm, gradient.abs(), out=norm)
        correction = one_minus_power(beta1, group["steps"], parameter.dtype)
        parameter.sub_(mean * group["lr"] / ((norm + group["eps"]) * correction))


class KerasNadam(KerasOptimizer):
    """Nadam, Adam with Nesterov's momentum (Dozat 2015).

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        betas: decay rates of the first and second moment.
        eps: added to the root of the second moment after its correction.
        momentum_decay: the momentum of step t is β₁ (1 − 0.96^(t · this) / 2); Keras before 2.11
            has 0.004.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        momentum_decay: float = 1.0,
        **kwargs: Any,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "momentum_decay": momentum_decay}
        super().__init__(params, settings, **kwargs)

    def slots(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0}

    def begin_step(self, group: Group) -> None:
        super().begin_step(group)
        product = group.get("momentum_product", 1.0)  # over all steps so far
        group["momentum_product"] = product * _momentum(group, group["steps"])

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        (beta1, beta2), steps = group["betas"], group["steps"]
        now, then = (_momentum(group, step) for step in (steps, steps + 1))
        product = group["momentum_product"]
        mean = state["momentum"].lerp_(gradient, 1 - beta1)
        square = state["velocity"].lerp_(gradient.square(), 1 - beta2)
        ahead = mean * (then / (1 - product * then)) + gradient * ((1 - now) / (1 - product))
        correction = one_minus_power(beta2, steps, parameter.dtype)
        root = square.sqrt() / math.sqrt(correction) + group["eps"]
        parameter.sub_(ahead * group["lr"] / root)


def _momentum(group: Group, step: int) -> float:
    return group["betas"][0] * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))


def momentum_product(group: Group, steps: int) -> float:
    """Return the product of Nadam's momenta over so many steps."""
    product = 1.0
    for step in range(1, steps + 1):
        product *= _momentum(group, step)
        if product < 1e-300:  # it is 0 in float32 long before
            return 0.0
    return product


class KerasLion(KerasOptimizer):
    """Lion, which steps by the sign of the momentum (Chen et al. 2023).

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        betas: share of the momentum in a step, and of it that is kept.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        **kwargs: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas}, **kwargs)

    def slots(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        (beta1, beta2), momentum = group["betas"], state["momentum"]
        parameter.sub_((momentum * beta1 + gradient * (1 - beta1)).sign() * group["lr"])
        momentum.mul_(beta2).add_(gradient, alpha=1 - beta2)
