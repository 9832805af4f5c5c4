"""The summary verb: a model's layers as Keras's table, and as a drawing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.errors import CommandParser, InputError, did_you_mean

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier

FIT_OPTIONS = (
    "--config",
    "-c",
    "--model",
    "--data",
    "--trainer",
    "--checkpoint",
    "--seed_everything",
    "--name",
)


def main(verb: str, args: list[str]) -> int:
    """Runs `summary --config F | --model NAME | --ckpt_path F [--expand] [--plot model.png]`.

    Raises:
        InputError: there is no model, or the picture cannot be written.
    """
    parser = CommandParser(
        verb, "Shows a model as Keras does: a table of its layers, and a drawing of its graph."
    )
    parser.add_argument("--ckpt_path", metavar="F", help="checkpoint, run folder or Keras file")
    parser.add_argument(
        "--expand", action="store_true", help="open blocks, and models inside a model"
    )
    parser.add_argument(
        "--plot",
        metavar="PNG",
        help="draw the graph, with the output shape of every layer, as a PNG",
    )
    parser.epilog = (
        "A model that is not trained yet: --config F, --model NAME and all other options of fit "
        "that say what the model is, "
        "such as --model SignsResNet50 --model.num_classes 10. No data are read."
    )
    options, rest = parser.parse_known_args(args)
    picture = None if options.plot is None else _picture(options.plot)
    _check_options(rest, parser._option_string_actions)
    if options.ckpt_path is not None and rest:
        raise InputError(
            f"--ckpt_path brings its own model, so {rest[0].partition('=')[0]} has no meaning. "
            "Drop one of them."
        )
    if options.ckpt_path is None and not rest:
        raise InputError(
            "There is no model to show. Name one: --config F, --model NAME or --ckpt_path F."
        )

    from signs_lightning.callbacks.model_summary import print_summary

    model = (
        _from_file(options.ckpt_path, verb)
        if options.ckpt_path is not None
        else _from_options(rest)
    )
    print_summary(model, expand=options.expand)
    if picture is not None:
        from signs_lightning.report.model_drawing import draw_model

        draw_model(model, picture, expand=options.expand)
        print(f"Wrote {picture}.")
    return 0


def _picture(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() != ".png":
        raise InputError(f"--plot is {name}, expected the name of a PNG such as model.png.")
    if not path.parent.is_dir():
        raise InputError(
            f"The folder {path.parent} does not exist. Make it, or choose another --plot."
        )
    if path.is_dir():
        raise InputError(f"--plot {path} is a folder. Name a file in it.")
    return path


def _check_options(rest: list[str], own: Iterable[str]) -> None:
    """What begins like an option neither of this verb nor of `fit` is refused here; the rest of it `fit`'s parser knows."""
    for argument in rest:
        option = argument.partition("=")[0]
        if argument.startswith("-") and option.partition(".")[0] not in FIT_OPTIONS:
            raise InputError(
                f"Unknown option '{option}'; see --help.{did_you_mean(option, [*own, *FIT_OPTIONS])}"
            )


def _from_file(path: str, verb: str) -> ImageClassifier:
    if path.endswith(".onnx"):
        raise InputError(
            f"{path} is an ONNX file, which keeps operations and no layers. Name the checkpoint "
            "that it was exported from."
        )
    from signs_lightning.checkpoints.model_files import load_model

    model: Any = load_model(path, verb)[0]
    return model


def _from_options(args: list[str]) -> ImageClassifier:
    from signs_lightning.commands.fit import CLI
    from signs_lightning.runtime.warning_filters import filter_warnings

    class ModelOnly(CLI):
        """Takes what `fit` takes, and stops as soon as there is a model."""

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
