"""benchmarks.md from benchmarks.json: tables and a plot. What stands outside the two markers is
kept as it was written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from markdown_lines import wrap_prose

from benchmarks import plot
from benchmarks.gpu import images_per_second
from benchmarks.results import (
    MODELS,
    NAMES,
    Row,
    distinct,
    latest,
    middle,
    rate,
    ratio,
    training_times,
    where,
)

BEGIN, END = "<!-- figures: written by scripts/benchmark.py -->", "<!-- end of figures -->"
TITLE = "# How fast it is\n"


def write(folder: Path) -> None:
    """Writes benchmarks.md and images/benchmarks.png beside benchmarks.json."""
    record = json.loads((folder / "benchmarks.json").read_text())
    page, picture = folder / "benchmarks.md", folder / "images" / "benchmarks.png"
    drawn = plot.draw(record, picture)
    before, after = f"{TITLE}\n", "\n"
    if page.exists() and BEGIN in page.read_text():
        before, _, rest = page.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
    parts = [
        _run(record),
        "![Epochs, processes, images per second](images/benchmarks.png)" if drawn else "",
    ]
    parts += [_training(record), _reading(record), _growth(record), _gpu(record)]
    text = wrap_prose("\n\n".join(part for part in parts if part))
    temporary = page.with_name(f".{page.name}")
    temporary.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    os.replace(temporary, page)


def _table(head: list[str], rows: list[list[str]]) -> str:
    if any(len(row) != len(head) for row in rows):
        raise ValueError(f"a row does not fit the head {head}")
    lines = [
        "| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *rows)
    ]
    return "\n".join(lines)


def _number(value: float | None, sign: str = "") -> str:
    """Three digits that count; a dash for nothing."""
    if value is None:
        return "–"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}{sign}"


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def _run(record: dict[str, Any]) -> str:
    lines = []
    used = {
        row["run"]
        for part in ("training", "reading", "growth", "gpu")
        for row in latest(record, part)
    }
    for run in record["runs"]:
        if run["run"] not in used:
            continue
        machine, versions = run["machine"], run["versions"]
        rows = where(record["measurements"], run=run["run"])
        busy = [row["busy_before"] for row in rows if row.get("busy_before") is not None]
        others = (
            f"others used {max(busy):.0%} of it at most just before a measurement"
            if busy
            else "idleness unknown"
        )
        own = ", ".join(
            f"{name} {version}"
            for name, version in versions["this"].items()
            if name != "tensorflow"
        )
        keras = ", ".join(
            f"{n} {v}"
            for n, v in versions["keras"].items()
            if n in {"keras", "tensorflow", "tensorflow-cpu"}
        )
        quick = " **Smallest sizes (`--quick`): the figures mean nothing.**" if run["quick"] else ""
        doubt = " **The machine was not idle.**" if busy and max(busy) > 0.1 else ""
        date = run["run"].split()[0]
        lines.append(
            f"- `{run['command']}`, {date}, commit {run.get('commit')}: {machine['processor']} "
            f"({', '.join(machine['instructions'])}), "
            f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; "
            f"{run['threads']} threads, "
            f"{run['repeats']} repeats; {others}.{doubt}{quick} {own}; Keras's own: "
            f"{keras or 'none'}."
        )
    return "\n".join(
        [
            "Every figure is the median over repeats that were taken in turn (A B C, A B C, …), "
            "each in a process of its own with the "
            "same number of threads. Ratios are within one run. All figures are in "
            "[benchmarks.json](benchmarks.json).",
            "",
            *lines,
        ]
    )


def _training(record: dict[str, Any]) -> str:
    rows = latest(record, "training")
    if not rows:
        return ""
    text = [
        "## Training",
        "An epoch is training, validation and whatever happens before the next epoch begins; a "
        "process's first one is left out. The "
        "process is timed from its start to its end: 100, 10 and 2 epochs. Ours is the command "
        "line in its default configuration, with "
        "logger, checkpoints, history and curves. Keras's epochs leave out what its callbacks do "
        "at their end; its process is with "
        "TensorBoard (where TensorFlow is installed), the best checkpoint and a CSV file. The "
        "loop has neither logger nor "
        "checkpoints: it is the limit.",
    ]
    for model in MODELS:
        for precision in ("fp32", "bf16"):
            times = training_times(rows, model, precision)
            if not times:
                continue
            keras, limit = times.get("keras_tensorflow", {}), times.get("hand_written", {})
            head = [
                f"{MODELS[model]}, {precision}",
                "epoch, s",
                "faster than Keras",
                "of the loop's time",
                "process, s",
                "faster than Keras",
                "training begins after, s",
                "own memory, MiB",
            ]
            body = [
                [
                    NAMES[contestant],
                    _number(found["epoch"]),
                    _times(ratio(keras.get("epoch"), found["epoch"])),
                    _times(ratio(found["epoch"], limit.get("epoch"))),
                    _number(found["process"]),
                    _times(ratio(keras.get("process"), found["process"])),
                    _number(found["start"]),
                    _number(found["memory"]),
                ]
                for contestant, found in times.items()
            ]
            text.append(_table(head, body))
    if where(rows, subject="resnet50") and not where(rows, precision="bf16"):
        text.append(
            "bf16 was left out: this processor has no instructions for it, and is many times "
            "slower with it."
        )
    return "\n\n".join(text)


def _reading(record: dict[str, Any]) -> str:
    rows = latest(record, "reading")
    if not rows:
        return ""
    text = [
        "## Reading HDF5",
        "Images per second of `H5DataModule(train_file=…, batch_size=64)`'s DataLoader, shuffled, "
        "without a Trainer; of h5py by the "
        "sample in a plain DataLoader, shuffled, batches of 64, with file and dataset opened once "
        "in each process and the labels in "
        "memory; of whole chunks in file order through h5py; and, of compressed files, of zlib "
        "alone. The limit is that of zlib on all "
        "threads, else the blocks. *Warm* is from the page cache, *cold* from the disk.",
    ]
    contestants = [name for name in NAMES if where(rows, contestant=name)]
    for size in distinct(rows, "subject"):
        most = max(row["images"] for row in where(rows, subject=size))
        for cache in ("warm", "cold"):
            found = where(rows, subject=size, images=most, cache=cache)
            shown = [name for name in contestants if where(found, contestant=name)]
            if not found:
                continue
            body = []
            for layout in distinct(found, "layout"):
                here = where(found, layout=layout)
                rates = {name: middle(where(here, contestant=name), rate) for name in shown}
                samples = max(
                    (rates.get(f"per_sample_{workers}") or 0 for workers in (0, 2)), default=0
                )
                body.append(
                    [
                        f"{layout} ({here[0]['stored']:.0%} of the bytes)"
                        if "gzip" in layout
                        else layout,
                        *(_number(rates[name]) for name in shown),
                        _times(ratio(rates.get("signs_lightning"), samples)),
                        _times(
                            ratio(
                                rates.get("signs_lightning"),
                                rates.get("inflate_all") or rates.get("blocks"),
                            )
                        ),
                    ]
                )
            head = [
                f"{size}, {most:,} images, {cache}",
                *(NAMES[name] for name in shown),
                "ours to the better by the sample",
                "ours to the limit",
            ]
            text.append(_table(head, body))
        if cache == "cold" and not all(row.get("dropped_from_cache") for row in found):
            text.append("The page cache could not be emptied: *cold* is not cold here.")
    memory = where(rows, contestant="signs_lightning", cache="warm")
    for size in distinct(memory, "subject"):
        counts = sorted(distinct(where(memory, subject=size), "images"))
        if len(counts) > 1:
            body = []
            for layout in distinct(where(memory, subject=size), "layout"):
                owned = [
                    middle(where(memory, subject=size, layout=layout, images=n), "peak_bytes")
                    for n in counts
                ]
                mib = [_number(value / 2**20 if value else None) for value in owned]
                body.append([layout, *mib, _times(ratio(owned[-1], owned[0]))])
            head = [
                f"own memory (RssAnon) at most, MiB, {size}",
                *(f"{n:,} images" for n in counts),
                "ratio",
            ]
            text.append(_table(head, body))
    return "\n\n".join(text)


def _growth(record: dict[str, Any]) -> str:
    rows = latest(record, "growth")
    text = ["## Growth"] if rows else []
    for size in [subject for subject in distinct(rows, "subject") if subject != "processes"]:
        body = []
        for layout in distinct(where(rows, subject=size), "layout"):
            for count in distinct(where(rows, subject=size, layout=layout), "images"):
                here = where(rows, subject=size, layout=layout, images=count)
                read, fit = where(here, contestant="reading"), where(here, contestant="fit")
                memory = [middle(part, "peak_bytes") for part in (read, fit)]
                mib = [_number(value / 2**20 if value else None) for value in memory]
                seconds = middle(fit, lambda row: row["epoch_seconds"][0])
                body.append(
                    [
                        f"{layout}, {count:,}",
                        _number(middle(read, rate)),
                        mib[0],
                        _number(seconds),
                        mib[1],
                    ]
                )
        head = [
            f"images of {size}",
            "read, images/s",
            "own memory, MiB",
            "functional, its first epoch, s",
            "own memory, MiB",
        ]
        text.append(_table(head, body))
    two = where(rows, subject="processes")
    if two:
        times = training_epochs(two)
        one = next(iter(times.values()))
        body = [
            [name, _number(seconds), _times(ratio(seconds, one))] for name, seconds in times.items()
        ]
        text.append("ResNet50, one process on all cores and two that share them:")
        text.append(_table(["processes and batch of each", "epoch, s", "of one process's"], body))
    return "\n\n".join(text)


def training_epochs(rows: list[Row]) -> dict[str, float | None]:
    """Median epoch of each contestant, seconds."""
    from benchmarks.training import epoch_seconds

    return {
        name: middle(where(rows, contestant=name), epoch_seconds)
        for name in distinct(rows, "contestant")
    }


def _gpu(record: dict[str, Any]) -> str:
    rows = latest(record, "gpu")
    if not rows:
        return (
            "## GPU\n\nNot measured: no GPU was at hand. `python scripts/benchmark.py --parts "
            "gpu` measures the functional model's 100 "
            "epochs and ResNet50's images per second, against the loop and the card's ceilings, "
            "with a profile; its commands are "
            "tested on the CPU only."
        )
    card = next(iter(where(rows, subject="ceilings")), {})
    text = ["## GPU"]
    if card:
        text.append(
            f"{card['device']}: {card['bf16_tflops']:,.0f} TFLOP/s in large bf16 products, "
            f"{card['tf32_tflops']:,.0f} in TF32, "
            f"{card['copy_gbs']:,.0f} GB/s read and written by a copy; "
            "measured, not from a data sheet."
        )
    functional = where(rows, subject="functional")
    body = []
    for name in distinct(functional, "contestant"):
        mine = where(functional, contestant=name)
        after, process = (
            middle(mine, key) for key in ("after_first_step_seconds", "process_seconds")
        )
        body.append([NAMES[name], _number(after), _number(process)])
    text.append(_table(["Functional, 100 epochs", "after the first step, s", "process, s"], body))
    body = []
    for size in [
        subject for subject in distinct(rows, "subject") if subject.startswith("resnet50")
    ]:
        for precision in distinct(where(rows, subject=size), "precision"):
            here = where(rows, subject=size, precision=precision)
            rate_of_ours, loop = (
                middle(where(here, contestant=n), images_per_second)
                for n in ("signs_lightning", "hand_written")
            )
            share = None
            if rate_of_ours and card:
                ceiling = card["tf32_tflops" if precision == "tf32" else "bf16_tflops"]
                share = rate_of_ours * card["flops"][size.split()[1]] / 1e12 / ceiling
            body.append(
                [
                    f"{size}, {precision}",
                    _number(rate_of_ours),
                    _number(loop),
                    _times(ratio(rate_of_ours, loop)),
                    f"{share:.0%}" if share else "–",
                ]
            )
    text.append(
        _table(
            [
                "",
                "ours, images/s",
                "loop, images/s",
                "ours to the loop",
                "of the card's arithmetic",
            ],
            body,
        )
    )
    for row in [row for row in rows if "profile" in row and row["repeat"] == 0]:
        text.append(
            f"Where the time goes, {row['subject'].removeprefix('profile of ')}:\n\n```\n"
            f"{row['profile']}\n```"
        )
    return "\n\n".join(text)
