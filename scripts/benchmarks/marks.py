"""When the epochs of a measured process began and ended, handed to the benchmark in a file.

Needs the standard library only.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

PROFILE = "BENCHMARK_PROFILE"  # "first:count", the steps to profile
VARIABLE = "BENCHMARK_MARKS"  # names the file to write; nothing is written without it


class Marks:
    """Times of one training.

    An epoch lasts until the next one begins, so that whatever happens between two epochs counts,
    unless its end is marked, too.
    """

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self._profile: Any = None
        if wanted := os.environ.get(PROFILE):
            from benchmarks.step_profile import StepProfile  # PyTorch, which Keras's rival lacks

            self._profile = StepProfile(wanted)

    def _mark(self, name: str) -> None:
        self.times.setdefault(name, []).append(time.time())

    def epoch(self) -> None:
        """An epoch begins."""
        self._mark("epoch_starts")

    def epoch_end(self) -> None:
        """An epoch is over, and what follows does not count."""
        self._mark("epoch_ends")

    def step(self) -> None:
        """A step is done."""
        if "first_step" not in self.times:
            self._mark("first_step")
        if self._profile:
            self._profile.step()

    def steps_end(self) -> None:
        """The last step of an epoch is done, on the device, too."""
        self._mark("step_ends")

    def finish(self) -> None:
        """The last epoch is over."""
        self._mark("end")

    def write(self, **more: Any) -> None:
        """Hand over the times and whatever else was found."""
        hand_over({**self.times, **(self._profile.found if self._profile else {}), **more})


def durations(found: dict[str, Any], start: float) -> dict[str, Any]:
    """Turn the times that `Marks` handed over into seconds of epochs and from `start` on."""
    starts = found.pop("epoch_starts", None)
    if not starts:
        return found
    (end,) = found.pop("end")
    for name, default in (("epoch", [*starts[1:], end]), ("step", [])):
        ends = found.pop(f"{name}_ends", default)
        seconds = [round(e - s, 5) for s, e in zip(starts, ends, strict=False)]
        found |= {"epoch_seconds" if name == "epoch" else "steps_seconds": seconds}
    found["training_starts_seconds"] = round(starts[0] - start, 3)
    for first in found.pop("first_step", []):
        found["after_first_step_seconds"] = round(end - first, 3)
    return found


def hand_over(found: dict[str, Any]) -> None:
    """Write what a measured process found to where the benchmark reads it."""
    if path := os.environ.get(VARIABLE):
        with open(path, "w") as file:
            json.dump(found, file)


def count(network: Any) -> int:
    """Parameters as Keras counts them: BatchNorm's moving averages included."""
    averages = (b for name, b in network.named_buffers() if "running_" in name)
    return sum(tensor.numel() for tensor in (*network.parameters(), *averages))
