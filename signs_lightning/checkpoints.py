"""Checkpoints as files: where they lie in a run folder, and what they remember. They never run code when loaded."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier


def find_checkpoint(path: Path, verb: str) -> Path | None:
    """The checkpoint that a `--ckpt_path` means: the file itself, or a run folder's.

    For `fit` that is a run folder's last.ckpt; for other verbs its best.ckpt, or last.ckpt where there is no best one (validation was
    the test file).

    Returns:
        The file; None for a run folder without a checkpoint that `fit` can start anew.

    Raises:
        InputError: there is nothing there.
    """
    if not path.exists():
        raise InputError(
            f"No such checkpoint: {path}. Name a .ckpt file or a run folder such as lightning_logs/NAME/version_0."
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
        f"{path} holds no checkpoint (expected checkpoints/{names[-1]} in it). Name a .ckpt file or a run folder."
    )


def run_folder(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, or None for a checkpoint on its own."""
    folder = checkpoint.resolve().parent.parent
    return folder if checkpoint.parent.name == "checkpoints" and (folder / "config.yaml").is_file() else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, on the CPU.

    Raises:
        InputError: the file is not a checkpoint, is truncated, or would run code.
    """
    if not zipfile.is_zipfile(path):
        size = path.stat().st_size
        raise InputError(
            f"{path} is not a checkpoint, or a truncated one ({size:,} bytes). Name a .ckpt file that a fit wrote."
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than weights and plain values, and could run code when loaded: refused."
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError) as error:
        raise InputError(f"{path} is not a checkpoint that can be read. Name a .ckpt file that a fit wrote.") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint or "hyper_parameters" not in checkpoint:
        raise InputError(f"{path} holds no trained model of this project. Name a .ckpt file that a fit wrote.")
    return checkpoint


def checkpoint_config(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration that a checkpoint remembers, with what its model took from the data filled in.

    Returns:
        Plain values under seed_everything, name, trainer, model, data, checkpoint, as far as known.
    """
    model = checkpoint.get("signs_lightning", {}).get("model")
    if model is None:
        raise InputError(f"{path} was not written by this project. Name a .ckpt file that a fit wrote.")
    config = dict(checkpoint.get("config", {}))
    remembered = (config.get("model") or {}).get("init_args") or {}
    known = {key: value for key, value in checkpoint["hyper_parameters"].items() if value is not None}
    known = {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}
    config["model"] = {"class_path": model, "init_args": {**remembered, **known}}
    if "data" not in config and "H5DataModule" in checkpoint:
        config["data"] = dict(checkpoint["H5DataModule"])
    return {
        key: config[key]
        for key in ("seed_everything", "name", "trainer", "model", "data", "checkpoint")
        if key in config
    }


def load_classifier(path: Path) -> tuple[ImageClassifier, dict[str, Any]]:
    """A trained model from its checkpoint alone.

    Returns:
        The model in eval mode on the CPU, and the settings of the `H5DataModule` that it was trained on.

    Raises:
        InputError: the file is not a checkpoint, or its weights do not fit what it says of itself.
    """
    import signs_lightning

    checkpoint = load_checkpoint(path)
    config = checkpoint_config(checkpoint, path)
    name = config["model"]["class_path"]
    model_class = getattr(signs_lightning, name) if name in signs_lightning.__all__ else None
    if not (isinstance(model_class, type) and issubclass(model_class, signs_lightning.ImageClassifier)):
        raise InputError(f"{path} holds a model of the unknown class '{name}'. Load it in Python with your own class.")
    try:
        model = model_class(**checkpoint["hyper_parameters"])
        model.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path} holds weights that do not fit its own {name}: it was damaged or edited.") from error
    return model.eval(), dict(config.get("data") or {})
