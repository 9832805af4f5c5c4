"""The tables of what was measured on a GPU, as Markdown."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.gpu_results import images_per_second
from benchmarks.results import NAMES, Row, distinct, latest, middle, ratio, where
from benchmarks.tables import number, table, times_as_text

HEAD = [
    "ResNet50", "ours, images/s", "its steps alone", "loop, images/s", "ours to the loop",
    "the steps to the loop", "ours of the card's products",
]  # fmt: skip


def gpu(record: dict[str, Any]) -> str:
    """Figures taken on a GPU, or how to take them."""
    rows = latest(record, "gpu")
    if not rows:
        return (
            "## GPU\n\nNot measured: no GPU was at hand. `python scripts/benchmark.py --parts "
            "gpu` measures the functional model's 100 epochs and ResNet50's images per second, "
            "against the loop and the card's ceilings, with a profile; its commands are tested on "
            "the CPU only."
        )
    card = next(iter(where(rows, subject="ceilings")), {})
    text = ["## GPU"]
    if card:
        text.append(
            f"{card['device']}: {card['bf16_tflops']:,.0f} TFLOP/s in large bf16 products, "
            f"{card['tf32_tflops']:,.0f} in TF32, {card['copy_gbs']:,.0f} GB/s read and written by "
            "a copy; measured, not from a data sheet."
        )
    if functional := where(rows, subject="functional"):
        body = []
        for name in distinct(functional, "contestant"):
            mine = where(functional, contestant=name)
            keys = ("after_first_step_seconds", "process_seconds")
            body.append([NAMES[name], *(number(middle(mine, key)) for key in keys)])
        head = ["Functional, 100 epochs", "after the first step, s", "process, s"]
        text.append(table(head, body))
    sizes = [subject for subject in distinct(rows, "subject") if subject.startswith("resnet50")]
    if sizes:
        body = [
            _resnet50(where(rows, subject=size, precision=precision), size, precision, card)
            for size in sizes
            for precision in sorted(distinct(where(rows, subject=size), "precision"))
        ]
        text.append(table(HEAD, body))
    if checks := where(rows, contestant="check"):
        body = [
            [row["subject"], "yes" if row["ok"] else "**no**", row["text"].replace("|", "\\|")]
            for row in checks
        ]
        text.append(table(["what has to hold", "holds", "found"], body))
    for row in where(rows, subject="comparison")[-1:]:
        text.append(f"Where a step of ResNet50 in bf16 goes:\n\n```\n{row['profile']}\n```")
    return "\n\n".join(text)


def _resnet50(rows: list[Row], size: str, precision: str, card: dict[str, Any]) -> list[str]:
    """The line of a size and precision."""
    steps = partial(images_per_second, key="steps_seconds")
    ours, alone = (
        middle(where(rows, contestant="signs_lightning"), rate)
        for rate in (images_per_second, steps)
    )
    loop = middle(where(rows, contestant="hand_written"), images_per_second)
    share = "–"
    if ours and card:
        ceiling = card["tf32_tflops" if precision.startswith("tf32") else "bf16_tflops"]
        share = f"{ours * card['flops'][size.split()[1]] / 1e12 / ceiling:.0%}"
    return [
        f"{size.split()[1]}, {precision}",
        *(number(value) for value in (ours, alone, loop)),
        times_as_text(ratio(ours, loop)),
        times_as_text(ratio(alone, loop)),
        share,
    ]
