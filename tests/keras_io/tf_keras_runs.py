"""Trains with tf.keras 2 for `test_optimizer_state`: run by a Python that has tf_keras.

    python tf_keras_runs.py FOLDER

For each optimizer the folder gets NAME.h5, and NAME.keras where tf.keras keeps the state there, of
five steps, NAME.ended.h5 of ten, and all losses in losses.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import numpy as np
import tf_keras as keras
from tf_keras import layers, optimizers

STEPS, SIZE = 5, 8
LEGACY = optimizers.legacy
# TensorFlow rounds all settings to float32, so these are sums of a few powers of two.
RATE = 2.0**-7
BETAS = {"beta_1": 0.875, "beta_2": 0.96875}
DECAY = optimizers.schedules.ExponentialDecay(RATE, 2, 0.5, staircase=True)
CASES: dict[str, Any] = {
    "adam": lambda: optimizers.Adam(RATE, **BETAS, amsgrad=True, clipnorm=0.125),
    "adamw": lambda: optimizers.AdamW(RATE, **BETAS, weight_decay=0.125),
    "scheduled": lambda: optimizers.Adam(DECAY, **BETAS),
    "nadam": lambda: optimizers.Nadam(RATE, **BETAS),
    "sgd": lambda: optimizers.SGD(RATE),
    "nesterov": lambda: optimizers.SGD(RATE, momentum=0.75, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(RATE, rho=0.875, momentum=0.75, centered=True),
    "adagrad": lambda: optimizers.Adagrad(RATE),
    "adadelta": lambda: optimizers.Adadelta(1.0, rho=0.875),
    "adamax": lambda: optimizers.Adamax(RATE, **BETAS),
    "lion": lambda: optimizers.Lion(RATE, **BETAS, weight_decay=0.125),
    "legacy_adam": lambda: LEGACY.Adam(RATE, **BETAS, amsgrad=True, decay=0.125),
    "legacy_nadam": lambda: LEGACY.Nadam(RATE, **BETAS),
    "legacy_sgd": lambda: LEGACY.SGD(RATE, momentum=0.75, nesterov=True),
    "legacy_rmsprop": lambda: LEGACY.RMSprop(RATE, rho=0.875, momentum=0.75, centered=True),
    "legacy_adagrad": lambda: LEGACY.Adagrad(RATE),
    "legacy_adadelta": lambda: LEGACY.Adadelta(1.0, rho=0.875),
    "legacy_adamax": lambda: LEGACY.Adamax(RATE, **BETAS),
}


def classifier() -> Any:
    """As that of the test."""
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


def main(folder: Path) -> None:
    """Train with every optimizer."""
    keras.backend.set_floatx("float64")
    losses: dict[str, list[float]] = {}
    for name, make in CASES.items():
        keras.utils.set_random_seed(1)
        model = classifier()
        # In a graph, Nadam multiplies its product of momenta once for every weight.
        model.compile(
            make(),
            keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
            run_eagerly=name == "nadam",
        )
        rng, losses[name] = np.random.default_rng(0), []
        labels = keras.utils.to_categorical(np.arange(6) % 3, 3)
        for step in range(2 * STEPS):
            if step == STEPS:
                model.save(folder / f"{name}.h5")
                if not name.startswith("legacy"):
                    model.save(folder / f"{name}.keras")
            images = rng.random((6, SIZE, SIZE, 3))
            losses[name].append(float(model.train_on_batch(images, labels)))
        model.save(folder / f"{name}.ended.h5")
    (folder / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
