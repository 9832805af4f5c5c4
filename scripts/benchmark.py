"""Measure signs_lightning beside Keras, a Lightning port and a plain loop.

    python scripts/benchmark.py

Writes benchmarks.json, benchmarks.md and images/benchmarks.png into docs/ (another folder with
--output). Everything is measured in processes of their own, one at a time, in turn; a machine that
does nothing else gives figures that mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import gpu, gpu_table, growth, plot, process, reading, tables, training
from benchmarks.process import ROOT, Bench
from markdown_lines import wrap_prose

PARTS = ("training", "reading", "growth", "gpu")
INTRODUCTION = (
    "Every figure is the median over repeats that were taken in turn (A B C, A B C, …), each in a "
    "process of its own with the same number of threads; lowest and highest stand behind it. "
    "Ratios are of the medians shown. All figures are in [benchmarks.json](benchmarks.json)."
)
BEGIN, END = "<!-- figures: written by scripts/benchmark.py -->", "<!-- end of figures -->"


def options(args: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measures signs_lightning beside its rivals on this machine."
    )

    def add(name: str, text: str, **more: Any) -> None:
        parser.add_argument(f"--{name}", help=text, **more)

    lists = {"parts": PARTS, "models": tuple(tables.MODELS), "ways": gpu.WAYS}
    for name, known in lists.items():
        text = "some of %(default)s" if name != "ways" else "of the part gpu, some of %(default)s"
        add(name, text, default=",".join(known))
    add("contestants", "names in the tables' JSON, causes of growth; all when omitted", default="")
    add("layout", "only files to read whose size and layout contain this text", default="")
    add("repeats", "medians are taken over so many (default 3)", type=int, default=3)
    add("quick", "smallest sizes, once: shows that it works, not how fast", action="store_true")
    add("threads", "of each process (default: all cores)", type=int, default=process.cores())
    add("keras_python", "interpreter with TensorFlow, Keras and h5py", default=sys.executable)
    add("scratch", "folder for 3 GB of data; the system's temporary one when omitted", type=Path)
    add("device", "of the part gpu; cpu tries out that its commands run", default="cuda")
    add("output", "folder for the results (default docs; the scratch with --quick)", type=Path)
    add("from_json", "measure nothing, write tables and plot anew", action="store_true")
    found = parser.parse_args(args)
    found.command = " ".join(
        ["python scripts/benchmark.py", *(sys.argv[1:] if args is None else args)]
    )
    for name, known in lists.items():
        chosen = tuple(part for part in getattr(found, name).split(",") if part)
        if unknown := set(chosen) - set(known):
            names = ", ".join(sorted(unknown))
            parser.error(f"--{name}: there is no {names}; there are {', '.join(known)}")
        setattr(found, name, chosen)
    found.contestants = tuple(name for name in found.contestants.split(",") if name)
    causes = {*growth.CAUSES, "processes"}
    if unknown := set(found.contestants) - {*tables.NAMES, *causes, "card"}:
        parser.error(f"--contestants: there is no {', '.join(sorted(unknown))}")
    if not shutil.which(found.keras_python):
        parser.error(f"--keras_python: {found.keras_python} cannot be run")
    if found.repeats < 1 or found.threads < 1:
        parser.error("--repeats and --threads must be at least 1")
    return found


def main(args: list[str] | None = None) -> None:
    """Measure what is asked for and write the report."""
    chosen = options(args)
    if chosen.scratch:
        chosen.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="benchmark-", dir=chosen.scratch)).resolve()
    output = chosen.output or (scratch if chosen.quick else ROOT / "docs")
    try:
        if not chosen.from_json:
            measure(chosen, scratch, output / "benchmarks.json")
        write(output)
        print(f"written: {output / 'benchmarks.md'}", flush=True)
    finally:
        if not output.is_relative_to(scratch):
            shutil.rmtree(scratch)


def measure(chosen: argparse.Namespace, scratch: Path, path: Path) -> None:
    """Measure the chosen parts."""
    repeats = 1 if chosen.quick else chosen.repeats
    bench = Bench(
        path, scratch, chosen.threads, repeats, chosen.quick, chosen.models, chosen.contestants,
        chosen.keras_python, chosen.layout,
    )  # fmt: skip
    commit = describe_commit() if shutil.which("git") else None
    pythons = {"this": sys.executable, "keras": chosen.keras_python}
    bench.begin(
        parts=chosen.parts,
        command=chosen.command.replace(chosen.keras_python, "PATH"),
        commit=commit,
        quick=chosen.quick,
        repeats=repeats,
        threads=chosen.threads,
        machine=process.describe(),
        versions={name: process.versions(python) for name, python in pythons.items()},
    )
    busy = process.busy_share(2.0) or 0
    if busy > process.BUSY:
        print(f"WARNING: others use {busy:.0%} of the cores. The figures will mean little.")
    for part in chosen.parts:
        if part == "gpu":
            gpu.measure(bench, chosen.device, chosen.ways)
        else:
            {"training": training, "reading": reading, "growth": growth}[part].measure(bench)


def describe_commit() -> str | None:
    """Return the commit that is measured, "-dirty" where code differs from it; None outside git."""

    def git(*args: str) -> str:
        command = ["git", "-C", str(ROOT), *args]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    commit = git("rev-parse", "--short", "HEAD")
    changed = git("status", "--porcelain", "--", "signs_lightning", "scripts", "configs")
    return f"{commit}{'-dirty' if changed else ''}" or None


def write(folder: Path) -> None:
    """Write benchmarks.md, between its markers, and images/benchmarks.png from benchmarks.json."""
    record = json.loads((folder / "benchmarks.json").read_text())
    page, parts = folder / "benchmarks.md", [INTRODUCTION]
    if plot.draw(record, folder / "images" / "benchmarks.png"):
        parts.append("![Epochs and images per second](images/benchmarks.png)")
    titles = {"training": "Training", "reading": "Reading HDF5", "growth": "Growth", "gpu": "GPU"}
    for name, title in titles.items():
        if found := getattr(gpu_table if name == "gpu" else tables, name)(record):
            parts += [f"## {title}", *found]
    parts += ["## What was run", runs(record)]
    before, after = "# How fast it is\n\n", "\n"
    if page.exists() and BEGIN in page.read_text():
        before, _, rest = page.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
    text = wrap_prose("\n\n".join(parts))
    temporary = page.with_name(f".{page.name}")
    temporary.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    os.replace(temporary, page)


def runs(record: dict[str, Any]) -> str:
    """What each run that is shown was measured with: command, machine, versions."""
    used = {row["run"] for part in PARTS for row in tables.latest(record, part)}
    lines = []
    for run in (run for run in record["runs"] if run["run"] in used):
        machine, versions = run["machine"], run["versions"]
        rows = tables.where(record["measurements"], run=run["run"])
        busy = max((row.get("busy_before") or 0 for row in rows), default=0)
        keras = {
            k: v
            for k, v in versions["keras"].items()
            if k in ("keras", "tensorflow", "tensorflow-cpu")
        }
        own, theirs = (
            ", ".join(f"{k} {v}" for k, v in some.items()) for some in (versions["this"], keras)
        )
        gpu_name = f"{machine['gpu']}, " if machine.get("gpu") else ""
        done = max((row.get("repeat", 0) for row in rows), default=0) + 1
        lines.append(
            f"- `{run['command']}`, {run['run'].split()[0]}, commit {run.get('commit')}: "
            f"{machine['processor']} ({', '.join(machine['instructions'])}), {machine['cores']} "
            f"cores, {machine['memory_gib']} GiB, {gpu_name}{machine['system']}; "
            f"{run['threads']} threads, {done} of {run['repeats']} repeats; others used "
            f"{busy:.0%} of it at most just before a measurement."
            f"{' **The machine was not idle.**' if busy > process.BUSY else ''}"
            f"{' **Smallest sizes: the figures mean nothing.**' if run['quick'] else ''} "
            f"{own}; Keras's own: {theirs or 'none'}."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
