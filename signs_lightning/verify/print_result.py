"""Prints what a comparison found."""

from __future__ import annotations

import math
from collections.abc import Iterable

from signs_lightning.runtime.escaping import for_terminal, printable
from signs_lightning.runtime.terminal import new_console, new_table, print_message
from signs_lightning.verify.result import PIXELS, Comparison, Row
from signs_lightning.verify.values import BOUND

MAX_LAYERS = 24  # rows of layers; of more, those that differ most are shown


def print_result(result: Comparison) -> None:
    """Print the table, what was not compared, and the verdict."""
    for line in header(result):
        print_message(printable(line))
    table = new_table("compared", "with", "difference>", "bound>", "")
    rows, hidden = shown_rows(result.rows)
    for row in rows:
        numbers = (number(row.difference), number(row.bound))
        name = row.name if row.part == "layer" else f"{row.part}: {row.name}"
        cells = (name, row.counterpart or row.detail)
        table.add_row(*map(for_terminal, cells), *numbers, MARKS[row.status])
    new_console().print(table)
    if hidden:
        print_message(f"… and {hidden} more layers that agree better than these.")
    for line in result.not_compared:
        print_message(printable(f"not compared: {line}."))
    print()
    for line in verdict(result):
        print_message(printable(line))


MARKS = {"agrees": "agrees", "differs": "DIFFERS", "no counterpart": "none", "after": "behind"}


def header(result: Comparison) -> list[str]:
    """Return the lines above the table."""
    lines = [
        f"reference: {result.names[0]} ({result.kinds[0]})",
        f"verified:  {result.names[1]} ({result.kinds[1]})",
        f"images:    {result.images}",
    ]
    lines += [f"keras:     {result.keras}"] if result.keras else []
    return lines + [f"note:      {note}" for note in result.notes]


def shown_rows(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Return the rows to show, and how many layers are left out."""
    layers = [row for row in rows if row.part == "layer"]
    if len(layers) <= MAX_LAYERS:
        return list(rows), 0
    agreeing = [row for row in layers if row.status != "differs"]
    agreeing.sort(key=lambda row: -(row.difference or 0) / (row.bound or math.inf))
    hidden = {id(row) for row in agreeing[MAX_LAYERS:]}
    return [row for row in rows if id(row) not in hidden], len(hidden)


def verdict(result: Comparison) -> list[str]:
    """Return the lines below the table."""
    first = result.first
    lines = []
    if first is not None:
        off = "" if first.difference is None else f", by {first.difference:.2g}"
        off = ", in its shape or by NaN" if first.difference == math.inf else off
        twin = f" ('{first.counterpart}' in {result.names[1]})" if first.counterpart else ""
        before = f"{first.agreeing} before it agree" if first.agreeing else "none before it"
        what = "Pixels differ" if first.layer == PIXELS else f"'{first.layer}'{twin} differs first"
        lines.append(f"{what}{off} ({before}).")
        for k, reason in enumerate(first.reasons):
            what = ("likely reason" if k == 0 else "or") if reason.kind else "no reason found"
            kind = f"{reason.kind}: " if reason.kind else ""
            lines.append(f"{what}: {kind}{reason.text}. {reason.evidence}".rstrip())
    elif result.has_differences:
        names = [f"{row.part}: {row.name}" for row in result.rows if row.status == "differs"]
        lines.append(f"DIFFERS in {', '.join(names)}.")
    else:
        more = f" ({len(result.not_compared)} left out, see above)" if result.not_compared else ""
        lines.append(
            f"Everything that could be compared{more} agrees: probabilities within {BOUND:g}, "
            f"layers within {BOUND:g} of each one's largest value, in float32."
        )
    if result.is_unchecked:
        lines.append(f"not checked against Keras: {result.keras}. The exit code is 4.")
    return lines


def number(value: float | None) -> str:
    """Return a number of a table; a difference that is none is in the shape, or NaN."""
    if value is None:
        return ""
    return f"{value:.1e}" if math.isfinite(value) else "shape/NaN"
