"""Checkpoints as files: where they are, and what they hold. Loading runs no code."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from signs_lightning.checkpoints.contents import check_contents
from signs_lightning.checkpoints.own_model import (
    OwnModel,
    make_model,
    package_model,
    without_pretraining,
)
from signs_lightning.checkpoints.replaced_files import read_unreplaced
from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.data.paths import forget_unfetched
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.packed_history import unpack_history
from signs_lightning.models.ready_network import describe_network
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.file_signatures import describe_non_hdf5, is_hdf5
from signs_lightning.runtime.format_migrations import migrate_checkpoint
from signs_lightning.runtime.zip_entries import open_zip

IMPORT = "`python -m signs_lightning import-keras FILE --output model.ckpt`"
NAME_A_RUN = "Name a .ckpt file or a run folder such as lightning_logs/NAME/version_0."
NAME_ANOTHER = "Name a .ckpt file that a fit wrote."
# what bad arguments lead a model to
BAD_ARGUMENTS: tuple[type[Exception], ...] = (RuntimeError, TypeError, ValueError, LookupError)
BAD_ARGUMENTS += (AttributeError, ArithmeticError, MemoryError)
# what the data tell, and a later verb needs where the training file is gone
LEARNED = ("class_names", "channels", "trained_on_words", "task")
CONFIG_SECTIONS = ("seed_everything", "name", "trainer", "model", "data", "checkpoint")


def find_checkpoint(path: Path, verb: str) -> Path | None:
    """Return the checkpoint that `--ckpt_path` means: a file, or a run folder's.

    For `fit` that is a run folder's last.ckpt; for other verbs its best.ckpt, or last.ckpt where
    there is no best one (validation was the test file).

    Returns:
        The file; None for a run folder without a checkpoint that `fit` can start anew.

    Raises:
        InputError: there is nothing there.
    """
    if not os.path.exists(path):  # no error of a name that is too long
        raise InputError(f"No such checkpoint: {shorten(str(path), 200)}. {NAME_A_RUN}")
    if path.is_file():
        return path
    names = ["last.ckpt"] if verb == "fit" else ["best.ckpt", "last.ckpt"]
    for name in names:
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    if verb == "fit" and (path / "config.yaml").is_file():
        return None
    expected = f"expected checkpoints/{names[-1]} in it"
    raise InputError(f"{path} holds no checkpoint ({expected}). {NAME_A_RUN}")


def run_folder(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint is in, or None for one outside of any."""
    folder = checkpoint.resolve().parent.parent
    is_run = checkpoint.parent.name == "checkpoints" and (folder / "config.yaml").is_file()
    return folder if is_run else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's contents, on the CPU.

    Raises:
        InputError: the file is not a checkpoint, is damaged, would run code, or claims more than it
            holds.
    """
    return read_unreplaced(path, lambda: _load(path))


def _load(path: Path) -> dict[str, Any]:
    size = _check_archive(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than weights and plain values, and could run code when loaded: "
            "refused."
        ) from error
    except Exception as error:  # damaged bytes lead PyTorch to any
        if refusal := os_error_message(error, path):
            raise refusal from error
        raise InputError(f"{path} is not a checkpoint that can be read. {NAME_ANOTHER}") from error
    expected = {"state_dict", "hyper_parameters"}
    if not isinstance(checkpoint, dict) or not expected <= checkpoint.keys():
        raise InputError(f"{path} holds no trained model of this project. {NAME_ANOTHER}")
    if "signs_lightning" in checkpoint:
        migrate_checkpoint(checkpoint, str(path))
        check_contents(checkpoint, path, size)
        ours = checkpoint["signs_lightning"]
        ours["history"] = unpack_history(ours.get("history") or [])
    return checkpoint


def _check_archive(path: Path) -> int:
    """Check the zip archive that a checkpoint is, and return its bytes."""
    try:
        size = path.stat().st_size
        with open_zip(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        if refusal := os_error_message(error, path):
            raise refusal from error
        if path.is_file() and is_hdf5(path):
            raise InputError(
                f"{path} is an HDF5 file, not a checkpoint. If it holds a Keras model: make a "
                f"checkpoint of it with {IMPORT}."
            ) from error
        other_type = describe_non_hdf5(path, "model")
        raise InputError(f"{path} is not a checkpoint but {other_type}") from error
    if "model.weights.h5" in {entry.filename for entry in entries}:
        raise InputError(f"{path} is a Keras file. Make a checkpoint of it with {IMPORT}.")
    if sum(entry.file_size for entry in entries) > size:  # PyTorch does not compress
        problem = f"{path} claims to unpack to more bytes than it has: a zip bomb"
        raise InputError(f"{problem}. Do not trust this file.")
    if not any(entry.filename.endswith("data.pkl") for entry in entries):
        other_type = describe_non_hdf5(path, "model")
        raise InputError(f"{path} is not a checkpoint but {other_type}")
    return size


def checkpoint_config(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a checkpoint's configuration, with the final arguments of its model.

    It is not checked: `commands.checkpoint_config.trusted_options` says what a verb may follow.

    Returns:
        Plain values under seed_everything, name, trainer, model, data, checkpoint, as far as known.
    """
    name = checkpoint.get("signs_lightning", {}).get("model")
    if name is None:
        raise InputError(f"{path} was not written by this project. {NAME_ANOTHER}")
    config = dict(checkpoint.get("config") or {})
    remembered = (config.get("model") or {}).get("init_args") or {}
    known = {key: value for key, value in _arguments(checkpoint).items() if value is not None}
    known = {key: list(v) if isinstance(v, tuple) else v for key, v in known.items()}
    if "config" in known:  # a Keras model's, which takes the place of its file
        remembered = _without(remembered, "path")
    config["model"] = {"class_path": name, "init_args": {**remembered, **known}}
    stored = _without(checkpoint.get("H5DataModule", {}), "fingerprints")
    if "data" not in config and stored:
        config["data"] = stored
    elif "data" in config:
        given = config["data"] or {}
        learned = {key: stored[key] for key in LEARNED if key in stored and not given.get(key)}
        if given.get("value_range") == "minmax" and "value_range" in stored:
            learned["value_range"] = stored["value_range"]  # found once
        if "batch_size" in stored:  # a finder may have chosen it
            learned["batch_size"] = stored["batch_size"]
        config["data"] = {**given, **learned}
    if isinstance(config.get("trainer"), dict):  # its folder shows where the run is
        config["trainer"] = _without(config["trainer"], "default_root_dir")
    _check_weights(checkpoint, path)
    return {key: config[key] for key in CONFIG_SECTIONS if key in config}


def load_classifier(
    path: Path, own: OwnModel | None = None
) -> tuple[ImageClassifier, dict[str, Any]]:
    """Build a trained model from its checkpoint, and from what the user names.

    Args:
        path: the checkpoint.
        own: the user's class or network, for a model that is none of this package's.

    Returns:
        The model in eval mode on the CPU, and the settings of the `H5DataModule` that it was
        trained on.

    Raises:
        InputError: the file is not a checkpoint, its weights do not fit its own settings, or it
            needs a class that is not named. What the user's class raises passes through.
    """
    own = own or OwnModel()
    checkpoint = load_checkpoint(path)
    config = checkpoint_config(checkpoint, path)
    name, data = config["model"]["class_path"], dict(config.get("data") or {})
    arguments = _arguments(checkpoint)
    own.require(name, checkpoint["signs_lightning"].get("network"), path)
    if own == OwnModel():
        with _misfits_as_input_errors(path, name):
            model = own.model_class(name)(**arguments)
            model.load_state_dict(checkpoint["state_dict"])
    else:
        remembered = without_pretraining(arguments.get("network_args") or {})
        arguments |= own.network_arguments(remembered, path)
        model = make_model(own.model_class(name), arguments)
        _load_own_weights(model, checkpoint["state_dict"], path)
    with _misfits_as_input_errors(path, name):
        H5DataModule(**data)
    forget_unfetched(data)
    return model.eval(), data


def _load_own_weights(model: ImageClassifier, weights: dict[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        if "Error(s) in loading state_dict" not in str(error):
            raise
        reason = shorten(" ".join(str(error).partition(":")[2].split()), 200)
        raise InputError(
            f"The weights in {path} do not fit {describe_network(model)} as it is now: {reason} "
            "Name it as it was when they were trained."
        ) from error


def _check_weights(checkpoint: dict[str, Any], path: Path) -> None:
    """Check that a checkpoint's weights fit its model, built without memory for them."""
    name, stored = checkpoint["signs_lightning"]["model"], checkpoint["state_dict"]
    model_class = package_model(name)
    if model_class is None or "network" in checkpoint["signs_lightning"]:
        return  # nothing of the user's is imported for a check
    with _misfits_as_input_errors(path, name):
        with torch.device("meta"):
            model = model_class(**_arguments(checkpoint))
        expected = model.state_dict()
        kinds = [
            {key: (tensor.shape, tensor.is_floating_point()) for key, tensor in state.items()}
            for state in (expected, stored)
        ]
        names = model.class_names
        fits = kinds[0] == kinds[1] and len(names) == model.num_classes
        fits = fits and all(isinstance(text, str) for text in names)
        if not fits or not all(isinstance(size, int) and size > 0 for size in model.image_size):
            raise ValueError(name)


@contextmanager
def _misfits_as_input_errors(path: Path, name: str) -> Iterator[None]:
    """Raise an `InputError` where a model cannot be made as its checkpoint says."""
    try:
        yield
    except InputError:
        raise
    except BAD_ARGUMENTS as error:
        raise InputError(
            f"{path} holds weights that do not fit its own {name}: it was damaged or edited."
        ) from error


def _arguments(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return what a model is made with, without the file that it once came from."""
    return _without(checkpoint["hyper_parameters"], "path")


def _without(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}
