"""`test` and `validate` take the Keras file that `predict` takes, with Keras's own numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from signs_lightning.commands.evaluate_keras import as_checkpoint
from signs_lightning.errors import InputError

FIGURES = re.compile(r"accuracy (\d+)/40 = .*, loss ([\d.]+)$", re.MULTILINE)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A Keras model with a penalty in its loss, 40 images, and what Keras makes of them."""
    monkeypatch.chdir(tmp_path)
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(6, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 16, 16, 3), np.uint8)
    labels = random.integers(0, 6, 40)
    model.fit(images.astype("float32"), labels, verbose=0)
    model.save(tmp_path / "model.keras")
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["test_set_x"], file["test_set_y"] = images, labels[None]
        file["list_classes"] = np.arange(6)
    loss, accuracy = model.evaluate(images.astype("float32"), labels, verbose=0)
    return {"loss": loss, "correct": round(accuracy * 40)}


@pytest.mark.slow
def test_the_numbers_are_those_of_keras(files: dict[str, Any], cli: Callable) -> None:
    """Accuracy and loss, penalty included, of both verbs and however the file is named."""
    for line in (
        "test model.keras --data.test_file test.h5",
        "test --data.test_file test.h5 model.keras --scale raw",
        "test --data.test_file=test.h5 --ckpt_path model.keras --data.batch_size 7",
        "validate model.keras --data.val_file test.h5",
    ):
        done = cli(*line.split())
        assert done.code == 0, done.err
        ((correct, loss),) = FIGURES.findall(done.out)
        assert int(correct) == files["correct"]
        assert float(loss) == pytest.approx(files["loss"], abs=6e-4)
    assert not Path("lightning_logs").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("test absent.keras", "No such file: absent.keras. It was looked for in "),
        ("test a.keras --scale rraw", "--scale is rraw, expected one of /255, raw, "),
        ("fit --ckpt_path a.keras", "No such checkpoint: a.keras."),
        ("test --data.test_file a.h5 b.h5", "'b.h5' has no option before it. Name a model first, "),
    ],
)
def test_what_cannot_be_used(line: str, message: str, cli: Callable) -> None:
    """A message about the file that was named."""
    done = cli(*line.split())
    assert done.code == 2
    assert done.err.startswith(message), done.err


@pytest.mark.slow
def test_messages_name_the_file_of_the_user(files: dict[str, Any]) -> None:
    """And not the temporary checkpoint, which is gone afterwards."""
    with pytest.raises(InputError, match=r"^model\.keras is of no use\."):  # noqa: PT012, SIM117
        with as_checkpoint("test", "model.keras", ["--name", "x"]) as args:
            checkpoint = Path(args[1])
            assert checkpoint.is_file()
            assert args == ["--ckpt_path", str(checkpoint), "--name", "x"]
            raise InputError(f"{checkpoint} is of no use.")
    assert not checkpoint.exists()
