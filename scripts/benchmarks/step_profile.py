"""Where the time of training steps goes: operators, kernels and Python functions.

`Marks.step` calls it where BENCHMARK_PROFILE names the steps as "first:count".
"""

from __future__ import annotations

import cProfile
import pstats
import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity

OPERATORS, FUNCTIONS = 400, 40  # so many are kept


class StepProfile:
    """Profile some steps with PyTorch's profiler, and as many after them with Python's.

    Args:
        wanted: "first:count", the number of the first step and how many.

    Attributes:
        found: seconds of a step (`step_seconds`), of its kernels on the GPU (`kernel_seconds`), the
            number of kernels (`kernels`), operators as [name, calls, seconds on the CPU, seconds
            on the GPU] a step, and Python's functions as [where, calls, seconds] a step.
    """

    def __init__(self, wanted: str) -> None:
        self.first, self.count = (int(part) for part in wanted.split(":"))
        self.found: dict[str, Any] = {}
        self._done = 0
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._torch = torch.profiler.profile(activities=activities)
        self._python = cProfile.Profile()

    def step(self) -> None:
        """A step is done."""
        self._done += 1
        if self._done == self.first:
            self._torch.start()
            self._begin()
        elif self._done == self.first + self.count:
            self.found["step_seconds"] = self._seconds()
            self._torch.stop()
            self._keep_operators()
        elif self._done == self.first + self.count + 1:
            self._begin()
            self._python.enable()
        elif self._done == self.first + 2 * self.count + 1:
            self._python.disable()
            self.found["python_step_seconds"] = self._seconds()
            self._keep_functions()

    def _begin(self) -> None:
        _wait()
        self._began = time.perf_counter()

    def _seconds(self) -> float:
        _wait()
        return (time.perf_counter() - self._began) / self.count

    def _keep_operators(self) -> None:
        rows, kernels, kernel_seconds = [], 0, 0.0
        for event in self._torch.key_averages():
            on_gpu = event.self_device_time_total / 1e6 / self.count
            if event.device_type == torch.autograd.DeviceType.CPU:
                on_cpu = event.self_cpu_time_total / 1e6 / self.count
                rows.append([event.key[:80], event.count / self.count, on_cpu, on_gpu])
            elif not event.is_user_annotation:
                kernels += event.count
                kernel_seconds += on_gpu
        rows.sort(key=lambda row: -max(row[2], row[3]))
        self.found |= {"operators": rows[:OPERATORS], "kernel_seconds": kernel_seconds}
        self.found["kernels"] = kernels / self.count

    def _keep_functions(self) -> None:
        rows = []
        for (file, line, name), (_, calls, own, _, _) in pstats.Stats(self._python).stats.items():  # type: ignore[attr-defined]
            where = f"{'/'.join(file.split('/')[-2:])}:{line} {name}"[:100]
            rows.append([where, calls / self.count, own / self.count])
        rows.sort(key=lambda row: -row[2])
        self.found["functions"] = rows[:FUNCTIONS]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compare(ours: dict[str, Any], loop: dict[str, Any], lines: int = 14) -> str:
    """Return a text: both steps' times, and the operators that differ most, in ms a step."""
    text = []
    for name, found in (("signs_lightning", ours), ("hand-written loop", loop)):
        text.append(
            f"{name}: {found['step_seconds'] * 1e3:.2f} ms a step under the profiler, "
            f"{found['kernel_seconds'] * 1e3:.2f} ms of it in {found['kernels']:.0f} kernels"
        )
    # Lightning runs forward and backward inside the optimizer's step, the latter on a thread of its
    # own, so that waiting for them would count as the step's.
    mine, theirs = (
        {row[0]: row for row in found["operators"] if not row[0].startswith("Optimizer.step#")}
        for found in (ours, loop)
    )
    zero = ["", 0.0, 0.0, 0.0]
    waits = (rows.get("cudaStreamSynchronize", zero)[1] for rows in (mine, theirs))
    text.append("a step waits for the GPU {:.0f} times in ours, {:.0f} in the loop".format(*waits))
    for place, where in ((2, "CPU"), (3, "GPU")):
        rows = [
            (mine.get(key, zero)[place] - theirs.get(key, zero)[place], key)
            for key in {**mine, **theirs}
        ]
        rows = sorted(rows, key=lambda row: -abs(row[0]))[:lines]
        text.append(f"ours less the loop's, own time on the {where}, ms a step:")
        for difference, key in rows:
            a, b, name = mine.get(key, zero), theirs.get(key, zero), key[:48]
            text.append(
                f"  {difference * 1e3:+8.3f}  {name}  ({a[1]:.0f} calls, {a[place] * 1e3:.3f} ms; "
                f"{b[1]:.0f}, {b[place] * 1e3:.3f})"
            )
    text.append("Python's own time in ours, ms a step:")
    for where, calls, seconds in ours.get("functions", [])[:lines]:
        text.append(f"  {seconds * 1e3:8.3f}  {where}  ({calls:.0f} calls)")
    return "\n".join(text)
