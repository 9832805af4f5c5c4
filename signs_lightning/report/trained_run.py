"""What is known about a trained model: its configuration, its history, the commands that trained it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signs_lightning.checkpoints.files import (
    checkpoint_config,
    find_checkpoint,
    load_checkpoint,
    run_folder,
)
from signs_lightning.checkpoints.model_files import KERAS_SUFFIXES, load_model
from signs_lightning.keras_io.scales import Scale
from signs_lightning.models.classifier import ImageClassifier


@dataclass(frozen=True)
class TrainedRun:
    """A trained model and what is known about how it came to be.

    Attributes:
        model: in eval mode.
        name: of the run, or of the file.
        path: the file.
        folder: the run folder, or None for a file on its own.
        settings: of the data module it was trained on.
        config: the run's configuration.
        history: one row an epoch.
        epoch: the epoch the checkpoint was written after, counted from 1.
        commands: that trained it, as they were typed.
        lightning: the version that it was trained with.
    """

    model: ImageClassifier
    name: str
    path: Path
    folder: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float | int]] = field(default_factory=list)
    epoch: int | None = None
    commands: list[str] = field(default_factory=list)
    lightning: str | None = None


def load_run(given: str, verb: str, scale: Scale | None = None) -> TrainedRun:
    """A run from its folder or from a file.

    Args:
        given: run folder, checkpoint or Keras file.
        verb: on whose behalf; it decides which checkpoint of a run folder is meant.
        scale: what a Keras file's images were scaled to; None for a checkpoint, and where the file
            tells it.

    Raises:
        InputError: there is no trained model, or its scale is as `load_model` says.
    """
    if given.endswith(KERAS_SUFFIXES):
        model, _ = load_model(given, verb, scale)
        return TrainedRun(model, Path(given).name, Path(given))  # type: ignore[arg-type]  # ONNX files were refused
    path = find_checkpoint(Path(given), verb)
    assert path is not None  # only `fit` may find none
    model, settings = load_model(str(path), verb, scale)
    checkpoint = load_checkpoint(path)
    folder = run_folder(path)
    settings |= {
        key: value
        for key, value in checkpoint.get("H5DataModule", {}).items()
        if key in {*settings, "seed"}
    }
    history = list(checkpoint["signs_lightning"].get("history", []))
    if folder is not None and (folder / "history.csv").is_file():
        history = _read_history(folder / "history.csv") or history
    epochs = len(checkpoint["signs_lightning"].get("history", []))
    return TrainedRun(
        model=model,  # type: ignore[arg-type]
        name=f"{folder.parent.name}/{folder.name}" if folder else path.name,
        path=path,
        folder=folder,
        settings=settings,
        config=checkpoint_config(checkpoint, path),
        history=history,
        epoch=epochs or None,
        commands=list(checkpoint.get("callbacks", {}).get("HistoryWriter", {}).get("commands", [])),
        lightning=checkpoint.get("pytorch-lightning_version"),
    )


def _read_history(path: Path) -> list[dict[str, float | int]]:
    """The rows of history.csv, the best epoch being only a part of them; none where the file was edited beyond reading."""
    try:
        with path.open(newline="") as file:
            rows = [
                {key: float(value) for key, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
    except (ValueError, TypeError, AttributeError, OSError):
        return []
    return rows if all({"epoch", "loss", "accuracy"} <= row.keys() for row in rows) else []
