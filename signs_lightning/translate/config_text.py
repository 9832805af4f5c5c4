"""The configuration that trains a translated model, with comments on where values are from."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import yaml

from signs_lightning.keras_io.compiled_optimizer import CompiledOptimizer, read_optimizer
from signs_lightning.source.model_text import CLASS
from signs_lightning.translate.data_settings import Setting
from signs_lightning.translate.fit_records import FitRecord
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.numpy_numbers import untyped

WIDTH = 100
WEIGHTS_NOTE = "those that the source begins with"
LOSS_ARGUMENTS = ("label_smoothing", "from_logits")
# Values of options that a fit does not have, where they are not null.
OF_NOTHING: dict[str, Any] = {"shuffle": True, "monitor": "val_loss", "mode": "min"}
OF_NOTHING |= {"label_offset": 0, "check_val_every_n_epoch": 1}
RELATIVE = "relative names of files begin at the folder in which the command runs"
Lines = list[str]


def write_config(
    reading: Any,
    fit: FitRecord,
    module_name: str,
    data_files: dict[str, str] | None = None,
    weights: str | None = None,
) -> str:
    """Return the text of a configuration for `fit --config`.

    Args:
        reading: has the name of the source as `source`, if any.
        fit: what is to be trained.
        module_name: of the file beside the configuration that has the model.
        data_files: files that the user names, by option, such as "train_file".
        weights: file of those that the model begins with; None for new ones.
    """
    options = _data_options(fit, data_files or {})
    missing = [f"{role}_file" for role in fit.data.unnamed if f"{role}_file" not in options]
    sections = _sections(fit, options)
    if fit.before is not None:
        _reset(sections, _sections(fit.before, _data_options(fit.before, data_files or {})))
    lines = _heading(reading, fit, missing)
    lines += ["model:", f"  class_path: {module_name}.{CLASS}"]
    arguments = sections.pop("init_args")
    if weights is not None:
        arguments = [*_option("weights", Setting(weights, None, WEIGHTS_NOTE), 2), *arguments]
    lines += _titled("  init_args:", arguments)
    unnamed = [f"  # {name}: FILE.h5, which is named with --data.{name}" for name in missing]
    named = [f"  # {RELATIVE}"] if any(name.endswith("_file") for name in options) else []
    sections["data"] = [*named, *unnamed, *sections["data"]]
    for name, section in sections.items():
        lines += _titled(f"{name}:", section)
    if name := _run_name(reading):
        lines.append(f"name: {_value(name)}")
    if fit.before is not None and fit.is_recompiled:
        lines.append("fresh_optimizer: true  # compiled anew: the checkpoint's weights alone count")
    return "\n".join(lines) + "\n"


def _titled(title: str, lines: Lines) -> Lines:
    """Return a section, whose title is left out where it has nothing but comments."""
    has_values = any(not line.lstrip().startswith("#") for line in lines)
    return [title, *lines] if has_values else lines


def _sections(fit: FitRecord, options: dict[str, Setting]) -> dict[str, Lines]:
    """Return the lines of each section, those of the model's arguments first."""
    trainer = [line for name, setting in fit.trainer.items() for line in _option(name, setting, 1)]
    if fit.callbacks.callbacks:
        trainer.append("  callbacks:")
        for place, entry in fit.callbacks.callbacks:
            trainer += _entry(entry, 2, str(place))
    checkpoint: Lines = []
    if fit.callbacks.checkpoint is not None:
        place, choice = fit.callbacks.checkpoint
        for key, value in choice.items():
            checkpoint += _option(key, Setting(value, place, "which epoch best.ckpt is of"), 1)
    data = [line for name, setting in options.items() for line in _option(name, setting, 1)]
    arguments = _model_lines(fit)
    return {"init_args": arguments, "data": data, "trainer": trainer, "checkpoint": checkpoint}


def _reset(sections: dict[str, Lines], before: dict[str, Lines]) -> None:
    """Take back what a fit before said and this one does not, as a checkpoint remembers it."""
    for name, lines in sections.items():
        then, now = (yaml.safe_load("\n".join(part)) or {} for part in (before[name], lines))
        for key in sorted(then.keys() - now.keys()):
            setting = Setting(OF_NOTHING.get(key), None, "no longer as in the fit before")
            lines += _option(key, setting, 2 if name == "init_args" else 1)


def _heading(reading: Any, fit: FitRecord, missing: list[str]) -> Lines:
    """Return the comment at the top: the command, the source, and what is to be said."""
    start = "" if fit.number == 1 else "--ckpt_path RUN "
    files = "".join(f" --data.{name} FILE.h5" for name in missing)
    source = getattr(reading, "source", None)
    said = [f"Translated from {source}: the fit at {fit.place}." if source else
            f"Translated: the fit at {fit.place}."]  # fmt: skip
    if fit.before is not None:
        run = f"lightning_logs/{_run_name(reading) or 'config'}/version_0"
        is_best = fit.before.callbacks.restores_best
        run = f"{run}/checkpoints/best.ckpt" if is_best else run
        what = "the best checkpoint of its run" if is_best else "its run folder"
        said.append(
            f"Fit {fit.number} of the same model begins where the one before ended: RUN is {what}, "
            f"such as {run}."
        )
        if not fit.is_recompiled:
            said.append("It is not compiled anew, so its optimizer and its epochs go on.")
    said += [f"{place}: {note}." for place, note in fit.all_notes]
    command = (
        f"python -m signs_lightning fit {start}--config FOLDER/{config_name(fit.number)}{files}"
    )
    if len(command) > WIDTH - 2:
        command = command.replace(" --data.", " \\\n#     --data.", 1)
    lines = [f"# {command}", "#"]
    for text in said:
        lines += textwrap.wrap(
            text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
    return lines


def _run_name(reading: Any) -> str:
    """Return the name of the run: that of the source, without its ending."""
    return Path(getattr(reading, "source", None) or "").stem


def _model_lines(fit: FitRecord) -> Lines:
    """Return the arguments of the model."""
    lines: Lines = []
    optimizer = compiled_optimizer(fit)
    place = getattr(fit.compiled, "place", None)
    if optimizer is not None and optimizer.schedule is not None:
        lines += _comment(f"optimizer, in {CLASS}.make_optimizer: {optimizer.describe(None, True)}")
    elif optimizer is not None:
        rate = Setting(optimizer.arguments["lr"], place)
        lines += _option("lr", rate, 2)
        others = {key: value for key, value in optimizer.arguments.items() if key != "lr"}
        kind = f"{optimizer.kind.__module__}.{optimizer.kind.__name__}"
        lines += _named("optimizer", {"class_path": kind, "init_args": others}, optimizer.name)
    if fit.compile_config and (loss := fit.compile_config.get("loss")) is not None:
        lines += _comment(f"loss, in {CLASS}: {_loss_name(loss)}")
    if fit.callbacks.lr_scheduler is not None:
        place, entry = fit.callbacks.lr_scheduler
        lines += _named("lr_scheduler", entry, str(place))
    if fit.class_weights is not None:
        lines += _option("class_weights", fit.class_weights, 2)
    if fit.data.augmentation:
        lines.append("    augmentation:")
        for place, entry in fit.data.augmentation:
            lines += _entry(entry, 3, str(place))
    return lines


def compiled_optimizer(fit: FitRecord) -> CompiledOptimizer | None:
    """Return the optimizer that a fit was compiled with, None where it cannot be taken."""
    spec = (fit.compile_config or {}).get("optimizer")
    return None if spec is None else read_optimizer(spec, session().version)[0]


def _loss_name(loss: Any) -> str:
    if not isinstance(loss, dict) or "class_name" not in loss:
        return str(loss)
    given = loss.get("config", {}).items()
    shown = ", ".join(f"{k}={v}" for k, v in given if k in LOSS_ARGUMENTS and v)
    return f"{loss['class_name']}({shown})"


def _data_options(fit: FitRecord, files: dict[str, str]) -> dict[str, Setting]:
    """Return the options of the section `data`, with the files that the user names."""
    options = dict(fit.data.options)
    for name, path in files.items():
        role = name.removesuffix("_file")
        for key in [key for key in options if key.startswith(f"{role}_")]:
            del options[key]
        if name == "val_file":
            options.pop("val_fraction", None)
        options = {name: Setting(path, None, f"from --data.{name}")} | options
    return options


def _option(name: str, setting: Setting, depth: int) -> Lines:
    """Return the line of an option, with a comment that says where its value comes from."""
    where = "" if setting.place is None else str(setting.place)
    comment = ": ".join(part for part in (where, setting.comment) if part)
    line = f"{'  ' * depth}{name}: {_value(setting.value)}"
    return _with_comment(line, comment, depth)


def _with_comment(line: str, comment: str, depth: int) -> Lines:
    if not comment:
        return [line]
    if len(line) + len(comment) + 4 <= WIDTH:
        return [f"{line}  # {comment}"]
    return [*_comment(comment, depth), line]


def _comment(text: str, depth: int = 2) -> Lines:
    indent = "  " * depth + "# "
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def _named(name: str, entry: dict[str, Any], comment: str) -> Lines:
    """Return an option of the model whose value is a class with arguments."""
    lines = _with_comment(f"    {name}:", comment, 2)
    lines.append(f"      class_path: {entry['class_path']}")
    return lines + _arguments(entry, 3)


def _entry(entry: dict[str, Any], depth: int, comment: str) -> Lines:
    """Return an entry of a list of classes with arguments."""
    lines = _with_comment(f"{'  ' * depth}- class_path: {entry['class_path']}", comment, depth)
    return lines + _arguments(entry, depth + 1)


def _arguments(entry: dict[str, Any], depth: int) -> Lines:
    if not entry.get("init_args"):
        return []
    lines = [f"{'  ' * depth}init_args:"]
    for key, value in entry["init_args"].items():
        lines += _wrapped(f"{'  ' * (depth + 1)}{key}: {_value(value)}", depth + 1)
    return lines


def _wrapped(line: str, depth: int) -> Lines:
    return textwrap.wrap(
        line, WIDTH, subsequent_indent="  " * (depth + 1), break_long_words=False,
        break_on_hyphens=False,
    ) if len(line) > WIDTH else [line]  # fmt: skip


def _value(value: Any) -> str:
    """Return a plain value as YAML writes it on one line."""
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(untyped(value), default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def config_name(number: int) -> str:
    """Return the file name of the configuration of a model's first, second, … fit."""
    return "config.yaml" if number == 1 else f"config_{number}.yaml"
