"""The argument parser of a command."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from signs_lightning.commands.argv import iterate_options
from signs_lightning.commands.borrowed_options import find_advice
from signs_lightning.errors import InputError
from signs_lightning.runtime.resize_options import FITS, RESIZES

PROGRAM = "python -m signs_lightning"
COLUMNS = 79  # of help, at most
MIN_LIKENESS = 0.65  # of a misspelt option and the right one, by difflib


class HelpFormatter(argparse.HelpFormatter):
    """Format help for terminals of 80 columns, also in wider ones."""

    def __init__(self, prog: str) -> None:
        columns = min(COLUMNS, shutil.get_terminal_size().columns - 1)
        super().__init__(prog, max_help_position=26, width=columns)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Keep the lines of what has several; examples are to be copied in a narrow one, too."""
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "\n".join(_wrap_line(line, width) for line in text.split("\n"))

    def _format_usage(self, usage: str | None, *others: Any) -> str:
        text = super()._format_usage(usage, *others)
        return text if usage is None else f"{_wrap_line(text.rstrip(), self._width)}\n\n"


def _wrap_line(line: str, width: int) -> str:
    """Wrap a line; a command, which is indented, goes on behind a backslash."""
    if len(line) <= width:
        return line
    ending = " \\" if line.startswith("  ") else ""
    wrapped = textwrap.wrap(
        line, width - len(ending), break_long_words=False, break_on_hyphens=False,
        subsequent_indent=" " * 6 if ending or line.startswith("usage:") else "",
    )  # fmt: skip
    return f"{ending}\n".join(wrapped)


class PrintHelp(argparse.Action):
    """Print the help, in short or all of it, and end."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        is_short = option != "--help_all" and parser.short is not None
        (parser.short if is_short else parser).print_help()
        parser.exit()


class CommandParser(argparse.ArgumentParser):
    """An argument parser for one verb that raises `InputError` for mistakes.

    Args:
        verb: the verb, or the name of a script.
        description: what it does.
        usage: what follows the verb on the first line of its help.
        shown: the arguments in `--help`, which people use most; `--help_all` has the others, too.
        examples: some command lines, without `python -m signs_lightning`.
        end: the last line of `--help`.
    """

    def __init__(
        self,
        verb: str,
        description: str,
        usage: str | None = None,
        shown: Sequence[str] = (),
        examples: Sequence[str] = (),
        end: str = "--help_all has all options.",
    ) -> None:
        self.verb, self.shown = verb, shown
        self.short: argparse.ArgumentParser | None = None
        self.with_file = False
        settings: dict[str, Any] = {
            "prog": f"{PROGRAM} {verb}",
            "usage": usage and f"{PROGRAM} {verb} {usage}",
            "description": description,
            "add_help": False,
            "allow_abbrev": False,
            "formatter_class": HelpFormatter,
        }
        if examples:
            lines = "".join(f"\n  {PROGRAM} {example}" for example in examples)
            settings["epilog"] = f"examples:{lines}"
        super().__init__(**settings)
        if shown:
            settings["epilog"] = f"{settings.get('epilog', '')}\n\n{end}".lstrip()
            self.short = argparse.ArgumentParser(**settings)
        text = "print the options that are used most, and end" if shown else argparse.SUPPRESS
        self.add_argument("-h", "--help", action=PrintHelp, nargs=0, help=text)
        text = "print all options, and end" if shown else argparse.SUPPRESS
        self.add_argument("--help_all", action=PrintHelp, nargs=0, help=text)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Add an argument, as argparse does, and also to the short help if it is shown there."""
        self._add_to_short_help(names, settings)
        return super().add_argument(*names, **settings)

    def add_group(self, title: str) -> Callable[..., argparse.Action]:
        """Return a function that adds arguments under a title of their own in the whole help."""
        group = self.add_argument_group(title)

        def add(*names: str, **settings: Any) -> argparse.Action:
            self._add_to_short_help(names, settings)
            return group.add_argument(*names, **settings)

        return add

    def _add_to_short_help(self, names: tuple[str, ...], settings: dict[str, Any]) -> None:
        if self.short is not None and not set(self.shown).isdisjoint(names):
            self.short.add_argument(*names, **settings)

    def add_file(self, text: str, more: str = "") -> None:
        """Add the file that the verb is about: its first word, or `--ckpt_path`.

        Args:
            text: what it is.
            more: what the words after it are; they go to `files`.
        """
        self.with_file = True
        metavar = f"RUN [{more} ...]" if more else "RUN"
        self.add_argument("files", nargs="*", metavar=metavar, help=text)
        self.add_argument("--ckpt_path", metavar="RUN", help="the same as the first word")
        self.takes_more = bool(more)

    def add_resize_options(self) -> None:
        """Add --data.resize and --data.fit, which win over what a model remembers."""
        text = "how images of another size get the model's; as the model remembers by default"
        self.add_argument("--data.resize", dest="resize", choices=RESIZES, help=text)
        text = "what becomes of another aspect ratio; as the model remembers by default"
        self.add_argument("--data.fit", dest="fit", choices=FITS, help=text)

    def add_overwrite_option(self) -> None:
        """Add --overwrite, for files that people edit."""
        text = "replace a file that is there and differs (default false)"
        self.add_argument(
            "--overwrite", choices=("true", "false"), nargs="?", const="true", default="false",
            help=text,
        )  # fmt: skip

    def add_output_layer_option(self) -> None:
        """Add --output_layer, for a Keras file."""
        text = "of a Keras file with several outputs: the layer that gives the classes"
        self.add_argument("--output_layer", metavar="NAME", help=text)

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """Return the arguments; words may stand before, between and after the options.

        Raises:
            InputError: an option is another trainer's, unknown or incomplete.
        """
        self.check_borrowed_options(args)
        options = self.parse_intermixed_args(list(args))
        if self.with_file and options.ckpt_path is None:
            if not options.files:
                raise InputError(
                    f"No model is named. Name its checkpoint or run folder: {self.verb} RUN"
                )
            options.ckpt_path = options.files.pop(0)
        if self.with_file and not self.takes_more and options.files:
            self.error(f"unrecognized arguments: {options.files[0]}")
        return options

    def check_borrowed_options(self, args: Sequence[str]) -> None:
        """Check that no option is another trainer's name for one of this one."""
        known = self.option_names()
        for dashes, option, value in iterate_options(args):
            name = f"{dashes}{option}"
            is_ours = name in known and option != "model"  # which may be given a file's name
            advice = None if is_ours else find_advice(self.verb, option, value)
            if advice is not None:
                raise InputError(f"Unknown option '{name}'. {advice}")

    def option_names(self) -> set[str]:
        """Return the options that the help names."""
        return set(re.findall(r"(?<![\w-])--?[a-z][\w.-]*", self.format_help()))

    def add_model_options(self) -> None:
        """Describe --model and --model.network; `take_model_options` takes them."""
        text = "of a checkpoint of your own model: its class, which is imported"
        self.add_argument("--model", metavar="MODULE.CLASS", help=text)
        text = "of an ImageClassifier with a network of your own: what makes it, such as "
        text += "timm.create_model; its arguments are --model.network.NAME VALUE"
        self.add_argument("--model.network", metavar="MODULE.NAME", help=text)

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            option = (unknown.split() or [""])[0]
            if not option.startswith("-"):
                raise InputError(f"'{option}' has no option before it; see --help.")
            near = difflib.get_close_matches(option, sorted(self.option_names()), 1, MIN_LIKENESS)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(f"Unknown option '{option}'; see --help.{hint}")
        raise InputError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")
