"""The state of every optimizer, from every kind of file: five steps here after five of Keras's,
against ten of Keras's, in float64.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch
from keras import layers, optimizers

from signs_lightning.checkpoints.new_checkpoint import build_checkpoint
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.keras_file import open_keras_file
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.optimizer_state import add_keras_run, read_state
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.keras_io.weight_mapping import match_weights
from signs_lightning.models import keras_adam_variants

from .against_keras import network_of, to_torch

STEPS, SIZE = 5, 8
Slots = dict[str, list[np.ndarray]]


def classifier() -> keras.Model:
    """Layers of every kind of kernel, one frozen, one constrained, one penalized, some inside.

    Keras on JAX computes BatchNormalization in float32, whatever its dtype is.
    """
    inner = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 4)),
            layers.SeparableConv2D(3, 2, name="separable"),
            layers.PReLU(name="prelu"),
        ],
        name="inner",
    )
    image = keras.Input((SIZE, SIZE, 3))
    value = layers.Conv2D(4, 3, padding="same", kernel_constraint="non_neg", name="first")(image)
    value = layers.Conv2D(4, 1, trainable=False, name="frozen")(value)
    value = layers.Flatten()(inner(value))
    value = layers.Dense(3, kernel_regularizer="l2", activation="softmax", name="end")(value)
    return keras.Model(image, value)


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    shape = (6, SIZE, SIZE, 3)
    return [(rng.random(shape), np.arange(6) % 3) for _ in range(2 * STEPS)]


def decay(rate: float) -> Any:
    return optimizers.schedules.ExponentialDecay(rate, 3, 0.5)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {}),
    "amsgrad": ("Adam", {"amsgrad": True, "beta_1": 0.8, "epsilon": 1e-3, "clipnorm": 0.1}),
    "adamw": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "nadam": ("Nadam", {"learning_rate": 0.01}),
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "clipvalue": 0.01}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"global_clipnorm": 0.2}),
    "centered": ("RMSprop", {"momentum": 0.8, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adamax": ("Adamax", {"learning_rate": 0.01}),
    "lion": ("Lion", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "adam_ema": ("Adam", {"amsgrad": True, "use_ema": True, "ema_momentum": 0.7}),
    "sgd_ema": ("SGD", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3}),
    "centered_ema": ("RMSprop", {"centered": True, "use_ema": True, "ema_momentum": 0.6}),
    "nadam_ema": ("Nadam", {"clipnorm": 0.1, "use_ema": True, "ema_overwrite_frequency": 7}),
}
WITH_SCHEDULE = ("adam", "nadam", "momentum")


def go_on(path: Path) -> tuple[list[float], FromKeras, torch.optim.Optimizer]:
    """Five steps here from a file of Keras: losses, model and optimizer."""
    model = from_keras(path, scale="/255").double()
    assert isinstance(model, FromKeras)
    with open_keras_file(path) as file:  # once more, in float64
        for layer, weight, stored in match_weights(model.plan, file):
            network_of(model).load_keras(layer.path, weight, stored.read())
    checkpoint = build_checkpoint(model)
    line = add_keras_run(checkpoint, model, path)
    assert line is not None, model.omissions
    made: Any = model.configure_optimizers()
    optimizer = made["optimizer"] if isinstance(made, dict) else made
    optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    scheduler = made["lr_scheduler"]["scheduler"] if isinstance(made, dict) else None
    if scheduler is not None:
        scheduler.load_state_dict(checkpoint["lr_schedulers"][0])
    model.train()
    losses = []
    for images, labels in batches()[STEPS:]:
        optimizer.zero_grad()
        logits = model(to_torch(images))
        loss = model.compute_loss(logits, torch.tensor(labels), training=True)
        loss.backward()
        optimizer.step()
        network_of(model).apply_constraints()
        if scheduler is not None:
            scheduler.step()
        losses.append(loss.item())
    return losses, model, optimizer


def compare(path: Path, ended: Path, losses: list[float], rtol: float = 1e-9) -> None:
    """What comes of a file against another one, relative to each tensor's largest value."""
    ours, model, optimizer = go_on(path)
    np.testing.assert_allclose(ours, losses, rtol=rtol)
    with open_keras_file(ended) as file:
        for layer, weight, stored in match_weights(model.plan, file):
            found = network_of(model).parameter(layer.path, weight)
            close(weight.in_keras_order(found), stored.read(), f"{layer} {weight.keras}", rtol)
        state = read_state(file, model.plan, file.optimizer_arrays(), 2 * STEPS)
        assert state.steps == 2 * STEPS
        for name, matches in state.slots.items():
            for layer, weight, stored in matches:
                slot = optimizer.state[network_of(model).parameter(layer.path, weight)][name]
                close(weight.in_keras_order(slot), stored.read(), f"{name} of {layer}", rtol)


def close(found: torch.Tensor, expected: np.ndarray, what: str, rtol: float) -> None:
    assert expected.dtype == np.float64
    atol = rtol * max(np.abs(expected).max(), 1e-12)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=atol, err_msg=what)


@pytest.fixture
def float64():
    """Keras and JAX in float64, as long as the test runs."""
    with jax.enable_x64(True):
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        yield
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "scheduled"),
    [(case, False) for case in CASES] + [(case, True) for case in WITH_SCHEDULE],
)
def test_five_steps_after_five_are_keras_s_ten(case, scheduled, tmp_path, float64):
    """Losses, weights and slots, from `.keras` and `.h5`."""
    name, options = CASES[case]
    if scheduled:
        options = options | {"learning_rate": decay(0.01)}
    keras.utils.set_random_seed(1)
    model = classifier()
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(getattr(optimizers, name)(**options), loss)
    losses = []
    for step, (images, labels) in enumerate(batches()):
        if step == STEPS:
            model.save(tmp_path / "begun.keras")
            model.save(tmp_path / "begun.h5")
        losses.append(float(model.train_on_batch(images, keras.utils.to_categorical(labels, 3))))
    model.save(tmp_path / "ended.h5")  # a `.keras` after an `.h5` lacks the optimizer's name
    for extension in ("keras", "h5"):
        compare(tmp_path / f"begun.{extension}", tmp_path / "ended.h5", losses[STEPS:])


def test_tensors_reach_their_weights(tmp_path):
    """Drawn ones of Adam, from `.keras` and `.h5`: each has Keras's values of its weight."""
    model = classifier()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    for variable in model.optimizer.variables[2:]:
        variable.assign(rng.random(variable.shape))
    model.optimizer.iterations.assign(7)
    variables = model.optimizer.variables
    expected = {variable.path.partition("/")[2]: variable.numpy() for variable in variables}
    for extension in ("keras", "h5"):
        path = tmp_path / f"m.{extension}"
        model.save(path)
        ours = from_keras(path, scale="/255")
        assert isinstance(ours, FromKeras)
        checkpoint = build_checkpoint(ours)
        assert add_keras_run(checkpoint, ours, path) is not None
        assert checkpoint["global_step"] == 7
        state = checkpoint["optimizer_states"][0]
        trained = [p for p in ours.parameters() if p.requires_grad]
        found = {}
        for layer, weights in ours.plan.layers():
            for weight in weights if layer.trainable else ():
                parameter = network_of(ours).parameter(layer.path, weight)
                (k,) = [k for k, other in enumerate(trained) if other is parameter]
                assert state["state"][k]["step"] == 7
                for ours_name, name in (("exp_avg", "momentum"), ("exp_avg_sq", "velocity")):
                    slot = state["state"][k][ours_name]
                    assert slot.stride() == parameter.stride()  # PyTorch's fused step needs that
                    key = "_".join([*layer.path, weight.keras, name])
                    found[key] = weight.in_keras_order(slot).numpy()
        assert len(found) == len(expected) - 2
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize(
    ("case", "scheduled"),
    [("adam", False)]
    + [pytest.param(case, False, marks=pytest.mark.slow) for case in CASES if case != "adam"]
    + [pytest.param(case, True, marks=pytest.mark.slow) for case in WITH_SCHEDULE],
)
def test_state_comes_back(case, scheduled, tmp_path):
    """Keras's file, imported and exported: bit by bit the variables, and the same settings."""
    name, options = CASES[case]
    if scheduled:
        options = options | {"learning_rate": decay(0.01)}
    model = classifier()
    loss = "categorical_crossentropy"
    model.compile(getattr(optimizers, name)(**options), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    for variable in model.optimizer.variables:
        if variable.shape or "nadam" in variable.path:
            variable.assign(rng.random(variable.shape))
    model.optimizer.iterations.assign(7)
    path, back = tmp_path / "m.keras", tmp_path / "back.keras"
    model.save(path)
    ours = from_keras(path, scale="/255")
    assert isinstance(ours, FromKeras)
    checkpoint = build_checkpoint(ours)
    assert add_keras_run(checkpoint, ours, path) is not None
    export_keras(ours, back, check=False, checkpoint=checkpoint)
    again = keras.models.load_model(back)
    own, others = model.optimizer.variables, again.optimizer.variables
    for variable, other in zip(own, others, strict=True):
        paths = [v.path.partition("/")[2].removeprefix("inner_") for v in (variable, other)]
        assert paths[0] == paths[1]
        np.testing.assert_array_equal(variable.numpy(), other.numpy(), err_msg=variable.path)
    before, after = model.optimizer.get_config(), again.optimizer.get_config()
    assert before.pop("name").rstrip("_0123456789").replace("_", "") == after.pop("name")
    assert after == pytest.approx(before) if not scheduled else after == before
    assert again.loss.name == loss


@pytest.mark.long
@pytest.mark.skipif("TF_KERAS_PYTHON" not in os.environ, reason="names no Python with tf_keras")
def test_five_steps_after_five_of_tf_keras(tmp_path, monkeypatch):
    """The optimizers of tf.keras 2.11 and later, and those before, from `.h5` and `.keras`."""
    # TensorFlow rounds Nadam's 0.96 to float32, also where it computes in float64.
    monkeypatch.setattr(keras_adam_variants, "NADAM_DECAY", float(np.float32(0.96)))
    script = Path(__file__).with_name("tf_keras_runs.py")
    subprocess.run([os.environ["TF_KERAS_PYTHON"], script, tmp_path], check=True)
    losses = json.loads((tmp_path / "losses.json").read_text())
    files = [path for path in tmp_path.glob("*.*") if path.stem in losses]
    assert len(files) > len(losses)
    for path in sorted(files):
        print(path.name)  # shown where it fails
        compare(path, path.with_name(f"{path.stem}.ended.h5"), losses[path.stem][STEPS:])
