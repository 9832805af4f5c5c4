"""A trained model with its configuration, history and commands."""

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
from signs_lightning.checkpoints.load_model import KERAS_SUFFIXES, load_model
from signs_lightning.checkpoints.own_model import OwnModel
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import Scale
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.other_inputs import check_images_suffice


@dataclass(frozen=True)
class TrainedRun:
    """A trained model, and how it was made.

    Attributes:
        model: in eval mode.
        name: of the run, or of the file.
        path: the file.
        folder: the run folder, or None for a file outside of one.
        settings: of the data module it was trained on.
        config: the run's configuration.
        history: one row per epoch.
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


def load_run(
    source: str,
    verb: str,
    scale: Scale | None = None,
    output_layer: str | None = None,
    own: OwnModel | None = None,
) -> TrainedRun:
    """Load a run from its folder or from a file.

    Args:
        source: run folder, checkpoint or Keras file.
        verb: the calling verb; it decides which checkpoint of a run folder is used.
        scale: what a Keras file's images were scaled to; None for a checkpoint, and where the file
            contains it.
        output_layer: the layer that gives the classes, of a Keras file with several outputs.
        own: the user's class or network, for a checkpoint of a model that is none of this
            package's.

    Raises:
        InputError: there is no trained model, or `load_model` rejects scale or output.
    """
    model: Any
    given = scale, output_layer, own
    if source.endswith(KERAS_SUFFIXES):
        model, _ = load_model(source, verb, *given)
        check_images_suffice(model, verb)
        return TrainedRun(model, Path(source).name, Path(source))
    path = find_checkpoint(Path(source), verb)
    if path is None:
        raise InputError(f"{source} holds no checkpoint yet. Name a .ckpt file or a run folder.")
    model, settings = load_model(str(path), verb, *given)
    check_images_suffice(model, verb)
    checkpoint = load_checkpoint(path)
    folder = run_folder(path)
    if settings:  # of the split
        settings["seed"] = checkpoint.get("H5DataModule", {}).get("seed")
    columns = {"epoch", "loss", *(["accuracy"] if model.task_rules.name is None else [])}
    history = list(checkpoint["signs_lightning"].get("history", []))
    return TrainedRun(
        model=model,
        name=f"{folder.parent.name}/{folder.name}" if folder else path.name,
        path=path,
        folder=folder,
        settings=settings,
        config=checkpoint_config(checkpoint, path),
        history=(_read_history(folder / "history.csv", columns) if folder else []) or history,
        epoch=len(history) or None,
        commands=list(checkpoint.get("callbacks", {}).get("RunFiles", {}).get("commands", [])),
        lightning=checkpoint.get("pytorch-lightning_version"),
    )


def _read_history(path: Path, columns: set[str]) -> list[dict[str, float | int]]:
    """Return the rows of history.csv; none where it cannot be read, or lacks a column."""
    try:
        with path.open(newline="") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    except (ValueError, TypeError, AttributeError, OSError):
        return []
    return rows if all(columns <= row.keys() for row in rows) else []
