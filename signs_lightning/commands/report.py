"""The report verb: what a trained model does well and badly, as figures and as one page."""

from __future__ import annotations

import os
import platform
import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.errors import CommandParser, InputError
from signs_lightning.keras_io.scales import SCALES

if TYPE_CHECKING:
    from signs_lightning.report.figures import Tile
    from signs_lightning.report.predictions import Predictions
    from signs_lightning.report.trained_run import TrainedRun

PAGE = "report.html"
CLASSES_A_SHEET = 10
IN_TENSORBOARD = {"confusion", "reliability", "mistakes", "gradcam"}  # it has the curves already
MAX_VALUE_LENGTH = 300  # letters of a setting on the page; a Keras model's own config has thousands


def main(verb: str, args: list[str]) -> int:
    """Runs the verb."""
    parser = CommandParser(
        verb, "What a trained model does well and badly: figures, and one page that holds them all."
    )
    parser.add_argument("run", metavar="RUN", help="run folder, checkpoint or Keras file")
    parser.add_argument(
        "--data.test_file",
        dest="test_file",
        metavar="H5",
        help="HDF5 file; the run's own test file by default",
    )
    parser.add_argument(
        "--data.images_key",
        dest="images_key",
        metavar="KEY",
        help="its images, where the name does not tell",
    )
    parser.add_argument(
        "--data.labels_key",
        dest="labels_key",
        metavar="KEY",
        help="its labels, where the name does not tell",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="folder to write to (default: report/ in the run folder)"
    )
    parser.add_argument("--scale", choices=SCALES, help="of a Keras file, as in import-keras")
    options = parser.parse_args(args)
    if Path(options.run).suffix == ".onnx":
        raise InputError(
            f"{options.run} has no gradients to explain it by. Name the "
            "checkpoint that it was made from."
        )

    import torch
    from rich.console import Console

    from signs_lightning.models.metrics import describe_accuracy
    from signs_lightning.report.predictions import predict_dataset
    from signs_lightning.report.trained_run import load_run

    run = load_run(options.run, verb, options.scale)
    if not run.settings and options.test_file is None:
        raise InputError(f"{options.run} remembers no data. Name a file with --data.test_file.")
    output = (
        Path(options.output)
        if options.output
        else (run.folder or run.path.parent) / _folder_name(run)
    )
    if output.exists() and not output.is_dir():
        raise InputError(
            f"{output} is a file, expected a folder to write the report to. "
            "Choose another --output."
        )
    run.model.to("cuda" if torch.cuda.is_available() else "cpu")
    keys = {"images_key": options.images_key, "labels_key": options.labels_key}
    settings = run.settings | {key: value for key, value in keys.items() if value is not None}
    judged = predict_dataset(run.model, settings, options.test_file)
    command = shlex.join(["python", "-m", "signs_lightning", verb, *args])
    written = _write(run, judged, output, command)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    evaluation = judged.evaluation
    console.print(
        f"{judged.role} accuracy {describe_accuracy(evaluation.correct, evaluation.count)}"
    )
    console.print(f"written      {', '.join(name for name in written if name != PAGE)}")
    console.print(f"page         {output / PAGE}")
    return 0


def _folder_name(run: TrainedRun) -> str:
    return "report" if run.folder else f"{run.path.stem}_report"


def _write(run: TrainedRun, judged: Predictions, output: Path, command: str) -> list[str]:
    """Makes everything in a temporary folder beside the output, then moves it there, the page last; returns the files' names."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".report.") as name:
            temporary = Path(name)
            figures = _draw(run, judged, temporary, command)
            events = _write_events(figures, temporary, run.epoch or 0)
            written = [*(path.name for path in figures.values()), events, PAGE]
            if (output / PAGE).is_file():  # an earlier report, which may have had more figures
                for old in output.iterdir():
                    if re.fullmatch(
                        r"(loss|accuracy|confusion|reliability|mistakes|gradcam(_\d+)?)\.png",
                        old.name,
                    ):
                        old.unlink()
            for file in written:
                os.replace(temporary / file, output / file)
    except OSError as error:
        raise InputError(
            f"{output} cannot be written to ({error}). Choose another --output."
        ) from error
    return written


def _draw(run: TrainedRun, judged: Predictions, folder: Path, command: str) -> dict[str, Path]:
    """Every figure and the page, in a folder; returns the figures by name."""
    from signs_lightning.callbacks.curves import draw_curves
    from signs_lightning.report.calibration import calibration
    from signs_lightning.report.figures import draw_confusion, draw_reliability, draw_sheet
    from signs_lightning.report.page import ReportPage, render_page
    from signs_lightning.report.tiles import gradcam_tiles, mistake_tiles

    figures: dict[str, Path] = {}

    def to(name: str) -> Path:
        figures[name] = folder / f"{name}.png"
        return figures[name]

    for name in ("loss", "accuracy") if run.history else ():
        draw_curves(run.history, to(name), "", (name,), dpi=200)
    draw_confusion(judged.evaluation.confusion, judged.evaluation.class_names, to("confusion"))
    bins = calibration(judged.confidence, judged.predicted == judged.labels)
    draw_reliability(bins, to("reliability"))
    wrong = mistake_tiles(judged)
    if wrong:
        draw_sheet(wrong, min(6, len(wrong)), to("mistakes"))
    maps: list[Tile] = []
    reason = ""
    try:
        maps = gradcam_tiles(run.model, judged)
    except InputError as error:  # a network without convolutions
        reason = str(error)
    sheets = [
        maps[start : start + 2 * CLASSES_A_SHEET]
        for start in range(0, len(maps), 2 * CLASSES_A_SHEET)
    ]
    for number, sheet in enumerate(sheets, start=1):
        draw_sheet(sheet, 2, to("gradcam" if len(sheets) == 1 else f"gradcam_{number}"))
    report = ReportPage(
        title=run.name,
        model=_about_model(run),
        data=_about_data(run, judged),
        evaluation=judged.evaluation,
        bins=bins,
        figures=figures,
        mistakes=wrong,
        explained=maps,
        not_explained=reason,
        configuration=_configuration(run.config),
        versions=_versions(run),
        commands=_commands(run, command),
    )
    (folder / PAGE).write_text(render_page(report), encoding="utf-8", newline="\n")
    return figures


def _write_events(figures: dict[str, Path], folder: Path, step: int) -> str:
    """The figures for TensorBoard, which finds them when it is pointed at the run folder; returns the file's name."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "events")) as writer:
        for name in IN_TENSORBOARD & figures.keys():
            with Image.open(figures[name]) as picture:
                width, height = picture.size
            image = Summary.Image(
                height=height, width=width, encoded_image_string=figures[name].read_bytes()
            )
            summary = Summary(value=[Summary.Value(tag=f"report/{name}", image=image)])
            writer._get_file_writer().add_summary(
                summary, step
            )  # as it is, where `add_image` would encode it again
    (file,) = (folder / "events").iterdir()
    # always the same, so that a new report takes the old one's place
    name = "events.out.tfevents.report"
    os.replace(file, folder / name)
    return name


def _about_model(run: TrainedRun) -> str:
    from signs_lightning.callbacks.model_summary import count_parameters

    height, width, channels = run.model.image_size
    kind, count = type(run.model).__name__, count_parameters(run.model.network)[0]
    after = f", after epoch {run.epoch}" if run.epoch else ""
    return (
        f"{kind}, {count:,} parameters, {height}×{width}×{channels} → {run.model.num_classes} "
        f"classes; {run.path.name}{after}"
    )


def _about_data(run: TrainedRun, judged: Predictions) -> list[str]:
    sentences = [
        f"The figures rest on {judged.evaluation.count:,} {judged.role} images: "
        f"{', '.join(judged.files[:5])}"
        f"{' …' if len(judged.files) > 5 else ''}."
    ]
    trained_on = run.settings.get("train_file")
    trained_on = [trained_on] if isinstance(trained_on, str) else trained_on or []
    own = {os.path.realpath(file) for file in judged.files}
    if judged.role == "test" and own & {os.path.realpath(file) for file in trained_on}:
        sentences.append(
            "The network was trained on this file, so they say nothing about new images."
        )
    elif judged.role == "validation" and run.path.name == "best.ckpt":
        sentences.append(
            "The checkpoint was chosen by these very images, which makes them "
            "look better than new ones."
        )
    elif (
        judged.role == "test"
        and run.path.name == "last.ckpt"
        and run.history
        and "val_loss" in run.history[-1]
    ):
        sentences.append("This is the last epoch's checkpoint: none was chosen by validation.")
    height, width, _ = run.model.image_size
    stored = judged.images.readers[0].images.shape[1:3]
    if tuple(stored) != (height, width):
        sentences.append(
            f"Their {stored[0]}×{stored[1]} pixels are resized to {height}×{width} for the network."
        )
    return sentences


def _commands(run: TrainedRun, command: str) -> list[tuple[str, str]]:
    made = [
        ("Trained by" if k == 0 else "and further by", typed)
        for k, typed in enumerate(run.commands)
    ]
    if not made and run.folder is not None:
        again = [
            "python",
            "-m",
            "signs_lightning",
            "fit",
            "--config",
            str(run.folder / "config.yaml"),
        ]
        made = [("What trains it again", shlex.join(again))]
    return [*made, ("This report was made by", command)]


def _versions(run: TrainedRun) -> dict[str, str]:
    import lightning
    import torch

    import signs_lightning

    versions = {
        "signs_lightning": signs_lightning.__version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "Lightning": lightning.__version__,
    }
    if run.lightning is not None and run.lightning != lightning.__version__:
        versions["trained with Lightning"] = run.lightning
    return versions


def _configuration(config: dict[str, Any]) -> list[str]:
    """YAML, a line each, without what is None and with very long texts cut."""
    import yaml

    def pruned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: pruned(part) for key, part in value.items() if part is not None}
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            return f"{value[:MAX_VALUE_LENGTH]}… ({len(value):,} characters)"
        return value

    return (
        yaml.safe_dump(pruned(config), sort_keys=False, allow_unicode=True).splitlines()
        if config
        else []
    )
