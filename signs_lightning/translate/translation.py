"""What a source becomes: the text of a model, of its configurations, and what is said of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from signs_lightning.callbacks.model_summary import format_totals, layer_table
from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.input_scale_inference import UnknownScaleError
from signs_lightning.keras_io.model_ending import check_loss
from signs_lightning.models.layer_graph import LayerNode
from signs_lightning.source.write_source import write_text
from signs_lightning.translate.config_text import config_name, write_config
from signs_lightning.translate.evaluated_images import settle_files
from signs_lightning.translate.findings import NEEDS_FACT, NOT_UNDERSTOOD, Finding
from signs_lightning.translate.fit_records import FitRecord
from signs_lightning.translate.fit_steps import stops_in_keras
from signs_lightning.translate.initial_weights import WeightsFile, check_facts, initial_state
from signs_lightning.translate.model_records import ModelRecord
from signs_lightning.translate.read_source import Reading
from signs_lightning.translate.stored_totals import LayerRow, describe_agreement, read_summaries
from signs_lightning.translate.untrained_model import build_model, input_shape
from signs_lightning.translate.values import NotUnderstoodError, Place

_SHOWS = re.compile(r"(\b\w+|\))\s*\.\s*(?:summary|count_params)\(")
WEIGHTS = "model.safetensors"  # what the model begins with
MAX_REASONS = 3  # why there is no model


@dataclass
class Translation:
    """What a source becomes.

    Attributes:
        reading: the source.
        facts: what was told of its data.
        folder: that everything is written into.
        model: what its last training begins with, without values in its weights; None where it is
            not known.
        files: texts by their names in the folder, without the page.
        weights: what the model begins with, where that is known from files; None if it is new.
        missing: options for data files that the configuration does not name.
        refusals: why the model or a configuration is not written, beside the findings.
        asked: what is needed that no statement says.
        said: what building the model said.
        agrees: whether the stored output has the same totals; None where none is stored.
        agreement: a sentence on that.
    """

    reading: Reading
    facts: dict[str, Any]
    folder: Path = field(default_factory=Path)
    model: FromKeras | None = None
    files: dict[str, str] = field(default_factory=dict)
    weights: WeightsFile | None = None
    missing: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    asked: list[Finding] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    agrees: bool | None = None
    agreement: str = ""

    @property
    def findings(self) -> list[Finding]:
        """What became of each statement; a part of one has its line of the source as text."""
        lines = {cell.number: cell.text.splitlines() for cell in self.reading.cells}
        found = []
        for finding in self.reading.findings:
            place, own = finding.place, lines.get(finding.place.cell, [])
            if not finding.text and not place.file and 0 < place.line <= len(own):
                finding = replace(finding, text=own[place.line - 1].strip(), is_nested=True)
            found.append(finding)
        return found

    @property
    def not_understood(self) -> list[Finding]:
        """The statements that reach the model or its training and are not understood."""
        return [f for f in self.findings if f.kind == NOT_UNDERSTOOD and f.reaches]

    @property
    def needed(self) -> list[Finding]:
        """The statements that need a fact to tell the model or its training."""
        found = [f for f in self.findings if f.kind == NEEDS_FACT and f.reaches]
        return found + self.asked

    @property
    def is_whole(self) -> bool:
        """Whether nothing that matters is missing."""
        return not (self.not_understood or self.needed or self.refusals or self.reading.stopped)

    @property
    def fits(self) -> list[FitRecord]:
        """The trainings of the model."""
        return [] if self.reading.chosen is None else self.reading.chosen.fits

    @property
    def rows(self) -> list[LayerNode]:
        """The layers of the model as in Keras's table."""
        return [] if self.model is None else layer_table(self.model)

    def refuse(self, reason: str) -> None:
        """Note why a file is not written, once."""
        if reason not in self.refusals:
            self.refusals.append(reason)

    def ask(self, fact: str, reason: str, fit: FitRecord | None = None) -> None:
        """Note a fact that the model needs, or a fit of it."""
        asking: Any = fit or (self.reading.chosen and self.reading.chosen.record)
        finding = Finding(asking.place, NEEDS_FACT, "", reason, reaches="model", fact=fact)
        self.asked.append(finding)

    def notes(self) -> list[tuple[Place, str]]:
        """Return what is to be said of the model and its training, each with its place."""
        found = [(place, note) for note, place in self.reading.session.notes]
        found += [pair for fit in self.fits for pair in fit.all_notes]
        return list(dict.fromkeys(sorted(found)))


def translate(
    reading: Reading,
    facts: dict[str, Any],
    data_files: dict[str, str] | None = None,
    folder: Path | None = None,
) -> Translation:
    """Return what a source becomes.

    Args:
        reading: the source.
        facts: what was told of its data.
        data_files: files that the user names, by option, such as "train_file".
        folder: that everything is written into.
    """
    made, chosen = Translation(reading, facts, folder or Path()), reading.chosen
    if chosen is None or chosen.record is None:
        if chosen is None:
            made.refuse(_no_model(reading))
        return made
    check_facts(chosen.record, facts)
    if not chosen.fits:
        _add_untrained(made, chosen.record)
    for fit in chosen.fits:
        _add_fit(made, fit, data_files or {})
    if made.model is not None:
        trainable, fixed = format_totals(made.model)
        rows = [LayerRow(r.path[-1], r.kind, r.keras_shape, r.parameters) for r in made.rows]
        stored, shown = read_summaries(reading.cells), _cells_with_summary(reading)
        found = describe_agreement(stored, rows, trainable + fixed, trainable, shown)
        made.agrees, made.agreement = found
    return made


def _cells_with_summary(reading: Reading) -> list[int]:
    """Return the cells that print the summary of the model, or may do so."""
    assert reading.chosen is not None
    others = {name for model in reading.models for name in model.names}
    parts = {name for name, value in reading.interpretation.namespace.items()
             if isinstance(value, ModelRecord)}  # fmt: skip
    others = (others | parts) - set(reading.chosen.names)
    found = []
    for cell in reading.cells:
        names = set(_SHOWS.findall(cell.text))
        if names - others or not names:
            found.append(cell.number)
    return found


def _no_model(reading: Reading) -> str:
    if reading.stopped:
        return f"No model was found before the reading ended: {reading.stopped}"
    unknown = [f for f in reading.findings if f.kind == NOT_UNDERSTOOD][:MAX_REASONS]
    reasons = "; ".join(f"{finding.place}: {finding.reason}" for finding in unknown)
    return (
        "No Keras model is made when the source runs from its first line to its last; functions "
        f"and classes that are not called make none{f' ({reasons})' if reasons else ''}"
    )


def _add_untrained(made: Translation, record: ModelRecord) -> None:
    """Add a model that is never fitted: without a configuration."""
    try:
        config = record.config()
        compiled = record.compile_config() if record.compiled is not None else {}
    except NotUnderstoodError:
        return
    if _is_known(made, "model"):
        size = _image_size(made, config, None)
        made.model = _build(made, config, compiled, made.facts.get("scale"), size)
    if made.model is not None:
        written = write_text(made.model)
        made.files["model.py"] = written.text
        _add_weights(made, written.names)


def _add_fit(made: Translation, fit: FitRecord, data_files: dict[str, str]) -> None:
    """Add the model as a fit begins with it, and the configuration of the fit."""
    if fit.model_config is None or not _is_known(made, "model"):
        return
    size = _image_size(made, fit.model_config, fit)
    model = _build(made, fit.model_config, fit.compile_config or {}, fit.scale, size)
    if model is None:
        return
    made.model = model
    fit.check_scale(model.plan)
    try:
        written = write_text(model)
    except InputError as error:
        made.refuse(str(error))
        return
    settle_files(fit.data, made.reading, data_files)
    text = written.text
    module = next((name for name, old in made.files.items() if old == text), None)
    if module is None:
        module = "model.py" if "model.py" not in made.files else f"model_{fit.number}.py"
        made.files[module] = text
    if fit.before is None:
        _add_weights(made, written.names)
    is_taken = _check_training(made, fit, model)
    if is_taken and not fit.all_problems and fit.compile_config and _is_known(made, "training"):
        source = SimpleNamespace(source=made.reading.path.name)
        stem = module.removesuffix(".py")
        weights = str(made.folder / WEIGHTS) if made.weights and fit.before is None else None
        text = write_config(source, fit, stem, data_files, weights)
        made.files[config_name(fit.number)] = text
        for role in fit.data.unnamed:
            option = f"{role}_file"
            if option not in data_files and option not in made.missing:
                made.missing.append(option)


def _add_weights(made: Translation, names: dict[str, str]) -> None:
    """Add what the model begins with, where the source loads files."""
    assert made.model is not None
    assert made.reading.chosen is not None
    record = made.reading.chosen.record
    made.weights, said = initial_state(made.model, names, record, made.facts)
    made.said += said


def _image_size(
    made: Translation, config: dict[str, Any], fit: FitRecord | None
) -> tuple[int, int, int] | None:
    """Return the size of the images, for a model that takes those of any size; else None."""
    shape = input_shape(config)
    if shape is None or None not in shape[1:]:
        return None
    known = (fit and fit.image_shape) or made.facts.get("input_shape")
    if known is None:
        made.ask("input_shape", "the size of the images, of which the model takes any", fit)
    return known


def _check_training(made: Translation, fit: FitRecord, model: FromKeras) -> bool:
    """Note what of the compilation a fit here cannot do; return whether that is nothing."""
    place = getattr(fit.compiled, "place", fit.place)
    try:
        check_loss(model.plan.ending, model.binary, model.compiled.losses)
    except InputError as error:
        made.refuse(f"{place}: {error}")
        return False
    for text in (wrong := stops_in_keras(fit, model)):
        made.refuse(f"{fit.place}: {text}: Keras stops there")
    lost = [text for text in model.compiled.omissions if not text.startswith("metrics ")]
    for text in lost:
        made.refuse(f"{place}: {text} is not taken over")
    if fit.compiled is None:
        made.refuse(f"{fit.place}: the model is fitted, and never compiled")
    return not lost and not wrong and fit.compiled is not None


def _is_known(made: Translation, what: str) -> bool:
    findings = made.not_understood + made.needed
    return all(what != finding.reaches for finding in findings) and not made.reading.stopped


def _build(
    made: Translation,
    config: dict[str, Any],
    compiled: dict[str, Any],
    scale: Any,
    image_size: tuple[int, int, int] | None,
) -> FromKeras | None:
    """Return the model without values in its weights, None where it cannot be built."""
    if made.asked:
        return None
    try:
        model, said = build_model(config, compiled, scale, image_size)
    except UnknownScaleError as error:
        likely, why = " or ".join(error.evidence.likely), error.evidence.because
        made.ask("scale", f"what its images were scaled to, such as {likely}: {why}")
        return None
    except InputError as error:
        made.refuse(str(error))
        return None
    made.said += [line for line in said if line not in made.said]
    return model
