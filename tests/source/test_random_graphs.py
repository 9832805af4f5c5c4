"""Source of random graphs, as the fuzzer of the Keras bridge draws them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from keras_io.random_models import our_side
from keras_io.random_models.draw_case import draw_case
from keras_io.random_models.keras_side import Reference, save

from signs_lightning.source.write_source import export_source

from .ruff_complaints import complaints

SEED = 11


@pytest.mark.slow
@pytest.mark.parametrize("standalone", [False, True])
def test_twenty_graphs(standalone: bool, tmp_path: Path):
    """Each gives what it gave, in float64, and ruff has nothing to say."""
    written: list[Path] = []
    index = 0
    while len(written) < 20:
        index += 1
        case = draw_case(SEED, index)
        if case.policy != "float32":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras and JAX warn of what random models do
            try:
                reference = Reference(case)
                with reference.scope():
                    files = save(case, reference.model, tmp_path)
            except Exception:  # Keras itself does not build the model
                continue
            model = our_side.read(case, *files)
        path = tmp_path / f"net{index}.py"
        assert export_source(model, path, standalone) <= 1e-9
        written.append(path)
    assert complaints(*written) == ""
