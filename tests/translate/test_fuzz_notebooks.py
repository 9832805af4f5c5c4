"""Damaged and hostile notebooks are read or refused; `fuzz_notebooks` runs many more."""

from __future__ import annotations

from fuzz_notebooks import BAD, run_cases


def test_damaged_notebooks_are_read_or_refused() -> None:
    results = [*run_cases(60), *run_cases(6, seed=1, builds=True)]
    assert not [result for result in results if result[1] in BAD]
    assert {outcome for _, outcome, _, _ in results} == {"read", "refused"}
