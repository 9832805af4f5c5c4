"""Penalties of weights and of outputs count in the loss as Keras counts them."""

from __future__ import annotations

import h5py
import jax
import keras
import lightning
import numpy as np
import pytest
import torch
from keras import layers, regularizers
from torch.utils.data import DataLoader, TensorDataset

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.classifier import ImageClassifier

from .against_keras import images_for, randomize, to_torch

ORTHOGONAL = regularizers.OrthogonalRegularizer


def penalized() -> keras.Model:
    """Penalties of outputs before, in and behind the softmax, of a layer that is called twice, and
    of a frozen one; orthogonal kernels and outputs.
    """
    image = keras.Input((5, 5, 2))
    conv = layers.Conv2D(
        2, 3, padding="same", activation="tanh", activity_regularizer="l2", name="conv",
        kernel_regularizer="l1",
    )  # fmt: skip
    value = layers.ActivityRegularization(l1=0.02, l2=0.03)(conv(conv(image)))
    value = layers.Flatten()(value)
    value = layers.Dense(
        4,
        kernel_regularizer=ORTHOGONAL(0.3),
        activity_regularizer=ORTHOGONAL(0.2, mode="columns"),
        trainable=False,
    )(value)
    value = layers.Dense(
        4,
        kernel_regularizer=ORTHOGONAL(0.5, mode="columns"),
        activity_regularizer=ORTHOGONAL(0.4),
    )(value)
    value = layers.Dense(3, activation="softmax", activity_regularizer="l2")(value)
    model = keras.Model(image, layers.ActivityRegularization(l2=0.7)(value))
    randomize(model)
    return model


def losses_of(model: keras.Model, images: np.ndarray) -> float:
    """Keras's penalties, compiled at once: op by op takes five times as long."""

    def losses(values):
        model(values)
        return sum(model.losses)

    return float(jax.jit(losses)(images))


def penalty_of(model: FromKeras, images: np.ndarray) -> torch.Tensor:
    with model.network.count_activities():
        model(to_torch(images))
        return model.network.regularization_loss()


def test_penalties_are_keras_own(tmp_path):
    """Within 1e-6, whichever Keras wrote the file: before 3.14, and before tf.keras, those of
    outputs were not divided by the number of images.
    """
    model, path = penalized(), tmp_path / "m.h5"
    images = images_for(model, 6)
    theirs = losses_of(model, images)
    model.save(path)
    ours = FromKeras(path=str(path), scale="/255")
    assert not ours.omissions
    found = penalty_of(ours, images)
    assert found.item() == pytest.approx(theirs, rel=1e-6)
    of_weights = ours.network.regularization_loss().item()
    assert 0.1 < of_weights < 0.9 * theirs
    found.backward()  # the frozen layer passes the gradients on
    gradient = ours.network.get_parameter("conv.weight").grad
    assert gradient is not None
    assert gradient.abs().min() > 0
    for version, divisor in (("3.13.2", 1), ("2.2.4", 1), ("2.2.4-tf", 6), ("2.15.0", 6)):
        with h5py.File(path, "r+") as file:
            file.attrs["keras_version"] = version
        found = penalty_of(FromKeras(path=str(path), scale="/255"), images)
        expected = of_weights + 6 / divisor * (theirs - of_weights)
        assert found.item() == pytest.approx(expected, rel=1e-6), version


def test_penalties_of_outputs_count_in_steps(tmp_path):
    """In a training step and in validation, whose last batch is smaller, as in Keras's evaluate."""
    model = penalized()
    model.save(tmp_path / "m.keras")
    ours = FromKeras(path=str(tmp_path / "m.keras"), scale="/255")
    images, labels = images_for(model, 5), torch.tensor([0, 1, 2, 1, 0])
    expected = 0.0
    for part in (slice(0, 3), slice(3, 5)):
        with torch.no_grad():
            loss = ImageClassifier.compute_loss(ours, ours(to_torch(images[part])), labels[part])
        total = loss.item() + losses_of(model, images[part])
        expected += total * len(labels[part]) / 5
        if len(labels[part]) == 3:
            step = ours.training_step((to_torch(images[part]), labels[part]), 0)
            assert step.item() == pytest.approx(total, rel=1e-5)
    trainer = lightning.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    data = DataLoader(TensorDataset(to_torch(images), labels), batch_size=3)
    (metrics,) = trainer.validate(ours, data, verbose=False)
    assert metrics["val_loss"] == pytest.approx(expected, rel=1e-5)
    # images that pad a process's share do not count
    with ours.network.count_activities(torch.tensor([True, True, False])), torch.no_grad():
        ours(to_torch(images[:3]))
        padded = ours.network.regularization_loss().item()
    assert padded == pytest.approx(penalty_of(ours, images[:2]).item(), rel=1e-6)


@keras.saving.register_keras_serializable("mine")
class Mine(regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x)

    def get_config(self):
        return {}


def test_a_regularizer_of_ones_own_stops_training_alone(tmp_path):
    """It is named and predicts; training says what to do, and that helps."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(2, 3, kernel_regularizer=Mine(), bias_regularizer=ORTHOGONAL(), name="c"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", activity_regularizer=Mine(), name="d"),
        ]
    )
    images = images_for(model, 4)
    data = DataLoader(TensorDataset(to_torch(images), torch.tensor([0, 1, 1, 0])), batch_size=4)

    def fit(**options):
        model.save(tmp_path / "m.keras")
        ours = FromKeras(path=str(tmp_path / "m.keras"), scale="/255", **options)
        expected = np.asarray(model(images))
        np.testing.assert_allclose(ours.predict(to_torch(images)), expected, atol=1e-6)
        trainer = lightning.Trainer(
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            accelerator="cpu", enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        try:
            trainer.fit(ours, data, data)
        finally:
            named.append(ours.omissions)

    named: list[list[str]] = []
    everything = (
        "kernel_regularizer mine>Mine of Conv2D 'c', bias_regularizer OrthogonalRegularizer"
    )
    with pytest.raises(InputError, match=f"{everything}.*activity_regularizer.*of Dense 'd'"):
        fit()
    assert "activity_regularizer mine>Mine of Dense 'd'" in named[0]
    with pytest.raises(InputError, match=r"because of activity_regularizer.*`layer.activity_"):
        fit(trainable_layers=1)  # frozen weights have no penalty
    model.get_layer("d").activity_regularizer = None
    fit(trainable_layers=1)
    model.get_layer("c").kernel_regularizer = model.get_layer("c").bias_regularizer = None
    fit()
    assert not named[-1]
