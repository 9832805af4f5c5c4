"""Keras's learning-rate schedules, by the number of optimizer steps.

Source: https://keras.io/api/optimizers/learning_rate_schedules/
(`keras/src/optimizers/schedules/learning_rate_schedule.py`). The arguments have Keras's names.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

MAX_POWER = 700.0  # of e, in a float


def exponential_decay(
    step: float,
    initial_learning_rate: float,
    decay_steps: float,
    decay_rate: float,
    staircase: bool = False,
) -> float:
    """Return initial · rate^(step / steps)."""
    share = step / decay_steps
    power = math.log(decay_rate) * (math.floor(share) if staircase else share)
    return initial_learning_rate * math.exp(min(power, MAX_POWER))


def inverse_time_decay(
    step: float,
    initial_learning_rate: float,
    decay_steps: float,
    decay_rate: float,
    staircase: bool = False,
) -> float:
    """Return initial / (1 + rate · step / steps)."""
    share = step / decay_steps
    return initial_learning_rate / (1 + decay_rate * (math.floor(share) if staircase else share))


def polynomial_decay(
    step: float,
    initial_learning_rate: float,
    decay_steps: float,
    end_learning_rate: float = 1e-4,
    power: float = 1.0,
    cycle: bool = False,
) -> float:
    """Return the rate on a polynomial from `initial` to `end`."""
    if cycle:
        decay_steps *= max(1, math.ceil(step / decay_steps))
    share = min(step, decay_steps) / decay_steps
    return (initial_learning_rate - end_learning_rate) * (1 - share) ** power + end_learning_rate


def piecewise_constant_decay(
    step: float, boundaries: Sequence[float], values: Sequence[float]
) -> float:
    """Return the value of the interval that the step is in; its upper bound belongs to it."""
    return values[bisect_left(boundaries, step)]


def cosine_decay(
    step: float,
    initial_learning_rate: float,
    decay_steps: float,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: float = 0,
) -> float:
    """Return the rate on half a cosine down to `alpha` of its start, after a linear warm-up."""
    start = initial_learning_rate
    if warmup_target is not None:
        if step < warmup_steps:
            return start + (warmup_target - start) * step / warmup_steps
        start, step = warmup_target, step - warmup_steps
    return start * _half_cosine(min(step, decay_steps) / decay_steps, alpha)


def cosine_decay_restarts(
    step: float,
    initial_learning_rate: float,
    first_decay_steps: float,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> float:
    """Return the rate on half cosines, each `t_mul` times as long and `m_mul` times as high."""
    share = step / first_decay_steps
    if t_mul == 1:
        restarts, begun = math.floor(share), float(math.floor(share))
    else:
        restarts = math.floor(math.log(1 + share * (t_mul - 1)) / math.log(t_mul))
        begun = (t_mul**restarts - 1) / (t_mul - 1)
    share = (share - begun) / t_mul**restarts
    return initial_learning_rate * _half_cosine(share, alpha, m_mul**restarts)


def _half_cosine(share: float, alpha: float, height: float = 1.0) -> float:
    return (1 - alpha) * 0.5 * height * (1 + math.cos(math.pi * share)) + alpha


SCHEDULES: dict[str, Callable[..., float]] = {  # by Keras's class names
    "ExponentialDecay": exponential_decay,
    "InverseTimeDecay": inverse_time_decay,
    "PolynomialDecay": polynomial_decay,
    "PiecewiseConstantDecay": piecewise_constant_decay,
    "CosineDecay": cosine_decay,
    "CosineDecayRestarts": cosine_decay_restarts,
}


def peak_rate(arguments: dict[str, Any]) -> float:
    """Return the learning rate that a schedule of these arguments is measured by.

    It is where the schedule begins, after a warm-up; or its highest value, of a piecewise one.
    """
    if "values" in arguments:
        return max(arguments["values"])
    target = arguments.get("warmup_target")
    return arguments["initial_learning_rate"] if target is None else target


def make_keras_schedule(optimizer: Optimizer, name: str, arguments: dict[str, Any]) -> LambdaLR:
    """Make a scheduler that is to be stepped after every optimizer step.

    Args:
        optimizer: where its learning rate is not the schedule's peak, the schedule is scaled to it.
        name: Keras's class name.
        arguments: Keras's, checked.
    """
    rate, peak = SCHEDULES[name], peak_rate(arguments)
    return LambdaLR(optimizer, lambda step: rate(step, **arguments) / peak)
