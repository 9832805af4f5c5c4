"""Damaged and hostile notebooks are read or refused; `fuzz_notebooks` runs many more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fuzz_notebooks import BAD, run_case, run_cases

LONG = 100_000
MODEL = """
from keras import layers, models
model = models.Sequential([layers.Flatten(input_shape=(8, 8, 3)), layers.Dense(4)])
model.count_params()
"""
OUTPUTS = (
    "\n" * LONG,
    "\n" * LONG + "x",
    " " * LONG + "x",
    "a=" * LONG + "x",
    "9" * 5000,
    "Layer (type)\na (b) (" + ") " * LONG + "\nTotal params: 5",
    "Layer (type)\na (Dense)  (None, 3)  " + "9" * 5000 + "\nTotal params: 3\n",
    "Layer (type)\nTotal params: " + "9" * 5000,
)
LINES = (" " * LONG + "x", "a" * LONG + "!", "a:" * LONG + "'", "print" + " " * LONG + "(")


def test_damaged_notebooks_are_read_or_refused() -> None:
    results = [*run_cases(60), *run_cases(6, seed=1, builds=True)]
    assert not [result for result in results if result[1] in BAD]
    assert {outcome for _, outcome, _, _ in results} == {"read", "refused"}


def test_long_outputs_and_lines_take_no_longer_than_they_are_long(tmp_path: Path) -> None:
    outputs: list[list[dict[str, Any]]]
    outputs = [[{"output_type": "stream", "text": text}] for text in OUTPUTS]
    outputs += [[{"output_type": "display_data", "data": {"text/html": "<" * 2 * LONG}}]]
    cells = [{"cell_type": "code", "source": MODEL, "outputs": stored} for stored in outputs]
    cells += [{"cell_type": "code", "source": f"!ls\nprint 'a'\n{line}"} for line in LINES]
    for cell in cells:
        assert run_case(json.dumps({"cells": [cell]}).encode(), tmp_path, True) == ("read", "")
