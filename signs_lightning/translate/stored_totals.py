"""What a notebook's own stored output says of its models: `summary()` and `count_params()`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from signs_lightning.translate.cells import Cell

# Outputs are of any size: none of these looks at a text more than a few times.
_TAG = re.compile(r"<[^<>]*>")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_HEAD = re.compile(r"Layer \(type\)")
_NUMBER = r"([\d,]{1,20})(?![\d,])"
_TOTAL = re.compile(rf"^[^\w\n]*(Total|Trainable|Non-trainable) params:?\W*{_NUMBER}", re.MULTILINE)
_ROW = re.compile(
    r"^\s*(?P<name>[^\s(│|]+)\s+\((?P<kind>[\w.>-]+)\)?"  # a long type is cut off, or wrapped
    r"[^([\d]*(?P<shape>\[?\(.*?\)\]?|multiple|\?)\W*?\s(?P<parameters>[\d,]{1,20})(?:\s|$|\W*[│|])"
)
_BORDER = re.compile(r"[│┃|]")
_ROW_CHARACTERS = 1000
_COUNT = re.compile(rf"^(?:[^\d\n]*[:=])?[^\S\n]*{_NUMBER}\s*$", re.MULTILINE)
_INPUTS = ("InputLayer", "Input")  # `summary` of some versions has rows of them


@dataclass(frozen=True)
class LayerRow:
    """A row of a layer table.

    Attributes:
        name: the layer's.
        kind: its class, of which old versions of Keras cut off the end.
        shape: of its output, as Keras writes it.
        parameters: how many it has.
    """

    name: str
    kind: str
    shape: str
    parameters: int


@dataclass(frozen=True)
class StoredSummary:
    """The numbers of one `summary()` or `count_params()` in a stored output.

    Attributes:
        cell: number of the cell.
        rows: its layers; empty where only totals are stored.
        total: all parameters.
        trainable: those that train, None where that is not stored.
    """

    cell: int
    rows: tuple[LayerRow, ...]
    total: int
    trainable: int | None = None


def read_summaries(cells: Sequence[Cell]) -> list[StoredSummary]:
    """Return what the stored outputs say of models, in their order."""
    return [summary for cell in cells for summary in _of_cell(cell)]


def describe_agreement(
    summaries: Sequence[StoredSummary],
    rows: Sequence[LayerRow],
    total: int,
    trainable: int,
    cells: Sequence[int] | None = None,
) -> tuple[bool | None, str]:
    """Compare a model with what its notebook stored.

    Args:
        summaries: what is stored.
        rows: the layers of the model.
        total: its parameters.
        trainable: those that train.
        cells: those in which the notebook prints this model's summary, or may do so; None where
            that is not known.

    Returns:
        Whether they agree, None if nothing is stored; and a sentence that says so.
    """
    mine = [summary for summary in summaries if cells is None or summary.cell in cells]
    if not mine:
        return None, "The source stores no output of model.summary() to compare with."
    same = [summary for summary in mine if summary.total == total]
    if not same:
        return False, _difference(mine[-1], rows, total)
    exact = next((one for one in reversed(same) if one.trainable in (None, trainable)), None)
    stored = exact or same[-1]
    text = f"Parameters: agrees with the notebook's own output (cell {stored.cell})."
    if exact is None:
        text += f" There {stored.trainable:,} were trainable when that was printed."
    return True, text


def _of_cell(cell: Cell) -> list[StoredSummary]:
    # Keras 3 stores a table and each of its totals as outputs of their own, and all as HTML, too.
    for kind in ("text", "html"):
        texts = [output.text for output in cell.outputs if output.kind == kind]
        if found := list(_summaries(cell.number, _plain("\n".join(texts), kind))):
            return found
    return _counts(cell)


def _plain(text: str, kind: str) -> str:
    return html.unescape(_TAG.sub("", text)) if kind == "html" else _COLOR.sub("", text)


def _summaries(number: int, text: str) -> Iterator[StoredSummary]:
    for part in _parts(text):
        totals = {kind: _number(value) for kind, value in _TOTAL.findall(part)}
        if "Total" in totals:
            rows = tuple(_rows(part))
            yield StoredSummary(number, rows, totals["Total"], totals.get("Trainable"))


def _parts(text: str) -> list[str]:
    """Return the texts of the summaries in an output, each up to its totals."""
    starts = [match.start() for match in _HEAD.finditer(text)]
    if not starts:
        starts = [match.start() for match in _TOTAL.finditer(text) if match[1] == "Total"]
    return [text[start:end] for start, end in pairwise([*starts, len(text)])]


def _rows(part: str) -> Iterator[LayerRow]:
    for line in _joined_lines(part):
        match = _ROW.match(_BORDER.sub(" ", line)) if len(line) <= _ROW_CHARACTERS else None
        if match is not None and not match["name"].endswith(":"):
            yield LayerRow(
                match["name"], match["kind"], match["shape"], _number(match["parameters"])
            )


def _joined_lines(part: str) -> Iterator[str]:
    """Yield lines; a table of Keras 3 with "(Conv2D)" below the name has it beside the name."""
    lines = part.splitlines()
    for number, line in enumerate(lines):
        after = lines[number + 1] if number + 1 < len(lines) else ""
        cells, below = _BORDER.split(line), _BORDER.split(after)
        if len(cells) > 3 and len(below) == len(cells) and below[1].strip().startswith("("):
            cells[1] = f" {cells[1].strip()} {below[1].strip()} "
            line = "|".join(cells)
        yield line


def _counts(cell: Cell) -> list[StoredSummary]:
    """Return the numbers that a cell with `count_params()` printed, where it printed nothing else.

    A number that stands beside others may be anything.
    """
    if cell.text.count(".count_params()") != 1:
        return []
    texts = [output.text for output in cell.outputs if output.kind == "text"]
    numbers = [_number(value) for text in texts for value in _COUNT.findall(text)]
    return [StoredSummary(cell.number, (), numbers[0])] if len(numbers) == 1 else []


def _number(text: str) -> int:
    return int(text.replace(",", "") or 0)


def _difference(stored: StoredSummary, rows: Sequence[LayerRow], total: int) -> str:
    start = (
        f"Parameters: differs from the notebook's own output (cell {stored.cell}): "
        f"{stored.total:,} there, {total:,} here"
    )
    theirs = [row for row in stored.rows if row.kind not in _INPUTS]
    mine = [row for row in rows if row.kind not in _INPUTS]
    for there, here in zip(theirs, mine, strict=False):
        if there.parameters != here.parameters or not here.kind.startswith(there.kind[:8]):
            return (
                f"{start}; first at {there.name} ({there.kind}) with {there.parameters:,}, "
                f"here {here.name} ({here.kind}) with {here.parameters:,}."
            )
    if theirs and len(theirs) != len(mine):
        longer, where = (theirs, "there") if len(theirs) > len(mine) else (mine, "here")
        extra = longer[min(len(theirs), len(mine))]
        return f"{start}; {extra.name} ({extra.kind}) is only {where}."
    return f"{start}."
