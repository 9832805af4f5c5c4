"""The version of checkpoints and of config.yaml, and how earlier ones are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from signs_lightning.errors import InputError


@dataclass(frozen=True)
class Renames:
    """What a format renames; old name → new name.

    Attributes:
        classes: dotted names of modules and classes, such as
            `signs_lightning.callbacks.progress_bar`, and bare names of classes.
        states: keys of the states that a checkpoint holds, such as `RunCheckpoint`.
        options: dotted names of options, such as `data.shuffle` and `model.init_args.warmup`, and
            of sections.
        arguments: of a model, which earlier files lack, with what holds for these.
        class_arguments: the same of other classes that a run's configuration names, by their bare
            names.
    """

    classes: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    class_arguments: dict[str, dict[str, Any]] = field(default_factory=dict)


# From each number to the next. A change of names is a new entry; released entries do not change.
# Files without a number are 0.
MIGRATIONS = (
    Renames(),  # 0 → 1: nothing but the number itself
    Renames(  # 1 → 2: modules moved
        classes={
            "signs_lightning.report.history.RunFiles": (
                "signs_lightning.callbacks.history_writer.HistoryWriter"
            ),
            "signs_lightning.report.configuration.KeepConfig": (
                "signs_lightning.callbacks.run_config.SaveRunConfig"
            ),
            "signs_lightning.report.progress.EpochProgress": (
                "signs_lightning.callbacks.progress_bar.EpochProgressBar"
            ),
            "signs_lightning.report.summary.Summary": (
                "signs_lightning.callbacks.model_summary.KerasModelSummary"
            ),
            "signs_lightning.data.drawn": "signs_lightning.data.synthetic",
            "signs_lightning.data.module": "signs_lightning.data.datamodule",
            "signs_lightning.keras_io.reading": "signs_lightning.keras_io.from_keras",
            "signs_lightning.models.adam": "signs_lightning.models.keras_adam",
            "signs_lightning.models.lr_finder": "signs_lightning.models.tuner_callbacks",
            "signs_lightning.models.pretrained": "signs_lightning.models.pretrained_resnet50",
            "signs_lightning.models.happy": "signs_lightning.models.happy_sequential",
            "signs_lightning.models.signs": "signs_lightning.models.signs_functional",
            "signs_lightning.models.resnet50": "signs_lightning.models.signs_resnet50",
            "signs_lightning.models.schedules": "signs_lightning.models.lr_schedules",
            "signs_lightning.report.checkpoint": "signs_lightning.callbacks.checkpointing",
            "signs_lightning.report.configuration": "signs_lightning.callbacks.run_config",
            "signs_lightning.report.history": "signs_lightning.callbacks.history_writer",
            "signs_lightning.report.logger": "signs_lightning.callbacks.tensorboard_logger",
            "signs_lightning.report.progress": "signs_lightning.callbacks.progress_bar",
            "signs_lightning.report.summary": "signs_lightning.callbacks.model_summary",
        },
    ),
    Renames(arguments={"resize": "legacy"}),  # 2 → 3: before, images had one way to be resized
    Renames(  # 3 → 4: before, Adam's weight decay was an L2 penalty, and a Keras file trained with
        # Adam and cross-entropy, however it was compiled
        class_arguments={"KerasAdam": {"decoupled": False}, "FromKeras": {"as_compiled": False}},
    ),
    Renames(arguments={"value_range": "legacy"}),  # 4 → 5: before, images were rounded to bytes
    Renames(),  # 5 → 6: before, a checkpoint held the history as rows, see `unpack_history`
)
FORMAT_VERSION = len(MIGRATIONS)
# where a checkpoint keeps options besides its configuration
SECTIONS = {"model.init_args.": "hyper_parameters", "data.": "H5DataModule"}


def check_format_version(version: Any, what: str) -> int:
    """Return the number of a file's format.

    Args:
        version: the file's `format_version`, or None.
        what: the file, for the message.

    Raises:
        InputError: it is no number, or that of a later release.
    """
    if version is None:
        return 0
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 2**31:
        raise InputError(
            f"{what} has a format_version that is none, expected a number up to {FORMAT_VERSION}."
        )
    if version > FORMAT_VERSION:
        raise InputError(
            f"{what} has format_version {version}, this signs_lightning reads up to "
            f"{FORMAT_VERSION}: install a newer release."
        )
    return version


def migrate_config(config: dict[str, Any], what: str, version: int | None = None) -> dict[str, Any]:
    """Return a configuration with the current names.

    Args:
        config: the content of a configuration file; it is not changed.
        what: the file, for messages.
        version: the number of its format; by default its own `format_version`.

    Raises:
        InputError: it comes from a later release.
    """
    # One that was typed has no number, and takes today's defaults.
    is_from_run = version is not None or config.get("format_version") is not None
    if version is None:
        version = check_format_version(config.get("format_version"), what)
    for renames in MIGRATIONS[version:]:
        try:
            config = _with_new_classes(config, renames.classes)
        except RecursionError as error:
            message = f"{what} nests more deeply than a configuration does"
            raise InputError(f"{message}. Do not trust this file.") from error
        for old, new in renames.options.items():
            _move(config, old.split("."), new.split("."))
        if is_from_run:
            config = _with_arguments(config, renames.arguments)
            config = _with_class_arguments(config, renames.class_arguments)
    return {**config, "format_version": FORMAT_VERSION} if "format_version" in config else config


def migrate_checkpoint(checkpoint: dict[str, Any], what: str) -> None:
    """Change a checkpoint of an earlier format into the current one, in place.

    Args:
        checkpoint: what `torch.load` returns.
        what: the file, for messages.

    Raises:
        InputError: it comes from a later release.
    """
    ours = checkpoint.get("signs_lightning")
    if not isinstance(ours, dict):
        return
    version = check_format_version(ours.get("format_version"), what)
    for renames in MIGRATIONS[version:]:
        if isinstance(ours.get("model"), str):
            ours["model"] = _new_name(ours["model"], renames.classes)
        for part in (checkpoint, checkpoint.get("callbacks")):
            if isinstance(part, dict):
                for old in renames.states.keys() & part.keys():
                    part[renames.states[old]] = part.pop(old)
        if isinstance(checkpoint.get("hyper_parameters"), dict):
            checkpoint["hyper_parameters"] = renames.arguments | checkpoint["hyper_parameters"]
        for old, new in renames.options.items():
            for section, place in SECTIONS.items():
                values = checkpoint.get(place)
                if old.startswith(section) and new.startswith(section) and isinstance(values, dict):
                    _move(values, [old.removeprefix(section)], [new.removeprefix(section)])
    if isinstance(checkpoint.get("config"), dict):
        checkpoint["config"] = migrate_config(checkpoint["config"], what, version)
    ours["format_version"] = FORMAT_VERSION


def _with_arguments(config: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a copy whose model has further arguments, if it takes all that models take."""
    model: Any = config.get("model")
    given = model.get("init_args") if isinstance(model, dict) else None
    if not isinstance(given, dict) or "image_size" not in given:  # a run writes every default
        return config
    return {**config, "model": {**model, "init_args": arguments | given}}


def _with_class_arguments(value: Any, arguments: dict[str, dict[str, Any]]) -> Any:
    """Return a copy in which classes of these names have further arguments."""
    if isinstance(value, list):
        return [_with_class_arguments(part, arguments) for part in value]
    if not isinstance(value, dict):
        return value
    value = {key: _with_class_arguments(part, arguments) for key, part in value.items()}
    added = arguments.get(str(value.get("class_path")).rpartition(".")[2])
    if added is not None:
        value["init_args"] = added | (value.get("init_args") or {})
    return value


def _new_name(name: str, classes: dict[str, str]) -> str:
    """Rename a module, or a class in it: `old.module.Class` → `new.module.Class`."""
    for old, new in classes.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def _with_new_classes(value: Any, classes: dict[str, str]) -> Any:
    """Return a copy in which every `class_path` has its new name."""
    if isinstance(value, list):
        return [_with_new_classes(part, classes) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _new_name(part, classes)
        if key == "class_path" and isinstance(part, str)
        else _with_new_classes(part, classes)
        for key, part in value.items()
    }


def _move(values: dict[str, Any], old: list[str], new: list[str]) -> None:
    """Move a value in nested dicts, unless there is one under the new name already."""
    *sections, last = old
    source: Any = values
    for section in sections:
        source = source.get(section) if isinstance(source, dict) else None
    if not isinstance(source, dict) or last not in source:
        return
    value = source.pop(last)
    target: Any = values
    for section in new[:-1]:
        target = target.setdefault(section, {}) if isinstance(target, dict) else None
    if isinstance(target, dict):
        target.setdefault(new[-1], value)
