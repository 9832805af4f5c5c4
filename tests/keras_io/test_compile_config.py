"""A model trains as its Keras file was compiled: five steps of each optimizer and each loss, next
to Keras in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch
from keras import layers, losses, optimizers

from signs_lightning.keras_io.compiled_optimizer import read_optimizer
from signs_lightning.keras_io.from_keras import FromKeras

from .against_keras import network_of, randomize, to_torch

STEPS, COUNT = 5, 6
schedules = optimizers.schedules
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "Adam(learning_rate=0.01, amsgrad=True)": lambda: optimizers.Adam(0.01, amsgrad=True),
    "Adam(learning_rate=0.0003, beta_1=0.8, epsilon=0.001)": lambda: optimizers.Adam(
        3e-4, beta_1=0.8, epsilon=1e-3
    ),
    "AdamW(learning_rate=0.01, clipnorm=0.5, weight_decay=0.004)": lambda: optimizers.AdamW(
        0.01, clipnorm=0.5
    ),
    "SGD(learning_rate=0.01)": lambda: optimizers.SGD(),
    "SGD(learning_rate=ExponentialDecay(initial_learning_rate=0.1, decay_steps=2, decay_rate=0.5),"
    " global_clipnorm=0.7, momentum=0.9)": lambda: optimizers.SGD(
        schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.9, global_clipnorm=0.7
    ),
    "SGD(learning_rate=0.05, weight_decay=0.1, momentum=0.9, nesterov=True)": lambda: (
        optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1)
    ),
    "RMSprop(learning_rate=0.001, clipvalue=0.01)": lambda: optimizers.RMSprop(clipvalue=0.01),
    "RMSprop(learning_rate=0.001, momentum=0.5, centered=True)": lambda: optimizers.RMSprop(
        momentum=0.5, centered=True
    ),
    "Adagrad(learning_rate=0.1)": lambda: optimizers.Adagrad(0.1),
    "Adadelta(learning_rate=1)": lambda: optimizers.Adadelta(1.0),
    "Adamax(learning_rate=0.01)": lambda: optimizers.Adamax(0.01),
    "Nadam(learning_rate=CosineDecay(initial_learning_rate=0, decay_steps=4, "
    "warmup_target=0.02, warmup_steps=2))": lambda: optimizers.Nadam(
        schedules.CosineDecay(0.0, 4, warmup_target=0.02, warmup_steps=2)
    ),
    "Lion(learning_rate=0.001, weight_decay=0.1)": lambda: optimizers.Lion(weight_decay=0.1),
}
# activation of the last layer → loss, what the line says of it
LOSSES: dict[str, tuple[str | None, int, Callable[[], Any], str]] = {
    "softmax": ("softmax", 5, lambda: losses.SparseCategoricalCrossentropy(), ""),
    "smoothed": (
        "softmax",
        5,
        lambda: losses.CategoricalCrossentropy(label_smoothing=0.1),
        ", label smoothing 0.1",
    ),
    "sigmoid": (
        "sigmoid",
        1,
        lambda: losses.BinaryCrossentropy(label_smoothing=0.2),
        ", label smoothing 0.2",
    ),
    "logits": (None, 5, lambda: losses.CategoricalCrossentropy(from_logits=True), ""),
    "sigmoids": (
        "sigmoid",
        5,
        lambda: losses.BinaryCrossentropy(label_smoothing=0.1),
        ", binary cross-entropy of each class, label smoothing 0.1",
    ),
    "logits of sigmoids": (
        None,
        5,
        lambda: losses.BinaryCrossentropy(from_logits=True),
        ", binary cross-entropy of each class",
    ),
    "binary cross-entropy of a softmax": (
        "softmax",
        5,
        lambda: losses.BinaryCrossentropy(),
        ", binary cross-entropy of each class",
    ),
    "cross-entropy of sigmoids": (
        "sigmoid",
        5,
        lambda: losses.CategoricalCrossentropy(label_smoothing=0.1),
        ", cross-entropy of the sigmoids divided by their sum, label smoothing 0.1",
    ),
}


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """Keras and JAX in float64."""
    with jax.enable_x64(True):
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        yield
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def build(activation: str | None, units: int) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(units, activation=activation, name="end"),
        ]
    )
    randomize(model)
    for weight in model.weights:  # a file is read as float32
        weight.assign(np.asarray(weight).astype(np.float32))
    return model


def loss_and_gradients(model: keras.Model, loss: Any) -> Callable[..., Any]:
    """Weights, images and labels → loss, moving averages, gradients; compiled once."""

    def loss_of(trainable: Any, others: Any, images: Any, labels: Any) -> Any:
        predicted, others = model.stateless_call(trainable, others, images, training=True)
        return loss(labels, predicted), others

    return jax.jit(jax.value_and_grad(loss_of, has_aux=True))


def data(units: int, is_sparse: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of each step, labels, and these as the loss wants them."""
    rng = np.random.default_rng(1)
    images = rng.random((STEPS, COUNT, 6, 6, 3))
    labels = rng.integers(0, max(units, 2), (STEPS, COUNT))
    if units == 1 or is_sparse:
        return images, labels, labels[..., None]
    return images, labels, np.eye(units)[labels]


def assert_close(ours: np.ndarray, theirs: Any, tolerance: float) -> None:
    theirs = np.asarray(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def follow(
    model: keras.Model, optimizer: Any, step: Callable[..., Any], ours: FromKeras, tolerance: float
) -> None:
    """Five steps of both: losses, gradients and weights within a share of the largest value."""
    units = model.output_shape[-1]
    is_sparse = isinstance(model.loss, losses.SparseCategoricalCrossentropy)
    images, labels, targets = data(units, is_sparse)
    trainable, others = model.trainable_variables, model.non_trainable_variables
    starts = [np.asarray(variable) for variable in model.variables]
    optimizer.build(trainable)
    ours.train()
    configured = ours.configure_optimizers()
    torch_optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    places = {tuple(layer.path): weights for layer, weights in ours.plan.layers() if weights}
    parameters = [
        (ours.network.parameter(path, weight), weight)
        for path, weights in places.items()
        for weight in weights
        if weight.trainable
    ]
    for k in range(STEPS):
        state = [v.value for v in trainable], [v.value for v in others]
        (loss, moved), gradients = step(*state, images[k], targets[k])
        optimizer.apply(gradients, trainable)
        for variable, value in zip(others, moved, strict=True):
            variable.assign(value)
        torch_optimizer.zero_grad()
        batch = to_torch(images[k]).to(ours.dtype)
        our_loss = ours.compute_loss(ours(batch), torch.from_numpy(labels[k]), training=True)
        our_loss.backward()
        assert_close(our_loss.detach().numpy(), loss, tolerance)
        for (parameter, weight), gradient in zip(parameters, gradients, strict=True):
            permuted = np.asarray(gradient).transpose(weight.permutation)
            assert parameter.grad is not None
            assert_close(parameter.grad.numpy(), permuted.reshape(parameter.shape), tolerance)
        torch_optimizer.step()
        if isinstance(configured, dict):
            assert configured["lr_scheduler"]["interval"] == "step"
            configured["lr_scheduler"]["scheduler"].step()
        theirs = [np.asarray(variable) for variable in trainable]
        for (parameter, weight), value in zip(parameters, theirs, strict=True):
            permuted = value.transpose(weight.permutation).reshape(parameter.shape)
            assert_close(parameter.detach().numpy(), permuted, tolerance)
    for variable, start in zip(model.variables, starts, strict=True):
        variable.assign(start)


def read(model: keras.Model, optimizer: Any, loss: Any, path: Path, **options: Any) -> FromKeras:
    model.compile(optimizer, loss)
    model.save(path)
    return FromKeras(path=str(path), scale="/255", biased_variance=True, **options)


@pytest.mark.parametrize("which", [slice(4, 6), pytest.param(slice(None), marks=pytest.mark.slow)])
def test_five_steps_of_each_optimizer(tmp_path, which, float64):
    """Within 1e-6 of each tensor's largest value; SGD in float32 within 1e-4."""
    model, loss = build("softmax", 5), losses.CategoricalCrossentropy()
    step = loss_and_gradients(model, loss)
    for k, (line, make) in enumerate(list(OPTIMIZERS.items())[which]):
        ours = read(model, make(), loss, tmp_path / f"m.{('keras', 'h5')[k % 2]}")
        assert ours.compiled.describe(None) == line
        assert not [omission for omission in ours.omissions if "optimizer " in omission]
        follow(model, make(), step, ours.double(), 1e-6)
        if make().name == "sgd":
            ours = read(model, make(), loss, tmp_path / "m.keras")
            follow(model, make(), step, ours, 1e-4)


@pytest.mark.parametrize(
    "case",
    [x if x == "sigmoids" else pytest.param(x, marks=pytest.mark.slow) for x in LOSSES],
)
def test_five_steps_of_each_loss(tmp_path, case, float64):
    """Also that of validation, which has the label smoothing, too."""
    activation, units, make, words = LOSSES[case]
    model = build(activation, units)
    ours = read(model, optimizers.SGD(0.1), make(), tmp_path / "m.keras").double()
    assert ours.compiled.describe(None) == f"SGD(learning_rate=0.1){words}"
    follow(model, optimizers.SGD(0.1), loss_and_gradients(model, make()), ours, 1e-6)
    ours = read(model, optimizers.SGD(0.1), make(), tmp_path / "m.keras").double().eval()
    images, labels, targets = data(units, isinstance(make(), losses.SparseCategoricalCrossentropy))
    with torch.no_grad():
        found = ours.compute_loss(ours(to_torch(images[0])), torch.from_numpy(labels[0]))
    assert_close(found.numpy(), make()(targets[0], model(images[0])), 1e-6)
    assert network_of(ours).plan.num_classes == max(units, 2)


def named(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": config}


SGD_DECAY = "InverseTimeDecay(initial_learning_rate=0.1, decay_steps=1, decay_rate=0.5)"
SPELLINGS: list[tuple[Any, str, str | None, dict[str, Any], list[str]]] = [
    # specification, Keras's version → line, some of our arguments, what is not taken
    ("adam", "2.13.1", "Adam(learning_rate=0.001)", {"eps": 1e-7}, []),
    ("adamw", "3.0.0", "AdamW(learning_rate=0.001, weight_decay=0.004)", {}, []),
    (
        named("Custom>Adam", learning_rate=3.0000001424923539e-4, is_legacy_optimizer=False),
        "2.13.1",
        "Adam(learning_rate=0.0003)",
        {},
        [],
    ),
    (
        named("SGD", lr=0.1, momentum=0.8999999761581421, decay=0.5, nesterov=True),
        "1.2.2",
        f"SGD(learning_rate={SGD_DECAY}, momentum=0.9, nesterov=True)",
        {"lr": 0.1},
        [],
    ),
    (
        named("RMSprop", lr=0.001, rho=0.9, epsilon=None, decay=0.0, clipnorm=1.0),
        "2.3.1",
        "RMSprop(learning_rate=0.001, clipnorm=1)",
        {"eps_in_root": False, "global_clipnorm": 1.0, "eps": 1e-7},
        [],
    ),
    (
        named("RMSprop", learning_rate=0.001, momentum=0.5, decay=0.0, clipnorm=1.0),
        "2.4.0",
        "RMSprop(learning_rate=0.001, clipnorm=1, momentum=0.5)",
        {"eps_in_root": True, "clipnorm": 1.0},
        [],
    ),
    (
        named("Adagrad", lr=0.01, epsilon=1e-7, decay=0.0),
        "2.2.4",
        "Adagrad(learning_rate=0.01)",
        {"initial_accumulator_value": 0.0, "eps_in_root": False},
        [],
    ),
    (
        named("Nadam", lr=0.002, beta_1=0.9, beta_2=0.999, schedule_decay=0.004),
        "2.3.1",
        "Nadam(learning_rate=0.002)",
        {"momentum_decay": 0.004},
        [],
    ),
    (
        named("LossScaleOptimizerV3", inner_optimizer=named("Adam", learning_rate=0.01)),
        "2.15.0",
        "Adam(learning_rate=0.01)",
        {},
        [],
    ),
    (
        named("Adam", learning_rate=0.01, use_ema=True, gradient_accumulation_steps=4),
        "3.4.0",
        "Adam(learning_rate=0.01, use_ema=True)",
        {"use_ema": True, "ema_momentum": 0.99},
        ["gradient_accumulation_steps of optimizer Adam"],
    ),
    (
        named("SGD", use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=5),
        "3.15.0",
        "SGD(learning_rate=0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=5)",
        {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5},
        [],
    ),
    (
        named("Adam", use_ema=True, ema_momentum=0.9),  # which averages otherwise
        "2.15.0",
        "Adam(learning_rate=0.001)",
        {},
        ["use_ema of optimizer Adam"],
    ),
    (
        named("SGD", learning_rate=named("Mine>Warmup", steps=3), momentum=0.9),
        "3.4.0",
        "SGD(learning_rate=0.01, momentum=0.9)",
        {},
        ["learning rate schedule Mine>Warmup of optimizer SGD"],
    ),
    (named("Ftrl", learning_rate=0.1), "3.4.0", None, {}, ["optimizer Ftrl(learning_rate=0.1)"]),
    (named("Addons>AdamW", lr=0.1), "2.9.0", None, {}, ["optimizer Addons>AdamW(lr=0.1)"]),
]


@pytest.mark.parametrize(("spec", "version", "line", "arguments", "omissions"), SPELLINGS)
def test_spellings_of_every_keras(spec, version, line, arguments, omissions):
    """Names, wrappers, and what Keras before 2.11 computes otherwise."""
    optimizer, left_out = read_optimizer(spec, version)
    assert left_out == omissions
    if line is None:
        assert optimizer is None
        return
    assert optimizer is not None
    assert optimizer.describe(None, True) == line
    assert optimizer.arguments.items() >= arguments.items()
    made = optimizer.make([torch.nn.Parameter(torch.zeros(1))])
    assert {key: made.defaults[key] for key in arguments if key != "lr"} == {
        key: value for key, value in arguments.items() if key != "lr"
    }


HOSTILE: list[Any] = [
    *(named("SGD", use_ema=True, ema_overwrite_frequency=value) for value in (0, -1, 1.5, True)),
    named("SGD", use_ema=True, ema_momentum=1.5),
    *([], 7, "__import__('os')", {}, {"class_name": ["Adam"]}, named("Adam", learning_rate="0.1")),
    *(named("Adam", learning_rate=float("nan")), named("Adam", learning_rate=True)),
    *(named("Adam", beta_1=1.0), named("Adam", epsilon=-1.0), named("Adam", amsgrad="yes")),
    *(named("SGD", momentum=1e300), named("SGD", clipnorm=1.0, clipvalue=1.0)),
    named("LossScaleOptimizer", inner_optimizer=named("LossScaleOptimizer", inner_optimizer=[])),
]
HOSTILE_SCHEDULES = [
    named("ExponentialDecay", initial_learning_rate=0.1, decay_steps=0, decay_rate=0.5),
    named("ExponentialDecay", initial_learning_rate=0.1, decay_steps=1, decay_rate=-0.5),
    named("ExponentialDecay", initial_learning_rate=0.1, decay_steps=1),
    named("PiecewiseConstantDecay", boundaries=[3, 2], values=[1, 2, 3]),
    named("PiecewiseConstantDecay", boundaries=3, values=[1, 2, 3]),
    named("PiecewiseConstantDecay", boundaries=[], values=[]),
    named("CosineDecayRestarts", initial_learning_rate=0.1, first_decay_steps=1, t_mul=0.5),
    named("CosineDecay", initial_learning_rate=0.0, decay_steps=1),
    named("CosineDecay", initial_learning_rate=0.1, decay_steps=1, staircase=True),
]


def test_unusable_configurations_are_left_out():
    """By name, and nothing of them is run."""
    for spec in HOSTILE:
        optimizer, left_out = read_optimizer(spec, None)
        assert optimizer is None
        assert len(left_out) == 1
        assert left_out[0].startswith("optimizer ")
    for schedule in HOSTILE_SCHEDULES:
        optimizer, left_out = read_optimizer(named("SGD", learning_rate=schedule), None)
        assert optimizer is not None
        assert optimizer.schedule is None
        assert left_out == [f"learning rate schedule {schedule['class_name']} of optimizer SGD"]
