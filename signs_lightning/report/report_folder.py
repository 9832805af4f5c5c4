"""The folder of a report: figures, their copy for TensorBoard, and the page."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import closing
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import FileWriter

from signs_lightning.errors import InputError
from signs_lightning.models.curves import draw_curves
from signs_lightning.report.calibration import calibration
from signs_lightning.report.figures import Tile, draw_confusion, draw_reliability, draw_sheet
from signs_lightning.report.page import render_page
from signs_lightning.report.predictions import Predictions
from signs_lightning.report.task_report import TaskPredictions, write_task_figures
from signs_lightning.report.tiles import gradcam_tiles, mistake_tiles
from signs_lightning.report.trained_run import TrainedRun

PAGE = "report.html"
EVENTS = "events.out.tfevents.report"  # one name, so that a new report replaces the old one's
FIGURES = re.compile(
    r"(loss|accuracy|confusion|reliability|mistakes|gradcam(_\d+)?"
    r"|mean_ap|exact_match|r2|scatter|worst)\.png"  # of tasks
)
IN_TENSORBOARD = (
    "confusion",
    "reliability",
    "mistakes",
    "gradcam",
    "scatter",
    "worst",
)  # it has the curves already
TILES_PER_SHEET = 20  # two for each class


def write_report(
    run: TrainedRun, predictions: Predictions | TaskPredictions, output: Path, command: str
) -> list[str]:
    """Write figures, events and page; the files of an earlier report are replaced.

    All of them are made in a temporary folder and then moved, the page last.

    Args:
        run: the model and where it comes from.
        predictions: what it predicted.
        output: the folder, which is made if there is none.
        command: that makes this report, for the page.

    Returns:
        The files' names, the page last.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".report.") as name:
            folder = Path(name)
            figures = _write_figures(run, predictions, folder, command)
            _write_events(figures, folder, run.epoch or 0)
            written = [*(path.name for path in figures.values()), EVENTS, PAGE]
            if (output / PAGE).is_file():  # an earlier report, which may have had more figures
                for old in output.iterdir():
                    if FIGURES.fullmatch(old.name):
                        old.unlink()
            for file in written:
                os.replace(folder / file, output / file)
    except OSError as error:
        raise InputError(
            f"{output} cannot be written to ({error}). Choose another --output."
        ) from error
    return written


def _write_figures(
    run: TrainedRun, predictions: Predictions | TaskPredictions, folder: Path, command: str
) -> dict[str, Path]:
    """Write every figure and the page; return the figures' paths by name."""
    if isinstance(predictions, TaskPredictions):
        figures, page = write_task_figures(run, predictions, folder, command)
        (folder / PAGE).write_text(page, encoding="utf-8", newline="\n")
        return figures
    figures = {}

    def add(name: str) -> Path:
        figures[name] = folder / f"{name}.png"
        return figures[name]

    for name in ("loss", "accuracy") if run.history else ():
        draw_curves(run.history, add(name), "", (name,), dpi=200)
    evaluation = predictions.evaluation
    draw_confusion(evaluation.confusion, evaluation.class_names, add("confusion"))
    bins = calibration(predictions.confidence, predictions.predicted == predictions.labels)
    draw_reliability(bins, add("reliability"))
    mistakes = mistake_tiles(predictions)
    if mistakes:
        draw_sheet(mistakes, min(6, len(mistakes)), add("mistakes"))
    explained: list[Tile] | str
    try:
        explained = gradcam_tiles(run.model, predictions)
    except InputError as error:  # a network without convolutions
        explained, sheets = str(error), []
    else:
        starts = range(0, len(explained), TILES_PER_SHEET)
        sheets = [explained[start : start + TILES_PER_SHEET] for start in starts]
    for number, sheet in enumerate(sheets, start=1):
        draw_sheet(sheet, 2, add("gradcam" if len(sheets) == 1 else f"gradcam_{number}"))
    page = render_page(run, predictions, bins, figures, mistakes, explained, command)
    (folder / PAGE).write_text(page, encoding="utf-8", newline="\n")
    return figures


def _write_events(figures: dict[str, Path], folder: Path, step: int) -> None:
    """Write the figures as TensorBoard events, found in the run folder."""
    with closing(FileWriter(str(folder / "events"))) as writer:
        for name in IN_TENSORBOARD:
            if name in figures:
                with Image.open(figures[name]) as picture:
                    width, height = picture.size
                content = figures[name].read_bytes()
                image = Summary.Image(height=height, width=width, encoded_image_string=content)
                summary = Summary(value=[Summary.Value(tag=f"report/{name}", image=image)])
                # SummaryWriter's `add_image` would encode it again.
                writer.add_summary(summary, step)
    (file,) = (folder / "events").iterdir()
    os.replace(file, folder / EVENTS)
