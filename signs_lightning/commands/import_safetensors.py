"""The verb import-safetensors: turns a safetensors file into a checkpoint."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.own_model_options import join_import_path
from signs_lightning.errors import InputError
from signs_lightning.runtime.atomic_write import check_output
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.terminal import print_with_value

# Arguments that no file may set: they name other files, or are no plain values.
NOT_OF_FILES = {"self", "path", "architecture", "weights", "optimizer", "lr_scheduler", "loss"}
NOT_OF_FILES |= {"metrics", "augmentation", "network", "args", "kwargs"}


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
    check_output(output)

    # start-up: --help needs none of these
    import torch

    from signs_lightning.callbacks.model_summary import print_summary
    from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
    from signs_lightning.models.weights_file import check_weights, read_weights

    join_import_path(args)
    kind = _find_class(options.model)
    tensors, metadata = read_weights(options.file)
    given = {"num_classes": options.num_classes, "image_size": options.image_size}
    given = {name: value for name, value in given.items() if value is not None}
    advice = "Name its class, or give --num_classes and --image_size"
    with torch.device("meta"):  # no file decides how much memory is taken
        without_memory = _make(kind, metadata, given, options.file)
    check_weights(without_memory, tensors, options.file, advice)
    model = _make(kind, metadata, given, options.file)
    model.load_state_dict(tensors)
    save_checkpoint(model.eval(), output)
    print_summary(model)
    own = "" if kind.__module__.startswith("signs_lightning.") else f" --model {options.model}"
    test = f"python -m signs_lightning test --ckpt_path {quote_path(output)}{own}"
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


def _make(kind: Any, metadata: dict[str, Any], given: dict[str, Any], file: str) -> Any:
    """Make the model with the settings that the file has for its class, or that are given."""
    stored = metadata.get("settings")
    name = str(metadata.get("model", ""))
    is_same = name == f"{kind.__module__}.{kind.__name__}"
    settings = stored if is_same and isinstance(stored, dict) else {}
    initializers = [vars(base).get("__init__") for base in kind.__mro__[:-1]]
    known = {n for init in initializers if init for n in inspect.signature(init).parameters}
    kept = {k: v for k, v in settings.items() if k in known and k not in NOT_OF_FILES}
    try:
        return kind(**{name: _tuple(value) for name, value in (kept | given).items()})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{file} has settings that {kind.__name__} does not take ({error}). Name the class "
            "that it was exported from."
        ) from error


def _tuple(value: Any) -> Any:
    """Return a list of numbers as the tuple that JSON made a list of."""
    is_numbers = isinstance(value, list) and all(type(part) is int for part in value)
    return tuple(value) if is_numbers and value else value
