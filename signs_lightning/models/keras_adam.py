"""Adam as Keras computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


class KerasAdam(torch.optim.Adam):
    """Adam with Keras's defaults and Keras's place for epsilon, on PyTorch's fused kernels.

    Keras (https://keras.io/api/optimizers/adam/) steps by lr·√(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε), PyTorch
    by lr/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε'). The two are one formula with ε' = ε/√(1−β₂ᵗ), so each step
    hands PyTorch that ε'.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        betas: decay rates of the first and second moment.
        eps: Keras's epsilon, added to √v before the bias correction.
        weight_decay: L2 penalty added to the gradient, as in torch.optim.Adam.
        amsgrad: whether the largest second moment seen so far is used.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        params = list(params)
        tensors = [
            tensor
            for entry in params
            for tensor in (entry["params"] if isinstance(entry, dict) else [entry])
        ]
        fused = all(
            isinstance(tensor, Tensor) and tensor.device.type in {"cpu", "cuda"}
            for tensor in tensors
        )
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, fused=fused)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("keras_eps", group["eps"])
        group.setdefault(
            "steps", 0
        )  # counted here as well, because PyTorch's own count lives on the device

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if (
            closure is not None
        ):  # before anything is changed, so that it sees the true learning rate
            with torch.enable_grad():
                loss = closure()
        scheduled = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["steps"] += 1
            beta1, beta2 = group["betas"]
            correction1, correction2 = 1 - beta1 ** group["steps"], 1 - beta2 ** group["steps"]
            group["eps"] = group["keras_eps"] / math.sqrt(correction2)
            # Keras corrects in float32, where 1 − 0.999ᵗ is off by up to 1e-5 of itself: too little
            # to matter, but enough for two runs from the same weights to part after some ten steps,
            # at the first tie that falls differently.
            factor = _float32_correction(beta1, beta2, group["steps"]) / (
                math.sqrt(correction2) / correction1
            )
            group["lr"] = group["lr"] * factor
        try:
            super().step()
        finally:
            for group, lr in zip(self.param_groups, scheduled, strict=True):
                group["lr"] = lr
        return loss


def _float32_correction(beta1: float, beta2: float, step: int) -> float:
    """√(1−β₂ᵗ)/(1−β₁ᵗ) with every operation rounded to float32, as Keras computes it."""
    one, steps = np.float32(1), np.float32(step)
    return float(
        np.sqrt(one - np.power(np.float32(beta2), steps))
        / (one - np.power(np.float32(beta1), steps))
    )
