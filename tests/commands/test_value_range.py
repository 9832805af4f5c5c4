"""Images of other numbers than bytes: asked for their range, trained, tested and exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from signs_lightning.checkpoints.load_model import load_model

HIGH_BYTE = 0x4B00  # of every value: the classes differ in the other byte
LOW, HIGH = HIGH_BYTE, HIGH_BYTE + 255
FIT = ("--trainer.max_epochs", "8", "--trainer.accelerator", "cpu")


def write(path: Path, dtype: str, count: int, seed: int, offset: int = HIGH_BYTE) -> np.ndarray:
    """Grey images of one high byte; those of class 1 have a lighter square. Returns them."""
    rng = np.random.default_rng(seed)
    images = offset + rng.integers(0, 24, (count, 16, 16, 1))
    labels = np.arange(count) % 2
    for number in np.flatnonzero(labels):
        row, column = rng.integers(0, 8, 2)
        images[number, row : row + 8, column : column + 8] += 160
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = images.astype(dtype), labels
    return images.astype(dtype)


@pytest.fixture
def fit(tmp_path: Path, cli: Callable) -> Callable:
    """Fit on a training file of a type; `fit("u2", "--data.value_range", …)`."""

    def run(dtype: str, *options: str) -> object:
        write(tmp_path / "train.h5", dtype, 240, 0)
        write(tmp_path / "test.h5", dtype, 80, 1)
        files = ("--data.train_file", "train.h5", "--data.test_file", "test.h5")
        return cli("fit", *files, *FIT, *options, "--name", "run")

    return run


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u2", "i2", "f4", ">u2"])
def test_classes_in_the_low_byte(dtype: str, fit: Callable, cli: Callable, tmp_path: Path) -> None:
    """Asked for, given, learned; and the same through ONNX, torch.export and Keras."""
    asked = fit(dtype)
    assert asked.code == 2
    name = np.dtype(dtype).newbyteorder("=")
    assert f"holds {name} values from {LOW} to " in asked.err
    assert "--data.value_range" in asked.err
    assert "Traceback" not in asked.err
    option = f"--data.value_range={LOW},{HIGH}"
    assert fit(dtype, option).code == 0
    run = str(tmp_path / "lightning_logs/run/version_0")
    model: Any = load_model(run, "predict")[0]
    stored = write(tmp_path / "test.h5", dtype, 80, 1)
    # what NumPy makes of it, through the network alone
    unit = (stored.astype(np.float64) - LOW) / (HIGH - LOW)
    with torch.inference_mode():
        images = torch.from_numpy(unit).permute(0, 3, 1, 2).float()
        expected = model(images).softmax(dim=1).numpy()
    np.testing.assert_allclose(model.predict(stored), expected, atol=1e-6)
    assert (expected.argmax(1) == np.arange(80) % 2).mean() > 0.95

    def predicted(*arguments: str) -> np.ndarray:
        result = cli("predict", *arguments, "--output", "p.csv")
        assert result.code == 0, result.err
        table = np.genfromtxt(tmp_path / "p.csv", delimiter=",", names=True)
        return np.stack([table["p0"], table["p1"]], axis=1)

    np.testing.assert_allclose(predicted(run), expected, atol=1e-6)
    for file, options in (("m.onnx", ()), ("m.keras", ("--scale", "/255", option))):
        assert cli("export", run, "--output", file).code == 0
        found = predicted(file, "--data.test_file", "test.h5", *options)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    report = cli("report", run)
    assert report.code == 0, report.err


@pytest.mark.slow
def test_an_old_run_goes_on_rounding(cli: Callable, tmp_path: Path) -> None:
    """A checkpoint of before, tested on floats: the figures of the same images as bytes."""
    rng = np.random.default_rng(0)
    images = rng.random((24, 16, 16, 3)).astype(np.float32)
    for name, stored in (("unit", images), ("bytes", np.rint(images * 255).astype(np.uint8))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"], file["y"] = stored, np.arange(24) % 2
    fit = ("fit", "--data.train_file", "bytes.h5", "--data.val_fraction", "0.5", "--name", "run")
    assert cli(*fit, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu").code == 0
    checkpoint = tmp_path / "lightning_logs/run/version_0/checkpoints/last.ckpt"
    contents = torch.load(checkpoint, weights_only=True)
    assert contents["hyper_parameters"]["value_range"] == [0, 255]
    for name in ("value_range", "value_type"):
        del contents["hyper_parameters"][name]
        del contents["config"]["model"]["init_args"][name]
    contents["signs_lightning"]["format_version"] = contents["config"]["format_version"] = 4
    torch.save(contents, tmp_path / "old.ckpt")

    def probabilities(model: str, file: str) -> bytes:
        words = ("predict", model, "--data.test_file", f"{file}.h5", "--output", "p.csv")
        result = cli(*words)
        assert result.code == 0, result.err
        assert ("rounded to 8 bits" in result.out) == (model == "old.ckpt" and file == "unit")
        return (tmp_path / "p.csv").read_bytes()

    assert probabilities("old.ckpt", "unit") == probabilities("old.ckpt", "bytes")
    assert probabilities(str(checkpoint), "bytes") == probabilities("old.ckpt", "bytes")
    assert probabilities(str(checkpoint), "unit") != probabilities("old.ckpt", "unit")
    resumed = cli("fit", "--ckpt_path", "old.ckpt", "--trainer.max_epochs", "2",
                  "--data.train_file", "unit.h5", "--name", "more")  # fmt: skip
    assert resumed.code == 0, resumed.err
    assert "rounded to 8 bits" in resumed.out
