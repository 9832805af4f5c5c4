"""The verb import-keras: turns a Keras file into a checkpoint or source."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from pathlib import Path

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import SCALES
from signs_lightning.runtime.atomic_write import atomic_write, check_output
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.file_guard import check_once
from signs_lightning.runtime.sandbox import run_sandboxed
from signs_lightning.runtime.terminal import print_message, print_with_value

MAX_SECONDS = 600.0  # that a file may take to import


def main(verb: str, args: list[str]) -> int:
    """Run `import-keras FILE --output model.ckpt` or `--source model.py`.

    The file is read in a process of its own, because a malicious one may crash HDF5's C library.

    Args:
        verb: what the command line calls this.
        args: what follows it.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the file cannot be used; nothing is written then.
    """
    options = _parse(verb, args)
    size, colors = shutil.get_terminal_size(), sys.stdout.isatty()
    if options.source is not None:
        printed = run_sandboxed(
            f"{__name__}:run_captured", verb, args, None, size, colors,
            about=options.file, seconds=2 * MAX_SECONDS,
        )  # fmt: skip
        print(printed, end="")
        return 0
    with atomic_write(Path(options.output)) as temporary:
        printed = run_sandboxed(
            f"{__name__}:run_captured", verb, args, str(temporary), size, colors,
            about=options.file, seconds=MAX_SECONDS,
        )  # fmt: skip
    print(printed, end="")
    return 0


def run_captured(
    verb: str, args: list[str], temporary: str | None, size: tuple[int, int], colors: bool
) -> str:
    """Call `run` in the child process and return what it prints.

    Args:
        verb: what the command line calls this.
        args: what follows it.
        temporary: the file to write; None for source, which has its own way.
        size: columns and lines of the terminal.
        colors: whether the terminal shows colors.
    """
    os.environ["COLUMNS"] = str(size[0])
    if colors:
        os.environ["FORCE_COLOR"] = "1"
    check_once(_parse(verb, args).file)  # ends what never returns from HDF5 long before MAX_SECONDS
    with contextlib.redirect_stdout(_Captured(colors)) as printed:
        run(verb, args, None if temporary is None else Path(temporary))
    return printed.getvalue()


class _Captured(io.StringIO):
    """What is printed, laid out for the terminal where the parent process shows it.

    Args:
        is_terminal: whether it does so in a terminal.
    """

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def run(verb: str, args: list[str], temporary: Path | None = None) -> int:
    """Import a Keras file in this process.

    Args:
        verb: what the command line calls this.
        args: what follows it.
        temporary: an existing temporary file to write to instead of `--output`.

    Returns:
        The exit code, 0.

    Raises:
        InputError: the file cannot be used; nothing is written then.
    """
    options = _parse(verb, args)
    import torch  # start-up time, as the next ones

    from signs_lightning.callbacks.model_summary import print_summary  # start-up time
    from signs_lightning.checkpoints.new_checkpoint import (  # start-up
        build_checkpoint,
        save_checkpoint,
    )
    from signs_lightning.keras_io.from_keras import FromKeras  # start-up time, as below
    from signs_lightning.keras_io.load_keras import from_keras
    from signs_lightning.keras_io.optimizer_state import add_keras_run

    size = options.image_size
    model = from_keras(
        options.file,
        scale=options.scale,
        class_names=options.class_names,
        architecture=options.architecture,
        image_size=None if size is None else (size[0], size[-1], options.channels),
        output_layer=options.output_layer,
        task=options.task,
    )
    model.adopt_resizing(options.resize, options.fit)
    if options.source is not None:
        from signs_lightning.source.write_source import export_source, source_lines

        source = Path(options.source)
        difference = export_source(model, source, options.standalone, options.overwrite == "true")
        said, command = source_lines(source, difference)
        print_message(said)
        print_with_value(f"Wrote {source}. Next, in its folder:", command, is_command=True)
        return 0
    output, line = Path(options.output), None
    checkpoint = build_checkpoint(model)
    if isinstance(model, FromKeras):
        line = add_keras_run(checkpoint, model, options.file, options.architecture)
    if temporary is None:
        save_checkpoint(model, output, checkpoint)
    else:
        torch.save(checkpoint, temporary)
    if isinstance(model, FromKeras):
        model.compiled.print_used("fit trains", None)
        model.print_omissions()
    if line is not None:
        print_message(line)
    print_summary(model)
    test = f"python -m signs_lightning test {quote_path(output)}"
    test += " --data.test_file FILE.h5"
    print_with_value(f"Wrote {output}. Next:", test, is_command=True)
    return 0


def _parse(verb: str, args: list[str]) -> argparse.Namespace:
    options = _parser(verb).parse_args(args)
    if (options.output is None) == (options.source is None):
        raise InputError(
            "import-keras writes one file: a checkpoint to --output model.ckpt, or source to "
            "--source model.py. Name one of them."
        )
    if options.standalone and options.source is None:
        raise InputError("--standalone is for --source model.py. Leave it out.")
    output = Path(options.output or options.source)
    check_output(output, inputs=(options.file, options.architecture))
    return options


def _parser(verb: str) -> CommandParser:
    parser = CommandParser(
        verb,
        "Turns a Keras file (.h5, .weights.h5, .keras; Keras 1.0 to 3.x) into a checkpoint. Needs "
        "no Keras.",
        "FILE --output CKPT [options]",
        ("file", "--output", "--source", "--architecture", "--scale", "--class_names"),
        (
            "import-keras model.keras --output model.ckpt",
            "import-keras a.h5 --output a.ckpt --class_names a b",
        ),
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="the Keras file")
    output_help = "the checkpoint to write, such as model.ckpt"
    add("--output", metavar="CKPT", help=output_help)
    text = "write the model as Python source instead, such as model.py, its weights beside it"
    add("--source", metavar="PY", help=text)
    text = "source that needs torch and lightning alone, nothing of this package"
    add("--standalone", action="store_true", help=text)
    parser.add_overwrite_option()
    add(
        "--architecture", metavar="JSON",
        help="what the weights belong to: the file of Keras's `model.to_json()`; or, for a file of "
        "weights only, `happy`, `signs` or `resnet50` of ours, the only one that fits when omitted",
    )  # fmt: skip
    add(
        "--scale", choices=SCALES,
        help="what the model was trained on: images in 0..1 (/255), 0..255 (raw), or a mode of "
        "preprocess_input; by default as its first layers tell, /255 where none does",
    )  # fmt: skip
    parser.add_output_layer_option()
    text = "what its outputs are, where they are no single class; an error as loss tells regression"
    add("--task", choices=("multilabel", "regression"), help=text)
    add("--class_names", nargs="+", metavar="NAME", help="names of the classes, in label order")
    add(
        "--image_size", nargs="+", type=int, metavar="PIXELS",
        help="height and width (or one number), for a model that takes images of any size",
    )  # fmt: skip
    parser.add_resize_options()
    add("--channels", type=int, default=3, help="channels of such a model (default 3)")
    return parser
