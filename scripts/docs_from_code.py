"""What the documentation takes from the code: a hook of mkdocs, see mkdocs.yml.

A page asks for a part by a comment on a line of its own, and gets it in that place:

    <!-- from the code: help predict -->                what `predict --help` prints
    <!-- from the code: trainer max_epochs -->          a table of options of Lightning's Trainer
    <!-- from the code: options data H5DataModule -->   a table of the options --data.…
    <!-- from the code: api from_keras -->              signature and docstring
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

from lightning import Trainer

import signs_lightning
from signs_lightning.__main__ import VERBS, main
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.model_summary import layer_table
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.layer_graph import count_parameters

SCRIPTS = Path(__file__).parent
MARKER = re.compile(r"^<!-- from the code: (\w+)((?: [\w-]+)+) -->$", re.MULTILINE)
COLUMNS = "88"  # of a help text
WIDEST = 88  # characters of a signature on one line
METHODS = {  # that users call, beside Lightning's own
    "DrawnSigns": ["files"],
    "ImageClassifier": ["predict", "preprocess", "probabilities", "build"],
}


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Called by mkdocs for every page: puts the parts in."""
    return MARKER.sub(lambda match: PARTS[match[1]](*match[2].split()), markdown)


def verb_help(verb: str) -> str:
    """The help text of a verb or of a script, or the table of all verbs for `verbs`."""
    path = SCRIPTS / f"{verb}.py"
    run = (
        (lambda: loaded(path).main(["--help"]))
        if path.exists()
        else lambda: main([*([verb] * (verb in VERBS)), "--help"])
    )
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
            run()
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return f"```text\n{printed.getvalue().rstrip()}\n```"


def loaded(path: Path) -> ModuleType:
    """A script as a module, whose `main` is not run yet."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def options(group: str, name: str, *skip: str) -> str:
    """A table of a class's arguments as options of `fit`: `--group.argument`, its meaning and its
    default.
    """
    described = arguments(public(name))
    rows = ["| option | meaning |", "|---|---|"]
    for argument in inspect.signature(public(name)).parameters.values():
        if argument.kind is argument.VAR_KEYWORD or argument.name in skip:
            continue
        default = (
            ""
            if argument.default in (None, argument.empty)
            else f" Default: `{yaml_text(argument.default)}`."
        )
        meaning = described[argument.name].replace("|", "\\|")
        rows.append(f"| `--{group}.{argument.name}` | {meaning}{default} |")
    return "\n".join(rows)


def trainer(*names: str) -> str:
    """A table of options of Lightning's Trainer, each with the first sentence that Lightning says
    of it.
    """
    described = arguments(Trainer.__init__)
    rows = ["| option | meaning |", "|---|---|"]
    for name in names:
        sentence = re.split(r"(?<=\.)\s", described[name], maxsplit=1)[0]
        rows.append(f"| `--trainer.{name}` | {sentence} |")
    return "\n".join(rows)


def yaml_text(value: Any) -> str:
    """A default as one types it on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def public(name: str) -> Any:
    """A public name of the package, or the callback that writes checkpoints."""
    return RunCheckpoint if name == "RunCheckpoint" else getattr(signs_lightning, name)


def api(name: str) -> str:
    """A public name: heading, signature, docstring; then its public methods."""
    thing = public(name)
    keyword = "class " if inspect.isclass(thing) else ""
    parts = [f"## {name}", code(keyword + signature(name, thing)), prose(thing)]
    for method in METHODS.get(name, []):
        function = getattr(thing, method)
        parts += [f"### {name}.{method}", code(signature(method, function)), prose(function)]
    return "\n\n".join(parts)


def code(text: str) -> str:
    """Python in a fence."""
    return f"```python\n{text}\n```"


def signature(name: str, thing: Any) -> str:
    """`name(arguments) -> result`, one argument a line where it is long."""
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return name
    if (
        inspect.isclass(thing)
        and issubclass(thing, ImageClassifier)
        and "__init__" not in vars(thing)
    ):
        return f"{name}(**kwargs)  # those of ImageClassifier"
    found = inspect.signature(thing)
    texts = [
        one_argument(argument) for argument in found.parameters.values() if argument.name != "self"
    ]
    result = "" if inspect.isclass(thing) else f" -> {kind_of(found.return_annotation)}"
    line = f"{name}({', '.join(texts)}){result}"
    if len(line) <= WIDEST:
        return line
    return "\n".join([f"{name}(", *(f"    {text}," for text in texts), f"){result}"])


def one_argument(argument: inspect.Parameter) -> str:
    """`name: type = default`"""
    if argument.kind is argument.VAR_KEYWORD:
        return f"**{argument.name}"
    kind = "" if argument.annotation is argument.empty else f": {kind_of(argument.annotation)}"
    return f"{argument.name}{kind}" + (
        "" if argument.default is argument.empty else f" = {argument.default!r}"
    )


def kind_of(annotation: Any) -> str:
    """An annotation as it is written in the code, whether it was evaluated or not."""
    return (
        annotation
        if isinstance(annotation, str)
        else inspect.formatannotation(annotation).replace("pathlib.", "")
    )


def sections(thing: Any) -> dict[str, str]:
    """A docstring by its headings `Args:`, `Shape:`, …; what comes before them is under an empty
    one.
    """
    parts = re.split(r"^([A-Z]\w+):\n", inspect.getdoc(thing) or "", flags=re.MULTILINE)
    found = {"": parts[0]}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        found[heading] = inspect.cleandoc("\n" + text)
    return {heading: text.strip() for heading, text in found.items()}


def entries(text: str) -> dict[str, str]:
    """`name: meaning`, whose further lines are indented, as one line each."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", text):
        name, _, meaning = entry.partition(": ")
        found[name] = escaped(" ".join(meaning.replace("``", "`").split()))
    return found


def arguments(thing: Any) -> dict[str, str]:
    """What a docstring says of each argument."""
    return entries(sections(thing)["Args"])


def prose(thing: Any) -> str:
    """A docstring in Markdown: arguments, attributes and errors as lists, the rest as paragraphs."""
    parts = []
    for heading, text in sections(thing).items():
        if heading in ("Args", "Attributes", "Raises"):
            parts.append(
                f"**{heading}**\n\n"
                + "\n".join(f"- `{name}`: {says}" for name, says in entries(text).items())
            )
        else:
            parts.append((f"**{heading}**\n\n" if heading else "") + escaped(text))
    return "\n\n".join(parts)


def escaped(text: str) -> str:
    """Plain text in Markdown; what stands between backticks stays as it is."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_<\[])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def layers(name: str) -> str:
    """Keras's layer table of an untrained model, blocks folded."""
    model = public(name)()
    rows = ["| layer | type | output shape | parameters |", "|---|---|---|--:|"]
    rows += [
        f"| {'.'.join(row.path)} | {row.kind} | {unbroken(row.keras_shape)} | {row.parameters:,} |"
        for row in layer_table(model)
    ]
    every, trainable = count_parameters(model.network)
    return "\n".join(rows) + f"\n\n{every:,} parameters, {trainable:,} of them trainable."


def unbroken(text: str) -> str:
    """Text that stays on one line."""
    return text.replace(" ", "&nbsp;")


PARTS: dict[str, Callable[..., str]] = {
    "help": verb_help,
    "options": options,
    "trainer": trainer,
    "api": api,
    "layers": layers,
}
