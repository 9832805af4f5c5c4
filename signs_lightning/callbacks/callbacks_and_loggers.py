"""The callbacks and loggers of a run: the user's, and this package's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    ModelSummary,
    OnExceptionCheckpoint,
    ProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.history_writer import HistoryWriter
from signs_lightning.callbacks.model_summary import KerasModelSummary
from signs_lightning.callbacks.notebook_progress_bar import NotebookProgressBar
from signs_lightning.callbacks.progress_bar import EpochProgressBar
from signs_lightning.callbacks.run_lock import lock_run_folder, unlock_run_folder
from signs_lightning.callbacks.tensorboard_logger import RunLogger, is_first_process, resume_logger
from signs_lightning.errors import InputError
from signs_lightning.models.tuner_callbacks import remove_finders
from signs_lightning.runtime.notebook import is_notebook
from signs_lightning.runtime.rank_zero_print import rank_zero_print


def default_run_name(model: str) -> str:
    """Return the name of a run of a class of models: SignsResNet50 → signs_resnet50."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", model.replace("ResNet", "Resnet")).lower()


def training_options(
    options: dict[str, Any],
    checkpoint: dict[str, Any],
    name: str,
    folder: Path | None,
    resume: bool,
) -> dict[str, Any]:
    """Return the Trainer's arguments for `fit`.

    Args:
        options: the section `trainer` of the configuration, with its classes instantiated.
        checkpoint: arguments of `RunCheckpoint`.
        name: of a new run.
        folder: the run folder to resume in, or None for a new one.
        resume: whether the run begins from a checkpoint.
    """
    given = _as_list(options.get("callbacks"))
    if resume:
        given = remove_finders(given)
    else:
        _print_kept_checkpoints(given)
    loggers = _loggers(options, name, folder)
    callbacks = [*given, *_progress_bar(options, given)]
    checkpointing = options.get("enable_checkpointing")
    if not loggers and checkpointing is None and not _has(given, Checkpoint):
        checkpointing = False  # Lightning's own would write into the working directory
    if options.get("enable_model_summary") is not False and not _has(given, ModelSummary):
        callbacks.append(KerasModelSummary())
    if loggers:
        callbacks.append(HistoryWriter())
        if checkpointing is not False and not _has(given, RunCheckpoint):
            callbacks.append(RunCheckpoint(**checkpoint))
    return options | {
        "callbacks": callbacks,
        "logger": loggers,
        "enable_checkpointing": checkpointing,
        "enable_model_summary": False,
    }


def evaluation_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the Trainer's arguments for `validate` and `test`, which write nothing."""
    given = _as_list(options.get("callbacks"))
    callbacks = [callback for callback in given if not isinstance(callback, Checkpoint)]
    callbacks += _progress_bar(options, given)
    return options | {"callbacks": callbacks, "logger": False, "enable_checkpointing": False}


def _print_kept_checkpoints(callbacks: list[Callback]) -> None:
    """Say where a new run goes on from what OnExceptionCheckpoint kept; Lightning loads that."""
    for callback in callbacks:
        if isinstance(callback, OnExceptionCheckpoint) and Path(callback.ckpt_path).is_file():
            rank_zero_print(
                f"OnExceptionCheckpoint kept {callback.ckpt_path} of a run that failed: this one "
                "goes on from there. Delete the file to begin anew."
            )


def _progress_bar(options: dict[str, Any], given: list[Callback]) -> list[Callback]:
    is_needed = options.get("enable_progress_bar") is not False and not _has(given, ProgressBar)
    if not is_needed:
        return []
    return [NotebookProgressBar() if is_notebook() else EpochProgressBar()]


def _loggers(options: dict[str, Any], name: str, folder: Path | None) -> list[Logger]:
    """Return the loggers: first the one with the run's folder, given or our own."""
    given = options.get("logger")
    if given is False:
        return []
    loggers: list[Logger] = [] if given is True else _as_list(given)
    with_folder = [x for x in loggers if isinstance(x, TensorBoardLogger | CSVLogger)]
    others = [x for x in loggers if x not in with_folder]
    if folder is not None:
        if is_first_process():  # loggers write at once, before `RunCheckpoint` locks the folder
            unlock_run_folder(lock_run_folder(folder))
        for logger in with_folder:
            resume_logger(logger, folder)
    return [*(with_folder or [_run_logger(options, name, folder)]), *others]


def _run_logger(options: dict[str, Any], name: str, folder: Path | None) -> RunLogger:
    """Return a logger into the folder to resume in, or into a new one."""
    if folder is not None:
        folder = folder if len(folder.parts) > 1 else folder.resolve()
        return RunLogger(folder.parent.parent, folder.parent.name, folder.name)
    root = Path(options.get("default_root_dir") or ".") / "lightning_logs"
    place = next(parent for parent in (root, *root.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        reason = "it may not be written to" if place.is_dir() else "it is no folder"
        raise InputError(
            f"No run folder can be made in {place}: {reason}. "
            "Name another place with --trainer.default_root_dir."
        )
    return RunLogger(root, name)


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _has(callbacks: list[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)
