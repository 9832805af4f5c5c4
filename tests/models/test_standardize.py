"""Images less their mean, by their deviation, of the training images: against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from signs_lightning import (
    FromKeras,
    H5DataModule,
    InputError,
    SignsFunctional,
    Trainer,
    export_keras,
)
from signs_lightning.checkpoints.load_model import load_model

RNG = np.random.default_rng(0)
RAW = RNG.integers(100, 5000, (30, 16, 16, 3)) * [1, 0.5, 0.1] // 1
LABELS = np.arange(30) % 2
RANGE = (0, 8191)


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (C,) of values in 0..1."""
    unit = images / RANGE[1]
    return unit.mean((0, 1, 2)), unit.std((0, 1, 2))


def trained(model: Any, dtype: str = "uint16") -> tuple[Any, H5DataModule]:
    arrays = RAW.astype(dtype), LABELS
    data = H5DataModule(train_file=arrays, val_fraction=0.3, batch_size=8, value_range=RANGE)
    options: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
    }
    trainer = Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **options)
    trainer.fit(model, datamodule=data)
    return model.eval(), data


def test_moments_are_those_of_the_images_to_train_on() -> None:
    """Each channel's own, of the split that is trained on, and the network gets them."""
    model, data = trained(SignsFunctional(scale="standardize"))
    train = data.images("train", 30)[0]
    assert len(train) == 21
    mean, deviation = moments(train)
    np.testing.assert_allclose(model.hparams["scale"], [mean, deviation], rtol=1e-9)
    unit = (RAW / RANGE[1] - mean) / deviation
    with torch.inference_mode():
        images = torch.from_numpy(unit).permute(0, 3, 1, 2).float()
        expected = model.network(images).softmax(dim=1).numpy()
    np.testing.assert_allclose(model.predict(RAW.astype("u2")), expected, atol=1e-5)


def test_a_channel_of_one_value_is_0() -> None:
    arrays = np.full((4, 8, 8, 1), 7, np.uint8), LABELS[:4]
    data = H5DataModule(train_file=arrays)
    data.setup("fit")
    assert data.channel_moments() == [[pytest.approx(7 / 255)], [1.0]]


def test_models_that_do_not_know_the_moments_refuse() -> None:
    with pytest.raises(InputError, match="scale is standardize, and no images to train on"):
        SignsFunctional(scale="standardize").predict(np.zeros((1, 64, 64, 3), np.uint8))


def test_a_keras_file(tmp_path: Path) -> None:
    """Whatever it was scaled to, its network gets standardised images."""
    original = SignsFunctional(image_size=(16, 16, 3), num_classes=2)
    export_keras(original, tmp_path / "m.keras", check=False)
    model, data = trained(FromKeras(path=str(tmp_path / "m.keras"), scale="standardize"))
    mean, deviation = moments(data.images("train", 30)[0])
    unit = (RAW / RANGE[1] - mean) / deviation
    with torch.inference_mode():
        images = torch.from_numpy(unit).permute(0, 3, 1, 2).float()
        expected = model.network(images).softmax(dim=1).numpy()
    np.testing.assert_allclose(model.predict(RAW.astype("u2")), expected, atol=1e-5)
    with pytest.raises(InputError, match="The model standardizes its images"):
        export_keras(model, tmp_path / "n.keras")


@pytest.mark.slow
def test_checkpoints_and_exports_have_the_moments(cli: Callable, tmp_path: Path) -> None:
    """The file that is tested later does not change them."""
    for name, images in (("train", RAW), ("test", RAW[::-1] + 900)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"], file["y"] = images.astype("i2"), LABELS
    fit = ("fit", "--data.train_file", "train.h5", "--data.test_file", "test.h5", "--name", "run")
    options = ("--data.value_range=0,8191", "--model.scale", "standardize")
    result = cli(*fit, *options, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu")
    assert result.code == 0, result.err
    run = str(tmp_path / "lightning_logs/run/version_0")
    model: Any = load_model(run, "predict")[0]
    np.testing.assert_allclose(model.hparams["scale"], moments(RAW), rtol=1e-9)
    assert cli("test", "--ckpt_path", run).code == 0
    assert cli("export", run, "--output", "m.onnx").code == 0
    found = []
    for source in (run, "m.onnx"):
        assert cli("predict", source, "--data.test_file", "test.h5", "--output", "p.csv").code == 0
        table = np.genfromtxt(tmp_path / "p.csv", delimiter=",", names=True)
        found.append(np.stack([table["p0"], table["p1"]], axis=1))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    expected = model.predict((RAW[::-1] + 900).astype("i2"))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    for file in ("m.keras", "m.py"):
        refused = cli("export", run, "--output", file)
        assert refused.code == 2
        assert "standardizes its images" in refused.err
    assert cli("fit", "--ckpt_path", run, "--trainer.max_epochs", "2").code == 0
