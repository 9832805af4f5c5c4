"""Random programs of iterators give what Python gives."""

from __future__ import annotations

from typing import Any

import pytest
from interpreting import interpret
from random_programs import program


def run_by_python(source: str) -> dict[str, Any] | None:
    """Return what a program binds; None where it ends in an exception."""
    names: dict[str, Any] = {}
    try:
        exec(compile(source, "source", "exec", dont_inherit=True), names)
    except (RuntimeError, TypeError):  # a dict that grew, values that have no order
        return None
    kinds = (int, str, bool, list, tuple, dict)
    return {k: v for k, v in names.items() if type(v) in kinds and not k.startswith("__")}


@pytest.mark.parametrize("start", range(0, 120, 20))
def test_programs_give_what_python_gives(start: int) -> None:
    count = 0
    for seed in range(start, start + 20):
        expected = run_by_python(program(seed))
        if expected is None:
            continue
        count += 1
        found = interpret(program(seed)).namespace
        assert {name: found.get(name) for name in expected} == expected, program(seed)
    assert count > 10
