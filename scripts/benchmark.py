"""Measure signs_lightning beside Keras, a Lightning port and a plain loop.

    python scripts/benchmark.py

Writes benchmarks.json, benchmarks.md and images/benchmarks.png into docs/ (another folder with
--output). Everything is measured in processes of their own, one at a time, in turn; a machine that
does nothing else gives figures that mean something.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import machine, report
from benchmarks.measure import ROOT, Bench, Record

PARTS = ("training", "reading", "growth", "gpu")
MODELS = ("functional", "sequential", "resnet50")


def options(args: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measures signs_lightning beside its rivals on this machine."
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--models", default=",".join(MODELS), help="some of %(default)s")
    parser.add_argument(
        "--contestants", default="", help="some of the names in the tables' JSON; all when omitted"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="medians are taken over so many (default 3)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="smallest sizes, once: shows that it works, not how fast",
    )
    parser.add_argument(
        "--threads", type=int, default=machine.cores(), help="of each process (default: all cores)"
    )
    parser.add_argument(
        "--keras_python", default=sys.executable, help="interpreter with TensorFlow, Keras and h5py"
    )
    parser.add_argument(
        "--growth_size", type=int, default=16, help="pixels of the images that grow in number"
    )
    parser.add_argument(
        "--scratch",
        type=Path,
        help="folder for 3 GB of data; the system's temporary one when omitted",
    )
    parser.add_argument(
        "--device", default="cuda", help="of the part gpu; cpu tries out that its commands run"
    )
    parser.add_argument(
        "--limit", type=float, default=400, help="seconds after which gpu begins nothing more"
    )
    parser.add_argument(
        "--ways", help="how ResNet50 trains in gpu: some of 64-bf16, 224-tf32-compiled, …"
    )
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for the results (default docs; with --quick the scratch)",
    )
    parser.add_argument(
        "--from_json", action="store_true", help="measure nothing, write table and plot anew"
    )
    found = parser.parse_args(args)
    for name, known in (("parts", PARTS), ("models", MODELS)):
        chosen = tuple(part for part in getattr(found, name).split(",") if part)
        if unknown := set(chosen) - set(known):
            names = ", ".join(sorted(unknown))
            parser.error(f"--{name}: there is no {names}; there are {', '.join(known)}")
        setattr(found, name, chosen)
    found.contestants = tuple(name for name in found.contestants.split(",") if name)
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
            measure(chosen, scratch, Record(output / "benchmarks.json"))
        report.write(output)
        print(f"written: {output / 'benchmarks.md'}", flush=True)
    finally:
        if not chosen.keep and not output.is_relative_to(scratch):
            shutil.rmtree(scratch)


def commit() -> str | None:
    """Return the measured commit, marked if the tree differs; None outside a clone."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def measure(chosen: argparse.Namespace, scratch: Path, record: Record) -> None:
    """Measure the chosen parts."""
    from benchmarks import gpu, growth, reading, training

    ways = chosen.ways.split(",") if chosen.ways else gpu.WAYS
    if unknown := set(ways) - set(gpu.WAYS):
        raise SystemExit(f"--ways: there is no {', '.join(unknown)}: {', '.join(gpu.WAYS)}")
    pythons = {"this": sys.executable, "keras": chosen.keras_python}
    lists = {name: ",".join(getattr(chosen, name)) for name in ("parts", "models", "contestants")}
    options = [f"--{name} {value}" for name, value in lists.items() if value]
    options += [f"--repeats {chosen.repeats}"] + ["--quick"] * chosen.quick
    options += [f"--ways {chosen.ways}"] if chosen.ways else []
    options += ["--keras_python PATH"] if chosen.keras_python != sys.executable else []
    options += [f"--growth_size {chosen.growth_size}"] if chosen.growth_size != 16 else []
    record.begin(
        parts=chosen.parts,
        command=" ".join(["python scripts/benchmark.py", *options]),
        commit=commit(),
        quick=chosen.quick,
        repeats=1 if chosen.quick else chosen.repeats,
        threads=chosen.threads,
        machine=machine.describe(),
        versions={name: machine.versions(python) for name, python in pythons.items()},
    )
    bench = Bench(
        record,
        scratch,
        chosen.threads,
        1 if chosen.quick else chosen.repeats,
        chosen.quick,
        chosen.models,
        chosen.contestants,
        chosen.keras_python,
    )
    busy = machine.busy_share(2.0)
    if (busy or 0) > 0.1:
        others = f"{busy:.0%} of this machine's cores are in use by others"
        print(f"WARNING: {others}. The figures will mean little.")
    for part in chosen.parts:
        if part == "growth":
            growth.measure(bench, chosen.growth_size)
        elif part == "gpu":
            gpu.measure(bench, chosen.device, chosen.limit, ways)
        else:
            {"training": training, "reading": reading}[part].measure(bench)


if __name__ == "__main__":
    main()
