"""Compute figures from predicted probabilities.

Each seed's accuracy, their spread, the ensemble, and a paired comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from signs_lightning.models.metrics import wilson_interval


@dataclass(frozen=True)
class Score:
    """Right answers of one model on n images.

    Attributes:
        correct: k.
        count: n.
    """

    correct: int
    count: int

    @property
    def accuracy(self) -> float:
        """k/n, in 0..1."""
        return self.correct / self.count

    def __str__(self) -> str:
        low, high = wilson_interval(self.correct, self.count)
        return f"{self.correct}/{self.count} = {self.accuracy:.3f} ({low:.3f}–{high:.3f})"


def score(probabilities: np.ndarray, labels: np.ndarray, chosen: np.ndarray | None = None) -> Score:
    """Score float (n, K) probabilities against int64 (n,) labels.

    Over the images chosen by bool (n,), or all.
    """
    right = probabilities.argmax(axis=1) == labels
    right = right if chosen is None else right[chosen]
    return Score(int(right.sum()), len(right))


def ensemble(probabilities: list[np.ndarray]) -> np.ndarray:
    """The mean of several models' float (n, K) probabilities."""
    return np.mean(probabilities, axis=0)


def spread(values: list[float]) -> str:
    """Format mean and standard deviation (n - 1), `0.950 ± 0.008`; one value alone."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{mean(values):.3f}"


def paired_difference(
    ours: list[np.ndarray], theirs: list[np.ndarray], labels: np.ndarray, resamples: int = 10_000
) -> tuple[float, float, float]:
    """Return how much more often the first models are right on the same images.

    Args:
        ours: float (n, K) probabilities, one array a seed.
        theirs: those of the other configuration, seed by seed.
        labels: int64 (n,).
        resamples: of the bootstrap, which draws images: they are the same for all seeds, so that
            seeds cannot be pooled.

    Returns:
        Mean difference in accuracy, and the 2.5% and 97.5% percentiles of the bootstrap, all in
        -1..1.
    """
    rates = [np.mean([p.argmax(axis=1) == labels for p in side], axis=0) for side in (ours, theirs)]
    difference = rates[0] - rates[1]  # (n,): of each image
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(difference), size=(resamples, len(difference)))
    low, high = np.percentile(difference[drawn].mean(axis=1), [2.5, 97.5])
    return float(difference.mean()), float(low), float(high)


def folds(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Divide images into `count` parts, each class evenly: int64 (n,) of parts."""
    rng = np.random.default_rng(seed)
    part = np.empty(len(labels), dtype=np.int64)
    start = 0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        part[members] = (np.arange(len(members)) + start) % count
        # The next class begins where this one ended, so that parts are equally large.
        start += len(members)
    return part
