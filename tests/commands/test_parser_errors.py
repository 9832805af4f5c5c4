"""What the parser complains about deep inside an option names that option, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from signs_lightning.commands.parser_errors import MAX_LENGTH, explain_parser_error

LOOKED_FOR = "It was looked for in {folder}; check the path."
MESSAGES = {  # arguments of fit → the message
    "--model.optimizer SGD --model.optimizer.lrr 3": (
        "Unknown option 'model.optimizer.lrr'. See --help_all for all of them."
    ),
    "--model.optimizer SGD --model.optimizer.momentum fast": (
        "model.optimizer.momentum is fast, expected float."
    ),
    "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitr=x": (
        "Unknown option 'trainer.callbacks.monitr'. See --help_all for all of them."
    ),
    "--trainer.callbacks+=TQDMProgressBar --trainer.callbacks+=EarlyStopping": (
        "EarlyStopping needs monitor. Give it with --trainer.callbacks.monitor VALUE."
    ),
    "--trainer.callbacks EarlyStoping": (
        "trainer.callbacks is EarlyStoping, expected list[Callback] or Callback. "
        "Did you mean 'EarlyStopping'?"
    ),
    "--model nowhere.Mine": (
        "There is no module 'nowhere' to import nowhere.Mine from: expected nowhere.py in the "
        "working directory, beside the configuration that names it, or an installed package."
    ),
    "--model torch.nn.Linear": (
        "torch.nn.Linear is no LightningModule. If it makes a network, write "
        "--model ImageClassifier --model.network torch.nn.Linear"
    ),
    "--model resnet18": (
        "Unknown model 'resnet18'. Write --model ImageClassifier --model.network "
        "torchvision.models.resnet18"
    ),
    "--model absent.yaml": f"No such file: absent.yaml. {LOOKED_FOR}",
    "--data absent.yaml": f"No such file: absent.yaml. {LOOKED_FOR}",
    "--config folder": ("folder is a folder, expected a configuration in YAML. Name a file in it."),
}


@pytest.mark.parametrize("args", MESSAGES)
def test_messages(args: str, cli: Callable) -> None:
    """One line that names the option by its whole name, and the way out."""
    Path("folder").mkdir()
    done = cli("fit", *args.split())
    said = MESSAGES[args].replace("{folder}", str(Path.cwd()))
    assert (done.code, done.err) == (2, f"{said}\n")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("Something new:\n  in many\n  lines", "Something new: in many lines."),
        ('Parser key "a": It is wrong!', 'Parser key "a": It is wrong!'),
        ("x" * 1000, f"{'x' * (MAX_LENGTH - 1)}…."),
    ],
)
def test_unknown_messages_are_passed_on(message: str, sentence: str) -> None:
    """What no pattern matches stands on one line in the parser's own words."""
    assert explain_parser_error(message, ArgumentParser()) == sentence
