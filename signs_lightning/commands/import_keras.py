"""The verb import-keras: a Keras file → a checkpoint that test, predict, fit and export take like any other."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path

from signs_lightning.errors import CommandParser, InputError
from signs_lightning.keras_io.scales import SCALES
from signs_lightning.runtime.atomic_write import atomic_write, check_output
from signs_lightning.runtime.sandbox import run_sandboxed

SECONDS = 600.0  # that a file may take to import


def main(verb: str, args: list[str]) -> int:
    """Runs `import-keras FILE --output model.ckpt`; prints the layer table.

    The file is read in a process of its own, because one that was made to may crash HDF5's C
    library.

    Args:
        verb: what the command line calls this.
        args: what follows it.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the file cannot be used; nothing is written then.
    """
    options = _parser(verb).parse_args(args)
    output = Path(options.output)
    _check(output, options.file)
    screen = shutil.get_terminal_size(), sys.stdout.isatty()
    with atomic_write(output) as temporary:
        printed = run_sandboxed(
            f"{__name__}:run_captured",
            verb,
            args,
            str(temporary),
            *screen,
            about=options.file,
            seconds=SECONDS,
        )
    print(printed, end="")
    return 0


def run_captured(
    verb: str, args: list[str], place: str, size: tuple[int, int], colors: bool
) -> str:
    """`run` in the child process: what it prints, for a terminal of that size (columns, lines) that shows colours or not."""
    os.environ["COLUMNS"] = str(size[0])
    if colors:
        os.environ["FORCE_COLOR"] = "1"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run(verb, args, Path(place))
    return printed.getvalue()


def run(verb: str, args: list[str], place: Path | None = None) -> int:
    """The verb's work in this process.

    Args:
        verb: what the command line calls this.
        args: what follows it.
        place: an existing temporary file to write to instead of `--output`.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the file cannot be used; nothing is written then.
    """
    options = _parser(verb).parse_args(args)
    import torch

    from signs_lightning.callbacks.model_summary import print_summary
    from signs_lightning.checkpoints.writing import build_checkpoint, save_checkpoint
    from signs_lightning.keras_io.from_keras import FromKeras, from_keras

    output = Path(options.output)
    _check(output, options.file)
    size = options.image_size
    model = from_keras(
        options.file,
        scale=options.scale,
        class_names=options.class_names,
        architecture=options.architecture,
        image_size=None if size is None else (size[0], size[-1], options.channels),
    )
    if place is None:
        save_checkpoint(model, output)
    else:
        torch.save(build_checkpoint(model), place)
    if isinstance(model, FromKeras):
        model.print_omissions()
    print_summary(model)
    print(
        f"Wrote {output}. Next: python -m signs_lightning test --ckpt_path {output} "
        "--data.test_file FILE.h5"
    )
    return 0


def _check(output: Path, file: str) -> None:
    check_output(output)
    if output.exists() and os.path.realpath(output) == os.path.realpath(file):
        raise InputError(f"--output {output} is the Keras file itself. Name another file.")


def _parser(verb: str) -> CommandParser:
    parser = CommandParser(
        verb,
        "Turns a Keras file (.h5, .weights.h5, .keras; Keras 2.0 to 3.x) into a "
        "checkpoint. Needs no Keras.",
    )
    parser.add_argument("file", help="the Keras file")
    parser.add_argument(
        "--output",
        required=True,
        metavar="CKPT",
        help="the checkpoint to write, such as model.ckpt",
    )
    parser.add_argument(
        "--architecture",
        choices=("happy", "signs", "resnet50"),
        help="for a file of weights only: what to load them into; the only one "
        "that fits when omitted",
    )
    parser.add_argument(
        "--scale",
        choices=SCALES,
        help="what the model was trained on: images in 0..1 (/255), 0..255 (raw), or a mode of "
        "preprocess_input; by default as "
        "its first layers tell, /255 where none does",
    )
    parser.add_argument(
        "--class_names", nargs="+", metavar="NAME", help="names of the classes, in label order"
    )
    parser.add_argument(
        "--image_size",
        nargs="+",
        type=int,
        metavar="PIXELS",
        help="height and width (or one number), for a model that takes images of any size",
    )
    parser.add_argument(
        "--channels", type=int, default=3, help="channels of such a model (default 3)"
    )
    return parser
