"""Real Keras, on its JAX backend, is the living reference of these tests."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"  # read when keras is first imported
# Every model runs once: compiling is what takes time.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest

# Keras warns through it that .h5 is a legacy format.
logging.getLogger("absl").setLevel(logging.ERROR)

hypothesis.settings.register_profile("keras", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("keras")


@pytest.fixture(scope="module", autouse=True)
def weights_by_numpy() -> Iterator[None]:
    """Weights of new layers, uniform as by default: XLA compiles a draw for every shape, which took
    most of the time of these tests.
    """
    import keras
    from keras.src.initializers import random_initializers

    rng, others = np.random.default_rng(0), random_initializers.random

    def uniform(
        shape: tuple[int, ...],
        minval: float = 0.0,
        maxval: float = 1.0,
        dtype: str | None = None,
        **seed: Any,
    ) -> Any:
        return keras.ops.convert_to_tensor(
            rng.uniform(minval, maxval, shape), dtype or keras.config.floatx()
        )

    names = {name: getattr(others, name) for name in dir(others) if not name.startswith("_")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            random_initializers, "random", SimpleNamespace(**names | {"uniform": uniform})
        )
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore warnings of Keras and JAX themselves."""
    ignore_warnings_of_keras(items, Path(__file__).parent)


def ignore_warnings_of_keras(items: list[pytest.Item], folder: Path) -> None:
    """Ignore warnings of Keras and JAX themselves in the tests of a folder."""
    for item in items:
        if folder in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
            )
