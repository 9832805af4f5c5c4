"""Put parts of the code into the documentation: a hook of mkdocs, see mkdocs.yml.

A page asks for a part by a comment on lines of its own, which the part replaces:

    <!-- from the code: help predict -->                what `predict --help_all` prints
    <!-- from the code: trainer max_epochs -->          a table of options of Lightning's Trainer
    <!-- from the code: options data H5DataModule -->   a table of the options --data.…
    <!-- from the code: layers SignsFunctional -->      the layer table
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import griffe
from lightning import Trainer

import signs_lightning
from signs_lightning.__main__ import VERBS, main
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.model_summary import layer_table
from signs_lightning.models.layer_graph import count_parameters

SCRIPTS = Path(__file__).parent
MARKER = re.compile(r"^<!-- from the code: (\w+)((?:\s+[\w-]+)+)\s+-->$", re.MULTILINE)
HELP_COLUMNS = "88"


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Replace the markers of a page; mkdocs calls it for every page."""
    return MARKER.sub(lambda match: PARTS[match[1]](*match[2].split()), markdown)


def format_help(program: str) -> str:
    """Return the help of a verb or a script, or of the program for `verbs`."""
    path = SCRIPTS / f"{program}.py"
    columns = os.environ.get("COLUMNS", "")
    os.environ["COLUMNS"] = HELP_COLUMNS
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        if path.exists():
            import_script(path).main(["--help"])
        else:
            main([program, "--help_all"] if program in VERBS else ["--help"])
    os.environ["COLUMNS"] = columns  # an empty one counts as none
    return f"```text\n{printed.getvalue().rstrip()}\n```"


def import_script(path: Path) -> ModuleType:
    """Import a script without running its `main`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def format_options(group: str, name: str, *skip: str) -> str:
    """Return a table of a class's arguments as options of `fit`."""
    descriptions = describe_arguments(public_class(name))
    rows = ["| option | meaning |", "|---|---|"]
    for argument in inspect.signature(public_class(name)).parameters.values():
        if argument.kind is argument.VAR_KEYWORD or argument.name in skip:
            continue
        meaning = descriptions[argument.name].replace("|", "\\|")
        if argument.default not in (None, argument.empty):
            meaning += f" Default: `{format_yaml(argument.default)}`."
        rows.append(f"| `--{group}.{argument.name}` | {meaning} |")
    return "\n".join(rows)


def format_trainer_options(*names: str) -> str:
    """Return a table of options of Lightning's Trainer, each with its first sentence."""
    descriptions = describe_arguments(Trainer.__init__)
    rows = ["| option | meaning |", "|---|---|"]
    for name in names:
        sentence = re.split(r"(?<=\.)\s", descriptions[name], maxsplit=1)[0]
        rows.append(f"| `--trainer.{name}` | {sentence} |")
    return "\n".join(rows)


def format_yaml(value: Any) -> str:
    """Format a default as one types it on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def public_class(name: str) -> Any:
    """Return a public class of the package, or the callback that writes checkpoints."""
    return RunCheckpoint if name == "RunCheckpoint" else getattr(signs_lightning, name)


def describe_arguments(function: Any) -> dict[str, str]:
    """Return what a docstring says of each argument, as Markdown on one line."""
    docstring = griffe.Docstring(inspect.getdoc(function) or "")
    sections = docstring.parse("google", warnings=False)
    arguments = next(part for part in sections if part.kind.value == "parameters").value
    return {
        argument.name: escape(" ".join(argument.description.replace("``", "`").split()))
        for argument in arguments
    }


def escape(text: str) -> str:
    """Escape plain text for Markdown, except between backticks."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_<\[])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def format_layers(name: str) -> str:
    """Return Keras's layer table of an untrained model, blocks folded."""
    model = public_class(name)()
    rows = ["| layer | type | output shape | parameters |", "|---|---|---|--:|"]
    for row in layer_table(model):
        shape = row.keras_shape.replace(" ", "&nbsp;")  # on one line
        rows.append(f"| {'.'.join(row.path)} | {row.kind} | {shape} | {row.parameters:,} |")
    total, trainable = count_parameters(model.network)
    return "\n".join(rows) + f"\n\n{total:,} parameters, {trainable:,} of them trainable."


PARTS: dict[str, Callable[..., str]] = {
    "help": format_help,
    "options": format_options,
    "trainer": format_trainer_options,
    "layers": format_layers,
}
