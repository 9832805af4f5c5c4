"""Weights are constrained after a step as Keras does it, along Keras's axes."""

from __future__ import annotations

import jax
import keras
import lightning
import numpy as np
import pytest
import torch
from keras import constraints, layers
from torch.utils.data import DataLoader, TensorDataset

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras

from .against_keras import images_for, randomize, to_torch

IMAGE_AXES = [0, 1, 2]


@keras.saving.register_keras_serializable("mine")
class MaxNorm(constraints.MaxNorm):
    """No constraint of Keras, in spite of its name."""


def constrained() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(
                4, 3, padding="same", name="conv",
                kernel_constraint=constraints.MaxNorm(0.4, axis=IMAGE_AXES),
                bias_constraint="non_neg",
            ),
            layers.DepthwiseConv2D(
                2, depth_multiplier=2, name="depthwise",
                depthwise_constraint=constraints.UnitNorm(axis=[0, 1]),
            ),
            layers.SeparableConv2D(
                3, 2, name="separable", depthwise_constraint=constraints.MinMaxNorm(0.5, 0.7, 0.6),
                pointwise_constraint=constraints.NonNeg(),
            ),
            layers.Conv2DTranspose(
                2, 3, name="transpose", kernel_constraint=constraints.UnitNorm(axis=[0, 1, 3])
            ),
            layers.BatchNormalization(
                name="norm", gamma_constraint=constraints.MaxNorm(0.9, axis=0),
                beta_constraint="non_neg",
            ),
            layers.PReLU(name="slope", alpha_constraint=constraints.MaxNorm(0.5, axis=-1)),
            layers.Flatten(),
            layers.Dense(4, name="frozen", kernel_constraint="unit_norm", trainable=False),
            layers.Dense(3, name="rows", kernel_constraint=constraints.MaxNorm(0.3, axis=1)),
            layers.Dense(
                2, activation="softmax", name="end",
                kernel_constraint=constraints.MinMaxNorm(0.1, 0.2),
                bias_constraint=MaxNorm(),
            ),
        ]
    )  # fmt: skip
    randomize(model)
    return model


def test_constraints_are_keras_own(tmp_path):
    """Each weight after a step of gradient descent, within 1e-6 of Keras's constraint of the same
    weight without it; not between the batches whose gradients are added up.
    """
    model = constrained()
    model.save(tmp_path / "m.keras")
    images, labels = images_for(model, 8), torch.tensor([0, 1] * 4)

    class Watch(lightning.Callback):
        def __init__(self):
            self.after = []

        def on_before_optimizer_step(self, trainer, module, optimizer):
            self.before = [[w.copy() for w in ws] for ws in module.network.keras_weights().values()]
            self.gradients = {
                name: p.grad.clone() for name, p in module.named_parameters() if p.requires_grad
            }

        def on_train_batch_end(self, trainer, module, *_):
            self.after.append(
                [[w.copy() for w in ws] for ws in module.network.keras_weights().values()]
            )

    ours = FromKeras(path=str(tmp_path / "m.keras"), scale="/255", optimizer=sgd)
    (omission,) = ours.omissions
    assert omission == "bias_constraint mine>MaxNorm of Dense 'end'"
    paths = list(ours.network.keras_weights())
    start = [[w.copy() for w in ws] for ws in ours.network.keras_weights().values()]
    watch = Watch()
    trainer = lightning.Trainer(
        max_epochs=1, accumulate_grad_batches=2, callbacks=[watch], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", limit_val_batches=0,
    )  # fmt: skip
    data = TensorDataset(to_torch(images), labels)
    loader = DataLoader(data, batch_size=4)
    trainer.fit(ours, loader, loader)
    plain = FromKeras(path=str(tmp_path / "m.keras"), scale="/255")
    parameters = dict(plain.named_parameters())
    with torch.no_grad():  # the same step, unconstrained
        for name, gradient in watch.gradients.items():
            parameters[name].sub_(0.1 * gradient)
    stepped = list(plain.network.keras_weights().values())
    variables = [model.get_layer(path[-1]).weights for path in paths]

    def is_constrained(variable):
        constraint = variable.constraint if variable.trainable else None
        return constraint is not None and not isinstance(constraint, MaxNorm)

    @jax.jit  # op by op takes many times as long
    def constrain(weights):
        return [
            [v.constraint(w) if is_constrained(v) else w for v, w in zip(vs, ws, strict=True)]
            for vs, ws in zip(variables, weights, strict=True)
        ]

    expected = constrain(stepped)
    for k, layer in enumerate(variables):
        for j, variable in enumerate(layer):
            if "moving" in variable.path:
                continue
            np.testing.assert_array_equal(watch.after[0][k][j], start[k][j])
            found, changed = watch.after[1][k][j], np.abs(expected[k][j] - stepped[k][j]).max()
            np.testing.assert_allclose(found, expected[k][j], atol=1e-6, err_msg=variable.path)
            assert (changed > 1e-3) == is_constrained(variable), variable.path
    frozen = paths.index(("frozen",))
    np.testing.assert_array_equal(watch.after[1][frozen][0], start[frozen][0])


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def test_arguments_that_cannot_be_used(tmp_path):
    for axis, name in ((2, "MaxNorm"), ("x", "UnitNorm"), ([], "MinMaxNorm")):
        model = keras.Sequential(
            [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2, "softmax", name="end")]
        )
        model.get_layer("end").kernel_constraint = getattr(constraints, name)(axis=axis)
        model.save(tmp_path / "m.keras")
        with pytest.raises(InputError, match=r"Dense 'end' has a kernel_constraint .* axis is"):
            FromKeras(path=str(tmp_path / "m.keras"), scale="/255")
