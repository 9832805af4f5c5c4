"""The tables of what was measured on a GPU."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from benchmarks.step_profile import compare
from benchmarks.tables import (
    Row,
    by_contestant,
    cell,
    distinct,
    entry,
    latest,
    middle,
    rate,
    table,
    times,
    where,
)


def gpu(record: dict[str, Any]) -> list[str]:
    """Figures taken on each kind of card."""
    text, rows = [], latest(record, "gpu")
    for card in distinct(rows, "machine"):
        here = where(rows, machine=card)
        text.append(f"### {card}")
        ceilings = next(iter(where(here, subject="ceilings")), {})
        if ceilings:
            text.append(
                f"{ceilings['bf16_tflops']:,.0f} TFLOP/s in large bf16 products, "
                f"{ceilings['tf32_tflops']:,.0f} in TF32, {ceilings['copy_gbs']:,.0f} GB/s read "
                "and written by a copy; measured, not from a data sheet."
            )
        columns = {
            words: partial(cell, figure=entry(name))
            for words, name in (
                ("after the first step, s", "after_first_step_seconds"),
                ("process, s", "process_seconds"),
            )
        }
        functional = where(here, subject="functional")
        text += by_contestant("Functional, 100 epochs", functional, columns)
        body = []
        for size in (name for name in distinct(here, "subject") if name.startswith("resnet50")):
            pixels = size.split()[1]
            for precision in sorted(distinct(where(here, subject=size), "precision")):
                mine, loop = (
                    where(here, subject=size, precision=precision, contestant=name)
                    for name in ("signs_lightning", "hand_written")
                )
                ours, steps, theirs = (
                    middle(mine, rate),
                    middle(mine, step_rate),
                    middle(loop, rate),
                )
                share = "–"
                if ceilings and ours:
                    most = ceilings[f"{precision[:4]}_tflops"] * 1e12
                    share = f"{ours * ceilings['flops'][pixels] / most:.0%}"
                cells = [cell(mine, rate), cell(mine, step_rate), cell(loop, rate)]
                ratios = [times(ours, theirs), times(steps, theirs), share]
                body.append([f"{pixels}, {precision}", *cells, *ratios])
        head = ["ResNet50", "ours, images/s", "its steps alone", "loop, images/s"]
        head += ["ours to the loop", "the steps to the loop", "ours of the card's products"]
        text += [table(head, body)] if body else []
        profiles = {row["contestant"]: row for row in here if row["subject"].startswith("profile")}
        if len(profiles) == 2:
            text.append("Where a step of ResNet50 at 64×64 in bf16 goes, without torch.compile:")
            compared = compare(profiles["signs_lightning"], profiles["hand_written"], lines=8)
            text.append(f"```text\n{compared}\n```")
    return text


def step_rate(row: Row) -> float | None:
    """Images per second of the steps alone, without what follows them."""
    seconds = row.get("steps_seconds", [])[1:]
    return row["images"] / median(seconds) if seconds and "images" in row else None
