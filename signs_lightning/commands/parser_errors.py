"""What the argument parser complains about, in one sentence."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import torchvision
from jsonargparse import ArgumentParser

from signs_lightning.commands.known_models import known_models, model_names
from signs_lightning.commands.option_names import class_names
from signs_lightning.errors import did_you_mean
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_signatures import missing_file_message

LIBRARIES = ("lightning.", "signs_lightning.", "torch.", "torchmetrics.", "torchvision.")
MAX_LENGTH = 300  # characters of a message of the parser that is passed on

# What jsonargparse 4.53 writes. A message that none of these matches is passed on in its own words.
KEY = re.compile(r'Parser key "([^"]+)"')  # one a level, the outermost first
VALUE = re.compile(r"(?:Got value|Given value): ?(.*?)(?:\. Got value.*)?$", re.MULTILINE)
UNKNOWN_OPTION = re.compile(
    r"(?:unrecognized arguments: -*|accept option '|Option '(?=[^']+' is not accepted))([^\s=']+)"
)
NO_VALUE = re.compile(r"argument (?:-\w/)?(--\S+): expected one argument")
REQUIRED = re.compile(r"the following arguments are required: ((\w+)[^\n]*)")
NESTED = re.compile(r"NestedArg\(key='([^']+)'")  # an option below one that takes a plain value
CLASS = re.compile(r"class_path[ =]'(?:[\w.]+\.)?(\w+)'")
UNUSABLE_CLASS = re.compile(r"given class_path '([^']+)':\s+([^\n]+)")
CLASSES = re.compile(r"class_path='([^']+)'")
REASON = re.compile(r"^ +- (?!Not a valid subclass|Expected |Does not validate)(.+)", re.MULTILINE)
TYPE = re.compile(r"Subtypes: \[(.+)\]\n|Expected a (.+)\. $")
FILE = re.compile(r"(?:File does not exist:|Path is not a file:|Unable to load config) '([^'\n]+)'")
NOT_YAML = re.compile(r"([^\n]+)\n\s+in \"<unicode string>\", line (\d+), column (\d+)\s*$")
NOT_A_MAPPING = re.compile(r"Unexpected config: (.*)", re.DOTALL)


def explain_unusable_class(message: str) -> str | None:
    """Return a sentence for what a class raised as it was made, or None.

    Args:
        message: what the parser makes of it; of one in a list only the text is left, which tells
            nothing where it is of the user's own code. The innermost value stands first.
    """
    if match := UNUSABLE_CLASS.search(message):
        return f"{match[1]} cannot be made: {match[2].rstrip('.')}."
    reason, value = REASON.search(message), VALUE.search(message)
    names = dict.fromkeys(CLASSES.findall(value[1] if value else message))
    if not reason or not names or not all(name.startswith(LIBRARIES) for name in names):
        return None
    return f"{' or '.join(names)} cannot be made: {reason[1].rstrip('.')}."


def explain_parser_error(message: str, parser: ArgumentParser) -> str:
    """Return a complaint of the parser as one sentence, and a hint.

    Args:
        message: what the parser says, over many lines where options are nested.
        parser: the parser of the verb.
    """
    value = VALUE.search(message)  # the first one is the innermost option's
    complaint = message[: value.start()] if value else message
    keys = KEY.findall(complaint)
    option = ".".join(keys)
    complaint = complaint[max(complaint.rfind("Parser key"), 0) :]
    if match := UNKNOWN_OPTION.search(complaint):
        return _unknown_option(".".join([*keys, match[1]]), parser)
    if match := NO_VALUE.search(complaint):
        return f"{match[1]} has no value. Write one after it."
    if match := REQUIRED.search(complaint):
        classes = CLASS.findall(complaint) or CLASS.findall(message, match.start()) or [option]
        return f"{classes[0]} needs {match[1]}. Give it with --{option}.{match[2]} VALUE."
    if match := UNUSABLE_CLASS.search(complaint):
        if match[1].endswith((".yaml", ".yml")):
            return missing_file_message(Path(match[1]))
        return f"{option} cannot be {match[1]}: {match[2].rstrip('.')}."
    if value and (match := TYPE.search(complaint)):
        if option == "model" and (name := value[1]).isidentifier():
            if callable(getattr(torchvision.models, name, None)):
                return (
                    f"Unknown model '{name}'. Write --model ImageClassifier --model.network "
                    f"torchvision.models.{name}"
                )
            models, hint = ", ".join(model_names()), did_you_mean(name, model_names())
            return f"Unknown model '{name}'; there are {models}.{hint}"
        if option == "model.network":
            return (
                f"model.network is {value[1]}, expected the path of what makes it, such as "
                "`network: timm.create_model`. Its arguments are "
                "`network_args: {model_name: resnet18}`."
            )
        hint = did_you_mean(value[1], class_names(option))
        kind = _type_name(match[1] or match[2])
        if nested := NESTED.match(value[1]):
            return f"{option} takes no '{nested[1]}', expected {kind}."
        return f"{option} is {value[1] or 'empty'}, expected {kind}.{hint}"
    if match := FILE.search("" if value else message):
        path = _as_typed(match[1])
        if path.is_dir():
            return f"{path} is a folder, expected a configuration in YAML. Name a file in it."
        if not path.exists():
            return missing_file_message(path)
    if match := NOT_YAML.search(complaint):
        place = f"line {match[2]}, column {match[3]}"
        return f"The configuration is not valid YAML: {match[1].strip()}, {place}."
    if match := NOT_A_MAPPING.fullmatch(complaint):
        text = f"The configuration is '{_one_line(match[1])}'"
        return f"{text}, expected options such as `data: {{batch_size: 32}}`."
    text = _one_line(message)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def option_names(parser: ArgumentParser) -> list[str]:
    """Return the names of all options: the parser's, and what the models take."""
    names = re.findall(r"--([\w.+]+)", parser.format_help())
    models: list[type[ImageClassifier]] = [ImageClassifier, *known_models().values()]
    for model in models:
        parameters = inspect.signature(model).parameters
        names += [f"model.{name}" for name in parameters if name != "kwargs"]
    return list(dict.fromkeys(names))


def _unknown_option(name: str, parser: ArgumentParser) -> str:
    """Suggest only options of the same depth: no other can be meant."""
    depth = name.count(".")
    options = [x for x in option_names(parser) if x.count(".") == depth and not x.endswith(".help")]
    hint = did_you_mean(name, options) or " See --help_all for all of them."
    return f"Unknown option '{name}'.{hint}"


def _type_name(text: str) -> str:
    """`<class 'int'>, <class 'NoneType'>` → `int`; `Literal['a', 'b']` → `a or b`"""
    text = re.sub(r"<class '|'|>|(?:[a-z_]+\.)+(?=\w)", "", text)
    text = re.sub(r"Callable\[.*\], (\w+)\]", r"\1", text)  # what it returns
    text = re.sub(r"Literal\[(.*?)\]", r"\1", text)
    names = [name for name in re.split(r", (?![^\[]*\])", text) if name != "NoneType"]
    names = names or ["null"]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _as_typed(path: str) -> Path:
    """The parser makes paths absolute."""
    here = Path.cwd()
    return Path(path).relative_to(here) if Path(path).is_relative_to(here) else Path(path)


def _one_line(message: str) -> str:
    return shorten(" ".join(message.split()), MAX_LENGTH)
