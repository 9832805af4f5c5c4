"""Fine-tuning follows Keras's `fit`, and a run that is resumed ends as one that was not."""

from __future__ import annotations

import keras
import lightning
import numpy as np
import pytest
import torch
from keras import layers
from torch.utils.data import DataLoader, TensorDataset

from signs_lightning.keras_io.from_keras import FromKeras

from .against_keras import images_for, network_of, randomize, to_torch

pytestmark = pytest.mark.slow


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.03)


def trainer_of(epochs: int, **options) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **{"enable_checkpointing": False} | options,
    )


def test_a_run_follows_keras(tmp_path):
    """Constraints, penalties of weights and of outputs, a frozen layer, moving averages: the losses
    of two epochs, in training and in validation, and all weights behind them. With larger steps an
    activation near zero falls on the other side on some processors.
    """
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(
                4,
                3,
                padding="same",
                kernel_constraint=keras.constraints.MaxNorm(0.5, axis=[0, 1, 2]),
                bias_constraint="non_neg",
                activity_regularizer=keras.regularizers.L2(0.01),
            ),
            layers.BatchNormalization(momentum=0.6, gamma_regularizer="l1"),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, depthwise_constraint="unit_norm"),
            layers.ActivityRegularization(l1=0.003),
            layers.Flatten(),
            layers.Dense(5, activation="tanh", trainable=False),
            layers.Dense(
                5, kernel_regularizer=keras.regularizers.OrthogonalRegularizer(0.2), name="square"
            ),
            layers.BatchNormalization(momentum=0.6),
            layers.Dense(
                3,
                activation="softmax",
                kernel_constraint=keras.constraints.MinMaxNorm(0.2, 0.9, 0.5),
                activity_regularizer=keras.regularizers.L2(0.05),
            ),
        ]
    )
    randomize(model)
    model.save(tmp_path / "m.keras")
    images, labels = images_for(model, 18), np.arange(18) % 3
    model.compile(keras.optimizers.SGD(0.03), "sparse_categorical_crossentropy")
    kept = {"batch_size": 4, "shuffle": False, "verbose": 0}
    theirs = model.fit(
        images, labels, epochs=2, validation_data=(images[:6], labels[:6]), **kept
    ).history
    ours = FromKeras(path=str(tmp_path / "m.keras"), scale="/255", optimizer=sgd)
    assert not ours.omissions
    data = TensorDataset(to_torch(images), torch.from_numpy(labels))
    few = TensorDataset(to_torch(images[:6]), torch.from_numpy(labels[:6]))
    trainer_of(2).fit(ours, DataLoader(data, batch_size=4), DataLoader(few, batch_size=4))
    for key in ("loss", "val_loss"):
        losses = [row[key] for row in ours.history]
        np.testing.assert_allclose(losses, theirs[key], rtol=1e-4, err_msg=key)
    for path, weights in network_of(ours).keras_weights().items():
        for found, expected in zip(weights, model.get_layer(path[-1]).weights, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=expected.path)


def test_a_resumed_run_is_the_same(tmp_path, monkeypatch):
    """Bit by bit, with layers that draw random numbers, constraints and penalties."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.RandomFlip(),
            layers.RandomRotation(0.3),
            layers.RandomContrast(0.4, value_range=(0, 1)),
            layers.RandomErasing(value_range=(0, 1)),
            layers.AugMix(value_range=(0, 1)),
            layers.CutMix(),
            layers.Conv2D(4, 3, kernel_constraint="max_norm", activity_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    randomize(model)
    model.save(tmp_path / "m.keras")
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    images, labels = images_for(model, 18), torch.arange(18) % 3
    loader = DataLoader(TensorDataset(to_torch(images), labels), batch_size=4)

    def fit(epochs: int, **options) -> dict[str, torch.Tensor]:
        ours = FromKeras(path=str(tmp_path / "m.keras"), scale="/255")
        torch.manual_seed(epochs)
        trainer = trainer_of(epochs)
        trainer.fit(ours, loader, loader, **options)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return {name: tensor.clone() for name, tensor in ours.state_dict().items()}

    whole = fit(2)
    fit(1)
    resumed = fit(2, ckpt_path=tmp_path / "1.ckpt")
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name
