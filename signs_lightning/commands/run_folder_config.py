"""A run folder's config.yaml, for a run that was killed before its first checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from signs_lightning.checkpoints.contents import is_plain_data
from signs_lightning.checkpoints.files import load_checkpoint
from signs_lightning.commands.trusted_types import trusted_class
from signs_lightning.data.download import is_address
from signs_lightning.errors import InputError
from signs_lightning.models.start_options import START_OPTIONS
from signs_lightning.runtime.escaping import shorten

MAX_BYTES = 2**24  # of a configuration; that of a large Keras model has some megabytes


def read_config(path: Path) -> dict[str, Any]:
    """Read a run folder's config.yaml: plain values under model, trainer and so on.

    Raises:
        InputError: the file cannot be read, or is not what a fit writes.
    """
    begin_anew = "Begin a new run, with the configuration that this one had."
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than what a fit writes. {begin_anew}")
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        message = f"{path} nests more deeply than a configuration does"
        raise InputError(f"{message}. Do not trust this file.") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} is not valid YAML. {begin_anew}") from error
    sections = config if isinstance(config, dict) and is_plain_data(config) else {}
    model: Any = sections.get("model")
    trainer = sections.get("trainer") or {}
    others = [trainer, *(sections.get(key) or {} for key in ("data", "checkpoint"))]
    has_model = isinstance(model, dict) and "class_path" in model
    if not has_model or not all(isinstance(section, dict) for section in others):
        raise InputError(f"{path} is not what a fit writes. {begin_anew}")
    name = str(model["class_path"])
    if trusted_class(name) is not None:
        name = name.rpartition(".")[2]
    trainer = {key: value for key, value in trainer.items() if key != "default_root_dir"}
    model = {"class_path": name, "init_args": model.get("init_args") or {}}
    return {**config, "model": model, "trainer": trainer}


def remembered_start(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the options that say what a run began from, such as the file of its first weights.

    Args:
        config: what `read_config` returns.
        path: the file, for messages.

    Raises:
        InputError: it names an address, or a file that is no checkpoint.
    """
    start = {option: config.get(option) for option in ("ckpt_path", *START_OPTIONS)}
    weights = start["ckpt_path"]
    for option in ("ckpt_path", "history"):
        file = start[option]
        is_file = isinstance(file, str) and not is_address(file) and os.path.isfile(file)
        if file is not None and not is_file:
            raise InputError(
                f"{path} remembers {option} '{shorten(str(file))}', which is no file here. "
                "Begin a new run with --ckpt_path and the file."
            )
    if weights is not None:
        load_checkpoint(Path(weights))
    return start
