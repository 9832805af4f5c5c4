"""The report verb: figures and one page about a trained model."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.own_model_options import take_model_options
from signs_lightning.commands.reading_options import add_reading_options, test_data_options
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import SCALES
from signs_lightning.runtime.display import describe_drawn_channels
from signs_lightning.runtime.terminal import print_message, print_with_value


def main(verb: str, args: list[str]) -> int:
    """Run `report RUN [--data.test_file H5] [--output DIR]`; return the exit code.

    Raises:
        InputError: there is no trained model or no data for it, or the report cannot be written.
    """
    parser = CommandParser(
        verb,
        "What a trained model does well and badly: figures, and one page that holds them all.",
        "RUN [options]",
        ("files", "--data.test_file", "--output", "--scale"),
        (
            "report lightning_logs/quickstart/version_0",
            "report model.keras --data.test_file test.h5",
        ),
    )
    parser.add_file("run folder, checkpoint or Keras file")
    text = "HDF5 file; the run's own test file by default"
    parser.add_argument("--data.test_file", dest="test_file", metavar="H5", help=text)
    add_reading_options(parser)
    parser.add_resize_options()
    parser.add_argument(
        "--output", metavar="DIR", help="folder to write to (default: report/ in the run folder)"
    )
    parser.add_argument("--scale", choices=SCALES, help="of a Keras file, as in import-keras")
    parser.add_output_layer_option()
    parser.add_model_options()
    own, rest = take_model_options(args)
    options = parser.parse_args(rest)
    if options.ckpt_path.endswith(".onnx"):
        raise InputError(
            f"{options.ckpt_path} has no gradients to explain it by. Name the checkpoint that it "
            "was made from."
        )

    # start-up: --help needs none of these
    import torch

    from signs_lightning.checkpoints.run_links import check_links
    from signs_lightning.models.metrics import Evaluation, describe_accuracy
    from signs_lightning.report.predictions import predict_dataset
    from signs_lightning.report.report_folder import PAGE, write_report
    from signs_lightning.report.trained_run import load_run

    check_links(Path(options.ckpt_path))
    run = load_run(options.ckpt_path, verb, options.scale, options.output_layer, own)
    if not run.settings and options.test_file is None:
        raise InputError(
            f"{options.ckpt_path} remembers no data. Name a file with --data.test_file."
        )
    default = run.folder / "report" if run.folder else run.path.with_name(f"{run.path.stem}_report")
    output = Path(options.output or default)
    if output.exists() and not output.is_dir():
        raise InputError(
            f"{output} is a file, expected a folder to write the report to. Choose another "
            "--output."
        )
    run.model.adopt_resizing(options.resize, options.fit)
    run.model.to("cuda" if torch.cuda.is_available() else "cpu")
    given = test_data_options(options)
    predictions = predict_dataset(run.model, run.settings, options.test_file, given)
    command = shlex.join(["python", "-m", "signs_lightning", verb, *args])
    *files, _ = write_report(run, predictions, output, command)
    evaluation = predictions.evaluation
    figures = str(evaluation)
    if isinstance(evaluation, Evaluation):
        figures = f"accuracy {describe_accuracy(evaluation.correct, evaluation.count)}"
    print_message(f"{predictions.role} {figures}")
    written = textwrap.wrap(", ".join(files), 66, break_long_words=False)
    print_message("written      " + f"\n{' ' * 13}".join(written))
    page, here = output / PAGE, Path.cwd()
    print_with_value("page        ", str(page.relative_to(here) if here in page.parents else page))
    if drawn := describe_drawn_channels(run.model.image_size[2]):
        print_message(drawn)
    return 0
