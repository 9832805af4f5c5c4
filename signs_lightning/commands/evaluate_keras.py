"""The verbs validate and test on a Keras file: as on the checkpoint that `import-keras` writes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from signs_lightning.checkpoints.load_model import load_model
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.commands.argv import flag_value, remove_flag
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import Scale


@contextmanager
def as_checkpoint(verb: str, path: str, args: list[str]) -> Iterator[list[str]]:
    """Yield arguments that name a temporary checkpoint instead of a Keras file.

    Args:
        verb: validate or test.
        path: the Keras file.
        args: the other arguments, among them `--scale` and `--output_layer` of the file.

    Raises:
        InputError: the file cannot be used; or what is raised meanwhile, about the Keras file.
    """
    scale: Any = flag_value("--scale", args)
    if scale not in (None, *get_args(Scale)):
        raise InputError(f"--scale is {scale}, expected one of {', '.join(get_args(Scale))}.")
    model: Any = load_model(path, verb, scale, flag_value("--output_layer", args))[0]
    for option in ("--scale", "--output_layer"):
        args = remove_flag(option, args)
    with tempfile.TemporaryDirectory(prefix="signs_lightning_") as folder:
        checkpoint = Path(folder) / f"{Path(path).stem}.ckpt"
        save_checkpoint(model, checkpoint)
        try:
            yield ["--ckpt_path", str(checkpoint), *args]
        except InputError as error:
            raise InputError(str(error).replace(str(checkpoint), path)) from error
