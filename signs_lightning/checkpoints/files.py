"""Checkpoints as files: where they lie in a run folder, and what they remember. They never run code when loaded."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_type import is_hdf5
from signs_lightning.runtime.format_version import migrate_checkpoint
from signs_lightning.runtime.os_errors import os_error_message

SETTINGS = ("settings", "scheduler_settings")  # what optimizer and scheduler were made with
MAX_VALUES = 2**20  # texts and numbers that a checkpoint may hold besides tensors
IMPORT = (
    "Make a checkpoint of it with `python -m signs_lightning import-keras FILE --output "
    "model.ckpt`."
)
UNFIT = (
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)  # what bad arguments lead to


def find_checkpoint(path: Path, verb: str) -> Path | None:
    """The checkpoint that a `--ckpt_path` means: the file itself, or a run folder's.

    For `fit` that is a run folder's last.ckpt; for other verbs its best.ckpt, or last.ckpt where
    there is no best one (validation was the test file).

    Returns:
        The file; None for a run folder without a checkpoint that `fit` can start anew.

    Raises:
        InputError: there is nothing there.
    """
    if not path.exists():
        raise InputError(
            f"No such checkpoint: {path}. Name a .ckpt file or a run folder such as "
            "lightning_logs/NAME/version_0."
        )
    if path.is_file():
        return path
    names = ["last.ckpt"] if verb == "fit" else ["best.ckpt", "last.ckpt"]
    for name in names:
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    if verb == "fit" and (path / "config.yaml").is_file():
        return None
    raise InputError(
        f"{path} holds no checkpoint (expected checkpoints/{names[-1]} in it). Name a .ckpt file "
        "or a run folder."
    )


def run_folder(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, or None for a checkpoint on its own."""
    folder = checkpoint.resolve().parent.parent
    return (
        folder
        if checkpoint.parent.name == "checkpoints" and (folder / "config.yaml").is_file()
        else None
    )


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, on the CPU.

    Raises:
        InputError: the file is not a checkpoint, is damaged, would run code, or claims more than it
            holds.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        if refusal := os_error_message(error, path):
            raise refusal from error
        if path.is_file() and is_hdf5(path):
            raise InputError(
                f"{path} is an HDF5 file, not a checkpoint. If it holds a Keras model: {IMPORT}"
            ) from error
        raise InputError(
            f"{path} is not a checkpoint, or a truncated one ({size:,} bytes). Name a .ckpt file "
            "that a fit wrote."
        ) from error
    if "model.weights.h5" in {entry.filename for entry in entries}:
        raise InputError(f"{path} is a Keras file. {IMPORT}")
    if sum(entry.file_size for entry in entries) > size:  # PyTorch packs nothing
        raise InputError(
            f"{path} claims to unpack to more bytes than it has: a zip bomb. "
            "Do not trust this file."
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than weights and plain values, and could run "
            "code when loaded: refused."
        ) from error
    except Exception as error:  # whatever damaged bytes lead PyTorch to
        if refusal := os_error_message(error, path):
            raise refusal from error
        raise InputError(
            f"{path} is not a checkpoint that can be read. Name a .ckpt file that a fit wrote."
        ) from error
    if (
        not isinstance(checkpoint, dict)
        or "state_dict" not in checkpoint
        or "hyper_parameters" not in checkpoint
    ):
        raise InputError(
            f"{path} holds no trained model of this project. Name a .ckpt file that a fit wrote."
        )
    if "signs_lightning" in checkpoint:
        migrate_checkpoint(checkpoint, str(path))
        _check_contents(checkpoint, path, size)
    return checkpoint


def _check_contents(checkpoint: dict[str, Any], path: Path, size: int) -> None:
    """Compares what a checkpoint holds with what a fit writes: weights that its bytes can hold, and plain values, of the right kinds."""
    state, ours = checkpoint["state_dict"], checkpoint["signs_lightning"]
    hyper_parameters, config = checkpoint["hyper_parameters"], checkpoint.get("config", {})
    data, callbacks = checkpoint.get("H5DataModule", {}), checkpoint.get("callbacks", {})
    parts = [state, ours, hyper_parameters, config, data, callbacks]
    parts += (
        [
            part
            for part in (config.get(key) for key in ("model", "data", "trainer", "checkpoint"))
            if part
        ]
        if isinstance(config, dict)
        else []
    )
    parts += (
        [callbacks["RunFiles"]] if isinstance(callbacks, dict) and "RunFiles" in callbacks else []
    )
    right = (
        all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in parts)
        and all(
            isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
            for tensor in state.values()
        )
        and sum(tensor.numel() * tensor.element_size() for tensor in state.values()) <= size
        and is_plain_data(
            [
                hyper_parameters,
                config,
                data,
                {key: value for key, value in ours.items() if key != "totals"},
            ]
        )
        and isinstance((config.get("model") or {}).get("init_args") or {}, dict)
        and is_plain_data(callbacks.get("RunFiles"))
        and isinstance(ours.get("model", ""), str)
        and isinstance(ours.get("validated_images", 0), int)
        and _is_history(ours.get("history") or [])
        and _is_training(ours.get("training") or {})
    )
    if not right:
        raise InputError(
            f"{path} holds other things than a fit writes: it was damaged or "
            "edited. Do not trust this file."
        )


def _is_training(value: Any) -> bool:
    """Whether it is what `ImageClassifier` keeps of a run's optimizer and schedule, or nothing."""
    if value == {}:
        return True
    always = {"optimizer", "schedule", "warmup", "schedule_steps"}  # the others came later
    if not isinstance(value, dict) or not always <= value.keys() <= always | {
        "lr_scheduler",
        *SETTINGS,
    }:
        return False
    if not all(isinstance(value.get(name, {}), dict) for name in SETTINGS):
        return False
    steps = value["schedule_steps"]
    return (steps is None) == (value["schedule"] is None) and isinstance(steps, int | float | None)


def is_plain_data(value: Any) -> bool:
    """Whether it is made of text, numbers, lists and dicts by text alone, and not of millions of them.

    A value that stands in two places counts twice: a few lists that hold each other could unfold to
        more than any memory.
    """
    waiting, left = [value], MAX_VALUES
    while waiting:
        value, left = waiting.pop(), left - 1
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif not (value is None or isinstance(value, bool | int | float | str)):
            return False
        if left - len(waiting) < 0:
            return False
    return True


def _is_history(rows: Any) -> bool:
    return isinstance(rows, list) and all(
        isinstance(row, dict) and all(isinstance(figure, int | float) for figure in row.values())
        for row in rows
    )


def checkpoint_config(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration that a checkpoint remembers, with what its model took from the data filled in.

    It is to be looked at; what a command may make of it is told by `remembered.followed`.

    Returns:
        Plain values under seed_everything, name, trainer, model, data, checkpoint, as far as known.
    """
    model = checkpoint.get("signs_lightning", {}).get("model")
    if model is None:
        raise InputError(
            f"{path} was not written by this project. Name a .ckpt file that a fit wrote."
        )
    config = dict(checkpoint.get("config") or {})
    remembered = (config.get("model") or {}).get("init_args") or {}
    known = {key: value for key, value in _arguments(checkpoint).items() if value is not None}
    known = {
        key: list(value) if isinstance(value, tuple) else value for key, value in known.items()
    }
    remembered = {
        key: value for key, value in remembered.items() if key != "path" or "config" not in known
    }
    config["model"] = {"class_path": model, "init_args": {**remembered, **known}}
    # Fingerprints are no setting.
    trained = {
        key: value
        for key, value in checkpoint.get("H5DataModule", {}).items()
        if key != "fingerprints"
    }
    if "data" not in config and trained:
        config["data"] = trained
    elif "data" in config and "batch_size" in trained:  # it may have been found by trying
        config["data"] = {**(config["data"] or {}), "batch_size": trained["batch_size"]}
    if isinstance(config.get("trainer"), dict):  # where a run lies is told by its folder
        config["trainer"] = {
            key: value for key, value in config["trainer"].items() if key != "default_root_dir"
        }
    _check_state_dict(checkpoint, path)
    return {
        key: config[key]
        for key in ("seed_everything", "name", "trainer", "model", "data", "checkpoint")
        if key in config
    }


def load_classifier(path: Path) -> tuple[ImageClassifier, dict[str, Any]]:
    """A trained model from its checkpoint alone.

    Returns:
        The model in eval mode on the CPU, and the settings of the `H5DataModule` that it was
        trained on.

    Raises:
        InputError: the file is not a checkpoint, or its weights do not fit what it says of itself.
    """
    import signs_lightning
    from signs_lightning.data.datamodule import H5DataModule

    checkpoint = load_checkpoint(path)
    config = checkpoint_config(checkpoint, path)
    name = config["model"]["class_path"]
    model_class = getattr(signs_lightning, name) if name in signs_lightning.__all__ else None
    if not (
        isinstance(model_class, type) and issubclass(model_class, signs_lightning.ImageClassifier)
    ):
        raise InputError(
            f"{path} holds a model of the unknown class '{shorten(name)}'. Load it in Python "
            "with your own class."
        )
    try:
        model = model_class(**_arguments(checkpoint))
        model.load_state_dict(checkpoint["state_dict"])
        H5DataModule(**(config.get("data") or {}))
    except InputError:
        raise
    except UNFIT as error:
        raise _misfit(path, name) from error
    return model.eval(), dict(config.get("data") or {})


def _check_state_dict(checkpoint: dict[str, Any], path: Path) -> None:
    """Builds a checkpoint's model, if it is one of ours, without memory for its weights, and compares these with what is stored."""
    import signs_lightning

    name, found = checkpoint["signs_lightning"]["model"], checkpoint["state_dict"]
    model_class = getattr(signs_lightning, name) if name in signs_lightning.__all__ else None
    if not (isinstance(model_class, type) and issubclass(model_class, ImageClassifier)):
        return
    try:
        with torch.device("meta"):
            model = model_class(**_arguments(checkpoint))
        expected = model.state_dict()
        same = {key: tensor.shape for key, tensor in expected.items()} == {
            key: tensor.shape for key, tensor in found.items()
        }
        same = same and all(
            tensor.is_floating_point() == found[key].is_floating_point()
            for key, tensor in expected.items()
        )
        sound = len(model.class_names) == model.num_classes and all(
            isinstance(text, str) for text in model.class_names
        )
        sound = sound and all(isinstance(size, int) and size > 0 for size in model.image_size)
    except InputError:
        raise
    except UNFIT as error:
        raise _misfit(path, name) from error
    if not same or not sound:
        raise _misfit(path, name)


def _arguments(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a model is made with; never a file that it once came from."""
    return {key: value for key, value in checkpoint["hyper_parameters"].items() if key != "path"}


def _misfit(path: Path, name: str) -> InputError:
    return InputError(
        f"{path} holds weights that do not fit its own {name}: it was damaged or edited."
    )
