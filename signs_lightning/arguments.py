"""The argument parser's complaints, in one sentence."""

from __future__ import annotations

import inspect
import re

from jsonargparse import ArgumentParser

from signs_lightning.errors import nearest
from signs_lightning.models.classifier import ImageClassifier

UNKNOWN = (  # how the parser says that it does not know an option; the option is the group
    r"unrecognized arguments: -{0,2}([^\s=]+)",
    r"does not accept option '([^']+)'",
    r"Option '([^']+)' is not accepted",
)
UNKNOWN_MODEL = (r"Expected a dot import path string: (\S+)", r"Expected a path but (\S+) either")
WRONG_VALUE = r"Parser key \"([^\"]+)\":\s+Expected a (.+?)\. Got value: (.+)"
WRONG_TYPE = r"Parser key \"([^\"]+)\":.*?Expected a <class '([^']+)'>.*?Given value: (\S+)"


def known_models() -> dict[str, type[ImageClassifier]]:
    """Every model that has been imported, by its bare name."""
    found, queue = {}, list(ImageClassifier.__subclasses__())
    while queue:
        model = queue.pop()
        found[model.__name__] = model
        queue += model.__subclasses__()
    return dict(sorted(found.items()))


def one_sentence(message: str, parser: ArgumentParser) -> str:
    """What is wrong with the arguments or the configuration, and the nearest word where one is unknown."""
    in_model = 'key "model"' in message
    for pattern in UNKNOWN:
        if match := re.search(pattern, message):
            name = f"model.{match[1]}" if in_model else match[1]
            return f"Unknown option '{name}'.{nearest(name, _options(parser))} See --help for all of them."
    if match := re.search(WRONG_VALUE, message):
        name = f"model.{match[1]}" if in_model else match[1]
        return f"{name} is {match[3].strip()}, expected {_type_name(match[2])}."
    if in_model:
        if match := re.search(r"Parser key \"(?!model\")(.+)", message, re.DOTALL):
            return _wrong_type(f'Parser key "model.{match[1]}') or _flat(message)
        for pattern in (*UNKNOWN_MODEL, r"class_path '([^']+)'"):
            if match := re.search(pattern, message):
                name = match[1].rpartition(".")[2]
                return (
                    f"Unknown model '{match[1]}'; there are {', '.join(known_models())}.{nearest(name, known_models())}"
                )
    if match := re.search(r"File does not exist: '?([^'\n]+)'?", message):
        return f"No such file: {match[1]}. Check the path."
    return _wrong_type(message) or _flat(message)


def _options(parser: ArgumentParser) -> list[str]:
    """All options: those of the parser, and what the models take."""
    names = [option.lstrip("-") for option in parser._option_string_actions]
    for model in [ImageClassifier, *known_models().values()]:
        names += [
            f"model.{name}" for name in inspect.signature(model.__init__).parameters if name not in {"self", "kwargs"}
        ]
    return names


def _wrong_type(message: str) -> str | None:
    match = re.search(WRONG_TYPE, message, re.DOTALL)
    return None if match is None else f"{match[1]} is {match[3]}, expected {_type_name(match[2])}."


def _type_name(text: str) -> str:
    """`<class 'int'>` → `an int`"""
    name = re.sub(r"<class '(.+?)'>", r"\1", text)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _flat(message: str) -> str:
    text = " ".join(message.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
