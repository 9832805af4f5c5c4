"""Every schedule against live Keras on JAX."""

import jax
import keras
import numpy as np
import pytest
import torch

from signs_lightning.models.keras_schedules import make_keras_schedule

STEPS = 40
CASES = [
    ("ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.9}),
    ("ExponentialDecay", {"decay_steps": 7, "decay_rate": 0.9, "staircase": True}),
    ("ExponentialDecay", {"decay_steps": 7, "decay_rate": 1.5}),
    ("InverseTimeDecay", {"decay_steps": 3, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"decay_steps": 3, "decay_rate": 0.5, "staircase": True}),
    ("PolynomialDecay", {"decay_steps": 9}),
    ("PolynomialDecay", {"decay_steps": 9, "power": 0.5, "cycle": True, "end_learning_rate": 0.01}),
    ("CosineDecay", {"decay_steps": 20, "alpha": 0.1}),
    ("CosineDecay", {"decay_steps": 20, "warmup_target": 0.3, "warmup_steps": 6}),
    ("CosineDecayRestarts", {"first_decay_steps": 5, "m_mul": 0.7, "alpha": 0.1}),
    ("CosineDecayRestarts", {"first_decay_steps": 9, "t_mul": 1.0}),
]


def rates(name, arguments, lr):
    """What the optimizer has before each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr)
    scheduler = make_keras_schedule(optimizer, name, arguments)
    for _ in range(STEPS):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_rates_are_keras_s(name, settings):
    """At each of 40 steps, as far as its float32 goes."""
    arguments = {"initial_learning_rate": 0.1, **settings}
    # compiled at once: step by step takes ten times as long
    schedule = jax.jit(getattr(keras.optimizers.schedules, name)(**arguments))
    expected = [float(schedule(step)) for step in range(STEPS)]
    found = list(rates(name, arguments, settings.get("warmup_target", 0.1)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_a_piecewise_schedule():
    arguments = {"boundaries": [3, 10], "values": [0.05, 0.1, 0.01]}
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(**arguments)
    expected = [float(schedule(step)) for step in range(STEPS)]
    np.testing.assert_allclose(
        list(rates("PiecewiseConstantDecay", arguments, 0.1)), expected, rtol=1e-6
    )


def test_a_warm_up_from_nothing_and_another_learning_rate():
    """The rate that is given takes the place of the peak; growth has an end."""
    arguments = {"initial_learning_rate": 0.0, "decay_steps": 20}
    arguments |= {"warmup_target": 0.3, "warmup_steps": 6}
    own, scaled = (np.array(list(rates("CosineDecay", arguments, lr))) for lr in (0.3, 0.6))
    assert own[0] == 0
    assert own[6] == pytest.approx(0.3)
    np.testing.assert_allclose(scaled, 2 * own)
    growing = {"initial_learning_rate": 0.1, "decay_steps": 1, "decay_rate": 1e300}
    assert np.isfinite(list(rates("ExponentialDecay", growing, 0.1))).all()
