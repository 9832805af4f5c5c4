"""report.html: one page with all figures, rendered from page.html.jinja."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import lightning
import torch
import yaml

import signs_lightning
from signs_lightning.models.layer_graph import count_parameters
from signs_lightning.models.metrics import describe_accuracy, wilson_interval
from signs_lightning.models.tasks import count_outputs
from signs_lightning.report.calibration import Calibration
from signs_lightning.report.figures import MAX_NUMBERED, Tile
from signs_lightning.report.image_uri import data_uri, image_uri
from signs_lightning.report.trained_run import TrainedRun
from signs_lightning.runtime.display import describe_drawn_channels
from signs_lightning.runtime.pages import page_environment

if TYPE_CHECKING:
    from signs_lightning.report.predictions import Predictions

MAX_VALUE_LENGTH = 300  # characters of a setting; the configuration of a Keras model has thousands


def render_page(
    run: TrainedRun,
    predictions: Predictions,
    bins: Calibration,
    figures: Mapping[str, Path],
    mistakes: Sequence[Tile],
    explained: Sequence[Tile] | str,
    command: str,
) -> str:
    """Return the page as HTML.

    Every name is escaped, and the page loads nothing: its images are data URIs.

    Args:
        run: the model and where it comes from.
        predictions: what it predicted.
        bins: the figures of the reliability diagram.
        figures: PNGs by name: confusion, reliability, and loss and accuracy where the history is
            known.
        mistakes: pictures of the worst mistakes.
        explained: Grad-CAM pictures, or why there are none.
        command: that makes this report.
    """
    evaluation = predictions.evaluation
    result = describe_accuracy(evaluation.correct, evaluation.count).partition(" = ")[2]
    accuracy, _, interval = result.partition(" ")

    def recall_interval(label: int) -> tuple[float, float]:
        row = evaluation.confusion[label]
        return wilson_interval(int(row[label]), int(row.sum()))

    template = report_environment().get_template("page.html.jinja")
    return template.render(
        **page_values(run, predictions, command),
        accuracy=accuracy,
        interval=interval,
        recall_interval=recall_interval,
        evaluation=evaluation,
        bins=bins,
        figures=figures,
        max_numbered=MAX_NUMBERED,
        mistakes=mistakes,
        explained=explained,
        no_maps=explained if isinstance(explained, str) else "",
    )


def report_environment() -> jinja2.Environment:
    """Return what renders the report's templates."""
    environment = page_environment(Path(__file__).parent)
    environment.filters["thousands"] = "{:,}".format
    environment.filters["png_uri"] = lambda path: data_uri(path.read_bytes())
    environment.filters["jpeg_uri"] = lambda tile: image_uri(
        tile.strip(), "jpeg", side=320, quality=92, subsampling=0
    )
    return environment


def page_values(run: TrainedRun, predictions: Any, command: str) -> dict[str, Any]:
    """Return what a page says of a run, whatever its task.

    Args:
        run: the model and where it comes from.
        predictions: what it predicted.
        command: that makes this report.
    """
    return {
        "run": run,
        "model": _describe_model(run),
        "data": _describe_data(run, predictions),
        "commands": _commands(run, command),
        "versions": _versions(run),
        "configuration": _configuration(run.config),
    }


def _describe_model(run: TrainedRun) -> str:
    height, width, channels = run.model.image_size
    kind, count = type(run.model).__name__, count_parameters(run.model.network)[0]
    return (
        f"{kind}, {count:,} parameters, {height}×{width}×{channels} → {count_outputs(run.model)}"
        f"; {run.path.name}{f', after epoch {run.epoch}' if run.epoch else ''}"
    )


def _describe_data(run: TrainedRun, predictions: Any) -> list[str]:
    """Return sentences about the images, and how far the figures hold for new ones."""
    role, files = predictions.role, predictions.files
    more = " …" if len(files) > 5 else ""
    sentences = [
        f"The figures rest on {predictions.evaluation.count:,} {role} images: "
        f"{', '.join(files[:5])}{more}."
    ]
    trained = run.settings.get("train_file") or []
    trained = {os.path.realpath(f) for f in ([trained] if isinstance(trained, str) else trained)}
    if role == "test" and trained & {os.path.realpath(file) for file in files}:
        sentences.append(
            "The network was trained on this file, so they say nothing about new images."
        )
    elif role == "validation" and run.path.name == "best.ckpt":
        sentences.append(
            "The checkpoint was chosen by these very images, which makes them look better than "
            "new ones."
        )
    elif (
        run.path.name == "last.ckpt" and role == "test" and "val_loss" in (run.history or [{}])[-1]
    ):
        sentences.append("This is the last epoch's checkpoint: none was chosen by validation.")
    height, width, channels = run.model.image_size
    stored = predictions.images.readers[0].images.shape[1:3]
    if tuple(stored) != (height, width):
        sentences.append(
            f"Their {stored[0]}×{stored[1]} pixels are resized to {height}×{width} for the network."
        )
    if drawn := describe_drawn_channels(channels):
        sentences.append(drawn)
    return sentences


def _commands(run: TrainedRun, command: str) -> list[tuple[str, str]]:
    """Return the commands that made the model and the report, each with what it did."""
    what = ["Trained by", *["and further by"] * len(run.commands)]
    commands = list(zip(what, run.commands, strict=False))
    if not commands and run.folder is not None:
        config = shlex.quote(str(run.folder / "config.yaml"))
        again = f"python -m signs_lightning fit --config {config}"
        commands = [("What trains it again", again)]
    return [*commands, ("This report was made by", command)]


def _versions(run: TrainedRun) -> list[str]:
    versions = [
        f"signs_lightning {signs_lightning.__version__}",
        f"Python {platform.python_version()}",
        f"PyTorch {torch.__version__}",
        f"Lightning {lightning.__version__}",
    ]
    is_other = run.lightning not in (None, lightning.__version__)
    return [*versions, f"trained with Lightning {run.lightning}"] if is_other else versions


def _configuration(config: dict[str, Any]) -> list[str]:
    """Return lines of YAML, without what is None and with very long texts cut."""

    def prune(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: prune(part) for key, part in value.items() if part is not None}
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            return f"{value[:MAX_VALUE_LENGTH]}… ({len(value):,} characters)"
        return value

    text = yaml.safe_dump(prune(config), sort_keys=False, allow_unicode=True) if config else ""
    return text.splitlines()
