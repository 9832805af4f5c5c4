"""The argument parser of a command."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from signs_lightning.errors import InputError, did_you_mean


class CommandParser(argparse.ArgumentParser):
    """An argument parser for one verb that raises `InputError` for mistakes."""

    def __init__(self, verb: str, description: str) -> None:
        prog = f"python -m signs_lightning {verb}"
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            option = unknown.split()[0]
            hint = did_you_mean(option, re.findall(r"--[\w.-]+", self.format_usage()))
            raise InputError(f"Unknown option '{option}'; see --help.{hint}")
        raise InputError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")
