"""Write configs/schema.json: a JSON schema of the configurations of fit, validate and test.

    python scripts/config_schema.py

Editors complete and check a configuration by it, and the command line takes the names of its
options from it, before anything slow is imported. Names and defaults are the parser's, types and
descriptions the classes'. Run it again after a change to one of these.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import lightning
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer, callbacks, loggers, profilers

import signs_lightning
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.commands.fit_validate_test import CLI
from signs_lightning.commands.known_models import find_model, model_names
from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.start_options import StartOptions

SCHEMA = Path(__file__).resolve().parents[1] / "configs/schema.json"
PLAIN = {
    bool: "boolean", int: "integer", float: "number", str: "string", Path: "string",
    timedelta: "string", type(None): "null",
}  # fmt: skip
SECTIONS = {"trainer": Trainer, "data": H5DataModule, "checkpoint": RunCheckpoint}
NAMED = {"Callback": callbacks, "Logger": loggers, "Profiler": profilers}  # with names to choose
TOP_LEVEL: dict[str, dict[str, Any]] = {
    "seed_everything": {
        "type": ["integer", "boolean"],
        "description": "Seed of the weights, the order and the split; true takes a random one.",
    },
    "name": {
        "type": ["string", "null"],
        "description": "Name of the run, the folder above its versions.",
    },
    "ckpt_path": {
        "type": ["string", "null"],
        "description": "Checkpoint or run folder to begin from.",
    },
    "weights_only": {
        "type": ["boolean", "null"],
        "description": "Has no effect: checkpoints are always read without running code.",
    },
    "format_version": {
        "type": "integer",
        "description": "Number of the format, which a run's own config.yaml begins with.",
    },
}


class ParsedError(Exception):
    """The parser was built."""


def build_parser(verb: str) -> ArgumentParser:
    """Return the parser of fit, validate or test."""

    class ParserOnly(CLI):
        def parse_arguments(self, parser: Any, args: Any) -> None:
            raise ParsedError

    cli = ParserOnly.__new__(ParserOnly)
    with contextlib.suppress(ParsedError):
        cli.__init__(verb, [])  # type: ignore[misc]
    return cli.verb_parser


def build_schema() -> dict[str, Any]:
    """Return the schema, of draft 7 as editors read it."""
    defaults = dict(build_parser("fit").get_defaults().items())
    sections = {
        name: {
            "type": ["object", "string"],
            "description": f"{describe(cls)} A text is the path of a file with these.",
            "properties": describe_arguments(cls, f"{name}.", defaults),
            "additionalProperties": False,
        }
        for name, cls in SECTIONS.items()
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"Written by scripts/config_schema.py with Lightning {lightning.__version__}.",
        "title": "Configuration of signs_lightning",
        "type": "object",
        "properties": TOP_LEVEL
        | describe_arguments(StartOptions, "", defaults)
        | {"model": describe_models()}
        | sections,
        "additionalProperties": False,
        "definitions": {
            "class": describe_class({"type": "string"}),
            "arguments": describe_arguments(ImageClassifier),
        }
        | {kind: describe_named_class(module, kind) for kind, module in NAMED.items()},
    }


def describe_arguments(
    cls: type, prefix: str = "", defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the schema of each argument of a class.

    Args:
        cls: the class.
        prefix: of its options.
        defaults: of the parser, by option; only what it has is described. All arguments, with
            their own defaults, when omitted.
    """
    hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    texts = {
        argument.arg_name: clean(argument.description or "")
        for argument in parse_docstring(inspect.getdoc(cls) or "").params
        + parse_docstring(inspect.getdoc(cls.__init__) or "").params  # type: ignore[misc]
    }
    described = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        is_option = defaults is None or f"{prefix}{name}" in defaults
        if parameter.kind is parameter.VAR_KEYWORD or not is_option:
            continue
        default = parameter.default if defaults is None else defaults[f"{prefix}{name}"]
        schema = describe_type(hints[name])
        if name in texts:
            schema["description"] = texts[name]
        if isinstance(default, bool | int | float | str):
            schema["default"] = default
        described[name] = schema
    return described


def public_models() -> list[str]:
    """Return the names of the package's models; others may have been imported."""
    return [name for name in model_names() if name in signs_lightning.__all__]


def describe_models() -> dict[str, Any]:
    """Return the schema of the section `model`: for each of our models, its arguments."""
    rules = []
    common = inspect.signature(ImageClassifier).parameters
    for name in public_models():
        model = find_model(name)
        assert model is not None
        own = describe_arguments(model)
        takes_more = any(
            parameter.kind is parameter.VAR_KEYWORD
            for parameter in inspect.signature(model).parameters.values()
        )
        for argument in common if takes_more else ():
            own.setdefault(argument, {"$ref": f"#/definitions/arguments/{argument}"})
        rules.append(
            {
                "if": {
                    "type": "object",
                    "properties": {"class_path": {"enum": [name, f"signs_lightning.{name}"]}},
                    "required": ["class_path"],
                },
                "then": {
                    "properties": {"init_args": {"properties": own, "additionalProperties": False}}
                },
            }
        )
    names = {"anyOf": [{"enum": public_models()}, {"type": "string"}]}
    section = describe_class(names)
    of_class = section.pop("anyOf")[1]
    del of_class["required"]  # a configuration over another may change arguments alone
    return {
        **of_class,
        "type": ["object", "string"],
        "description": "The model: its bare name, or class_path and init_args.",
        "allOf": rules,
    }


def describe_class(name: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that the parser makes.

    Args:
        name: the schema of its class's name.
    """
    properties = {
        "class_path": name,
        "init_args": {"type": ["object", "null"]},
        "dict_kwargs": {"type": "object"},
    }
    made = {
        "type": "object",
        "properties": properties,
        "required": ["class_path"],
        "additionalProperties": False,
    }
    return {"anyOf": [name, made]}


def describe_named_class(module: types.ModuleType, kind: str) -> dict[str, Any]:
    """Return the schema of an object of one of Lightning's kinds."""
    names = [name for name in module.__all__ if name != kind]
    return describe_class({"anyOf": [{"enum": sorted(names)}, {"type": "string"}]})


def describe_type(hint: Any) -> dict[str, Any]:
    """Return the schema of a value of a type; an empty one, which takes all, where none says it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return merge([describe_type(arg) for arg in args])
    if origin is tuple:
        size = len(args)
        return {
            "type": "array", "items": describe_type(args[0]), "minItems": size, "maxItems": size,
        }  # fmt: skip
    if origin is dict or hint is dict:
        return {"type": "object"}
    if origin in (list, Iterable):
        return {"type": "array", "items": describe_type(args[0])}
    if origin is Callable or inspect.isclass(hint):
        kind = getattr(hint, "__name__", "")
        return {"$ref": f"#/definitions/{kind if kind in NAMED else 'class'}"}
    return {}


def merge(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of a union: plain types as one list, all values as one enumeration."""
    if {} in schemas:
        return {}
    unique = [schema for k, schema in enumerate(schemas) if schema not in schemas[:k]]
    plain = [schema["type"] for schema in unique if list(schema) == ["type"]]
    if len(plain) == len(unique):
        return {"type": plain}
    values = [value for schema in unique for value in schema.get("enum", ())]
    merged = [schema for schema in unique if list(schema) not in (["type"], ["enum"])]
    if values and plain == ["null"] and not merged:
        return {"enum": [*values, None]}
    merged += [{"enum": values}] if values else []
    merged += [{"type": plain if len(plain) > 1 else plain[0]}] if plain else []
    return {"anyOf": merged} if len(merged) > 1 else merged[0]


def describe(cls: type) -> str:
    """Return the first sentence about a class."""
    text = parse_docstring(inspect.getdoc(cls) or "").short_description
    text = text or parse_docstring(inspect.getdoc(cls.__init__) or "").short_description  # type: ignore[misc]
    return clean(text or "")


def clean(text: str) -> str:
    """Return a description on one line, without the marks of reStructuredText."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", " ".join(text.split()))
    return re.sub(r"\s*Defaults?(?: to)?:? ``.*?``\.?", "", text).replace("``", "")


def main() -> int:
    """Write the file."""
    text = json.dumps(build_schema(), indent=1, ensure_ascii=False)
    SCHEMA.write_text(f"{text}\n", encoding="utf-8")
    print(f"Wrote {SCHEMA.name}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
