"""The options of fit, validate and test by name, from the schema of the configuration.

The parser that takes them needs seconds, because it imports PyTorch and Lightning; the schema is
read at once.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from signs_lightning.commands.argv import packaged_file

SCHEMA = "configs/schema.json"
SECTIONS = ("data", "trainer", "checkpoint")
FIT_ONLY = ("checkpoint", "start_epoch", "history", "fresh_optimizer")
BESIDE = {  # options that are no part of a configuration
    "config": "A configuration in YAML; several are laid over each other.",
    "c": "The same as --config.",
    "print_config": "Print the whole configuration, and end.",
    "print_schema": "Print the JSON schema of the configuration, for editors, and end.",
    "help": "Print the options that are used most, and end.",
    "h": "The same as --help.",
    "help_all": "Print all options, Lightning's included, and end.",
    "model.help": "Print the options of a model, such as --model.help SignsResNet50, and end.",
}
EVALUATION = {  # of validate and test
    "verbose": "Whether Lightning prints the results, too.",
    "scale": "Of a Keras file: what its images were scaled to, as in import-keras.",
    "output_layer": "Of a Keras file with several outputs: the layer that gives the classes.",
}


def read_schema_text() -> str:
    """Return the schema as it lies in the file."""
    file = packaged_file(SCHEMA)
    if file is None:
        raise FileNotFoundError(f"{SCHEMA} is missing in this installation of signs_lightning.")
    return file.read_text(encoding="utf-8")


@cache
def read_schema() -> dict[str, Any]:
    """Return the schema."""
    schema: dict[str, Any] = json.loads(read_schema_text())
    return schema


@cache
def options(verb: str) -> dict[str, str]:
    """Return the options of a verb but those of a model, and what each is for."""
    properties = read_schema()["properties"]
    found = dict(BESIDE)
    for name, part in properties.items():
        if name in FIT_ONLY and verb != "fit":
            continue
        found[name] = part["description"]
        for key, argument in part["properties"].items() if name in SECTIONS else ():
            found[f"{name}.{key}"] = argument.get("description", "")
    return found if verb == "fit" else found | EVALUATION


@cache
def model_options(name: str) -> dict[str, str]:
    """Return the options of one of our models by `--model.NAME`, and what each is for."""
    schema = read_schema()
    found = {}
    for rule in schema["properties"]["model"]["allOf"]:
        if name in rule["if"]["properties"]["class_path"]["enum"]:
            properties = rule["then"]["properties"]["init_args"]["properties"]
            for key, argument in properties.items():
                if "$ref" in argument:
                    argument = schema["definitions"]["arguments"][key]
                found[f"model.{key}"] = argument.get("description", "")
    return found


def common_model_options() -> dict[str, str]:
    """Return the options that all models take."""
    arguments = read_schema()["definitions"]["arguments"]
    return {f"model.{key}": part.get("description", "") for key, part in arguments.items()}


def model_names() -> list[str]:
    """Return the bare names of our models."""
    rules = read_schema()["properties"]["model"]["allOf"]
    return [rule["if"]["properties"]["class_path"]["enum"][0] for rule in rules]


def takes_list(option: str) -> bool:
    """Return whether an option of data or trainer takes several values."""
    section, _, key = option.partition(".")
    argument = read_schema()["properties"].get(section, {}).get("properties", {}).get(key, {})
    return any(part.get("type") == "array" for part in [argument, *argument.get("anyOf", ())])


def class_names(option: str) -> list[str]:
    """Return Lightning's classes for `trainer.callbacks` and the like; none for other options."""
    kinds = {"callbacks": "Callback", "logger": "Logger", "profiler": "Profiler"}
    kind = kinds.get(option.removeprefix("trainer."))
    if kind is None or packaged_file(SCHEMA) is None:
        return []
    names: list[str] = read_schema()["definitions"][kind]["anyOf"][0]["anyOf"][0]["enum"]
    return names


@cache
def knows_trainer() -> bool:
    """Return whether the schema was written with the Lightning that is installed."""
    try:
        return read_schema()["$comment"].endswith(f" {version('lightning')}.")
    except PackageNotFoundError:
        return False
