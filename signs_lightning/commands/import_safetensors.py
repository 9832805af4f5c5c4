"""The verb import-safetensors: turns a safetensors file into a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.own_model_options import join_import_path
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import check_output
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.terminal import print_with_value


def main(verb: str, args: list[str]) -> int:
    """Run `import-safetensors FILE --model MODEL --output model.ckpt`; return the exit code.

    Raises:
        InputError: the file cannot be used, or is of another model; nothing is written then.
    """
    parser = CommandParser(
        verb,
        "Turns a safetensors file into a checkpoint. The model's settings are in the file where "
        "export wrote it.",
        "FILE --model M --output O",
        ("file", "--model", "--output", "--num_classes", "--image_size"),
        ("import-safetensors n.st --model N --output n.ckpt",),
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="the safetensors file")
    text = "the class: SignsFunctional, FromKeras, …, or MODULE.Class of a file of your own"
    add("--model", required=True, metavar="M", help=text)
    add("--output", required=True, metavar="O", help="the checkpoint to write")
    text = "number of classes, for a file that does not tell"
    add("--num_classes", type=int, metavar="K", help=text)
    text = "height, width and channels, for a file that does not tell"
    add("--image_size", type=int, nargs=3, metavar=("H", "W", "C"), help=text)
    options = parser.parse_args(args)
    output = Path(options.output)
    check_output(output, inputs=(options.file,))

    # start-up: --help needs none of these
    import torch

    from signs_lightning.callbacks.model_summary import print_summary
    from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
    from signs_lightning.models.weights_file import check_weights, make_model, read_weights

    join_import_path(args)
    kind = _find_class(options.model)
    tensors, metadata = read_weights(options.file)
    given = {"num_classes": options.num_classes, "image_size": options.image_size}
    given = {name: value for name, value in given.items() if value is not None}
    advice = "Name its class, or give --num_classes and --image_size"
    with torch.device("meta"):  # no file decides how much memory is taken
        without_memory = make_model(kind, metadata, given, options.file)
    check_weights(without_memory, tensors, options.file, advice)
    model = make_model(kind, metadata, given, options.file)
    model.load_state_dict(tensors)
    save_checkpoint(model.eval(), output)
    print_summary(model)
    own = "" if kind.__module__.startswith("signs_lightning.") else f" --model {options.model}"
    test = f"python -m signs_lightning test {quote_path(output)}{own}"
    test += " --data.test_file FILE.h5"
    print_with_value(f"Wrote {output}. Next:", test, is_command=True)
    return 0


def _find_class(name: str) -> Any:
    """Return a class that the command line names: one of this package, or MODULE.Class."""
    from signs_lightning.commands.known_models import find_model, model_names  # start-up
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.runtime.own_code import import_object

    if "." not in name:
        if (known := find_model(name)) is None:
            raise InputError(
                f"--model is {name}, expected one of {', '.join(model_names())}, or MODULE.Class "
                "of a file of your own."
            )
        return known
    kind = import_object(name)
    if not isinstance(kind, type) or not issubclass(kind, ImageClassifier):
        raise InputError(f"{name} is no ImageClassifier. Name the class of the model.")
    return kind
