"""The argument parser of a command."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.runtime.resize_options import FITS, RESIZES


class CommandParser(argparse.ArgumentParser):
    """An argument parser for one verb that raises `InputError` for mistakes."""

    def __init__(self, verb: str, description: str) -> None:
        prog = f"python -m signs_lightning {verb}"
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def add_resize_options(self) -> None:
        """Add --data.resize and --data.fit, which win over what a model remembers."""
        text = "how images of another size get the model's; as the model remembers by default"
        self.add_argument("--data.resize", dest="resize", choices=RESIZES, help=text)
        text = "what becomes of another aspect ratio; as the model remembers by default"
        self.add_argument("--data.fit", dest="fit", choices=FITS, help=text)

    def add_output_layer_option(self) -> None:
        """Add --output_layer, for a Keras file."""
        text = "of a Keras file with several outputs: the layer that gives the classes"
        self.add_argument("--output_layer", metavar="NAME", help=text)

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            option = unknown.split()[0]
            hint = did_you_mean(option, re.findall(r"--[\w.-]+", self.format_usage()))
            raise InputError(f"Unknown option '{option}'; see --help.{hint}")
        raise InputError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")
