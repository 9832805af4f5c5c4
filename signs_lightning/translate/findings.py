"""Statement by statement: whether it was understood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from signs_lightning.translate.values import NoEffect, Place, Unknown

UNDERSTOOD = "understood"
WITHOUT_EFFECT = "without effect"
NEEDS_FACT = "needs a fact"
NOT_UNDERSTOOD = "not understood"
_ORDER = (WITHOUT_EFFECT, UNDERSTOOD, NEEDS_FACT, NOT_UNDERSTOOD)


@dataclass(frozen=True)
class Finding:
    """What became of a statement.

    Attributes:
        place: where it is.
        kind: one of the constants here.
        text: its first line; empty if only the place is known.
        reason: what is not understood.
        reaches: "model" or "training" if what is not understood changes it; empty otherwise.
        fact: name of the fact that it needs.
        is_nested: whether it is inside another statement.
    """

    place: Place
    kind: str
    text: str = ""
    reason: str = ""
    reaches: str = ""
    fact: str | None = None
    is_nested: bool = False


class Findings:
    """The findings of all statements, the worst of each."""

    def __init__(self) -> None:
        self._by_place: dict[Place, Finding] = {}

    def __iter__(self) -> Iterator[Finding]:
        return iter(sorted(self._by_place.values(), key=lambda finding: finding.place))

    def is_noted(self, place: Place, kind: str) -> bool:
        """Return whether a finding of this kind, with its text, is there already."""
        old = self._by_place.get(place)
        return old is not None and bool(old.text) and _ORDER.index(old.kind) >= _ORDER.index(kind)

    def add(self, finding: Finding) -> None:
        """Add a finding; the worse one of two about the same place stays, with its text."""
        old = self._by_place.get(finding.place)
        if old is None:
            self._by_place[finding.place] = finding
            return
        is_worse = _ORDER.index(finding.kind) > _ORDER.index(old.kind)
        worst = finding if is_worse else old
        self._by_place[finding.place] = replace(
            worst,
            text=old.text or finding.text,
            reaches=old.reaches or finding.reaches,
            is_nested=old.is_nested and finding.is_nested,
        )

    def add_unknown(self, unknown: Unknown) -> None:
        """Add what an unknown value says of the statement that it comes from."""
        if isinstance(unknown, NoEffect):
            return
        kind = NEEDS_FACT if unknown.fact else NOT_UNDERSTOOD
        self.add(Finding(unknown.place, kind, "", unknown.reason, "", unknown.fact, True))

    def reach(self, unknown: Unknown, what: str) -> None:
        """Note that an unknown value changes the model or its training."""
        kind = NEEDS_FACT if unknown.fact else NOT_UNDERSTOOD
        self.add(Finding(unknown.place, kind, "", unknown.reason, what, unknown.fact, True))
        found = self._by_place[unknown.place]
        if found.kind != kind or not found.reason:
            self._by_place[unknown.place] = replace(
                found, kind=kind, reason=unknown.reason, fact=unknown.fact
            )
