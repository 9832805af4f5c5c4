"""Real Keras reads what is exported here; set up as for the tests of what is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from keras_io.conftest import ignore_warnings_of_keras, weights_by_numpy

__all__ = ["weights_by_numpy"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore warnings of Keras and JAX themselves."""
    ignore_warnings_of_keras(items, Path(__file__).parent)
