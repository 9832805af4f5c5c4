"""A report on several labels an image, or on numbers: what a model gives, drawn and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from signs_lightning.data.dataset import H5Images
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.curves import curve_names, draw_curves
from signs_lightning.models.multilabel import thresholds_of
from signs_lightning.report.figures import BLUE, GREY, WIDTH, Tile, draw_sheet, new_figure
from signs_lightning.report.page import page_values, report_environment
from signs_lightning.report.trained_run import TrainedRun
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.value_ranges import BYTES, Range, RunValues, to_bytes

MAX_SCATTERS = 12  # targets that are drawn
MAX_WORST = 18  # images that are shown
MAX_LISTED = 3  # labels, or targets, in a picture's text
NAME_LENGTH = 24
COLUMNS = 6  # of the sheet of the worst images


@dataclass(frozen=True)
class TaskPredictions:
    """What a model of a task gives for N images.

    Attributes:
        images: the data set of the images.
        labels: float64 (N, K): 0 and 1, or numbers.
        outputs: float32 (N, K): probabilities, or values in the units of the labels.
        evaluation: the task's figures.
        role: "test" or "validation".
        files: the names of the files that hold the images.
        numbers: those of the images that are black and white.
    """

    images: H5Images
    labels: np.ndarray
    outputs: np.ndarray
    evaluation: Any
    role: str
    files: list[str]
    numbers: Range = BYTES

    @property
    def has_numbers(self) -> bool:
        """Whether the labels are numbers, and no labels of 0 and 1."""
        return hasattr(self.evaluation, "r2")

    @property
    def errors(self) -> np.ndarray:
        """float64 (N,): how far an image's outputs are off, on the whole.

        The mean binary cross-entropy, or the mean error as a share of each target's deviation.
        """
        if self.has_numbers:
            deviation = np.where(self.evaluation.deviation > 0, self.evaluation.deviation, 1)
            return (np.abs(self.outputs - self.labels) / deviation).mean(axis=1)
        shares = np.where(self.labels == 1, self.outputs, 1 - self.outputs.astype(np.float64))
        return -np.log(np.maximum(shares, 1e-7)).mean(axis=1)

    def pictures(self, positions: np.ndarray) -> np.ndarray:
        """Return images uint8 (n, H, W, C) in 0..255, to be looked at."""
        return to_bytes(self.images.__getitems__(positions.tolist())[0].numpy(), self.numbers)


def predict_task(
    model: ImageClassifier, loader: Any, role: str, files: list[str]
) -> TaskPredictions:
    """Run a model of a task on images.

    Args:
        model: in eval mode, on the device to use.
        loader: batches of the images, in file order.
        role: of the images.
        files: names of the files that hold them.
    """
    parts, loss_sum, rules = [], 0.0, model.task_rules
    with torch.inference_mode():
        for images, labels in loader:
            logits = model.averaged_logits(model.preprocess(images.to(model.device)))
            targets = rules.targets(model, labels.to(model.device))
            loss_sum += model.compute_loss(logits, targets).item() * len(labels)
            parts.append((rules.seen_by_metrics(model, logits).cpu(), labels.double()))
    outputs, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    evaluation = rules.evaluate_outputs(model, outputs.double(), labels, loss_sum / len(labels))
    numbers = (model.run_values or RunValues()).numbers
    return TaskPredictions(
        loader.dataset, labels.numpy(), outputs.numpy(), evaluation, role, files, numbers
    )


def draw_scatter(predictions: TaskPredictions, path: Path) -> None:
    """Draw what is predicted over what the file says, a panel for each target."""
    names = predictions.evaluation.class_names[:MAX_SCATTERS]
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    with new_figure(path, WIDTH * (0.62 if columns == 1 else 1.0), 2.4 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for k, (axes, name) in enumerate(zip(panels, names, strict=False)):
            truth, values = predictions.labels[:, k], predictions.outputs[:, k]
            ends = [min(truth.min(), values.min()), max(truth.max(), values.max())]
            axes.plot(ends, ends, color=GREY, lw=1, ls="--")
            axes.plot(truth, values, ".", color=BLUE, alpha=0.6, markersize=4)
            axes.set_title(shorten(name, NAME_LENGTH))
            axes.set(xlabel="label", ylabel="predicted")
            axes.spines[["top", "right"]].set_visible(False)


def worst_tiles(model: ImageClassifier, predictions: TaskPredictions) -> list[Tile]:
    """Return pictures of the images whose outputs are farthest off, worst first."""
    errors = predictions.errors
    order = np.argsort(-errors, kind="stable")[:MAX_WORST]
    names = [shorten(name, NAME_LENGTH) for name in predictions.evaluation.class_names]
    thresholds = np.array([] if predictions.has_numbers else thresholds_of(model), np.float32)

    def describe(position: int) -> list[str]:
        labels, outputs = predictions.labels[position], predictions.outputs[position]
        if predictions.has_numbers:
            deviation = predictions.evaluation.deviation.numpy()
            off = np.abs(outputs - labels) / np.where(deviation > 0, deviation, 1)
            shown = np.argsort(-off, kind="stable")[:MAX_LISTED]
            return [f"{names[k]} {outputs[k]:.4g}, is {labels[k]:.4g}" for k in shown]
        decided, is_label = outputs > thresholds, labels == 1
        missed, wrong = np.flatnonzero(is_label & ~decided), np.flatnonzero(decided & ~is_label)
        lines = [f"not seen: {names[k]} ({outputs[k]:.2f})" for k in missed[:MAX_LISTED]]
        lines += [f"not there: {names[k]} ({outputs[k]:.2f})" for k in wrong[:MAX_LISTED]]
        return lines or ["every label is right"]

    pictures = predictions.pictures(order)
    return [
        Tile([picture], [f"image {position}", *describe(position)])
        for picture, position in zip(pictures, order.tolist(), strict=True)
    ]


def write_task_figures(
    run: TrainedRun, predictions: TaskPredictions, folder: Path, command: str
) -> tuple[dict[str, Path], str]:
    """Write every figure of a task, and return their paths by name, and the page.

    Args:
        run: the model and where it comes from.
        predictions: what it gave.
        folder: to write to.
        command: that makes this report.
    """
    curves = curve_names(run.history) if run.history else []
    drawn = ["scatter"] if predictions.has_numbers else []
    figures = {name: folder / f"{name}.png" for name in (*curves, *drawn, "worst")}
    for name in curves:
        draw_curves(run.history, figures[name], "", (name,), dpi=200)
    if predictions.has_numbers:
        draw_scatter(predictions, figures["scatter"])
    worst = worst_tiles(run.model, predictions)
    draw_sheet(worst, min(COLUMNS, len(worst)), figures["worst"])
    return figures, _render(run, predictions, figures, curves, worst, command)


def _render(
    run: TrainedRun,
    predictions: TaskPredictions,
    figures: Mapping[str, Path],
    curves: Sequence[str],
    worst: Sequence[Tile],
    command: str,
) -> str:
    """Return the page as HTML."""
    evaluation = predictions.evaluation
    name, value = ("R²", evaluation.figures(each=False)["r2"]) if predictions.has_numbers else (
        "mean AP", evaluation.mean_ap,
    )  # fmt: skip
    task = run.model.task_rules.name
    return (
        report_environment()
        .get_template("task_page.html.jinja")
        .render(
            **page_values(run, predictions, command),
            accuracy="–" if np.isnan(value) else f"{name} {value:.3f}",
            evaluation=evaluation,
            task=task,
            header=[column.strip(">") for column in evaluation.header],
            cells=evaluation.cells(),
            thresholds=[] if predictions.has_numbers else evaluation.thresholds,
            figures=figures,
            curves=curves,
            hidden=max(0, len(evaluation.class_names) - MAX_SCATTERS),
            worst=worst,
        )
    )
