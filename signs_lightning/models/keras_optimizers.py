"""Keras's optimizers besides Adam, as Keras computes them.

Sources: https://keras.io/api/optimizers/ (`keras/src/optimizers/`). A step clips the gradients,
decays the weights and updates them, in this order. The tensors that an optimizer keeps for each
parameter have Keras's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

Group = dict[str, Any]
State = dict[str, Tensor]
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")  # settings, of which at most one is given


@torch.no_grad()
def clip_gradients(groups: list[Group]) -> None:
    """Clip gradients in place, as far as the groups' settings say so.

    Args:
        groups: parameter groups with `clipnorm` (largest norm of each gradient), `clipvalue`
            (largest absolute value) and `global_clipnorm` (largest norm of all gradients together,
            the first group's).
    """
    for group in groups:
        for gradient in _gradients([group]) if group["clipnorm"] or group["clipvalue"] else []:
            if group["clipnorm"]:
                gradient.mul_(group["clipnorm"] / gradient.norm().clamp_min(group["clipnorm"]))
            else:
                gradient.clamp_(-group["clipvalue"], group["clipvalue"])
    limit, gradients = groups[0]["global_clipnorm"], _gradients(groups)
    if limit and gradients:
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        for gradient in gradients:
            gradient.mul_(limit / norm.clamp_min(limit))


def _gradients(groups: list[Group]) -> list[Tensor]:
    return [p.grad for group in groups for p in group["params"] if p.grad is not None]


@torch.no_grad()
def decay_weights(group: Group) -> None:
    """Shrink a group's parameters by its learning rate times its `weight_decay`.

    Keras decays every variable that is trained, biases and BatchNorm's gamma and beta among them.
    """
    if group["weight_decay"]:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])


def one_minus_power(beta: float, step: int, dtype: torch.dtype) -> float:
    """Return 1 − βᵗ, rounded as Keras does it for parameters of this type."""
    kind = np.float64 if dtype == torch.float64 else np.float32
    return float(kind(1) - np.power(kind(beta), kind(step)))


class KerasOptimizer(Optimizer):
    """What Keras's optimizers share.

    Args:
        params: parameters or parameter groups.
        settings: the optimizer's own.
        weight_decay: share of each parameter, times the learning rate, that a step takes off.
        clipnorm: largest norm of each parameter's gradient.
        global_clipnorm: largest norm of all gradients together.
        clipvalue: largest absolute value in a gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        settings: dict[str, Any],
        weight_decay: float = 0.0,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        clipvalue: float | None = None,
    ) -> None:
        clipping = dict(zip(CLIPPING, (clipnorm, global_clipnorm, clipvalue), strict=True))
        super().__init__(params, settings | {"weight_decay": weight_decay} | clipping)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        self.param_groups[-1].setdefault("steps", 0)

    def slots(self, group: Group) -> dict[str, float]:
        """Return the names of the tensors that each parameter has, and what they begin with."""
        raise NotImplementedError

    def begin_step(self, group: Group) -> None:
        """Count a group's step."""
        group["steps"] += 1

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        """Update a parameter and its slots in place."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        clip_gradients(self.param_groups)
        for group in self.param_groups:
            self.begin_step(group)
            decay_weights(group)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                for name, value in self.slots(group).items():
                    if name not in state:
                        state[name] = torch.full_like(parameter, value)
                self.update(parameter, parameter.grad, state, group)
        return loss


class KerasSGD(KerasOptimizer):
    """SGD whose velocity has the learning rate in it, so that schedules act as in Keras.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        momentum: share of the velocity that is kept, in 0..1.
        nesterov: whether the step looks ahead.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov}, **kwargs)

    def slots(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0} if group["momentum"] else {}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        change, momentum = gradient * -group["lr"], group["momentum"]
        if momentum:
            velocity = state["momentum"].mul_(momentum).add_(change)
            change = change + velocity * momentum if group["nesterov"] else velocity
        parameter.add_(change)


class KerasRMSprop(KerasOptimizer):
    """RMSprop with the epsilon under the root.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        rho: share of the mean square that is kept.
        momentum: share of the last change that is kept.
        eps: added to the mean square.
        centered: whether the mean's square is taken off the mean square.
        eps_in_root: False adds epsilon to the root instead, as Keras before 2.11 does without
            momentum.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        rho: float = 0.9,
        momentum: float = 0.0,
        eps: float = 1e-7,
        centered: bool = False,
        eps_in_root: bool = True,
        **kwargs: Any,
    ) -> None:
        settings = {"lr": lr, "rho": rho, "momentum": momentum, "eps": eps, "centered": centered}
        super().__init__(params, settings | {"eps_in_root": eps_in_root}, **kwargs)

    def slots(self, group: Group) -> dict[str, float]:
        slots = {"velocity": True, "momentum": group["momentum"], "average": group["centered"]}
        return {name: 0.0 for name, is_kept in slots.items() if is_kept}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        rho, eps = group["rho"], group["eps"]
        square = state["velocity"].mul_(rho).add_(gradient.square(), alpha=1 - rho)
        if group["centered"]:
            average = state["average"].mul_(rho).add_(gradient, alpha=1 - rho)
            square = square - average.square()
        root = (square + eps).sqrt() if group["eps_in_root"] else square.sqrt() + eps
        change = gradient * group["lr"] / root
        if group["momentum"]:
            change = state["momentum"].mul_(group["momentum"]).add_(change)
        parameter.sub_(change)


class KerasAdagrad(KerasOptimizer):
    """Adagrad with the epsilon under the root.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        initial_accumulator_value: what the sums of squares begin with.
        eps: added to the sum of squares.
        eps_in_root: False adds epsilon to the root instead, as Keras before 2.11 does.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        initial_accumulator_value: float = 0.1,
        eps: float = 1e-7,
        eps_in_root: bool = True,
        **kwargs: Any,
    ) -> None:
        settings = {"lr": lr, "initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, settings | {"eps_in_root": eps_in_root}, **kwargs)

    def slots(self, group: Group) -> dict[str, float]:
        return {"accumulator": group["initial_accumulator_value"]}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        total, eps = state["accumulator"].add_(gradient.square()), group["eps"]
        root = (total + eps).sqrt() if group["eps_in_root"] else total.sqrt() + eps
        parameter.sub_(gradient * group["lr"] / root)


class KerasAdadelta(KerasOptimizer):
    """Adadelta with Keras's defaults.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        rho: share of the mean squares that is kept.
        eps: added to the mean squares.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        rho: float = 0.95,
        eps: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps}, **kwargs)

    def slots(self, group: Group) -> dict[str, float]:
        return {"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}

    def update(self, parameter: Tensor, gradient: Tensor, state: State, group: Group) -> None:
        rho, eps = group["rho"], group["eps"]
        square = state["accumulated_grad"].mul_(rho).add_(gradient.square(), alpha=1 - rho)
        changes = state["accumulated_delta_var"]
        change = (changes + eps).sqrt() * gradient / (square + eps).sqrt()
        changes.mul_(rho).add_(change.square(), alpha=1 - rho)
        parameter.sub_(change * group["lr"])
