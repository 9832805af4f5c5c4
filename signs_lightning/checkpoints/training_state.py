"""What a checkpoint may hold for a run that is resumed: states of optimizer, loops and callbacks.

PyTorch's fused optimizers and Lightning's ModelCheckpoint do what a state says without asking: the
first write as far as a weight reaches, and the second deletes the files that it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import torch

KEPT = ("best_model_path", "kth_best_model_path", "last_model_path")  # of ModelCheckpoint
VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(\.\w+)*(\+\w+)?", re.ASCII)
MAX_NAME = 200  # characters of a column of the history


def is_training_state(checkpoint: dict[str, Any], size: int) -> bool:
    """Return whether states have the kinds that a fit writes, and tensors the bytes they claim.

    Args:
        checkpoint: whose parts are dicts by text.
        size: bytes of the file.
    """
    ours, data = checkpoint["signs_lightning"], checkpoint.get("H5DataModule", {})
    optimizers, schedulers = checkpoint.get("optimizer_states", []), checkpoint.get("lr_schedulers")
    loops, callbacks = checkpoint.get("loops", {}), checkpoint.get("callbacks", {})
    return (
        _are_tensors_there(checkpoint, size)
        and all(type(checkpoint.get(key, 0)) is int for key in ("epoch", "global_step"))
        and _is_version(checkpoint.get("pytorch-lightning_version", "2.0"))
        and isinstance(optimizers, list)
        and all(map(_is_optimizer, optimizers))
        and isinstance(schedulers, list | None)
        and all(isinstance(state, dict) for state in schedulers or [])
        and isinstance(loops, dict)
        and all(isinstance(state, dict) for state in loops.values())
        and _are_callbacks(callbacks)
        and type(data.get("seed", 0)) is int
        and isinstance(data.get("fingerprints") or {}, dict)
        and isinstance(ours.get("learning_rate"), int | float | None)
        and _are_totals(ours.get("totals", {}))
        and _are_columns(ours.get("history") or [])
    )


def _are_tensors_there(checkpoint: dict[str, Any], size: int) -> bool:
    """Return whether every tensor has memory for all its numbers, behind one another."""
    for tensor in _tensors(checkpoint):
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            return False
        needed = (tensor.storage_offset() + tensor.numel()) * tensor.element_size()
        if needed > min(tensor.untyped_storage().nbytes(), size):
            return False
    return True


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of nested collections, each collection once."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


def _is_optimizer(state: Any) -> bool:
    """Return whether it is an optimizer's state: values by parameter, and groups."""
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        return False
    groups, values = state.get("param_groups"), state["state"].values()
    return (
        isinstance(groups, list)
        and all(isinstance(group, dict) for group in groups)
        and all(isinstance(group.get("params"), list) for group in groups)
        and all(type(number) is int for group in groups for number in group["params"])
        and all(isinstance(group.get("lr", 0.0), torch.Tensor | int | float) for group in groups)
        and all(isinstance(value, dict) for value in values)
        and not any(isinstance(part, str) for value in values for part in value.values())
    )


def _are_callbacks(states: dict[str, Any]) -> bool:
    for name, state in states.items():
        if name == "RunFiles":
            commands = state.get("commands", []) if isinstance(state, dict) else None
            if not isinstance(commands, list) or not all(isinstance(x, str) for x in commands):
                return False
        elif name == "RunCheckpoint":
            if not isinstance(state, dict) or not _is_best(state):
                return False
        elif isinstance(state, dict) and not _are_kept_files_in_folder(state):
            return False
    return True


def _is_best(state: dict[str, Any]) -> bool:
    """Return whether it is RunCheckpoint's state: a value and its epoch, or none of both."""
    value, epoch = state.get("best_value"), state.get("best_epoch")
    return isinstance(value, float | int | None) and isinstance(epoch, int | None)


def _are_kept_files_in_folder(state: dict[str, Any]) -> bool:
    """Return whether the files of a ModelCheckpoint, which it deletes, are checkpoints of its."""
    best, folder = state.get("best_k_models", {}), state.get("dirpath")
    paths = [*(best if isinstance(best, dict) else [best]), *(state.get(key) for key in KEPT)]
    return all(_is_kept_file(path, folder) for path in paths if path not in (None, ""))


def _is_kept_file(path: Any, folder: Any) -> bool:
    if not isinstance(path, str) or not isinstance(folder, str) or not path.endswith(".ckpt"):
        return False
    file, below = PurePath(path), PurePath(folder)
    return ".." not in (file.relative_to(below) if below in file.parents else file).parts


def _are_totals(totals: Any) -> bool:
    return isinstance(totals, dict) and all(
        isinstance(value, torch.Tensor) and value.numel() > 0 for value in totals.values()
    )


def _are_columns(history: Any) -> bool:
    """Return whether a history has epochs, under names that can be shown: packed, or as rows."""
    rows = history
    if isinstance(history, dict):
        rows = [history["columns"]] if len(history["values"]) else []
    names = {name for row in rows for name in row}
    return all("epoch" in row for row in rows) and all(
        isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME for name in names
    )


def _is_version(text: Any) -> bool:
    """Return whether it is a version of Lightning; those before 1.6 lack what a resume needs."""
    match = VERSION.fullmatch(text) if isinstance(text, str) else None
    return match is not None and (int(match[1]), int(match[2])) >= (1, 6)
