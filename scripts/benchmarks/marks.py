"""When the epochs of a measured process began and ended.

They are handed to the benchmark in a file. Needs the standard library only.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

PROFILE = "BENCHMARK_PROFILE"  # "first:count", the steps to profile
VARIABLE = "BENCHMARK_MARKS"  # names the file to write; nothing is written without it


class Marks:
    """Times of one training: epochs, the end of the first step, the end of it all.

    An epoch lasts until the next one begins, so that whatever happens between two epochs counts,
    unless its end is marked, too.
    """

    def __init__(self) -> None:
        self.epoch_starts: list[float] = []
        self.epoch_ends: list[float] = []
        self.step_ends: list[float] = []
        self.first_step: float | None = None
        self.end: float | None = None
        self._profile: Any = None
        if wanted := os.environ.get(PROFILE):
            from benchmarks.step_profile import StepProfile  # PyTorch, which Keras's rival lacks

            self._profile = StepProfile(wanted)

    def epoch(self) -> None:
        """An epoch begins."""
        self.epoch_starts.append(time.time())

    def epoch_end(self) -> None:
        """An epoch is over, and what follows does not count."""
        self.epoch_ends.append(time.time())

    def step(self) -> None:
        """A step is done."""
        if self.first_step is None:
            self.first_step = time.time()
        if self._profile:
            self._profile.step()

    def steps_end(self) -> None:
        """The last step of an epoch is done, on the device, too."""
        self.step_ends.append(time.time())

    def finish(self) -> None:
        """The last epoch is over."""
        self.end = time.time()

    def write(self, **more: Any) -> None:
        """Hands over the times and whatever else was found."""
        times: dict[str, Any] = {"epoch_starts": self.epoch_starts, "epoch_ends": self.epoch_ends}
        times |= {"step_ends": self.step_ends}
        if self._profile:
            more |= self._profile.found
        times |= {"first_step": self.first_step, "end": self.end}
        hand_over({**{name: value for name, value in times.items() if value}, **more})


def durations(found: dict[str, Any], start: float) -> dict[str, Any]:
    """Turn the times that `Marks` handed over into seconds of epochs and from `start` on."""
    starts = found.pop("epoch_starts", None)
    if not starts:
        return found
    end = found.pop("end")
    ends = found.pop("epoch_ends", None) or [*starts[1:], end]
    found["epoch_seconds"] = [round(e - s, 5) for s, e in zip(starts, ends, strict=True)]
    if step_ends := found.pop("step_ends", None):
        found["steps_seconds"] = [round(e - s, 5) for s, e in zip(starts, step_ends, strict=True)]
    found["training_starts_seconds"] = round(starts[0] - start, 3)
    if first := found.pop("first_step", None):
        found["first_step_seconds"] = round(first - start, 3)
        found["after_first_step_seconds"] = round(end - first, 3)
    return found


def hand_over(found: dict[str, Any]) -> None:
    """Writes what a measured process found to where the benchmark reads it."""
    if path := os.environ.get(VARIABLE):
        with open(path, "w") as file:
            json.dump(found, file)


def count(network: Any) -> int:
    """Parameters as Keras counts them: BatchNorm's moving averages included."""
    averages = (
        b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    return sum(tensor.numel() for tensor in (*network.parameters(), *averages))
