"""What the interpretation of a source gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.findings import Findings
from signs_lightning.translate.values import Place, Unknown, Value


@dataclass(frozen=True)
class UnreadTraining:
    """A call that compiles or trains a model, and is not understood or perhaps not made.

    Attributes:
        name: of the model's variable; empty for an expression.
        model: its record; None where that is not known.
        unknown: what is not understood.
        place: of the call.
    """

    name: str
    model: Any
    unknown: Unknown
    place: Place


@dataclass
class Interpretation:
    """What became of a source.

    Attributes:
        findings: of its statements.
        namespace: its global names and their values.
        imports: modules and names that it imports, as it spells them.
        everything: unknown values that may change all models, such as a setting of Keras under a
            condition that is unknown.
        unread_trainings: calls that train a model, which no record of a training tells.
        trainings: what calls of `fit` gave, and the unread ones, in the order of the calls.
        stopped: why the interpretation ended early; empty if it did not.
    """

    findings: Findings
    namespace: dict[str, Value]
    imports: list[str] = field(default_factory=list)
    everything: list[Unknown] = field(default_factory=list)
    unread_trainings: list[UnreadTraining] = field(default_factory=list)
    trainings: list[Any] = field(default_factory=list)
    stopped: str = ""
