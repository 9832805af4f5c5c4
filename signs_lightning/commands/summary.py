"""The summary verb: a model's layers as Keras's table, and as a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.commands.borrowed_options import MODELS
from signs_lightning.commands.check_options import check_options
from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.option_names import model_names
from signs_lightning.commands.own_model_options import take_model_options
from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.runtime.atomic_write import check_output
from signs_lightning.runtime.terminal import print_message

if TYPE_CHECKING:
    from signs_lightning.checkpoints.own_model import OwnModel
    from signs_lightning.models.classifier import ImageClassifier

OPTIONS = ["--ckpt_path", "--output_layer", "--expand", "--plot", "--help"]
FIT_OPTIONS = ["--config", "-c", "--model", "--data", "--trainer", "--checkpoint", "--name"]
FIT_OPTIONS += ["--seed_everything"]


def main(verb: str, args: list[str]) -> int:
    """Run `summary --config F | --model NAME | --ckpt_path F`, with `--plot PNG`.

    Raises:
        InputError: there is no model, or the picture cannot be written.
    """
    parser = CommandParser(
        verb,
        "Shows a model as Keras does: a table of its layers, and a drawing of its graph. A model "
        "that is not trained yet takes --config FILE, --model NAME and all other options of fit "
        "that describe a model. No data are read.",
        "RUN | --model NAME [options]",
        ("--ckpt_path", "--expand", "--plot"),
        (
            "summary lightning_logs/quickstart/version_0",
            "summary --model SignsResNet50 --plot model.png",
        ),
        end="--help_all has all options, fit --help those of fit.",
    )
    add = parser.add_argument
    add("--ckpt_path", metavar="RUN", help="checkpoint, run folder or Keras file; or first of all")
    parser.add_output_layer_option()
    add("--expand", action="store_true", help="open blocks, and models inside a model")
    graph = "draw the graph, with the output shape of every layer, as a PNG"
    add("--plot", metavar="PNG", help=graph)
    options, rest = parser.parse_known_args(args)
    if options.ckpt_path is None and rest and not rest[0].startswith("-"):
        options.ckpt_path = rest.pop(0)
        name = MODELS.get(options.ckpt_path.lower(), options.ckpt_path)
        if name in model_names() and not Path(options.ckpt_path).exists():
            raise InputError(f"No such file: {options.ckpt_path}. Write summary --model {name}")
    parser.check_borrowed_options(rest)
    picture = None if options.plot is None else Path(options.plot)
    if picture is not None:
        if picture.suffix.lower() != ".png":
            raise InputError(f"--plot is {picture}, expected the name of a PNG such as model.png.")
        check_output(picture, "--plot")
    for argument in rest:  # the parser of fit checks what follows the first dot
        option = argument.partition("=")[0]
        if argument.startswith("-") and option.partition(".")[0] not in FIT_OPTIONS:
            hint = did_you_mean(option, [*OPTIONS, *FIT_OPTIONS])
            raise InputError(f"Unknown option '{option}'; see --help.{hint}")
    own = None
    if options.ckpt_path is not None:
        own, rest = take_model_options(rest)
    if options.ckpt_path is not None and rest:
        raise InputError(
            f"--ckpt_path brings its own model, so {rest[0].partition('=')[0]} has no meaning. "
            "Drop one of them."
        )
    if options.ckpt_path is None and options.output_layer is not None:
        raise InputError(
            "--output_layer is for the Keras file in --ckpt_path. For a --model it is "
            "--model.output_layer."
        )
    if options.ckpt_path is None and not rest:
        raise InputError(
            "There is no model to show. Name one: --config F, --model NAME or --ckpt_path F."
        )

    check_options("fit", rest)

    # start-up: --help needs none of these
    from signs_lightning.callbacks.model_summary import print_summary
    from signs_lightning.report.model_drawing import draw_model

    if options.ckpt_path is not None:
        model = _load(options.ckpt_path, verb, options.output_layer, own)
    else:
        model = _build(rest)
    print_summary(model, expand=options.expand)
    if picture is not None:
        draw_model(model, picture, expand=options.expand)
        print_message(f"Wrote {picture}.")
    return 0


def _load(path: str, verb: str, output_layer: str | None, own: OwnModel | None) -> ImageClassifier:
    """Return the model of a checkpoint, a run folder or a Keras file."""
    if path.endswith(".onnx"):
        raise InputError(
            f"{path} is an ONNX file, which keeps operations and no layers. Name the checkpoint "
            "that it was exported from."
        )
    from signs_lightning.checkpoints.load_model import load_model  # start-up

    model: Any = load_model(path, verb, output_layer=output_layer, own=own)[0]
    return model


def _build(args: list[str]) -> ImageClassifier:
    """Return the model that `fit` would train with these options."""
    # start-up
    from signs_lightning.commands.fit_validate_test import CLI
    from signs_lightning.runtime.warning_filters import filter_warnings

    class ModelOnly(CLI):
        """The command line of `fit`, which stops when the model is built."""

        def instantiate_trainer(self, **kwargs: Any) -> Any:
            return None

        def _run_subcommand(self, subcommand: str) -> None:
            pass

    filter_warnings()
    try:
        cli = ModelOnly("fit", args)
    except ValueError as error:
        if "can't allocate memory" in str(error):
            raise InputError(
                "The model does not fit into memory. Give it smaller images or fewer classes."
            ) from error
        raise
    model, size = cli.model, cli.datamodule.image_size
    if model.hparams.get("image_size") is None and size is not None:
        model.adopt(model.num_classes, (*size, model.image_size[2]))
    return model
