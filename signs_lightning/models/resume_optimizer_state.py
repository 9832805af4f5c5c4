"""Whether an optimizer can go on from its state in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from signs_lightning.errors import InputError
from signs_lightning.models.start_options import FRESH

CHOSEN = {"foreach", "fused"}  # settings that PyTorch chooses where they are None
NEEDED = {"lr", "betas", "eps", "weight_decay"}  # for which PyTorch fills in nothing


def check_optimizer_states(optimizers: list[Optimizer], checkpoint: Mapping[str, Any]) -> None:
    """Check that the states in a checkpoint are of the optimizers that are to go on from them.

    A fused optimizer writes a weight's numbers into its state, however many the state has.

    Args:
        optimizers: which have made no step.
        checkpoint: of the run that is resumed.

    Raises:
        InputError: a state has the shape of other weights, or a setting is of another kind.
    """
    for optimizer, state in zip(optimizers, checkpoint.get("optimizer_states", []), strict=False):
        if not (_fit_groups(optimizer, state["param_groups"]) and _fits(optimizer, state)):
            raise InputError(
                "The state of the optimizer in the checkpoint is of other weights than the model "
                f"has: it was damaged or edited. Add {FRESH}."
            )


def _fit_groups(optimizer: Optimizer, stored: list[dict[str, Any]]) -> bool:
    """Return whether settings of groups are there, and of the kinds that the optimizer has."""
    if len(stored) != len(optimizer.param_groups):
        return True  # PyTorch says what is wrong with them
    pairs = zip(optimizer.param_groups, stored, strict=True)
    needed = NEEDED & optimizer.defaults.keys()
    return all(needed <= group.keys() for group in stored) and all(
        _is_alike(value, group[name])
        for own, group in pairs
        for name, value in own.items()
        if name in group and name != "params" and not (name in CHOSEN and group[name] is None)
    )


def _is_alike(own: Any, stored: Any) -> bool:
    if isinstance(own, tuple | list):
        is_list = isinstance(stored, tuple | list) and len(stored) == len(own)
        return is_list and all(map(_is_alike, own, stored))
    if isinstance(own, bool | int | float):
        is_one = isinstance(stored, torch.Tensor) and stored.numel() == 1
        if isinstance(own, bool):
            return isinstance(stored, bool)
        return stored is None or isinstance(stored, bool | int | float) or is_one
    return True


def _fits(optimizer: Optimizer, stored: dict[str, Any]) -> bool:
    """Return whether the tensors of a state have the shapes of the weights, or are numbers."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in stored["param_groups"] for number in group["params"]]
    if "fused" not in optimizer.defaults or len(weights) != len(numbers):
        return True
    shapes = {number: weight.shape for number, weight in zip(numbers, weights, strict=True)}
    return len({frozenset(state) for state in stored["state"].values()}) <= 1 and all(
        number in shapes and _is_of(name, part, shapes[number])
        for number, state in stored["state"].items()
        for name, part in state.items()
    )


def _is_of(name: str, part: Any, shape: torch.Size) -> bool:
    """Return whether a part of a state is a number, or a number for each of a weight's."""
    if isinstance(part, torch.Tensor):
        is_real = not part.is_complex() and not part.is_sparse
        return is_real and (part.numel() == 1 or part.shape == shape)
    if part is None:  # of SGD without momentum
        return name == "momentum_buffer"
    return name == "step" and isinstance(part, int | float)  # of older releases
