"""Real Keras, on its JAX backend, is the living reference of these tests."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"  # read when keras is first imported
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # every model runs once: compiling is what takes time

import logging
from pathlib import Path

import hypothesis
import pytest

logging.getLogger("absl").setLevel(logging.ERROR)  # Keras warns through it that .h5 is a legacy format

hypothesis.settings.register_profile("keras", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("keras")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of Keras and JAX themselves, which nobody here can put right."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"))
