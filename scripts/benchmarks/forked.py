"""Measure in forks of this process, which has imported everything: a start costs no imports.

This process must not have touched a GPU, since CUDA's state survives no fork.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.marks import VARIABLE, durations


@dataclass(frozen=True)
class Step:
    """What a fork is to do.

    Args:
        labels: what the result is filed under.
        call: does it, and hands over what it found as `Marks` do.
        variables: environment variables for it alone.
    """

    labels: dict[str, Any]
    call: Callable[[], object]
    variables: dict[str, str] = field(default_factory=dict)


class Fork:
    """A fork that takes one step after the other, in an empty folder of its own.

    Args:
        steps: what it does; after one that fails it stops.
        folder: where it works, and where its output lies in `log.txt`.
        environment: its environment variables.
        method: "fork", or "spawn" for a process that imports everything anew.
    """

    def __init__(
        self, steps: list[Step], folder: Path, environment: dict[str, str], method: str = "fork"
    ) -> None:
        self.steps, self.folder = steps, folder
        folder.mkdir(parents=True)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else the fork prints what is left in them once more
        context: Any = multiprocessing.get_context(method)
        self.process = context.Process(target=_work, args=(steps, folder, environment))
        self.process.start()

    def results(self, timeout: float) -> list[dict[str, Any]]:
        """Wait for it, end it when it takes longer (s), and return what each step found."""
        self.process.join(max(timeout, 0))
        late = self.process.is_alive()
        if late and self.process.pid:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self.process.kill()
            self.process.join()
        return [self._result(k, late) for k in range(len(self.steps))]

    def _result(self, k: int, late: bool) -> dict[str, Any]:
        labels, marks = self.steps[k].labels, self.folder / f"marks-{k}.json"
        times = self.folder / f"times-{k}.json"
        if not marks.exists() or not times.exists():
            why = "it took too long" if late else f"exit code {self.process.exitcode}"
            return {**labels, "failed": f"{why}: {tail(self.folder / 'log.txt')}"}
        start, end = json.loads(times.read_text())
        found = durations(json.loads(marks.read_text()), start)
        return {**labels, "fork_seconds": round(end - start, 3), **found}


def tail(log: Path, characters: int = 1500) -> str:
    """The end of what a process printed."""
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    return text[-characters:] or "nothing printed"


def _work(steps: list[Step], folder: Path, environment: dict[str, str]) -> None:
    os.setsid()  # so that it can be ended with all that it has started
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    for k, step in enumerate(steps):
        os.environ.update({**step.variables, VARIABLE: str(folder / f"marks-{k}.json")})
        start = time.time()
        try:
            step.call()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        Path(f"times-{k}.json").write_text(json.dumps([start, time.time()]))
        for name in step.variables:
            del os.environ[name]
