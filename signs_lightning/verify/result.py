"""What a comparison of two models found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

AGREES, DIFFERS, UNCHECKED = 0, 1, 4  # exit codes
PIXELS = "pixels"  # the name of a first difference before all layers
Status = Literal["agrees", "differs", "no counterpart", "after"]


@dataclass(frozen=True)
class Row:
    """One thing that was compared.

    Attributes:
        part: "facts", "pixels", "keras", "layer", "outputs", "setting", "weights" or "training".
        name: of the thing, such as the reference's layer.
        counterpart: what the other side calls it.
        difference: the largest; inf for another shape or NaN, None where it is no number.
        bound: the largest that is allowed.
        status: "after" is a layer behind the first that differs.
        detail: what both sides have, or more.
    """

    part: str
    name: str
    counterpart: str = ""
    difference: float | None = None
    bound: float | None = None
    status: Status = "agrees"
    detail: str = ""


@dataclass(frozen=True)
class Reason:
    """Why a layer differs.

    Attributes:
        kind: one of the porting bugs, such as "flatten order"; "" where none explains it.
        text: a sentence with what each side does.
        evidence: what was tried, and what is left of the difference.
    """

    kind: str
    text: str
    evidence: str = ""


@dataclass(frozen=True)
class FirstDifference:
    """The first layer that differs.

    Attributes:
        layer: the reference's name of it.
        counterpart: the other side's, "" where it has none.
        difference: the largest; inf for another shape, None where there is no counterpart.
        agreeing: how many layers before it agree.
        reasons: the likely ones, best first.
    """

    layer: str
    counterpart: str
    difference: float | None
    agreeing: int
    reasons: list[Reason]


@dataclass
class Comparison:
    """All that came of comparing two models.

    Attributes:
        names: of the reference and of the other side.
        kinds: of both.
        images: what they were compared on.
        rows: what was compared, in order.
        first: the first layer that differs.
        not_compared: what could not be, and why.
        notes: what was inferred.
        keras: version of the Keras that read the file, or why none did; "" where no side is a Keras
            file.
        is_unchecked: whether a Keras file was not read by Keras itself.
    """

    names: tuple[str, str]
    kinds: tuple[str, str]
    images: str
    rows: list[Row] = field(default_factory=list)
    first: FirstDifference | None = None
    not_compared: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    keras: str = ""
    is_unchecked: bool = False

    @property
    def has_differences(self) -> bool:
        """Whether anything differs."""
        return self.first is not None or any(row.status == "differs" for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0: all that could be compared agrees; 1: something differs; 4: Keras read no file."""
        if self.has_differences:
            return DIFFERS
        return UNCHECKED if self.is_unchecked else AGREES

    def add(self, part: str, name: str, difference: float, bound: float, **more: Any) -> None:
        """Add a row of numbers."""
        status: Status = "agrees" if difference <= bound else "differs"
        self.rows.append(Row(part, name, more.get("counterpart", ""), difference, bound, status,
                             more.get("detail", "")))  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values; a difference of shapes, or NaN, is null."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(part) for key, part in value.items()}
            if isinstance(value, list | tuple):
                return [plain(part) for part in value]
            is_number = isinstance(value, float)
            return None if is_number and not math.isfinite(value) else value

        return plain(
            {"format_version": 1, "exit_code": self.exit_code, "agrees": not self.has_differences}
            | asdict(self)
        )
