"""KerasAdam against live Keras on JAX and against Keras's formula in float64."""

import io
from typing import Any

import keras
import numpy as np
import pytest
import torch

from signs_lightning.models.keras_adam import KerasAdam

STEPS = 30
# Gradients' sizes, one parameter each: zero, far below and around epsilon (1e-7), usual, large.
SCALES = np.array([0, 1e-12, 1e-9, 1e-8, 1e-7, 1e-6, 1e-4, 1e-2, 1, 1e3, 1e6], np.float32)


def gradients(seed=0, steps=STEPS):
    """float32 (steps, parameters); the last parameters' gradients vanish for ten steps, or all but
    once.
    """
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((steps, len(SCALES) + 2)).astype(np.float32)
    values[:, : len(SCALES)] *= SCALES
    values[:10, -2] = 0
    values[1:, -1] = 0
    return values


def run(optimizer, parameter, rows):
    for row in rows:
        parameter.grad = torch.tensor(row)
        optimizer.step()
    return parameter.detach().numpy().copy()


def adam_float64(
    rows,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-7,
    weight_decay=0.0,
    amsgrad=False,
    decoupled=True,
    start=0.0,
):
    """Keras's documented formula in float64; `lr` is one number or one a step, weight_decay an L2
    penalty where it is not decoupled.
    """
    theta = np.full(rows.shape[1], start, np.float64)
    m, v, largest = (np.zeros_like(theta) for _ in range(3))
    for t, (row, rate) in enumerate(
        zip(rows.astype(np.float64), np.broadcast_to(lr, len(rows)), strict=True), 1
    ):
        g = row if decoupled else row + weight_decay * theta
        theta = theta * (1 - rate * weight_decay) if decoupled else theta
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        largest = np.maximum(largest, v)
        theta = theta - rate * np.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t) * m / (
            np.sqrt(largest if amsgrad else v) + eps
        )
    return theta


@pytest.mark.parametrize(
    "options",
    [{}, {"lr": 0.01}, {"betas": (0.8, 0.99), "eps": 1e-3}, {"amsgrad": True}],
    ids=["defaults", "lr", "betas and epsilon", "amsgrad"],
)
def test_thirty_steps_are_keras_s(options):
    """Parameters after each step equal live Keras's in float32."""
    renamed = {"learning_rate": options.get("lr", 1e-3), "epsilon": options.get("eps", 1e-7)}
    renamed["beta_1"], renamed["beta_2"] = options.get("betas", (0.9, 0.999))
    reference = keras.optimizers.Adam(**renamed, amsgrad=options.get("amsgrad", False))
    rows = gradients()
    variable = keras.Variable(np.zeros(rows.shape[1], np.float32))
    reference.build([variable])
    parameter = torch.nn.Parameter(torch.zeros(rows.shape[1]))
    optimizer = KerasAdam([parameter], **options)
    for row in rows:
        reference.apply([keras.ops.convert_to_tensor(row)], [variable])
        actual = run(optimizer, parameter, [row])
        np.testing.assert_allclose(actual, np.asarray(variable.value), rtol=2e-6, atol=1e-7)
    assert np.abs(actual).max() > 5 * renamed["learning_rate"], "the parameters have moved"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"betas": (0.5, 0.9), "eps": 1e-5},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled": False},
        {"amsgrad": True},
    ],
    ids=["defaults", "betas and epsilon", "weight decay", "L2 penalty", "amsgrad"],
)
def test_float64_steps_are_keras_s_formula(options):
    rows = gradients(seed=1)
    parameter = torch.nn.Parameter(torch.full((rows.shape[1],), 0.5, dtype=torch.float64))
    actual = run(KerasAdam([parameter], lr=0.01, **options), parameter, rows.astype(np.float64))
    expected = adam_float64(rows, lr=0.01, start=0.5, **options)
    np.testing.assert_allclose(actual - 0.5, expected - 0.5, rtol=1e-9, atol=1e-12)


def test_pytorch_s_own_adam_would_not_pass():
    """The gradients above tell the two places of epsilon apart, even with the same epsilon."""
    rows = gradients(seed=1)
    parameter = torch.nn.Parameter(torch.zeros(rows.shape[1], dtype=torch.float64))
    actual = run(torch.optim.Adam([parameter], eps=1e-7), parameter, rows.astype(np.float64))
    assert np.abs(actual - adam_float64(rows)).max() > 1e-3


def test_a_saved_state_goes_on_identically():
    """10 steps, a file, 20 more by an optimizer that was made with other settings: the same bits as
    30 in a row.
    """
    rows = gradients()
    whole = torch.nn.Parameter(torch.zeros(rows.shape[1]))
    expected = run(KerasAdam([whole], lr=0.02, eps=1e-6), whole, rows)

    first = torch.nn.Parameter(torch.zeros(rows.shape[1]))
    optimizer = KerasAdam([first], lr=0.02, eps=1e-6)
    run(optimizer, first, rows[:10])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    second = torch.nn.Parameter(first.detach().clone())
    optimizer = KerasAdam([second], lr=1, eps=1)
    optimizer.load_state_dict(torch.load(file, weights_only=True))
    np.testing.assert_array_equal(run(optimizer, second, rows[10:]), expected)


def test_a_run_begun_with_an_l2_penalty_keeps_it():
    """A state that an earlier release saved has no `decoupled`: the penalty was in the gradient."""
    rows = gradients(seed=5, steps=8)
    parameter = torch.nn.Parameter(torch.full((rows.shape[1],), 0.5, dtype=torch.float64))
    optimizer = KerasAdam([parameter], lr=0.01, weight_decay=0.1, decoupled=False)
    run(optimizer, parameter, rows[:3].astype(np.float64))
    state = optimizer.state_dict()
    for name in ("decoupled", "clipnorm", "global_clipnorm", "clipvalue"):
        del state["param_groups"][0][name]
    resumed = KerasAdam([parameter], lr=0.01, weight_decay=0.1)
    resumed.load_state_dict(state)
    actual = run(resumed, parameter, rows[3:].astype(np.float64))
    expected = adam_float64(rows, lr=0.01, weight_decay=0.1, decoupled=False, start=0.5)
    np.testing.assert_allclose(actual - 0.5, expected - 0.5, rtol=1e-9, atol=1e-12)


def test_every_group_has_its_own_settings():
    """Three groups of one optimizer, each against the float64 formula with its settings."""
    rows = gradients(seed=2)
    groups: list[dict[str, Any]] = [
        {"lr": 0.01},
        {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-4},
        {"lr": 0.02, "weight_decay": 0.3},
    ]
    parameters = [
        torch.nn.Parameter(torch.full((rows.shape[1],), 2.0, dtype=torch.float64)) for _ in groups
    ]
    optimizer = KerasAdam(
        [{"params": [p], **group} for p, group in zip(parameters, groups, strict=True)]
    )
    for row in rows:
        for parameter in parameters:
            parameter.grad = torch.tensor(row, dtype=torch.float64)
        optimizer.step()
    for parameter, group in zip(parameters, groups, strict=True):
        expected = adam_float64(rows, start=2.0, **group) - 2
        np.testing.assert_allclose(parameter.detach().numpy() - 2, expected, rtol=1e-9, atol=1e-12)


def test_a_group_added_later_steps_from_its_own_beginning():
    """As Lightning's finetuning callbacks do: the added group's first step is Keras's first."""
    rows = gradients(seed=3, steps=8)
    first, late = (
        torch.nn.Parameter(torch.zeros(rows.shape[1], dtype=torch.float64)) for _ in range(2)
    )
    optimizer = KerasAdam([first], lr=0.01)
    run(optimizer, first, rows[:5].astype(np.float64))
    optimizer.add_param_group({"params": [late], "lr": 0.1})
    for row in rows[5:]:
        first.grad = late.grad = torch.tensor(row, dtype=torch.float64)
        optimizer.step()
    np.testing.assert_allclose(
        first.detach().numpy(), adam_float64(rows, lr=0.01), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(
        late.detach().numpy(), adam_float64(rows[5:], lr=0.1), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("make", [float, torch.tensor], ids=["float", "tensor"])
def test_schedulers_see_the_true_learning_rate(make):
    """The group's lr is the scheduler's after every step, and the steps were taken with it."""
    rows = gradients(seed=4, steps=12)
    parameter = torch.nn.Parameter(torch.zeros(rows.shape[1]))
    optimizer = KerasAdam([parameter], lr=make(0.01))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    rates = [0.01 * 0.5 ** (t // 4) for t in range(12)]
    for row, rate in zip(rows, rates, strict=True):
        run(optimizer, parameter, [row])
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(rate, rel=1e-7)
        scheduler.step()
    np.testing.assert_allclose(
        parameter.detach().numpy(), adam_float64(rows, lr=rates), rtol=2e-5, atol=1e-7
    )


def test_a_closure_sees_the_true_learning_rate():
    """Lightning runs training_step inside `step`; what is logged there is the scheduled rate."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer, seen = KerasAdam([parameter], lr=0.01), []

    def closure():
        seen.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.ones(3)
        return 4.5

    assert [optimizer.step(closure) for _ in range(3)] == [4.5] * 3
    assert seen == [0.01] * 3
