"""Clipping and weight decay as every optimizer of Keras has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Group = dict[str, Any]
CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")  # settings, of which at most one is given


def clip_gradients(groups: list[Group]) -> None:
    """Clip gradients in place, as far as the groups' settings say so.

    Args:
        groups: parameter groups with `clipnorm` (largest norm of each gradient), `clipvalue`
            (largest absolute value) and `global_clipnorm` (largest norm of all gradients together,
            the first group's).
    """
    if any(group[name] for group in groups for name in CLIPPING):  # else not even the lists
        _clip(groups)


@torch.no_grad()
def _clip(groups: list[Group]) -> None:
    for group in groups:
        gradients = _gradients([group]) if group["clipnorm"] or group["clipvalue"] else []
        if gradients and group["clipnorm"]:
            norms = torch._foreach_norm(gradients)
            torch._foreach_clamp_min_(norms, group["clipnorm"])
            torch._foreach_reciprocal_(norms)
            torch._foreach_mul_(norms, group["clipnorm"])
            torch._foreach_mul_(gradients, norms)
        elif gradients:
            torch._foreach_clamp_max_(gradients, group["clipvalue"])
            torch._foreach_clamp_min_(gradients, -group["clipvalue"])
    limit = groups[0]["global_clipnorm"]
    if limit and (gradients := _gradients(groups)):
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_mul_(gradients, limit / norm.clamp_min(limit))


def _gradients(groups: list[Group]) -> list[Tensor]:
    return [p.grad for group in groups for p in group["params"] if p.grad is not None]


def decay_weights(group: Group) -> None:
    """Shrink a group's parameters by its learning rate times its `weight_decay`.

    Keras decays every variable that is trained, biases and BatchNorm's gamma and beta among them.
    """
    if not group["weight_decay"]:
        return
    parameters = [p for p in group["params"] if p.grad is not None]
    if parameters:
        with torch.no_grad():
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
