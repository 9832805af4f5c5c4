"""Where the loggers and callbacks of an untrusted configuration would write: to others, or over
what is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

# to the account that their arguments name
SENDING = {"CometLogger", "LitLogger", "NeptuneLogger", "WandbLogger"}
ONLINE = {"mode", "settings"}  # of WandbLogger: they win over `offline`


def sends_data(kind: Any, arguments: dict[str, Any]) -> bool:
    """Return whether a class sends what it logs to a server, for whom its arguments say."""
    names = {base.__name__ for base in getattr(kind, "__mro__", ())}
    if not names & SENDING:
        return False
    others = arguments.get("dict_kwargs")
    given = {**arguments, **(others if isinstance(others, dict) else {})}
    is_offline = "WandbLogger" in names and arguments.get("offline") is True
    return not is_offline or any(given.get(name) is not None for name in ONLINE)


def find_overwriting(kind: Any, arguments: dict[str, Any], own: Path | None) -> str | None:
    """Return the place of a logger or callback that holds another run or file, or None.

    Args:
        kind: the class.
        arguments: that it is made with.
        own: the folder of the run that remembers it, or None.
    """
    places = [Path(text) for text in arguments.values() if isinstance(text, str)]
    if not isinstance(kind, type):
        return None
    if issubclass(kind, TensorBoardLogger | CSVLogger) and arguments.get("version") is not None:
        places.append(_logger_folder(arguments))
    folder = arguments.get("dirpath")
    is_versioned = arguments.get("enable_version_counter", True) is True
    if isinstance(folder, str) and arguments.get("filename") is not None:
        file = Path(folder, f"{arguments['filename']}.ckpt")
        is_kept = issubclass(kind, OnExceptionCheckpoint) and file.stem != "on_exception"
        is_kept = is_kept or (issubclass(kind, ModelCheckpoint) and not is_versioned)
        if is_kept and os.path.exists(file) and not _is_in(file, own):
            return str(file)
    return next((str(path) for path in places if _is_in_another_run(path, own)), None)


def _logger_folder(arguments: dict[str, Any]) -> Path:
    """Return the folder that a logger of a given version writes into."""
    version, name = arguments["version"], arguments.get("name", "lightning_logs")
    version = version if isinstance(version, str) else f"version_{version}"
    return Path(str(arguments.get("save_dir") or ""), str(name or ""), version)


def _is_in_another_run(path: Path, own: Path | None) -> bool:
    """Return whether a path is a run folder here, or in one, other than a run's own."""
    here = Path.cwd()
    places = [place for place in (here / path, *(here / path).parents) if here in place.parents]
    is_run = any(  # os.path: a name that is too long is none, and no error
        os.path.isfile(place / "config.yaml") and os.path.isdir(place / "checkpoints")
        for place in places
    )
    return is_run and not _is_in(here / path, own)


def _is_in(path: Path, folder: Path | None) -> bool:
    if folder is None:
        return False
    path, folder = Path(os.path.realpath(path)), folder.resolve()
    return folder == path or folder in path.parents
