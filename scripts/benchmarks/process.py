"""Measure processes in turn: times and memory, in a record that survives a crash."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.marks import VARIABLE, durations

SCRIPTS = Path(__file__).resolve().parents[1]
ROOT = SCRIPTS.parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
LIMIT_SECONDS = 1800  # a process that takes longer has failed
BUSY = 0.1  # above this share of the cores in use by others the figures are doubtful
# What fast arithmetic depends on.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
PACKAGES = (
    *("torch", "lightning", "torchmetrics", "keras", "tensorflow", "tensorflow-cpu", "jax"),
    *("numpy", "h5py"),
)


@dataclass(frozen=True)
class Task:
    """What is to be measured.

    Args:
        labels: what the result is filed under: part, subject, contestant and whatever tells it from
            the others.
        command: the process to start.
        environment: variables to add.
        before: called just before, such as to drop a file from the page cache.
    """

    labels: dict[str, Any]
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] = bool


@dataclass
class Bench:
    """A run: where and how everything is measured.

    All measurements of all runs are in one JSON file, rewritten after each of them.

    Args:
        path: of that file.
        scratch: folder for data and for what the measured processes write; emptied by its owner.
        threads: compute threads of every measured process.
        repeats: how often each measurement is made.
        quick: the smallest sizes, to see that everything works.
        models: functional, sequential, resnet50, or some of them.
        contestants: names of those to measure; all when empty.
        keras_python: interpreter that has TensorFlow.
        layout: only files to read whose size and layout contain this text.
    """

    path: Path
    scratch: Path
    threads: int
    repeats: int = 3
    quick: bool = False
    models: tuple[str, ...] = ("functional", "sequential", "resnet50")
    contestants: tuple[str, ...] = ()
    keras_python: str = sys.executable
    layout: str = ""

    def begin(self, **about: Any) -> None:
        """A new run, with its command, machine and versions."""
        self.record: dict[str, list[dict[str, Any]]] = {"runs": [], "measurements": []}
        if self.path.exists():
            self.record = json.loads(self.path.read_text())
        self.record["runs"].append({"run": time.strftime("%Y-%m-%d %H:%M:%S"), **about})

    def add(self, measurement: dict[str, Any]) -> None:
        """Keep a measurement of this run."""
        row = {"run": self.record["runs"][-1]["run"], **measurement}
        self.record["measurements"].append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}")
        runs, rows = (",\n".join(f"  {json.dumps(row)}" for row in self.record[name])
                      for name in ("runs", "measurements"))  # fmt: skip
        temporary.write_text(f'{{"runs": [\n{runs}\n],\n"measurements": [\n{rows}\n]}}\n')
        os.replace(temporary, self.path)

    def is_chosen(self, *names: str) -> bool:
        """Whether a contestant takes part, by one of its names."""
        return not self.contestants or bool(set(names) & set(self.contestants))

    def in_turn(self, tasks: Iterable[Task], repeats: int | None = None) -> None:
        """Measure A B C, A B C, … as often as there are repeats; print a line for each."""
        tasks = list(tasks)
        for repeat in range(repeats or self.repeats):
            for number, task in enumerate(tasks, 1):
                busy, load = busy_share(), round(os.getloadavg()[0], 2)
                result = {**task.labels, "repeat": repeat, "busy_before": busy, "load": load}
                result |= self.measure(task)
                self.add(result)
                kept = ("failed", "epoch_seconds", "process_seconds", "images_read", "seconds")
                found = {name: result[name] for name in kept if name in result}
                name = "  ".join(str(value) for value in task.labels.values())
                print(f"[{number}/{len(tasks)}, {repeat + 1}] {name}  {found}", flush=True)
                if (busy or 0) > BUSY:
                    print(f"    {busy:.0%} of the cores were in use by others", flush=True)

    def environment(self) -> dict[str, str]:
        """Return the environment of every measured process: so many threads, no GPU."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PL_", "KMP_", "OMP_"))}
        # what is measured is this checkout, wherever it is installed from
        paths = [str(SCRIPTS), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return keep | {
            **dict.fromkeys(THREADS, str(self.threads)),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def measure(self, task: Task) -> dict[str, Any]:
        """Run a task's process; return its time, peak memory and what it handed over."""
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.scratch))
        marks, log = folder / "marks.json", folder / "log.txt"
        environment = self.environment() | task.environment | {VARIABLE: str(marks)}
        task.before()
        try:
            with log.open("wb") as output:
                start, began = time.time(), time.perf_counter()
                process = subprocess.Popen(
                    task.command, cwd=folder, env=environment, stdout=output, stderr=output,
                    start_new_session=True,
                )  # fmt: skip
                peak = _watch(process)
                seconds = time.perf_counter() - began
            if process.returncode != 0 or not marks.exists():
                last = (log.read_text(errors="replace").strip() or "nothing printed").split("\n")
                return {"failed": f"exit code {process.returncode}: {last[-1][:300]}"}
            found = durations(json.loads(marks.read_text()), start)
            return {"process_seconds": round(seconds, 3), "peak_bytes": peak, **found}
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _watch(process: subprocess.Popen) -> int:
    """Wait for a process, end it when it takes too long, return its memory's peak in bytes."""
    over, peaks = threading.Event(), [0]

    def look() -> None:
        while not over.wait(0.05):
            peaks[0] = max(peaks[0], own_memory(process.pid))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LIMIT_SECONDS)
    finally:  # interrupted, too: nothing is left running
        over.set()
        watcher.join()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return peaks[0]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Processor, memory and system, in words and numbers."""
    lines = (line.partition(":") for line in _read("/proc/cpuinfo").splitlines())
    info = {name.strip(): value.strip() for name, _, value in lines}
    memory = re.findall(r"MemTotal:\s+(\d+)", _read("/proc/meminfo")) or ["0"]
    flags, query = info.get("flags", "").split(), ["--query-gpu=name", "--format=csv,noheader"]
    gpu = ""
    if shutil.which("nvidia-smi"):
        gpu = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True).stdout
    return {
        "processor": info.get("model name", platform.processor() or platform.machine()),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": cores(),
        "memory_gib": round(int(memory[0]) / 2**20),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": gpu.partition("\n")[0].strip() or None,
    }


def versions(python: str) -> dict[str, str]:
    """Return the versions of Python and of the packages measured here."""
    code = (
        "import importlib.metadata as m, json, platform, sys\n"
        "known = {d.name.lower(): d.version for d in m.distributions() if d.name}\n"
        "found = {name: known[name] for name in sys.argv[1:] if name in known}\n"
        "print(json.dumps({'python': platform.python_version(), **found}))"
    )
    return json.loads(subprocess.check_output([python, "-c", code, *PACKAGES], text=True))


def busy_share(seconds: float = 0.3) -> float | None:
    """Return the share of the cores in use now, 0..1; None where unknown."""
    if not (before := _read("/proc/stat").partition("\n")[0].split()[1:9]):
        return None
    time.sleep(seconds)
    after = _read("/proc/stat").partition("\n")[0].split()[1:9]
    spent = [int(b) - int(a) for a, b in zip(before, after, strict=True)]
    return round(1 - (spent[3] + spent[4]) / max(1, sum(spent)), 3)


def own_memory(process: int) -> int:
    """Return the RssAnon of a process and its descendants in bytes; 0 where unknown.

    It is what they own, without files that are mapped. What a forked child still shares with its
    parent is counted twice.
    """
    kilobytes = re.findall(r"RssAnon:\s+(\d+)", _read(f"/proc/{process}/status")) or ["0"]
    children = []
    with suppress(OSError):  # it may have ended
        for thread in os.listdir(f"/proc/{process}/task"):
            children += _read(f"/proc/{process}/task/{thread}/children").split()
    return int(kilobytes[0]) * 1024 + sum(own_memory(int(child)) for child in children)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
