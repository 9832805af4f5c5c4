"""The parser of fit, validate and test."""

from __future__ import annotations

import numbers
import re
from typing import Any

from jsonargparse.typing import register_type

from signs_lightning.callbacks.run_config import ConfigParser
from signs_lightning.commands.command_parser import COLUMNS
from signs_lightning.commands.known_models import model_names
from signs_lightning.models.given_network import NamedFunction

PLACEHOLDER = re.compile(r"(?<= )[A-Z][A-Z_]{5,}")  # of a value, in the parser's help


def _read_number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value} is no number")


# The type of many arguments of torchvision's transforms, which the parser reads and cannot write.
register_type(numbers.Number, lambda x: x, _read_number, type_check=lambda x, t: isinstance(x, t))


def _named_function(value: Any) -> NamedFunction:
    if isinstance(value, str):
        return NamedFunction(value)
    raise ValueError("no text")


register_type(NamedFunction, lambda x: x.path, _named_function)


class RunParser(ConfigParser):
    """A parser whose help lists all models, imported or not."""

    def add_subclass_arguments(
        self, baseclass: Any, nested_key: str, *args: Any, **kwargs: Any
    ) -> Any:
        if nested_key == "model":
            names = ", ".join(model_names())
            kwargs["help"] = f"The model by its bare name ({names}) or class path."
        return super().add_subclass_arguments(baseclass, nested_key, *args, **kwargs)

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Return the help with a usage of one line, and placeholders that fit into a terminal."""
        usage = f"usage: {self.prog.replace(' [options]', '')} [options]"
        lines = [usage, *super().format_help(*args, **kwargs).partition("\n\n")[2].splitlines()]
        short = (PLACEHOLDER.sub("VALUE", line) if len(line) > COLUMNS else line for line in lines)
        return "\n".join(short).replace("\n", "\n\n", 1) + "\n"
