"""The argument parser's complaints, in one sentence."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from jsonargparse import ArgumentParser

from signs_lightning.errors import did_you_mean
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.file_type import missing_file_message

UNKNOWN = (  # how the parser says that it does not know an option; the option is the group
    r"unrecognized arguments: -{0,2}([^\s=]+)",
    r"does not accept option '([^']+)'",
    r"Option '([^']+)' is not accepted",
)
UNKNOWN_MODEL = (r"Expected a dot import path string: (\S+)", r"Expected a path but (\S+) either")
NO_VALUE = r"argument (?:-\w/)?(--\S+): expected one argument"
WRONG_VALUE = (
    r"Parser key \"([^\"]+)\":\s+Expected a (.+?)\. Got value: ?(.*)",
    r"Parser key \"([^\"]+)\":.*?Subtypes: \[(.+?)\]\n.*?Given value: ([^\n]*)",
)
MISSING = r"the following arguments are required: ([^\n]+)"
NOT_YAML = (
    r"Problems parsing config:.*?([^\n]+)\n\s+in \"<unicode string>\", line (\d+), column (\d+)\s*$"
)
MAX_LENGTH = 300  # characters of a complaint of the parser that is passed on as it is


def known_models() -> dict[str, type[ImageClassifier]]:
    """Every model that has been imported, by its bare name."""
    found, queue = {}, list(ImageClassifier.__subclasses__())
    while queue:
        model = queue.pop()
        found[model.__name__] = model
        queue += model.__subclasses__()
    return dict(sorted(found.items()))


def explain_parser_error(message: str, parser: ArgumentParser) -> str:
    """What is wrong with the arguments or the configuration, and the nearest word where one is unknown."""
    in_model = 'key "model"' in message
    innermost = message[
        max(message.rfind('Parser key "'), 0) :
    ]  # of a model's option: what is inside the model's own message
    for pattern in UNKNOWN:
        if match := re.search(pattern, message):
            name = f"model.{match[1]}" if in_model else match[1]
            return (
                "Unknown option "
                f"'{name}'.{did_you_mean(name, _options(parser)) or ' See --help for all of them.'}"
            )
    if match := re.search(NO_VALUE, message):
        return f"{match[1]} has no value. Write one after it."
    if match := re.search(MISSING, innermost):
        missing, kind = match[1].strip(), re.search(r"class_path[ =]'([^']+)'", innermost)
        key = re.match(r"Parser key \"([^\"]+)\"", innermost)
        if kind and key:
            name = f"model.{key[1]}" if in_model and key[1] != "model" else key[1]
            first = missing.partition(",")[0]
            return (
                f"{kind[1].rpartition('.')[2]} needs {missing}. Give it with "
                f"--{name}.{first} VALUE."
            )
    if innermost.startswith('Parser key "model"'):
        for pattern in (*UNKNOWN_MODEL, r"class_path '([^']+)'"):
            if match := re.search(pattern, message):
                name = match[1].rpartition(".")[2]
                return (
                    f"Unknown model '{match[1]}'; there are "
                    f"{', '.join(known_models())}.{did_you_mean(name, known_models())}"
                )
    for pattern in WRONG_VALUE:
        if match := re.search(pattern, innermost, re.DOTALL):
            name = f"model.{match[1]}" if in_model and match[1] != "model" else match[1]
            return f"{name} is {match[3].strip() or 'empty'}, expected {_type_name(match[2])}."
    if match := re.search(r"File does not exist: '?([^'\n]+)'?", message):
        return missing_file_message(_short(match[1]))
    if match := re.search(r"Path is not a file: '?([^'\n]+)'?", message):
        return (
            f"{_short(match[1])} is not a file, expected a configuration in "
            "YAML. Name a file in it."
        )
    if match := re.search(r"key \"([^\"]+)\":\s+Unable to load config '([^']+)'", message):
        return (
            f"{match[1]} is '{match[2]}', which is no YAML file. Give its options one by one: "
            f"--{match[1]}.OPTION VALUE."
        )
    if match := re.search(NOT_YAML, message, re.DOTALL):
        return (
            f"The configuration is not valid YAML: {match[1].strip()}, line "
            f"{match[2]}, column {match[3]}."
        )
    if match := re.search(r"Unexpected config: (.*)", message, re.DOTALL):
        found = _flat(match[1])
        return (
            f"The configuration is '{found}', expected sections with options in them, such as "
            f"`data: {{batch_size: 32}}`."
        )
    text = _flat(message)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _options(parser: ArgumentParser) -> list[str]:
    """All options: those of the parser, and what the models take."""
    names = [option.lstrip("-") for option in parser._option_string_actions]
    models: list[type[ImageClassifier]] = [ImageClassifier, *known_models().values()]
    for model in models:
        names += [
            f"model.{name}" for name in inspect.signature(model).parameters if name != "kwargs"
        ]
    return names


def _type_name(text: str) -> str:
    """`<class 'int'>, <class 'NoneType'>` → `an int`; `typing.Literal['a', 'b']` → `a or b`"""
    values = "Literal[" in text
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    text = re.sub(r"typing\.Literal\[([^\]]+)\]", lambda match: match[1].replace("'", ""), text)
    text = re.sub(
        r"[\w.]+\.Callable\[.*\], ([\w.]+)\]", r"\1", text
    )  # what makes an optimizer is named as one
    text = re.sub(r"(?:[a-z_]+\.)+(\w+)", r"\1", text)
    names = [
        name for name in dict.fromkeys(re.split(r", (?![^\[]*\])", text)) if name != "NoneType"
    ]
    listing = " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    article = "an " if names[0][0] in "aeiouAEIOU" else "a "
    return listing if values or not names[0].isalpha() else article + listing


def _short(path: str) -> Path:
    """As it was typed: the parser makes paths absolute."""
    here = Path.cwd()
    return Path(path).relative_to(here) if Path(path).is_relative_to(here) else Path(path)


def _flat(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} …"
