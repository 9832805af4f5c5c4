"""history.csv and curves.png: a run's figures as Keras names them."""

from __future__ import annotations

import csv
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import yaml

from signs_lightning.callbacks.tensorboard_logger import RunLogger

KERAS_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
Rows = Sequence[dict[str, float | int]]


def write_history(rows: Rows, path: Path) -> None:
    """Writes one line an epoch, atomically: Keras's columns first, further metrics after them; empty where not measured."""
    extra = [
        key for key in dict.fromkeys(key for row in rows for key in row) if key not in KERAS_COLUMNS
    ]
    temporary = path.with_suffix(".writing")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, KERAS_COLUMNS + extra, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def draw_curves(
    rows: Rows, path: Path, title: str, names: Sequence[str] = ("loss", "accuracy"), dpi: int = 150
) -> None:
    """Draws loss and accuracy (or one of them) of training and validation over the epochs as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(
        figsize=(4.5 * len(names), 3.4 if title else 3.1), dpi=dpi, layout="constrained"
    )
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    marker = "o" if len(rows) == 1 else None
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label, color in (
            (name, "training", "#0072B2"),
            (f"val_{name}", "validation", "#D55E00"),
        ):
            points = [(row["epoch"] + 1, row[key]) for row in rows if key in row]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    label=label,
                    color=color,
                    linewidth=1.8,
                    marker=marker,
                )
        axes.set_xlabel("epoch")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=9)
        if name == "accuracy":
            axes.set_ylim(0, 1.02)
        elif all(row[key] >= 0 for row in rows for key in (name, f"val_{name}") if key in row):
            axes.set_ylim(bottom=0)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    os.replace(temporary, path)


def typed_command() -> str | None:
    """The command line that started this process, as one types it; None where it is not one of this package's."""
    started = Path(sys.argv[0])
    if started.name != "__main__.py" or started.parent.name != "signs_lightning":
        return None
    return shlex.join(["python", "-m", "signs_lightning", *sys.argv[1:]])


def write_provenance(made_with: list[dict[str, Any]], data: Mapping[str, Any], path: Path) -> None:
    """Writes what a run is made with, and the fingerprints of its data, atomically."""
    temporary = path.with_suffix(".writing")
    temporary.write_text(
        yaml.safe_dump({"made_with": made_with, "data": dict(data)}, sort_keys=False),
        encoding="utf-8",
    )
    os.replace(temporary, path)


class HistoryWriter(L.Callback):
    """Writes run.yaml at first, history.csv every epoch, and at the end curves.png and TensorBoard's hyperparameters with final metrics.

    Checkpoints remember the commands that trained the model, those of resumed runs after the first.
    """

    directory: Path | None = None  # where to write; None on all processes but the first

    def __init__(self) -> None:
        self.commands = [command for command in [typed_command()] if command is not None]

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint: the first name of this class, which all releases read."""
        return "RunFiles"

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"commands": list(self.commands)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts the commands of the run that is resumed before this one's."""
        self.commands = [*state_dict["commands"], *self.commands]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        directory = (
            trainer.log_dir
        )  # asked by every process, because the first one tells the others
        if (
            directory is not None
            and trainer.is_global_zero
            and not getattr(trainer, "fast_dev_run", False)
        ):
            self.directory = Path(directory)

    def _write(self, pl_module: L.LightningModule) -> None:
        rows = getattr(pl_module, "history", [])
        if self.directory is not None and rows:
            write_history(rows, self.directory / "history.csv")

    # The last epoch's row exists once the model's own `on_train_epoch_end` has run, which comes
    # after a callback's. Its checkpoint holds the row by then, so a run killed in between loses
    # nothing.
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(pl_module)

    # Not `on_train_end`, which is left out where a run that was over when it was killed has nothing
    # more to train.
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(pl_module)
        rows = getattr(pl_module, "history", [])
        if self.directory is None or not rows:
            return
        run = f"{self.directory.parent.name}/{self.directory.name}"
        draw_curves(rows, self.directory / "curves.png", f"{type(pl_module).__name__}, {run}")
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                final = {
                    f"final/{key}": float(value)
                    for key, value in rows[-1].items()
                    if key != "epoch"
                }
                logger.log_final(
                    {key: value for key, value in pl_module.hparams.items() if value is not None},
                    final,
                )

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        model: Any = pl_module
        if not getattr(model, "history", []) or int(model.train_totals.count):
            return
        # It goes on after an epoch's checkpoint. Killed right after that was written, the run had
        # not logged the epoch's figures yet.
        row = {**model.history[-1], "learning_rate": model.learning_rate}
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.log_metrics(
                    {key: value for key, value in row.items() if not math.isnan(value)}
                )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if self.directory is not None:
            write_provenance(
                getattr(pl_module, "made_with", []),
                getattr(data, "fingerprints", {}),
                self.directory / "run.yaml",
            )
        if self.directory is None or trainer.current_epoch > 0:
            return
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger) and hasattr(data, "images"):
                images, _ = data.images("train", 16)
                logger.experiment.add_images("first images", images, dataformats="NHWC")
                logger.save()
