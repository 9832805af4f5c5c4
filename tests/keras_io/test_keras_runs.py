"""A training that Keras began goes on here: against Keras's own, without a break."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

pytestmark = pytest.mark.usefixtures("guarded_forks")

BATCH, EPOCHS = 16, 2  # 60 images: 4 steps an epoch
FIT: tuple[Any, ...] = ("fit", "--data.batch_size", BATCH, "--data.shuffle", "false")


def classifier() -> keras.Model:
    """A frozen layer, BatchNorm, a constraint and a penalty, in a model inside the model, too."""
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, kernel_constraint="non_neg", name="conv"),
            layers.BatchNormalization(momentum=0.9, name="norm"),
        ],
        name="inner",
    )
    image = keras.Input((64, 64, 3))
    value = layers.Conv2D(4, 8, strides=8, trainable=False, name="frozen")(image)
    value = layers.Flatten()(layers.ReLU()(inner(value)))
    value = layers.Dense(6, activation="softmax", kernel_regularizer="l2", name="end")(value)
    return keras.Model(image, value)


def images(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(file) as data:
        return data["train_set_x"][:] / np.float32(255), data["train_set_y"][:].ravel()


def history(version: int) -> list[dict[str, str]]:
    path = Path(f"lightning_logs/run/version_{version}/history.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, small_signs) -> dict[str, Any]:
    """Adam's files and losses after two epochs, and the losses of the next two."""
    folder = tmp_path_factory.mktemp("begun")
    keras.utils.set_random_seed(1)
    model = classifier()
    model.compile(
        keras.optimizers.Adam(0.003, clipnorm=1.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    x, y = images(small_signs[0])
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    log = keras.callbacks.CSVLogger(folder / "log.csv")
    losses = model.fit(x, y, epochs=EPOCHS, callbacks=[log], **options).history["loss"]
    for extension in ("keras", "h5"):
        model.save(folder / f"m.{extension}")
    more = model.fit(x, y, epochs=2 * EPOCHS, initial_epoch=EPOCHS, **options).history["loss"]
    return {"folder": folder, "losses": losses + more}


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_two_epochs_go_on_after_two_of_keras(cli, begun, small_signs, extension):
    """The losses are those of a run that Keras made alone."""
    data = ("--data.train_file", small_signs[0], "--data.test_file", small_signs[1])
    done = cli("import-keras", begun["folder"] / f"m.{extension}", "--output", "m.ckpt")
    assert "`fit` goes on after 8 steps." in done.out, done.err
    run = ("--ckpt_path", "m.ckpt", *data, "--trainer.max_epochs", 2 * EPOCHS, "--name", "run")
    done = cli(*FIT, *run)
    assert "Training goes on where Keras stopped: 2 epochs (8 steps) are done." in done.out
    rows = history(0)
    assert [row["epoch"] for row in rows] == ["2", "3"]
    losses = [float(row["loss"]) for row in rows]
    np.testing.assert_allclose(losses, begun["losses"][EPOCHS:], atol=1e-5)
