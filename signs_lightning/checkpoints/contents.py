"""What a checkpoint may hold: weights that its bytes can hold, and plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from signs_lightning.checkpoints.training_state import is_training_state
from signs_lightning.errors import InputError
from signs_lightning.models.keras_run import KEY
from signs_lightning.models.packed_history import is_history
from signs_lightning.models.stochastic_averaging import TRAINED_WEIGHTS

MAX_VALUES = 2**20  # texts and numbers that a checkpoint may hold besides tensors
SECTIONS = ("model", "data", "trainer", "checkpoint")  # of a configuration
SETTINGS = ("settings", "scheduler_settings")  # what optimizer and scheduler were made with
TRAINING = {"optimizer", "schedule", "warmup", "schedule_steps"}  # in every release
LATER_TRAINING = {"lr_scheduler", *SETTINGS}


def check_contents(checkpoint: dict[str, Any], path: Path, size: int) -> None:
    """Check that a checkpoint holds what a fit writes, each of the right kind.

    Args:
        checkpoint: with its state_dict, hyper_parameters and signs_lightning.
        path: the file, for the message.
        size: bytes of the file.

    Raises:
        InputError: it holds other things.
    """
    try:
        fits = _is_of_a_fit(checkpoint, size)
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError):
        fits = False  # such as a tensor in place of a dict
    if not fits:
        problem = f"{path} holds other things than a fit writes: it was damaged or edited"
        raise InputError(f"{problem}. Do not trust this file.")


def _is_of_a_fit(checkpoint: dict[str, Any], size: int) -> bool:
    """Return whether every part is of the kind that a fit writes."""
    state, ours = checkpoint["state_dict"], checkpoint["signs_lightning"]
    arguments, config = checkpoint["hyper_parameters"], checkpoint.get("config", {})
    data, callbacks = checkpoint.get("H5DataModule", {}), checkpoint.get("callbacks", {})
    trained = checkpoint.get(TRAINED_WEIGHTS, {})
    parts = [state, trained, ours, arguments, config, data, callbacks]
    if isinstance(config, dict):
        parts += [config[key] for key in SECTIONS if config.get(key)]
    if isinstance(callbacks, dict):
        parts.append(callbacks.get("RunFiles", {}))
    return (
        all(isinstance(part, dict) and all(isinstance(k, str) for k in part) for part in parts)
        and _are_weights(state, size)
        and _are_weights(trained, size)
        and is_plain_data([arguments, config, data, {**ours, "totals": None, "history": None}])
        and isinstance((config.get("model") or {}).get("init_args") or {}, dict)
        and is_plain_data(callbacks.get("RunFiles"))
        and isinstance(ours.get("model", ""), str)
        and isinstance(ours.get("network", ""), str)
        and ("network" not in ours or isinstance(arguments.get("network_args"), dict))
        and isinstance(ours.get("validated_images", 0), int)
        and is_history(ours.get("history") or [], size)
        and _is_training(ours.get("training") or {})
        and _is_keras_run(ours.get(KEY))
        and is_training_state(checkpoint, size)
    )


def _are_weights(state: dict[str, Any], size: int) -> bool:
    """Return whether all are dense tensors that fit into so many bytes."""
    tensors = list(state.values())
    if not all(isinstance(t, torch.Tensor) and t.layout == torch.strided for t in tensors):
        return False
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) <= size


def _is_training(value: Any) -> bool:
    """Return whether it describes a run's optimizer and schedule, or is empty."""
    if value == {}:
        return True
    if not isinstance(value, dict) or not TRAINING <= value.keys() <= TRAINING | LATER_TRAINING:
        return False
    if not all(isinstance(value.get(name, {}), dict) for name in SETTINGS):
        return False
    steps = value["schedule_steps"]
    return (steps is None) == (value["schedule"] is None) and isinstance(steps, int | float | None)


def _is_keras_run(value: Any) -> bool:
    """Return whether it tells of a training that Keras began, or is missing."""
    if value is None or not isinstance(value, dict):
        return value is None
    steps, weights = value.get("steps"), value.get("weights")
    is_run = type(steps) is int and 0 <= steps < 2**31 and isinstance(weights, list)
    return isinstance(value.get("problem"), str) or is_run


def is_plain_data(value: Any) -> bool:
    """Return whether a value is made of text, numbers, lists and dicts by text.

    A value that stands in two places counts twice towards `MAX_VALUES`: a few lists that hold each
    other could unfold to more than any memory.
    """
    waiting, left = [value], MAX_VALUES
    while waiting:
        value, left = waiting.pop(), left - 1
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif not (value is None or isinstance(value, bool | int | float | str)):
            return False
        if left - len(waiting) < 0:
            return False
    return True
