"""The tables of what was measured on a GPU, as Markdown."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.gpu_results import images_per_second
from benchmarks.results import NAMES, Row, distinct, latest, middle, ratio, where
from benchmarks.step_profile import compare
from benchmarks.tables import number, table, times_as_text

PRECISIONS = ("bf16", "bf16, compiled", "tf32", "tf32, compiled")
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
    cards = distinct(rows, "card")
    return "\n\n".join(["## GPU", *(_card(where(rows, card=card)) for card in cards)])


def _card(rows: list[Row]) -> str:
    """Figures taken on one kind of card."""
    card = next(iter(where(rows, subject="ceilings")), {})
    text = []
    if card:
        text.append(
            f"**{card['device']}**: {card['bf16_tflops']:,.0f} TFLOP/s in large bf16 products, "
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
        text.append(_repeats(where(rows, subject=tuple(sizes)), sizes))
    if checks := where(rows, contestant="check"):
        body = [
            [row["subject"], "yes" if row["ok"] else "**no**", _found(row["text"])]
            for row in checks
        ]
        text.append(table(["what has to hold", "holds", "found"], body))
    profiles = {
        row["contestant"]: row for row in rows if row["subject"].startswith("profile of resnet50")
    }
    if len(profiles) == 2:
        text.append("Where a step of ResNet50 at 64×64 in bf16 goes, without torch.compile:")
        compared = compare(profiles["signs_lightning"], profiles["hand_written"], lines=8)
        text.append(f"```text\n{compared}\n```")
    return "\n\n".join(text)


def _found(text: str) -> str:
    """What a check found, without the names of single tests."""
    return text.partition("; FAILED")[0].replace("|", "\\|")


def _repeats(rows: list[Row], sizes: list[str]) -> str:
    """How often the figures were taken, and which ones were not."""
    times, missing = [], []
    for size in sizes:
        for precision in PRECISIONS:
            count = min(
                len(where(rows, subject=size, precision=precision, contestant=name))
                for name in ("signs_lightning", "hand_written")
            )
            if count:
                times.append(count)
            else:
                missing.append(f"{size.split()[1]} {precision}")
    often = " to ".join(str(count) for count in sorted({min(times), max(times)})) if times else "0"
    text = f"Taken {often} {'time' if often == '1' else 'times'}, the loop after ours."
    return text + (f" Not measured: {'; '.join(missing)}." if missing else "")


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
