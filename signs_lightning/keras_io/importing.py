"""The verb import-keras: a Keras file → a checkpoint that test, predict, fit and export take like any other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.errors import InputError, VerbParser

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier


def main(verb: str, args: list[str]) -> int:
    """Runs `import-keras FILE --output model.ckpt`; prints the layer table.

    Args:
        verb: what the command line calls this.
        args: what follows it.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the file cannot be used; nothing is written then.
    """
    options = _parser(verb).parse_args(args)
    from signs_lightning.atomic import check_output
    from signs_lightning.keras_io.reading import from_keras
    from signs_lightning.report.summary import print_summary

    output = Path(options.output)
    check_output(output)
    if output.exists() and os.path.realpath(output) == os.path.realpath(options.file):
        raise InputError(f"--output {output} is the Keras file itself. Name another file.")
    size = options.image_size
    model = from_keras(
        options.file,
        scale=options.scale,
        class_names=options.class_names,
        architecture=options.architecture,
        image_size=None if size is None else (size[0], size[-1], options.channels),
    )
    save_checkpoint(model, output)
    print_summary(model)
    print(f"Wrote {output}. Next: python -m signs_lightning test --ckpt_path {output} --data.test_file FILE.h5")
    return 0


def _parser(verb: str) -> VerbParser:
    parser = VerbParser(
        verb, "Turns a Keras file (.h5, .weights.h5, .keras; Keras 2.0 to 3.x) into a checkpoint. Needs no Keras."
    )
    parser.add_argument("file", help="the Keras file")
    parser.add_argument("--output", required=True, metavar="CKPT", help="the checkpoint to write, such as model.ckpt")
    parser.add_argument(
        "--architecture",
        choices=("happy", "signs", "resnet50"),
        help="for a file of weights only: what to load them into; the only one that fits when omitted",
    )
    parser.add_argument(
        "--scale",
        choices=("/255", "raw", "tf", "caffe", "torch"),
        default="/255",
        help="what the model was trained on: images in 0..1 (default), raw in 0..255, or a mode of preprocess_input",
    )
    parser.add_argument("--class_names", nargs="+", metavar="NAME", help="names of the classes, in label order")
    parser.add_argument(
        "--image_size",
        nargs="+",
        type=int,
        metavar="PIXELS",
        help="height and width (or one number), for a model that takes images of any size",
    )
    parser.add_argument("--channels", type=int, default=3, help="channels of such a model (default 3)")
    return parser


def save_checkpoint(model: ImageClassifier, path: Path) -> None:
    """Writes a Lightning checkpoint of a model that has not been trained here; the file appears whole or not at all.

    Args:
        model: any classifier.
        path: the file; one that is there is replaced.

    Raises:
        InputError: it cannot be written.
    """
    import lightning
    import torch

    from signs_lightning.atomic import written_whole

    checkpoint: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": dict(model.hparams),
    }
    model.on_save_checkpoint(checkpoint)
    with written_whole(path) as temporary:
        torch.save(checkpoint, temporary)
