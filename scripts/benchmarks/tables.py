"""Tables of benchmarks.md: training, reading and growth, as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.results import (
    MODELS,
    NAMES,
    distinct,
    latest,
    middle,
    rate,
    ratio,
    training_times,
    where,
)
from benchmarks.training import epoch_seconds


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, figures to the right."""
    if any(len(row) != len(head) for row in rows):
        raise ValueError(f"a row does not fit the head {head}")
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def number(value: float | None, sign: str = "") -> str:
    """Format a figure with three significant digits; a dash for None."""
    if value is None:
        return "–"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}{sign}"


def times_as_text(value: float | None) -> str:
    """Format a ratio; a dash for None."""
    return "–" if value is None else f"{value:.2f}×"


def training(record: dict[str, Any]) -> str:
    """Training: epochs and processes of each model and precision."""
    rows = latest(record, "training")
    if not rows:
        return ""
    text = [
        "## Training",
        "An epoch is training, validation and whatever happens before the next epoch begins; a "
        "process's first one is left out. The process is timed from its start to its end: 100, 10 "
        "and 2 epochs. Ours is the command line in its default configuration, with logger, "
        "checkpoints, history and curves. Keras's epochs leave out what its callbacks do at their "
        "end; its process is with TensorBoard (where TensorFlow is installed), the best checkpoint "
        "and a CSV file. The loop has neither logger nor checkpoints: it is the limit.",
    ]
    for model in MODELS:
        for precision in ("fp32", "bf16"):
            times = training_times(rows, model, precision)
            if not times:
                continue
            keras, limit = times.get("keras_tensorflow", {}), times.get("hand_written", {})
            head = [
                f"{MODELS[model]}, {precision}", "epoch, s", "faster than Keras",
                "of the loop's time", "process, s", "faster than Keras", "training begins after, s",
                "own memory, MiB",
            ]  # fmt: skip
            body = [
                [
                    NAMES[contestant],
                    number(found["epoch"]),
                    times_as_text(ratio(keras.get("epoch"), found["epoch"])),
                    times_as_text(ratio(found["epoch"], limit.get("epoch"))),
                    number(found["process"]),
                    times_as_text(ratio(keras.get("process"), found["process"])),
                    number(found["start"]),
                    number(found["memory"]),
                ]
                for contestant, found in times.items()
            ]
            text.append(table(head, body))
    if where(rows, subject="resnet50") and not where(rows, precision="bf16"):
        reason = "this processor has no instructions for it, and is many times slower with it."
        text.append(f"bf16 was left out: {reason}")
    return "\n\n".join(text)


def reading(record: dict[str, Any]) -> str:
    """Reading HDF5: images per second and memory of each layout."""
    rows = latest(record, "reading")
    if not rows:
        return ""
    text = [
        "## Reading HDF5",
        "Images per second of `H5DataModule(train_file=…, batch_size=64)`'s DataLoader, shuffled, "
        "without a Trainer; of h5py by the sample in a plain DataLoader, shuffled, batches of 64, "
        "with file and dataset opened once in each process and the labels in memory; of whole "
        "chunks in file order through h5py; and, of compressed files, of zlib alone. The limit is "
        "that of zlib on all threads, else the blocks. *Warm* is from the page cache, *cold* from "
        "the disk.",
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
                ours, limit = rates.get("signs_lightning"), rates.get("inflate_all")
                samples = max(rates.get(f"per_sample_{workers}") or 0 for workers in (0, 2))
                share = f" ({here[0]['stored']:.0%} of the bytes)" if "gzip" in layout else ""
                ratios = (ratio(ours, samples), ratio(ours, limit or rates.get("blocks")))
                numbers = [number(rates[name]) for name in shown]
                body.append([f"{layout}{share}", *numbers, *map(times_as_text, ratios)])
            names = [NAMES[name] for name in shown]
            head = [f"{size}, {most:,} images, {cache}", *names]
            text.append(
                table([*head, "ours to the better by the sample", "ours to the limit"], body)
            )
        if cache == "cold" and not all(row.get("dropped_from_cache") for row in found):
            text.append("The page cache could not be emptied: *cold* is not cold here.")
    memory = where(rows, contestant="signs_lightning", cache="warm")
    for size in distinct(memory, "subject"):
        counts = sorted(distinct(where(memory, subject=size), "images"))
        if len(counts) > 1:
            body = []
            for layout in distinct(where(memory, subject=size), "layout"):
                mine = where(memory, subject=size, layout=layout)
                owned = [middle(where(mine, images=n), "peak_bytes") for n in counts]
                mib = [number(value / 2**20 if value else None) for value in owned]
                body.append([layout, *mib, times_as_text(ratio(owned[-1], owned[0]))])
            head = [f"own memory (RssAnon) at most, MiB, {size}"]
            text.append(table([*head, *(f"{n:,} images" for n in counts), "ratio"], body))
    return "\n\n".join(text)


def growth(record: dict[str, Any]) -> str:
    """How time and memory grow with the number of images."""
    rows = latest(record, "growth")
    text = ["## Growth"] if rows else []
    for size in [subject for subject in distinct(rows, "subject") if subject != "processes"]:
        body = []
        for layout in distinct(where(rows, subject=size), "layout"):
            for count in distinct(where(rows, subject=size, layout=layout), "images"):
                here = where(rows, subject=size, layout=layout, images=count)
                read, fit = where(here, contestant="reading"), where(here, contestant="fit")
                memory = [middle(part, "peak_bytes") for part in (read, fit)]
                mib = [number(value / 2**20 if value else None) for value in memory]
                seconds = middle(fit, lambda row: row["epoch_seconds"][0])
                figures = [number(middle(read, rate)), mib[0], number(seconds), mib[1]]
                body.append([f"{layout}, {count:,}", *figures])
        head = [f"images of {size}", "read, images/s", "own memory, MiB"]
        text.append(table([*head, "functional, its first epoch, s", "own memory, MiB"], body))
    two = where(rows, subject="processes")
    if two:
        times = {
            name: middle(where(two, contestant=name), epoch_seconds)
            for name in distinct(two, "contestant")
        }
        one = next(iter(times.values()))
        body = [[name, number(s), times_as_text(ratio(s, one))] for name, s in times.items()]
        text.append("ResNet50, one process on all cores and two that share them:")
        text.append(table(["processes and batch of each", "epoch, s", "of one process's"], body))
    return "\n\n".join(text)
