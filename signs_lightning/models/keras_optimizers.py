"""Keras's optimizers besides Adam, as Keras computes them.

Sources: https://keras.io/api/optimizers/ (`keras/src/optimizers/`). A step clips the gradients,
decays the weights and updates them, in this order. The tensors that an optimizer keeps for each
parameter have Keras's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from signs_lightning.models.keras_averaging import EMA, average_weights
from signs_lightning.models.keras_clipping import CLIPPING, Group, clip_gradients, decay_weights
from signs_lightning.models.optimizer_parts import Tensors, parts, pieces

Slots = dict[str, Tensors]  # by name, each parameter's


@lru_cache(maxsize=8)  # each weight of a step asks for the same
def one_minus_power(beta: float, step: int, dtype: torch.dtype) -> float:
    """Return 1 − βᵗ, rounded as Keras does it for parameters of this type."""
    kind = np.float64 if dtype == torch.float64 else np.float32
    return float(kind(1) - np.power(kind(beta), kind(step)))


def roots_with_epsilon(squares: Tensors, group: Group, in_place: bool = False) -> Tensors:
    """Return roots, with the group's epsilon under them or added to them."""
    eps = group["eps"]
    if not group["eps_in_root"]:
        roots = list(torch._foreach_sqrt(squares))
        torch._foreach_add_(roots, eps)
        return roots
    if in_place:
        torch._foreach_add_(squares, eps)
    roots = squares if in_place else list(torch._foreach_add(squares, eps))
    torch._foreach_sqrt_(roots)
    return roots


class KerasOptimizer(Optimizer):
    """What Keras's optimizers share.

    Args:
        params: parameters or parameter groups.
        settings: the optimizer's own.
        weight_decay: share of each parameter, times the learning rate, that a step takes off.
        clipnorm: largest norm of each parameter's gradient.
        global_clipnorm: largest norm of all gradients together.
        clipvalue: largest absolute value in a gradient.
        use_ema: whether a moving average of the weights is kept, which they become in the end.
        ema_momentum: share of the average that a step keeps.
        ema_overwrite_frequency: after how many steps the weights become the average, too.
    """

    in_pieces = True  # whether tensors are made on the way, which should stay in the caches

    def __init__(
        self,
        params: Iterable[Any],
        settings: dict[str, Any],
        weight_decay: float = 0.0,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        clipvalue: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
    ) -> None:
        clipping = dict(zip(CLIPPING, (clipnorm, global_clipnorm, clipvalue), strict=True))
        ema = (use_ema, ema_momentum, ema_overwrite_frequency)
        settings = settings | {"weight_decay": weight_decay} | dict(zip(EMA, ema, strict=True))
        super().__init__(params, settings | clipping)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        self.param_groups[-1].setdefault("steps", 0)

    def slots(self, group: Group) -> dict[str, float]:
        """Return the names of the tensors that each parameter has, and what they begin with."""
        raise NotImplementedError

    def begin_step(self, group: Group) -> None:
        """Count a group's step."""
        group["steps"] += 1

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        """Update parameters and their slots in place; the gradients stay as they are."""
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
            weights = [weight for weight in group["params"] if weight.grad is not None]
            starts = self.slots(group)
            for name, start in starts.items():
                for weight in weights:
                    if name not in self.state[weight]:
                        self.state[weight][name] = torch.full_like(weight, start)
            for part in parts(weights):
                slots = {name: [self.state[weight][name] for weight in part] for name in starts}
                lists: list[Any] = [part, [weight.grad for weight in part], *slots.values()]
                for own, gradients, *rest in pieces(lists) if self.in_pieces else [lists]:
                    self.update(own, gradients, dict(zip(slots, rest, strict=True)), group)
        average_weights(self)
        return loss


class KerasSGD(KerasOptimizer):
    """SGD whose velocity has the learning rate in it, so that schedules act as in Keras.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        momentum: share of the velocity that is kept, in 0..1.
        nesterov: whether the step looks ahead.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue,
            use_ema, ema_momentum, ema_overwrite_frequency.
    """

    in_pieces = False

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

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        lr, momentum = group["lr"], group["momentum"]
        if not momentum:
            torch._foreach_add_(weights, gradients, alpha=-lr)
            return
        velocities = slots["momentum"]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, gradients, alpha=-lr)
        if group["nesterov"]:
            torch._foreach_add_(weights, velocities, alpha=momentum)
            torch._foreach_add_(weights, gradients, alpha=-lr)
        else:
            torch._foreach_add_(weights, velocities)


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
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue,
            use_ema, ema_momentum, ema_overwrite_frequency.
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

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        rho, squares = group["rho"], slots["velocity"]
        torch._foreach_mul_(squares, rho)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - rho)
        if group["centered"]:
            averages = slots["average"]
            torch._foreach_lerp_(averages, gradients, 1 - rho)
            squares = list(torch._foreach_addcmul(squares, averages, averages, -1))
        roots = roots_with_epsilon(squares, group, in_place=group["centered"])
        if group["momentum"]:
            torch._foreach_mul_(slots["momentum"], group["momentum"])
            torch._foreach_addcdiv_(slots["momentum"], gradients, roots, group["lr"])
            torch._foreach_sub_(weights, slots["momentum"])
        else:
            torch._foreach_addcdiv_(weights, gradients, roots, -group["lr"])


class KerasAdagrad(KerasOptimizer):
    """Adagrad with the epsilon under the root.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        initial_accumulator_value: what the sums of squares begin with.
        eps: added to the sum of squares.
        eps_in_root: False adds epsilon to the root instead, as Keras before 2.11 does.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue,
            use_ema, ema_momentum, ema_overwrite_frequency.
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

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        torch._foreach_addcmul_(slots["accumulator"], gradients, gradients)
        roots = roots_with_epsilon(slots["accumulator"], group)
        torch._foreach_addcdiv_(weights, gradients, roots, -group["lr"])


class KerasAdadelta(KerasOptimizer):
    """Adadelta with Keras's defaults.

    Args:
        params: parameters or parameter groups.
        lr: learning rate per step.
        rho: share of the mean squares that is kept.
        eps: added to the mean squares.
        kwargs: those of KerasOptimizer: weight_decay, clipnorm, global_clipnorm, clipvalue,
            use_ema, ema_momentum, ema_overwrite_frequency.
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

    def update(self, weights: Tensors, gradients: Tensors, slots: Slots, group: Group) -> None:
        rho, eps = group["rho"], group["eps"]
        squares, changes = slots["accumulated_grad"], slots["accumulated_delta_var"]
        torch._foreach_mul_(squares, rho)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - rho)
        steps, roots = torch._foreach_add(changes, eps), torch._foreach_add(squares, eps)
        torch._foreach_div_(steps, roots)
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, gradients)
        torch._foreach_mul_(changes, rho)
        torch._foreach_addcmul_(changes, steps, steps, 1 - rho)
        torch._foreach_add_(weights, steps, alpha=-group["lr"])
