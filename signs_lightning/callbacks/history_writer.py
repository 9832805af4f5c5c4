"""The files of a run's folder: run.yaml, history.csv, and curves.png at the end."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import yaml

from signs_lightning.callbacks.history_file import HistoryFile
from signs_lightning.callbacks.tensorboard_logger import RunLogger
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.runtime.display import to_grey_or_rgb


def write_provenance(made_with: list[dict[str, Any]], data: Mapping[str, Any], path: Path) -> None:
    """Write what a run is made with, atomically.

    Args:
        made_with: versions and commits.
        data: fingerprints of the data.
        path: of the YAML file.
    """
    content = {"made_with": made_with, "data": dict(data)}
    temporary = path.with_suffix(".writing")
    temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    os.replace(temporary, path)


def typed_command() -> str | None:
    """Return the command line of this process; None if it is not this package's."""
    started = Path(sys.argv[0])
    if started.name != "__main__.py" or started.parent.name != "signs_lightning":
        return None
    return shlex.join(["python", "-m", "signs_lightning", *sys.argv[1:]])


class HistoryWriter(EpochCallback):
    """Write run.yaml, history.csv and curves.png, and pictures for TensorBoard.

    Checkpoints remember the commands that trained the model, those of resumed runs after the first.
    """

    directory: Path | None = None  # where to write; None on all processes but the first
    history_file: HistoryFile | None = None  # likewise

    def __init__(self) -> None:
        command = typed_command()
        self.commands = [] if command is None else [command]

    @property
    def state_key(self) -> str:
        """Key of the state in checkpoints: the class's first name, known to all releases."""
        return "RunFiles"

    def state_dict(self) -> dict[str, Any]:
        """Return the commands."""
        return {"commands": list(self.commands)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the commands of the run that is resumed before this one's."""
        self.commands = [*state_dict["commands"], *self.commands]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        directory = trainer.log_dir  # on every process, because the first one tells the others
        is_fast = getattr(trainer, "fast_dev_run", False)
        if directory is not None and trainer.is_global_zero and not is_fast:
            self.directory = Path(directory)
            self.history_file = HistoryFile(self.directory / "history.csv")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        model: Any = pl_module
        if not getattr(model, "history", []) or int(model.train_totals.count):
            return
        # The run is resumed from the checkpoint of an epoch's end. Killed right after that was
        # written, it had not logged the epoch's metrics yet.
        row = {**model.history[-1], "learning_rate": model.learning_rate}
        for logger in _run_loggers(trainer):
            logger.log_metrics({key: value for key, value in row.items() if not math.isnan(value)})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.directory is None:
            return
        data: Any = getattr(trainer, "datamodule", None)
        made_with: Any = getattr(pl_module, "made_with", [])
        fingerprints: Any = getattr(data, "fingerprints", {})
        write_provenance(made_with, fingerprints, self.directory / "run.yaml")
        if trainer.current_epoch > 0 or not hasattr(data, "images"):
            return
        for logger in _run_loggers(trainer):
            images, _ = data.images("train", 16)
            drawn = to_grey_or_rgb(images)
            some = "" if drawn.shape == images.shape else f", first {drawn.shape[3]} channels"
            logger.experiment.add_images(f"first images{some}", drawn, dataformats="NHWC")
            logger.save()

    # The last epoch's row is written here: it is made after all callbacks that were given to the
    # Trainer. Its checkpoint holds the row, and is being written by then: a run killed in between
    # loses nothing, or repeats the epoch and writes the same row again.
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        rows = getattr(pl_module, "history", [])
        if self.history_file is not None and rows:
            self.history_file.add(rows)

    # Not `on_train_end`, which is left out where a resumed run has nothing more to train.
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        rows = getattr(pl_module, "history", [])
        if self.directory is None or self.history_file is None or not rows:
            return
        self.history_file.write(rows)
        from signs_lightning.models.curves import curve_names, draw_curves  # start-up: matplotlib

        run = f"{self.directory.parent.name}/{self.directory.name}"
        title = f"{type(pl_module).__name__}, {run}"
        draw_curves(rows, self.directory / "curves.png", title, curve_names(rows))


def _run_loggers(trainer: L.Trainer) -> list[RunLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, RunLogger)]
