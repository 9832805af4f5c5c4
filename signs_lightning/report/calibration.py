"""The expected calibration error of a classifier's probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MAX_BINS = 15  # as Guo et al. 2017 take on thousands of images


@dataclass(frozen=True)
class Calibration:
    """The figures of a reliability diagram (Guo et al. 2017, section 2).

    The confidence of an image is the probability of the predicted class. The M bins have equal
    width: bin m holds confidences in (m / M, (m + 1) / M].

    Attributes:
        counts: int64 (M,), images in each bin.
        correct: int64 (M,), how many of them are classified correctly.
        confidence: float64 (M,), mean confidence in each bin, 0 where it is empty.
    """

    counts: np.ndarray
    correct: np.ndarray
    confidence: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error in 0..1 (Naeini et al. 2015).

        The mean over images of |accuracy − confidence| of their bin.
        """
        return float(np.abs(self.correct - self.counts * self.confidence).sum() / self.counts.sum())

    @property
    def mean_confidence(self) -> float:
        """Mean confidence of all images, in 0..1."""
        return float((self.counts * self.confidence).sum() / self.counts.sum())


def calibration(
    confidence: np.ndarray, correct: np.ndarray, bins: int | None = None
) -> Calibration:
    """Sort images into bins of confidence.

    Args:
        confidence: float (N,) in 0..1, the probability of the predicted class; N at least 1.
        correct: bool (N,), whether that class is the label.
        bins: M; `bins_for(N)` when omitted.
    """
    bins = bins or bins_for(len(confidence))
    edges = np.linspace(0, 1, bins + 1)
    indices = np.searchsorted(edges[1:-1], confidence, side="left")  # (N,) in 0..M-1
    counts = np.bincount(indices, minlength=bins)
    sums = np.bincount(indices, weights=confidence.astype(np.float64), minlength=bins)
    hits = np.bincount(indices[correct], minlength=bins)
    return Calibration(counts, hits, sums / np.maximum(counts, 1))


def bins_for(images: int) -> int:
    """Return the number of bins for N images: √N, from 5 to 15."""
    return min(MAX_BINS, max(5, math.ceil(math.sqrt(images))))
