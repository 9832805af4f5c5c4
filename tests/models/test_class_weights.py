"""Weights by how many images a class has: of the training split, stored as numbers."""

import lightning as L
import numpy as np
import pytest
import torch

from signs_lightning import H5DataModule, InputError, SignsFunctional
from signs_lightning.models.class_weights import balanced_weights, describe_imbalance


def fit(labels: np.ndarray, **arguments):
    """A model after one epoch on images of these labels."""
    images = np.random.default_rng(0).integers(0, 255, (len(labels), 32, 32, 3), np.uint8)
    data = H5DataModule(train_file=(images, labels), val_fraction=0.25)
    torch.manual_seed(0)
    model = SignsFunctional(**arguments)
    trainer = L.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(model, data)
    return model, data


def test_balanced_is_scikit_learns():
    """n / (K · n_k) of the images that are trained on, and the loss of those numbers."""
    labels = np.repeat([0, 1, 2], [40, 8, 16])
    model, data = fit(labels, class_weights="balanced")
    counts = np.bincount(data.training_labels)
    assert counts.sum() == 48
    expected = [48 / (3 * n) for n in counts]
    assert model.hparams["class_weights"] == expected
    assert model._class_weights.tolist() == np.array(expected, np.float32).tolist()
    numbers, _ = fit(labels, class_weights=expected)
    assert numbers.history == model.history
    plain, _ = fit(labels)
    assert plain.history != model.history


def test_a_class_without_images_has_no_weight():
    """Nor have labels that nothing tells."""
    with pytest.raises(InputError, match=r"no training image has the class b\. Give a number"):
        balanced_weights(np.array([0, 2]), ["a", "b", "c"])
    with pytest.raises(InputError, match="only an H5DataModule tells"):
        balanced_weights(None, ["a", "b"])


def test_uneven_classes_are_told(capsys):
    """From over ten times on, unless weights are given."""
    names = ["a", "b", "c"]
    assert describe_imbalance(np.repeat([0, 2], [50, 5]), names) is None
    line = describe_imbalance(np.repeat([0, 2], [51, 5]), names)
    assert line is not None
    assert "'a' has 51 training images, 'c' 5. With --model.class_weights balanced" in line
    labels = np.repeat([0, 1], [60, 4])
    fit(labels)
    assert "The classes are uneven: '0' has 45" in capsys.readouterr().out
    fit(labels, class_weights=[1.0, 1.0])
    assert "uneven" not in capsys.readouterr().out
