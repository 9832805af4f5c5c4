"""Settings of optimizer and schedule in a checkpoint, and how new ones win."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from signs_lightning.errors import InputError
from signs_lightning.models.start_options import FRESH
from signs_lightning.runtime.escaping import shorten

# settings of optimizers that keep another tensor for each parameter
WITH_STATE = ("amsgrad", "centered", "momentum")
Settings = dict[str, Any]


def optimizer_settings(optimizer: Optimizer, lr: float | None) -> Settings:
    """Return what an optimizer was made with as plain values.

    Args:
        optimizer: any.
        lr: the model's learning rate; where it has one, the optimizer's is left out.
    """
    settings = _plain_values(optimizer.defaults)
    return {name: value for name, value in settings.items() if name != "lr" or lr is None}


def scheduler_settings(scheduler: LRScheduler) -> Settings:
    """Return what a scheduler was made with, less what the learning rate decides.

    Args:
        scheduler: any, before its first step.
    """
    settings = _plain_values(vars(scheduler))
    return {name: v for name, v in settings.items() if name[0] != "_" and "lr" not in name}


def _plain_values(values: Mapping[str, Any]) -> Settings:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if isinstance(value, bool | int | float | str | tuple | None)
    }


def apply_scheduler_settings(before: Settings, now: Settings, checkpoint: dict[str, Any]) -> None:
    """Let new settings of ReduceLROnPlateau replace those in a checkpoint.

    Args:
        before: `scheduler_settings` of the run that is resumed.
        now: those given for its continuation.
        checkpoint: whose states of schedulers are changed.

    Raises:
        InputError: settings of another scheduler differ, whose rate follows the number of steps.
    """
    changed = {k: value for k, value in now.items() if k in before and before[k] != value}
    is_plateau = "patience" in now
    # Old checkpoints have no "watched": their runs all monitored val_loss.
    if is_plateau and now.get("watched") != before.get("watched", "val_loss"):
        changed |= {"best": now["best"], "num_bad_epochs": 0}
    if changed and not is_plateau:
        name, value = next(iter(changed.items()))
        begun = shorten(str(before[name]))
        raise InputError(
            f"The run was begun with lr_scheduler {name} {begun} and cannot be resumed with "
            f"{value}. Leave it as it was, or add {FRESH}."
        )
    changed.pop("watched", None)
    for state in checkpoint.get("lr_schedulers", []):
        state.update(changed)


def apply_optimizer_settings(before: Settings, now: Settings, checkpoint: dict[str, Any]) -> None:
    """Let new settings of the optimizer replace those in a checkpoint.

    Args:
        before: `optimizer_settings` of the run that is resumed.
        now: those given for its continuation.
        checkpoint: whose states of optimizer and schedule are changed.

    Raises:
        InputError: a new setting needs state that the optimizer has not kept.
    """
    changed = {k: value for k, value in now.items() if k in before and before[k] != value}
    for name, value in changed.items():
        if name in WITH_STATE and not before[name]:
            raise InputError(
                f"The run was begun with {name} {before[name]}, and its optimizer kept nothing "
                f"that {name} {value} could continue from. Leave it as it was, or add {FRESH}."
            )
        if name == "lr":
            apply_learning_rate(value, checkpoint)
            continue
        for group in _parameter_groups(checkpoint):
            # KerasAdam keeps its epsilon under a name of its own.
            for key in {name, f"keras_{name}"} & group.keys():
                group[key] = tuple(value) if isinstance(value, list) else value


def apply_learning_rate(lr: float | None, checkpoint: dict[str, Any]) -> None:
    """Let a new learning rate replace a checkpoint's; a schedule keeps its place.

    Args:
        lr: learning rate per step, the peak of a schedule; None leaves the checkpoint's.
        checkpoint: whose states of optimizer and schedule are changed.
    """
    if lr is None or lr == checkpoint.get("hyper_parameters", {}).get("lr"):
        return
    factor = 1.0
    for group in _parameter_groups(checkpoint):
        # the peak of a cycle, or where a schedule began
        old = group.get("max_lr", group.get("initial_lr", group["lr"]))
        factor = lr / old
        for key in {"lr", "initial_lr", "max_lr", "min_lr"} & group.keys():
            group[key] = lr if group[key] == old else group[key] * factor
    for state in checkpoint.get("lr_schedulers", []):
        for part in (state, *state.get("_schedulers", [])):
            for key in {"base_lrs", "_last_lr"} & part.keys():
                part[key] = [value * factor for value in part[key]]


def _parameter_groups(checkpoint: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for state in checkpoint.get("optimizer_states", []):
        yield from state["param_groups"]
