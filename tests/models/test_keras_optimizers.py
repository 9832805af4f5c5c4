"""Every optimizer against live Keras on JAX, in float64."""

from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch

from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.keras_adam_variants import KerasAdamax, KerasLion, KerasNadam
from signs_lightning.models.keras_optimizers import (
    KerasAdadelta,
    KerasAdagrad,
    KerasRMSprop,
    KerasSGD,
)

STEPS = 5
NAMES = {"lr": "learning_rate", "eps": "epsilon"}  # arguments whose names differ
CASES: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (KerasAdam, {}),
    (KerasAdam, {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "amsgrad": True}),
    (KerasAdam, {"lr": 0.1, "weight_decay": 0.2}),
    (KerasAdam, {"lr": 0.1, "clipnorm": 0.5}),
    (KerasSGD, {}),
    (KerasSGD, {"lr": 0.1, "momentum": 0.9}),
    (KerasSGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (KerasSGD, {"lr": 0.1, "global_clipnorm": 0.7}),
    (KerasSGD, {"lr": 0.1, "clipvalue": 0.3}),
    (KerasRMSprop, {}),
    (KerasRMSprop, {"momentum": 0.8, "centered": True, "rho": 0.7, "eps": 1e-4}),
    (KerasRMSprop, {"lr": 0.01, "weight_decay": 0.5, "clipnorm": 0.1}),
    (KerasAdagrad, {"lr": 0.1}),
    (KerasAdagrad, {"initial_accumulator_value": 0.0, "eps": 1e-3}),
    (KerasAdadelta, {"lr": 1.0}),
    (KerasAdadelta, {"rho": 0.8, "eps": 1e-3, "global_clipnorm": 2.0}),
    (KerasAdamax, {}),
    (KerasAdamax, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    (KerasNadam, {}),
    (KerasNadam, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "clipvalue": 0.2}),
    (KerasLion, {}),
    (KerasLion, {"lr": 0.1, "betas": (0.7, 0.9), "weight_decay": 0.1}),
]


@pytest.fixture
def float64():
    """Keras and JAX in float64, as long as the test runs."""
    with jax.enable_x64(True):
        keras.config.set_floatx("float64")
        yield
        keras.config.set_floatx("float32")


def of_keras(kind: type, settings: dict[str, Any]) -> Any:
    names = {NAMES.get(name, name): value for name, value in settings.items() if name != "betas"}
    if "betas" in settings:
        names["beta_1"], names["beta_2"] = settings["betas"]
    return getattr(keras.optimizers, kind.__name__.removeprefix("Keras"))(**names)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] if case[0] is following[0] else [])
        for case, following in zip(CASES, [*CASES[1:], (None, {})], strict=True)
    ],
)
def test_five_steps_are_keras_s(kind, settings, float64):
    """Two parameters whose gradients are large, small and 0, each step's values within 1e-12."""
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal((3, 4)), np.zeros(5)]
    variables = [keras.Variable(start) for start in starts]
    parameters = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    reference = of_keras(kind, settings)
    reference.build(variables)
    optimizer = kind(parameters, **settings)
    for step in range(STEPS):
        rows = [rng.standard_normal(start.shape) * 10.0 ** rng.integers(-4, 2) for start in starts]
        rows[1][step % 5] = 0
        reference.apply([keras.ops.convert_to_tensor(row) for row in rows], variables)
        for parameter, row in zip(parameters, rows, strict=True):
            parameter.grad = torch.tensor(row)
        optimizer.step()
        for parameter, variable in zip(parameters, variables, strict=True):
            np.testing.assert_allclose(
                parameter.detach().numpy(), np.asarray(variable.value), rtol=1e-12, atol=1e-12
            )
