"""The help of fit, validate and test, which needs no parser and comes at once."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from signs_lightning.commands.command_parser import COLUMNS, CommandParser
from signs_lightning.commands.option_names import (
    SECTIONS,
    common_model_options,
    model_names,
    model_options,
    options,
)
from signs_lightning.errors import InputError, did_you_mean

MODELS = "such as SignsFunctional (see --help model), or MODULE.Class"
DATA = "HDF5 file, folder of pictures or pattern"
OPTIONS = {  # option: placeholder, what it is for
    "config": ("FILE", "YAML file with options"),
    "data.train_file": ("FILE", f"{DATA} to train on"),
    "data.val_file": ("FILE", f"{DATA} to validate on"),
    "data.test_file": ("FILE", f"{DATA} to test on"),
    "data.val_fraction": ("P", "share of the training file to validate on"),
    "data.batch_size": ("N", "images in a batch (32)"),
    "data.image_size": ("N", "height and width that the model sees, in pixels"),
    "model": ("NAME", MODELS),
    "model.lr": ("RATE", "learning rate"),
    "trainer.max_epochs": ("N", "how often all images are seen (100)"),
    "trainer.accelerator": ("NAME", "cpu or gpu; a GPU is taken where there is one"),
    "name": ("NAME", "name of the run, the folder above its versions"),
    "ckpt_path": ("RUN", "run folder or checkpoint to resume"),
}
TRAINING = ("data.train_file", "data.val_fraction", "model.lr", "trainer.max_epochs", "name")
VERBS = {  # verb: what it does, usage, options left out, examples
    "fit": (
        "Train a model, or resume a run.",
        "[options]",
        ("data.val_file", "data.image_size"),
        (
            "fit --config configs/quickstart.yaml",
            "fit --data.train_file pets --data.val_fraction 0.2",
            "fit --ckpt_path lightning_logs/quickstart/version_0",
        ),
    ),
    "validate": (
        "Loss and accuracy of a trained model on the validation data.",
        "RUN [options]",
        (*TRAINING, "data.test_file"),
        ("validate lightning_logs/quickstart/version_0",),
    ),
    "test": (
        "Accuracy of a trained model on a test file, over all and for each class.",
        "RUN [options]",
        (*TRAINING, "data.val_file"),
        (
            "test lightning_logs/quickstart/version_0",
            "test model.keras --data.test_file test.h5",
        ),
    ),
}
FILE = "run folder, checkpoint, Keras file or exported .onnx"
MORE = "--help data (or model, trainer) has the options of a section, --help_all all."


def find_topic(args: list[str]) -> str | None:
    """Return the word after `--help`, an empty one where there is none, or None without help."""
    for position, arg in enumerate(args):
        flag, _, topic = arg.partition("=")
        if flag in ("-h", "--help"):
            following = args[position + 1 : position + 2]
            is_word = not topic and following and not following[0].startswith("-")
            return following[0] if is_word else topic
    return None


def format_run_help(verb: str, topic: str) -> str:
    """Return the help of fit, validate or test.

    Args:
        verb: one of these.
        topic: a section such as `data`, a model or the beginning of an option; all in short when
            empty.

    Raises:
        InputError: there is no such topic.
    """
    topic = topic.lstrip("-")
    if not topic:
        return _format_short_help(verb)
    known = options(verb) | common_model_options()
    if topic in model_names():
        return _format_options(f"{verb} --model {topic}", model_options(topic))
    found = {key: text for key, text in known.items() if f"{key}.".startswith(f"{topic}.")}
    found = found or {key: text for key, text in known.items() if key.split(".")[-1] == topic}
    if not found:
        hint = did_you_mean(topic, [*SECTIONS, "model", *model_names(), *known])
        raise InputError(f"No option begins with '{topic}'; see {verb} --help.{hint}")
    is_section = topic in (*SECTIONS, "model")
    if is_section:
        found.pop(topic, None)
    text = _format_options(verb, found, whole=not is_section)
    if topic == "model":
        more = f"--help NAME has those of a model: {', '.join(model_names())}."
        text += f"\n\n{textwrap.fill(more, COLUMNS)}"
    return text


def _format_short_help(verb: str) -> str:
    description, usage, left_out, examples = VERBS[verb]
    names = [f"--{name}" for name in OPTIONS if name not in left_out]
    parser = CommandParser(verb, description, usage, ["files", *names], examples, end=MORE)
    if verb != "fit":
        parser.add_argument("files", metavar="RUN", help=FILE)
        names.remove("--ckpt_path")
    for name in names:
        metavar, text = OPTIONS[name[2:]]
        parser.add_argument(name, metavar=metavar, help=text)
    assert parser.short is not None
    return parser.short.format_help()


def _format_options(title: str, described: dict[str, str], whole: bool = False) -> str:
    """Return options and the first sentence on each, or all of it."""
    lines = [f"options of {title}:"]
    for name, text in described.items():
        sentence = text if whole else re.split(r"(?<=[.;])\s", text, maxsplit=1)[0]
        lines += _wrap(f"--{name}", sentence.rstrip(".;"))
    return "\n".join(lines)


def _wrap(option: str, text: str) -> Iterable[str]:
    """Return an option with its text beside it, below it where the option is long."""
    start = f"  {option:<28}"
    if len(option) > 27:
        yield f"  {option}"
        start = " " * 30
    yield from textwrap.wrap(
        text or " ", COLUMNS, initial_indent=start, subsequent_indent=" " * 30
    ) or [start.rstrip()]
