"""A notebook or script read: its statements, its models and their training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.translate.cells import Cell, read_cells
from signs_lightning.translate.findings import Finding, Findings
from signs_lightning.translate.fit_records import FitRecord
from signs_lightning.translate.interpretation import Interpretation, UnreadTraining
from signs_lightning.translate.interpreter import run_cells
from signs_lightning.translate.keras_release import Release, guess_release
from signs_lightning.translate.keras_session import Session, start_session
from signs_lightning.translate.known_libraries import KnownLibraries
from signs_lightning.translate.late_names import changed_names
from signs_lightning.translate.model_notes import unconnected_layers
from signs_lightning.translate.model_records import ModelRecord
from signs_lightning.translate.values import Unknown


@dataclass(frozen=True)
class ReadModel:
    """A model of a source.

    Attributes:
        record: what is known of it; None for one that is not understood.
        names: variables that hold it, the last bound one last.
        problems: what of the model is not known, each with what it is.
        unread: its last call of `compile` or `fit` that is not understood, if any.
    """

    record: ModelRecord | None
    names: tuple[str, ...]
    problems: tuple[tuple[str, Unknown], ...] = ()
    unread: UnreadTraining | None = None

    @property
    def fits(self) -> list[FitRecord]:
        """Its trainings, in order."""
        return [] if self.record is None else self.record.fits

    @property
    def label(self) -> str:
        """What messages call it: its variable, else its own name."""
        if self.names:
            return self.names[-1]
        return "the model" if self.record is None else str(self.record.name)


@dataclass
class Reading:
    """What a source says.

    Attributes:
        path: of the source.
        cells: its code cells with their stored outputs.
        models: in the order in which they are made, without those that are parts of others.
        chosen: the model that is translated; None if there is no model.
        release: the version of Keras that it is taken for.
        session: what its Keras objects share, notes among it.
        stopped: why the interpretation ended early; empty if it did not.
    """

    path: Path
    cells: list[Cell]
    models: list[ReadModel]
    chosen: ReadModel | None
    release: Release
    session: Session
    interpretation: Interpretation

    @property
    def findings(self) -> list[Finding]:
        """What became of each statement, in their order."""
        return list(self.interpretation.findings)

    @property
    def stopped(self) -> str:
        return self.interpretation.stopped


def read_source(path: Path, facts: dict[str, Any], name: str | None = None) -> Reading:
    """Return what a notebook or script says of models and their training.

    Args:
        path: of a .ipynb or .py file.
        facts: values that only the data know, by the names they are asked for.
        name: variable or name of the model that is wanted; None for the last one that is fitted.

    Raises:
        InputError: if the file cannot be read, or has no model of that name.
    """
    cells = read_cells(path)
    code = "\n".join(cell.text for cell in cells)
    outputs = "\n".join(output.text for cell in cells for output in cell.outputs)
    release = guess_release(code, outputs)
    session = start_session(release.version, facts)
    interpretation = run_cells(cells, KnownLibraries(), facts, path.resolve().parent)
    for text, place in unconnected_layers(session):
        session.note(text, place)
    models = _models(session, interpretation)
    chosen = _chosen(models, interpretation, name)
    reading = Reading(path, cells, models, chosen, release, session, interpretation)
    if chosen is not None:
        _mark(interpretation.findings, chosen, interpretation.everything)
    return reading


def _models(session: Session, interpretation: Interpretation) -> list[ReadModel]:
    """Return the models that are not parts of others, and those that are not understood."""
    parts = {id(layer) for model in session.models for layer in model.layers}
    names: dict[int, list[str]] = {}
    for variable, value in interpretation.namespace.items():
        names.setdefault(id(getattr(value, "base", value)), []).append(variable)
    unread = {id(use.model): use for use in interpretation.unread_trainings if use.model}
    found = [
        ReadModel(
            model,
            tuple(names.get(id(model), ())),
            tuple(_problems(model, unread.get(id(model)))),
            unread.get(id(model)),
        )
        for model in session.models
        if id(model) not in parts or model.fits or id(model) in unread
    ]
    for use in interpretation.unread_trainings:
        if use.model is None:
            held = (use.name,) if use.name else ()
            found.append(ReadModel(None, held, (("the model that is trained", use.unknown),), use))
    return found


def _problems(model: ModelRecord, unread: UnreadTraining | None) -> Iterable[tuple[str, Unknown]]:
    """Return what of a model is not known; what happens after its last training is not asked."""
    if unread is not None:
        return [*model.unknowns, ("a training of the model", unread.unknown)]
    last = model.fits[-1] if model.fits else None
    unknowns = list(model.unknowns)
    if last is not None and last.model_config is not None and last.compile_config is not None:
        return [pair for pair in unknowns if pair[1].fact]
    if model.compiled is not None:
        unknowns += model.compiled.unknowns
    if last is None:
        unknowns += [("the model", unknown) for unknown in changed_names()]
    return unknowns


def _chosen(
    models: list[ReadModel], interpretation: Interpretation, name: str | None
) -> ReadModel | None:
    if name is not None:
        matching = [
            model
            for model in models
            if name in model.names or (model.record is not None and model.record.name == name)
        ]
        if not matching:
            known = list(dict.fromkeys(model.label for model in models))
            raise InputError(
                f"The source has no model '{name}', expected one of: {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}"
            )
        return matching[-1]
    order = {id(training): number for number, training in enumerate(interpretation.trainings)}
    ranked = [(*_importance(model, order), number) for number, model in enumerate(models)]
    return models[max(ranked)[-1]] if ranked else None


def _importance(model: ReadModel, order: dict[int, int]) -> tuple[int, int]:
    """Return what sorts models: trained ones last, in the order of their training."""
    trainings = [*model.fits[-1:], *([model.unread] if model.unread else [])]
    if trainings:
        return 2, max(order.get(id(training), -1) for training in trainings)
    return int(model.record is not None and model.record.compiled is not None), 0


def _mark(findings: Findings, chosen: ReadModel, everything: list[Unknown]) -> None:
    """Note in the findings what reaches the model that is translated, and its training."""
    for _, unknown in chosen.problems:
        findings.reach(unknown, "model")
    for unknown in everything:
        findings.reach(unknown, "model")
    for fit in chosen.fits:
        for unknown in fit.all_problems:
            findings.reach(unknown, "training")
