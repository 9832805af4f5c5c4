"""Reads a model's architecture from the JSON that Keras's `model.to_json()` gives."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io.file_errors import untrusted_file
from signs_lightning.keras_io.keras_archive import MAX_CONFIG_BYTES, parse_config
from signs_lightning.keras_io.keras_file import KerasFile
from signs_lightning.keras_io.weights_only import ARCHITECTURES
from signs_lightning.runtime.file_read_errors import translate_os_errors
from signs_lightning.runtime.file_signatures import missing_file_message

EXPECTED = "Name the file into which `model.to_json()` of Keras was written."


def read_architecture(path: str | Path) -> dict[str, Any]:
    """Return a model's config ({"class_name": …, "config": …}); nothing in it is run.

    Args:
        path: JSON text of any version of Keras; also JSON inside a JSON string, which
            `json.dump(model.to_json(), file)` writes.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    path = Path(path)
    with translate_os_errors(path):
        if not path.exists():
            raise InputError(
                f"architecture is '{path}', neither a JSON file nor one of ours "
                f"({', '.join(ARCHITECTURES)}). {missing_file_message(path)}"
            )
        if not path.is_file():
            raise InputError(f"{path} is a folder or a device, not a file. {EXPECTED}")
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise untrusted_file(
                f"{path.name} has {path.stat().st_size:,} bytes, expected an architecture of at "
                f"most {MAX_CONFIG_BYTES:,}"
            )
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        text = ""
    if text.startswith('"'):
        with suppress(ValueError):
            text = str(json.loads(text)).strip()
    if not text.startswith("{"):
        raise InputError(f"{path.name} is not the JSON of a Keras model. {EXPECTED}")
    config = parse_config(text, path.name)
    if not {"class_name", "config"} <= config.keys():
        raise InputError(
            f"{path.name} is JSON without class_name and config: not a Keras model. {EXPECTED}"
        )
    return config


def replace_architecture(file: KerasFile, path: str | Path) -> KerasFile:
    """Return a file of weights with the config of another file.

    Args:
        file: the weights: of weights only, or a whole model, whose own config is left out.
        path: the JSON file.

    Raises:
        InputError: see `read_architecture`; or `path` names an architecture of ours.
    """
    if str(path) in ARCHITECTURES:
        raise InputError(
            f"architecture is '{path}', one of our own. Load the weights with `import-keras "
            f"{file.path.name} --architecture {path} --output model.ckpt`."
        )
    config = read_architecture(path)
    version = config.get("keras_version")
    if not isinstance(version, str):
        version = "3" if "module" in config else file.keras_version
    return dataclasses.replace(
        file, config=config, keras_version=version, architecture=Path(path).name
    )


def config_json(file: KerasFile) -> str:
    """Return what a checkpoint keeps of a file's config, as JSON.

    Raises:
        InputError: the file has weights only.
    """
    if file.config is None:
        raise InputError(
            f"{file.path.name} has weights only. Load it with `import-keras {file.path.name} "
            f"--output model.ckpt`, into one of {', '.join(ARCHITECTURES)}; or, where the model's "
            "`to_json()` lies beside it, name that, too: `--model.architecture model.json`."
        )
    config = {k: v for k, v in file.config.items() if k not in {"compile_config", "build_config"}}
    build = file.config.get("build_config")
    if "build_input_shape" not in config and isinstance(build, dict):
        config["build_config"] = {"input_shape": build.get("input_shape")}
    if file.keras_version:
        config["keras_version"] = file.keras_version
    return json.dumps(config)
