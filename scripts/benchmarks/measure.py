"""Measure a process: its times and memory, in a record that survives a crash."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import busy_share, own_memory
from benchmarks.marks import VARIABLE, durations

SCRIPTS = Path(__file__).resolve().parents[1]
ROOT = SCRIPTS.parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
LIMIT_SECONDS = 1800  # a process that takes longer has failed
BUSY = 0.1  # above this share of the cores in use by others the figures are doubtful
Show = Callable[[dict[str, Any]], str]


class Record:
    """All measurements of all runs in one JSON file, rewritten after each of them.

    A run's measurements share its identifier; ratios are taken within a run only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.runs: list[dict[str, Any]] = content.get("runs", [])
        self.measurements: list[dict[str, Any]] = content.get("measurements", [])

    def begin(self, **about: Any) -> None:
        """A new run, with its command, machine and versions."""
        self.runs.append({"run": time.strftime("%Y-%m-%d %H:%M:%S"), **about})
        self.write()

    def add(self, measurement: dict[str, Any]) -> None:
        """Keeps a measurement of the running run."""
        self.measurements.append({"run": self.runs[-1]["run"], **measurement})
        self.write()

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}")
        rows = ",\n".join(f"  {json.dumps(row)}" for row in self.measurements)
        runs = ",\n".join(f"  {json.dumps(row)}" for row in self.runs)
        temporary.write_text(f'{{"runs": [\n{runs}\n],\n"measurements": [\n{rows}\n]}}\n')
        os.replace(temporary, self.path)


@dataclass(frozen=True)
class Task:
    """What is to be measured.

    Args:
        labels: what the result is filed under: part, subject, contestant and whatever tells it from
            the others.
        command: the process to start.
        environment: variables to add.
        before: called just before, such as to drop a file from the page cache; what it returns is
            kept with the result.
    """

    labels: dict[str, Any]
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    before: Callable[[], dict[str, Any]] | None = None


@dataclass
class Bench:
    """Where and how all measurements of a run are made.

    Args:
        record: takes the results.
        scratch: folder for data and for what the measured processes write; emptied by its owner.
        threads: compute threads of every measured process.
        repeats: how often each measurement is made.
        quick: the smallest sizes, to see that everything works.
        models: functional, sequential, resnet50, or some of them.
        contestants: names of those to measure; all when empty.
        keras_python: interpreter that has TensorFlow.
    """

    record: Record
    scratch: Path
    threads: int
    repeats: int = 3
    quick: bool = False
    models: tuple[str, ...] = ("functional", "sequential", "resnet50")
    contestants: tuple[str, ...] = ()
    keras_python: str = sys.executable

    def is_chosen(self, contestant: str) -> bool:
        """Whether a contestant takes part."""
        return not self.contestants or contestant in self.contestants

    def interleaved(self, tasks: Iterable[Task], show: Show) -> list[dict[str, Any]]:
        """Measures A B C, A B C, … as often as there are repeats; prints a line for each."""
        tasks = list(tasks)
        results, total = [], len(tasks) * self.repeats
        for repeat in range(self.repeats):
            for task in tasks:
                result = {**task.labels, "repeat": repeat, **self.measure(task)}
                self.record.add(result)
                results.append(result)
                name = "  ".join(str(value) for value in task.labels.values())
                line = f"failed: {result['failed']}" if "failed" in result else show(result)
                print(f"[{len(results):>{len(str(total))}}/{total}] {name}  {line}", flush=True)
                if (result["busy_before"] or 0) > BUSY:
                    print(
                        f"    {result['busy_before']:.0%} of the cores were in use "
                        "by others before it",
                        flush=True,
                    )
        return results

    def measure(self, task: Task) -> dict[str, Any]:
        """Run a task's process; return its time, peak memory and what it handed over."""
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.scratch))
        try:
            found = task.before() if task.before else {}
            found |= {"busy_before": busy_share(), "load": round(os.getloadavg()[0], 2)}
            return found | self._run(task, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of every measured process.

        The same number of threads, and no GPU unless `more` names one.
        """
        threads = str(self.threads)
        # what is measured is this checkout, wherever it is installed from
        paths = [str(SCRIPTS), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        keep = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PL_", "KMP_", "OMP_"))
        }
        return keep | {
            **dict.fromkeys(THREADS, threads),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join(paths),
        } | more  # fmt: skip

    def _run(self, task: Task, folder: Path) -> dict[str, Any]:
        marks, log = folder / "marks.json", folder / "log.txt"
        environment = self.environment(**task.environment) | {VARIABLE: str(marks)}
        with log.open("wb") as output:
            start, began = time.time(), time.perf_counter()
            process = subprocess.Popen(
                task.command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            with _Watched(process) as watched:
                code = process.wait()
            seconds = time.perf_counter() - began
        if code != 0 or not marks.exists():
            lines = log.read_text(errors="replace").strip().splitlines()
            return {
                "failed": f"exit code {code}: {lines[-1][:300] if lines else 'nothing printed'}"
            }
        found = durations(json.loads(marks.read_text()), start)
        return {"process_seconds": round(seconds, 3), "peak_bytes": watched.peak, **found}


class _Watched:
    """Look at a process's memory every 50 ms, and end it when it takes too long."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.peak = process, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watched:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._over.set()
        self._thread.join()
        if kind is not None:  # interrupted: nothing is left running
            self._end()

    def _watch(self) -> None:
        until = time.monotonic() + LIMIT_SECONDS
        while not self._over.wait(0.05):
            self.peak = max(self.peak, own_memory(self.process.pid))
            if time.monotonic() > until:
                self._end()
                return

    def _end(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()
