"""Adamax, Nadam and Lion as Keras computes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from signs_lightning.models.keras_clipping import Group
from signs_lightning.models.keras_optimizers import (
    KerasOptimizer,
    Slots,
    one_minus_power,
)
from signs_lightning.models.optimizer_parts import Tensors

NADAM_DECAY = 0.96  # of the momentum's share of its full value


class KerasAdamax(KerasOptimizer):
    """Adamax with the epsilon added to the norm.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        betas: decay rates of the first moment and of the norm.
        eps: added to the norm.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue,
            use_ema, ema_momentum, ema_overwrite_frequency.
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

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        beta1, beta2 = group["betas"]
        means, norms = slots["momentum"], slots["norm"]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(norms, beta2)
        bounds = torch._foreach_abs(gradients)
        torch._foreach_maximum_(norms, bounds)
        correction = one_minus_power(beta1, group["steps"], weights[0].dtype)
        del bounds  # its memory serves once more
        bounds = torch._foreach_add(norms, group["eps"])
        torch._foreach_addcdiv_(weights, means, bounds, -group["lr"] / correction)


class KerasNadam(KerasOptimizer):
    """Nadam, Adam with Nesterov's momentum (Dozat 2015).

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        betas: decay rates of the first and second moment.
        eps: added to the root of the second moment after its correction.
        momentum_decay: the momentum of step t is β₁ (1 − 0.96^(t · this) / 2); Keras before 2.11
            has 0.004.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue,
            use_ema, ema_momentum, ema_overwrite_frequency.
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

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        (beta1, beta2), steps = group["betas"], group["steps"]
        now, then = (_momentum(group, step) for step in (steps, steps + 1))
        product, means, squares = group["momentum_product"], slots["momentum"], slots["velocity"]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        # m / (√(v / c) + ε) is √c · m / (√v + √c · ε)
        correction = math.sqrt(one_minus_power(beta2, steps, weights[0].dtype))
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"] * correction)
        rate = -group["lr"] * correction
        torch._foreach_addcdiv_(weights, means, roots, rate * then / (1 - product * then))
        torch._foreach_addcdiv_(weights, gradients, roots, rate * (1 - now) / (1 - product))


def _momentum(group: Group, step: int) -> float:
    return group["betas"][0] * (1 - 0.5 * NADAM_DECAY ** (step * group["momentum_decay"]))


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
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue,
            use_ema, ema_momentum, ema_overwrite_frequency.
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

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        (beta1, beta2), momenta = group["betas"], slots["momentum"]
        steps = torch._foreach_lerp(momenta, gradients, 1 - beta1)
        torch._foreach_sign_(steps)
        torch._foreach_add_(weights, steps, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, gradients, 1 - beta2)
