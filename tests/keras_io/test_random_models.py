"""Random classifiers, as `fuzz.py` draws them, beside real Keras."""

from __future__ import annotations

import random
import warnings
from collections import Counter

import pytest

from .fuzz import BAD, describe, run_cases
from .random_models.run_case import PARTS, Result


def check(indices: range, seed: int, parts: tuple[str, ...]) -> Counter[tuple[str, str]]:
    """Run cases; return how many of which part came to what."""
    counts: Counter[tuple[str, str]] = Counter()
    failures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras and JAX warn of much that random models do
        for index, case, results in run_cases(indices, seed, parts):
            for part, result in results.items():
                counts[part, result.outcome] += 1
                if result.outcome in BAD and case is not None:
                    failures.append(f"{seed}/{index} {part}: {_text(result)}\n{describe(case)}")
    assert not failures, "\n\n".join(failures)
    return counts


def _text(result: Result) -> str:
    return f"{result.outcome}: {result.detail}"


def refused_share(counts: Counter[tuple[str, str]], part: str) -> float:
    known = {outcome: count for (name, outcome), count in counts.items() if name == part}
    return known.get("refused", 0) / max(1, sum(known.values()) - known.get("void", 0))


def test_sixteen():
    counts = check(range(16), 1, ())
    assert counts["outputs", "right"] >= 13


@pytest.mark.slow
def test_a_hundred_and_fifty_exported_and_trained():
    counts = check(range(150), 2, PARTS)
    assert refused_share(counts, "outputs") <= 0.03


@pytest.mark.long
def test_a_thousand_of_a_fresh_seed():
    seed = random.SystemRandom().randrange(10**6)
    counts = check(range(1000), seed, PARTS)
    assert refused_share(counts, "outputs") <= 0.03, f"seed {seed}: {counts}"
