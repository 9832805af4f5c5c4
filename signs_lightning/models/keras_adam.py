"""Adam as Keras computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from signs_lightning.models.keras_averaging import EMA, average_weights
from signs_lightning.models.keras_clipping import CLIPPING, clip_gradients, decay_weights


class KerasAdam(torch.optim.Adam):
    """Adam and AdamW with Keras's defaults and epsilon, on PyTorch's fused kernels.

    Keras (https://keras.io/api/optimizers/adam/) steps by lr·√(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + ε), PyTorch
    by lr/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε'). The two are one formula with ε' = ε/√(1−β₂ᵗ), so each step
    hands PyTorch that ε'.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        betas: decay rates of the first and second moment.
        eps: Keras's epsilon, added to √v before the bias correction.
        weight_decay: share of each parameter, times the learning rate, that a step takes off before
            it updates, as in Keras.
        amsgrad: whether the largest second moment seen so far is used.
        clipnorm: largest norm of each parameter's gradient.
        global_clipnorm: largest norm of all gradients together.
        clipvalue: largest absolute value in a gradient.
        use_ema: whether a moving average of the weights is kept, which they become in the end.
        ema_momentum: share of the average that a step keeps.
        ema_overwrite_frequency: after how many steps the weights become the average, too.
        decoupled: False makes `weight_decay` an L2 penalty added to the gradient, as in
            torch.optim.Adam. So it is where a run was begun by a release that had no other way.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        clipvalue: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        decoupled: bool = True,
    ) -> None:
        params = list(params)
        parts = [part["params"] if isinstance(part, dict) else [part] for part in params]
        tensors = [tensor for part in parts for tensor in part]
        fused = all(isinstance(t, Tensor) and t.device.type in {"cpu", "cuda"} for t in tensors)
        clipping = (clipnorm, global_clipnorm, clipvalue)
        averaging = (use_ema, ema_momentum, ema_overwrite_frequency)
        own: dict[str, Any] = dict(zip(CLIPPING, clipping, strict=True))
        own |= {**dict(zip(EMA, averaging, strict=True)), "decoupled": decoupled}
        # A fused step of a float16 run unscales the gradients itself: too late to clip them, and to
        # know whether there will be a step at all, or was one.
        settings = [own | {"weight_decay": weight_decay}]
        settings += [settings[0] | part for part in params if isinstance(part, dict)]
        fused = fused and not any(map(_acts_beside_step, settings))
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, fused=fused)
        self.defaults |= own  # of groups that are added later, too
        for group in self.param_groups:
            group |= own | group

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("keras_eps", group["eps"])
        group.setdefault("steps", 0)  # PyTorch's own count lives on the device

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # those of an earlier release lack these
            group.setdefault("decoupled", False)
            for name in CLIPPING:
                group.setdefault(name, self.defaults.get(name))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:  # it sees the true learning rate
            with torch.enable_grad():
                loss = closure()
        clip_gradients(self.param_groups)
        given = [(group["lr"], group["weight_decay"]) for group in self.param_groups]
        for group in self.param_groups:
            if group["decoupled"]:
                decay_weights(group)
                group["weight_decay"] = 0.0
            group["steps"] += 1
            (beta1, beta2), steps = group["betas"], group["steps"]
            correction1, correction2 = 1 - beta1**steps, math.sqrt(1 - beta2**steps)
            group["eps"] = group["keras_eps"] / correction2
            # Keras corrects in float32, where 1 − 0.999ᵗ is off by up to 1e-5 of itself: too little
            # to matter, but enough for two runs from the same weights to part after some ten steps,
            # at the first tie that falls differently.
            if group["params"][0].dtype != torch.float64:
                correction = _float32_correction(beta1, beta2, steps)
                group["lr"] = group["lr"] * (correction / (correction2 / correction1))
        try:
            super().step()
        finally:
            for group, (lr, weight_decay) in zip(self.param_groups, given, strict=True):
                group["lr"], group["weight_decay"] = lr, weight_decay
        average_weights(self)
        return loss


def _acts_beside_step(settings: dict[str, Any]) -> bool:
    """Whether parameters or gradients change before PyTorch's own step, or averages after it."""
    decays = settings["decoupled"] and settings["weight_decay"]
    return bool(decays or settings["use_ema"] or any(settings[name] for name in CLIPPING))


def _float32_correction(beta1: float, beta2: float, step: int) -> float:
    """√(1−β₂ᵗ)/(1−β₁ᵗ) with every operation rounded to float32, as Keras computes it."""
    one, steps = np.float32(1), np.float32(step)
    first, second = (one - np.power(np.float32(beta), steps) for beta in (beta1, beta2))
    return float(np.sqrt(second) / first)
