"""Loss and accuracy of an epoch that is under way, without waiting for the device."""

from __future__ import annotations

from typing import Any

import torch

from signs_lightning.models.metrics import EpochTotals


class RunningFigures:
    """Loss and accuracy so far, for a line that is redrawn now and then.

    On a CPU the sums are there. Those of an NVIDIA GPU are copied to the host behind the work that
    it has been given, and are read when they have arrived, so that no step waits: `read` returns
    the latest ones that have.
    """

    def __init__(self) -> None:
        self._latest: dict[str, float] = {}
        self._copy: torch.Tensor | None = None  # float32 (3,) on the host
        self._arrived: Any = None  # event of the device, behind the copy

    def reset(self) -> None:
        """Forget the figures of the epoch before, and those that are on their way."""
        self._latest, self._copy, self._arrived = {}, None, None

    def read(self, totals: EpochTotals) -> dict[str, float]:
        """Return loss and accuracy as far as they are known, and ask for the next ones.

        Args:
            totals: sums of this process, on any device.
        """
        sums = torch.stack([totals.loss_sum, totals.correct, totals.count]).detach()  # (3,)
        if not sums.is_cuda:
            self._take(sums, totals.figure)
            return self._latest
        if self._copy is not None and self._arrived.query():
            self._take(self._copy, totals.figure)
            self._copy = None
        if self._copy is None:
            self._copy = torch.empty(3, pin_memory=True)
            self._copy.copy_(sums, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()
        return self._latest

    def _take(self, sums: torch.Tensor, figure: str | None) -> None:
        loss_sum, correct, count = sums.tolist()
        if count:
            share = {} if figure is None else {figure.replace("accuracy", "acc"): correct / count}
            self._latest = {"loss": loss_sum / count, **share}
