"""The verb translate: a Keras notebook or script becomes a folder that trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.terminal import new_console, print_message, print_with_value

if TYPE_CHECKING:
    from signs_lightning.translate.translation import Translation

NOT_UNDERSTOOD = 3  # exit code: something that reaches the model or its training
MAX_SHOWN = 5  # statements that are not understood, on the terminal
MAX_ROWS = 60  # of the layer table; a longer one shows its beginning and its end
ENDS = 20
DATA_OPTIONS = ("train_file", "val_file", "test_file")


def main(verb: str, args: list[str]) -> int:
    """Run `translate NOTEBOOK_OR_SCRIPT --output FOLDER`.

    Returns:
        The exit code: 0, or 3 where something that reaches the model or its training is not
        understood.

    Raises:
        InputError: the source cannot be read, or needs what only its data know.
    """
    parser = CommandParser(
        verb,
        "Reads a Keras notebook or script as text, and writes a folder with its model, its "
        "training and a list of what became of each statement. Nothing of it is run.",
        "SOURCE --output FOLDER [options]",
        ("source", "--output", "--data.train_file", "--fact", "--model"),
        (
            "translate train.ipynb --output out",
            "translate train.py --output out --fact classes=6",
        ),
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="a notebook (.ipynb) or script (.py)")
    add("--output", metavar="FOLDER", required=True, help="the folder to write")
    for option in DATA_OPTIONS:
        text = f"HDF5 file for the configuration{'; tells sizes, too' * (option == 'train_file')}"
        add(f"--data.{option}", dest=option, metavar="FILE", help=text)
    text = "a value that only the data know, such as classes=6 or input_shape=64,64,3"
    add("--fact", metavar="NAME=VALUE", action="append", default=[], help=text)
    add("--model", metavar="NAME", help="the model to translate; the last that is fitted")
    parser.add_overwrite_option()
    options = parser.parse_args(args)
    data_files = {k: v for k in DATA_OPTIONS if (v := getattr(options, k)) is not None}

    # start-up: --help needs none of these
    from signs_lightning.translate.facts import ask, facts_of_file, parse_facts
    from signs_lightning.translate.read_source import read_source
    from signs_lightning.translate.translation import translate
    from signs_lightning.translate.write_folder import check_folder, write_folder

    source, folder = Path(options.source), Path(options.output)
    check_folder(folder, source)
    facts = parse_facts(options.fact)
    if "train_file" in data_files:
        facts = facts_of_file(data_files["train_file"]) | facts
    made = translate(read_source(source, facts, options.model), facts, data_files, folder)
    is_understood = not (made.not_understood or made.refusals or made.reading.stopped)
    if is_understood and made.needed:
        raise InputError(ask(made.needed, source.name))
    written = write_folder(made, folder, options.overwrite == "true")
    if not is_understood:
        _print_problems(made)
    if made.model is not None:
        _print_model(made)
    _print_inferred(made)
    names = ", ".join(path.name for path in written)
    print_message(f"Wrote {names} in {folder}.")
    _print_next(made, folder)
    return 0 if is_understood else NOT_UNDERSTOOD


def _print_problems(made: Translation) -> None:
    from signs_lightning.translate.translation_page import describe_finding

    problems = [describe_finding(finding) for finding in made.not_understood]
    problems += made.refusals + ([made.reading.stopped] if made.reading.stopped else [])
    lines = [f"Not understood: {problem}" for problem in problems]
    lines += [f"Needs --fact {f.fact}=…: {describe_finding(f)}" for f in made.needed]
    for line in lines[:MAX_SHOWN]:
        print_message(line)
    if len(lines) > MAX_SHOWN:
        print_message(f"… and {len(lines) - MAX_SHOWN} more; all are in TRANSLATION.md.")


def _print_model(made: Translation) -> None:
    from signs_lightning.callbacks.model_summary import format_totals
    from signs_lightning.runtime.escaping import for_terminal
    from signs_lightning.runtime.terminal import new_table

    assert made.model is not None
    assert made.reading.chosen is not None
    height, width, channels = made.model.image_size
    title = f"{made.reading.chosen.label} · {height}×{width}×{channels} → "
    title += f"{made.model.num_classes} classes"
    table = new_table("layer", "type", "output shape", "parameters>", title=title)
    table.columns[2].no_wrap = True
    rows = made.rows
    for number, row in enumerate(rows):
        if len(rows) <= MAX_ROWS or number < ENDS or number >= len(rows) - ENDS:
            name, kind = for_terminal(row.path[-1]), for_terminal(row.kind)
            table.add_row(name, kind, row.keras_shape, f"{row.parameters:,}")
        elif number == ENDS:
            table.add_row(f"… {len(rows) - 2 * ENDS} more layers", "", "", "")
    new_console().print(table)
    trainable, fixed = format_totals(made.model)
    total = f"{trainable + fixed:,} in all, {trainable:,} trainable, {fixed:,} not trainable"
    print_message(f"Parameters: {total}")
    print_message(made.agreement)


def _print_inferred(made: Translation) -> None:
    from signs_lightning.translate.translation_page import inferred

    for line in inferred(made):
        print_message(f"Inferred: {line}")
    chosen = made.reading.chosen
    others = {model.label for model in made.reading.models if model is not chosen}
    if chosen is not None and others - {chosen.label}:
        names = ", ".join(sorted(others - {chosen.label}))
        print_message(f"Took {chosen.label}; --model NAME chooses another one: {names}.")


def _print_next(made: Translation, folder: Path) -> None:
    from signs_lightning.translate.translation import WEIGHTS

    configs = [name for name in made.files if name.endswith(".yaml")]
    data = "".join(f" --data.{option} FILE.h5" for option in made.missing)
    for number, name in enumerate(configs):
        start = "python -m signs_lightning fit "
        start += "--ckpt_path RUN " if number else ""
        label = "Then, from the run folder of the first fit:" if number else "Next:"
        command = f"{start}--config {quote_path(str(folder / name))}{data}"
        print_with_value(label, command, is_command=True)
    if not configs and "model.py" in made.files and not made.fits:
        print_message(
            "The source never fits the model, so there is no configuration. Next, in the folder:"
        )
        weights = f" --model.weights {WEIGHTS}" if made.weights is not None else ""
        print_message(
            f"python -m signs_lightning fit --model model.Net{weights} --data.train_file FILE.h5"
        )
