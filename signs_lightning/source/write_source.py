"""Writes a model as a source file, with its weights beside it."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.stored_images import standardizes
from signs_lightning.models.tasks import refuse_task
from signs_lightning.models.weights_file import save_weights
from signs_lightning.runtime.atomic_write import atomic_write, check_edited, encode_text
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.value_ranges import PLAIN_RANGES
from signs_lightning.source.blocks import ways_of
from signs_lightning.source.check import compare_source
from signs_lightning.source.from_modules import program_of_modules, sequence_of
from signs_lightning.source.from_plan import program_of
from signs_lightning.source.model_text import CLASS, ModelText, SourceText
from signs_lightning.source.program import Program

LONGER = 1.2  # times the lines of the shortest way, that a more readable one may have
USED = {"torch", "lightning", "numpy", "signs_lightning"}  # by what is written
# Arguments of a model that say how it is trained, or what becomes of its images.
TRAINING = (
    *("optimizer", "lr_scheduler", "loss", "schedule", "warmup", "augmentation"),
    "test_time_augmentation",
)
PLAIN = (bool, int, float, str, type(None), list, tuple)


def export_source(
    model: ImageClassifier, path: Path, standalone: bool = False, overwrite: bool = True
) -> float:
    """Write a model as a Python file and its weights as a safetensors file beside it.

    Both appear only after the file, imported in a process of its own, gave what the model gives.

    Args:
        model: the classifier.
        path: the Python file; the weights get its name with the ending `.safetensors`.
        standalone: whether the file is to do without this package.
        overwrite: whether a Python file is replaced that differs from what is written.

    Returns:
        The largest difference from the model in float64, as a share of a tensor's largest value.

    Raises:
        InputError: the model has what cannot be written as source, or the files cannot be written
            or would replace an edited one.
    """
    refuse_task(model, "Source", "Use --format onnx, torch or safetensors.")
    check_source_path(path)
    check_values(model, "source")
    is_own = model.optimizer is not None and not isinstance(model, FromKeras)
    if model.loss is not None or is_own:
        raise InputError(
            "The model has a loss or an optimizer of one's own, which is Python already. Export a "
            "model without, and give it to that."
        )
    weights = weights_path(path)
    written = write_text(model, standalone)
    if not overwrite:
        check_edited(path.parent, {path.name: written.text})
    state = {written.names[name]: value for name, value in model.state_dict().items()
             if name in written.names}  # fmt: skip
    with atomic_write(weights) as temporary_weights, atomic_write(path) as temporary:
        temporary.write_bytes(encode_text(written.text))
        save_weights(temporary_weights, state, weights_metadata(model) | {"names": written.names})
        return compare_source(model, written.names, temporary, temporary_weights, standalone)


def check_values(model: ImageClassifier, format: str) -> None:
    """Check that a model takes images that are 0..1 without a word of their range.

    Raises:
        InputError: it was trained on numbers whose range the file would not say, or standardizes.
    """
    values = model.run_values
    if standardizes(model.hparams.get("scale")):
        raise InputError(
            f"The model standardizes its images, which --format {format} does not. Use --format "
            "onnx or torch, whose files do."
        )
    if values is not None and values.numbers not in PLAIN_RANGES:
        raise InputError(
            f"The model was trained on {values}, which --format {format} does not say. Use "
            "--format onnx or torch, whose files scale them."
        )


def write_text(model: ImageClassifier, standalone: bool = False) -> SourceText:
    """Return the source of a model.

    Raises:
        InputError: it cannot be written as source.
    """
    if isinstance(model, FromKeras):
        program = program_of(model.network)
    elif type(model).__module__.startswith("signs_lightning.") and model.has_build:
        if (sequence := sequence_of(model)) is not None:
            return ModelText(model, Program(), standalone, *sequence).write()
        program = program_of_modules(model)
    else:
        raise InputError(
            f"{type(model).__name__} is Python source already. Copy its file, or export another "
            "format."
        )
    ways = [ModelText(model, way, standalone).write() for way in (*ways_of(program), program)]
    counts = [way.text.count("\n") for way in ways]
    return ways[next(k for k, count in enumerate(counts) if count <= LONGER * min(counts))]


def source_lines(path: Path, difference: float) -> tuple[str, str]:
    """Return what is said of a source file that was written, and the command that trains it.

    Args:
        path: the Python file.
        difference: as of `export_source`.
    """
    weights = weights_path(path)
    return (
        "Same outputs, gradients and step of training as the model, in float64 within "
        f"{difference:.1g} of each tensor's largest value. Its weights are in {weights.name}.",
        f"python -m signs_lightning fit --model {path.stem}.{CLASS} "
        f"--model.weights {quote_path(weights.name)} --data.train_file FILE.h5",
    )


def training_left_out(checkpoint: Mapping[str, Any], path: Path) -> list[str]:
    """Return the arguments of a run's model that are not in the source written of it.

    Args:
        checkpoint: of the run.
        path: the source.
    """
    given = (checkpoint.get("config", {}).get("model") or {}).get("init_args") or {}
    text = path.read_text(encoding="utf-8")
    lost = [name for name in TRAINING if given.get(name) and f"{name}={name}" not in text]
    ours = checkpoint.get("signs_lightning", {}).get("training", {}).get("optimizer")
    if "optimizer" not in lost and ours is not None and f"{ours}(" not in text:
        is_default = ours == KerasAdam.__name__ and "def make_optimizer" not in text
        lost += [] if is_default else ["optimizer"]
    return lost


def check_source_path(path: Path) -> None:
    """Check that a source file can be imported by its name, and hides no other module.

    Raises:
        InputError: it cannot, or does.
    """
    name = path.stem
    if not path.name.endswith(".py"):
        raise InputError(
            f"Source is written to a file that ends in .py, {path.name} does not. Rename it."
        )
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(
            f"{path.name} cannot be imported by this name. Choose letters, digits and underscores, "
            "such as model.py."
        )
    if name in USED or name in sys.stdlib_module_names:
        raise InputError(
            f"A file {path.name} would hide Python's or another package's {name}. Choose another "
            "name, such as model.py."
        )


def export_weights(model: ImageClassifier, path: Path) -> str:
    """Write a model's weights as a safetensors file, with its settings in the metadata.

    Returns:
        The name of its class, for `import-safetensors --model`.

    Raises:
        InputError: the file cannot be written.
    """
    metadata = weights_metadata(model)
    with atomic_write(path) as temporary:
        save_weights(temporary, model.state_dict(), metadata)
    module, _, name = metadata["model"].rpartition(".")
    return name if module.startswith("signs_lightning.") else metadata["model"]


def weights_path(path: Path) -> Path:
    """Return the file that the weights of a source file are in."""
    return path.with_suffix(".safetensors")


def weights_metadata(model: ImageClassifier) -> dict[str, Any]:
    """Return what a safetensors file keeps of a model: its class and its settings."""
    kind = type(model)
    settings = {k: v for k, v in model.hparams.items() if isinstance(v, PLAIN)}
    return {"model": f"{kind.__module__}.{kind.__name__}", "settings": settings}
