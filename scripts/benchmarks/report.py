"""Write benchmarks.md from benchmarks.json: tables and a plot.

What stands outside the two markers is kept.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from markdown_lines import wrap_prose

from benchmarks import gpu_table, plot, tables
from benchmarks.results import latest, where

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
    parts += [tables.training(record), tables.reading(record)]
    parts += [tables.growth(record), gpu_table.gpu(record)]
    text = wrap_prose("\n\n".join(part for part in parts if part))
    temporary = page.with_name(f".{page.name}")
    temporary.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    os.replace(temporary, page)


def _repeats(run: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """How many repeats were asked for, and whether time was left for them on a GPU."""
    wanted = run["repeats"]
    on_gpu = [(row["subject"], row["contestant"], row.get("precision")) for row in rows]
    done = max(Counter(on_gpu).values(), default=wanted) if run.get("parts") == ["gpu"] else wanted
    return f"{done} of {wanted} repeats" if done < wanted else f"{wanted} repeats"


def _run(record: dict[str, Any]) -> str:
    """What each run was measured with: command, machine, versions."""
    lines = []
    parts = ("training", "reading", "growth", "gpu")
    used = {row["run"] for part in parts for row in latest(record, part)}
    for run in record["runs"]:
        if run["run"] not in used:
            continue
        machine, versions = run["machine"], run["versions"]
        rows = where(record["measurements"], run=run["run"])
        busy = [row["busy_before"] for row in rows if row.get("busy_before") is not None]
        others = "idleness unknown"
        if busy:
            others = f"others used {max(busy):.0%} of it at most just before a measurement"
        own = ", ".join(f"{n} {v}" for n, v in versions["this"].items() if n != "tensorflow")
        names = {"keras", "tensorflow", "tensorflow-cpu"}
        keras = ", ".join(f"{n} {v}" for n, v in versions["keras"].items() if n in names)
        quick = " **Smallest sizes (`--quick`): the figures mean nothing.**" if run["quick"] else ""
        doubt = " **The machine was not idle.**" if busy and max(busy) > 0.1 else ""
        date = run["run"].split()[0]
        gpu = f"{machine['gpu']}, " if machine.get("gpu") else ""
        lines.append(
            f"- `{run['command']}`, {date}, commit {run.get('commit')}: {machine['processor']} "
            f"({', '.join(machine['instructions'])}), {machine['cores']} cores, "
            f"{machine['memory_gib']} GiB, {gpu}{machine['system']}; {run['threads']} threads, "
            f"{_repeats(run, rows)}; {others}.{doubt}{quick} {own}; Keras's own: "
            f"{keras or 'none'}."
        )
    text = (
        "Every figure is the median over repeats that were taken in turn (A B C, A B C, …), each "
        "in a process of its own with the same number of threads. Ratios are within one run. All "
        "figures are in [benchmarks.json](benchmarks.json)."
    )
    return "\n".join([text, "", *lines])
