"""Images that are neither grey nor RGB, through every verb."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import matplotlib.image
import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from signs_lightning import SignsFunctional
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint


def write(path: Path, channels: int, count: int) -> np.ndarray:
    """Images whose channel k has about the value 40 + 10 k, with the class added."""
    labels = np.arange(count) % 2
    values = 40 + 10 * np.arange(channels) + 60 * labels[:, None, None, None]
    noise = np.random.default_rng(channels).integers(0, 9, (count, 20, 18, channels))
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = (values + noise).astype(np.uint8), labels
        return file["images"][()]


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        pytest.param(
            13,
            "Pictures show the first 3 of the 13 channels, as red, green and blue.",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            2,
            "Pictures show the first of the 2 channels, as grey.",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_verb(
    cli: Callable, guarded_forks: None, tmp_path: Path, channels: int, sentence: str
) -> None:
    """Training, report, ONNX, prediction and samples; what shows pictures names their channels, and
    they are those that NumPy picks. Loose pictures have other channels: they are refused.
    """
    images = write(tmp_path / "train.h5", channels, 16)
    test = write(tmp_path / "test.h5", channels, 8)
    result = cli(
        "fit", "--data.train_file", "train.h5", "--data.test_file", "test.h5", "--name", "run",
        "--trainer.max_epochs", 1,
    )  # fmt: skip
    assert result.code == 0, result.err
    run = Path("lightning_logs/run/version_0")
    drawn = images[..., : min(channels, 3) if channels > 2 else 1]

    (tag,) = EventAccumulator(str(run / "train")).Reload().Tags()["images"]
    assert tag.startswith(f"first images, first {drawn.shape[3]} channels")

    result = cli("report", run)
    assert result.code == 0, result.err
    assert sentence in result.out
    assert sentence in (run / "report" / "report.html").read_text(encoding="utf-8")
    assert (run / "report" / "gradcam.png").exists()

    result = cli("inspect", "train.h5", "--samples", "samples.png")
    assert result.code == 0, result.out
    assert f"16 of 20×18 pixels, {channels} channels" in result.out
    assert sentence in result.out
    colors = (matplotlib.image.imread("samples.png")[..., :3] * 255).round().reshape(-1, 3)
    for value in (drawn[0].mean((0, 1)), drawn[1].mean((0, 1))):
        near = np.abs(colors - value).max(axis=1) < 5
        assert near.sum() > 500

    result = cli("export", "--ckpt_path", run, "--format", "onnx", "--output", "model.onnx")
    assert result.code == 0, result.err
    command = "predict {} --data.test_file FILE.h5"  # no picture has such channels
    assert command.format("model.onnx") in result.out
    result = cli("inspect", run, run / "checkpoints" / "last.ckpt", "model.onnx")
    for path in (run, run / "checkpoints" / "last.ckpt", "model.onnx"):
        assert command.format(path) in result.out
    session = onnxruntime.InferenceSession("model.onnx")
    (expected,) = session.run(None, {session.get_inputs()[0].name: test})
    result = cli("predict", "--ckpt_path", run, "--data.test_file", "test.h5")
    assert result.code == 0, result.err
    rows = np.loadtxt("predictions.csv", delimiter=",", skiprows=1, usecols=(4, 5))
    np.testing.assert_allclose(rows, expected, atol=1e-5)

    buffer = io.BytesIO()
    Image.new("RGBA", (12, 16)).save(buffer, "png")
    Path("picture.png").write_bytes(buffer.getvalue())
    result = cli("predict", "--ckpt_path", run, "--images", "picture.png")
    assert result.code == 2
    refusal = f"The model takes images of {channels} channels, and a picture is read as 1"
    assert refusal in result.err
    assert "with --data.test_file" in result.err
    assert "Traceback" not in result.err


@pytest.mark.slow
def test_there_is_no_page_for_them(fork: Callable, tmp_path: Path) -> None:
    """The web page would read uploaded pictures as grey or RGB."""
    pytest.importorskip("gradio")
    save_checkpoint(SignsFunctional(num_classes=2, image_size=(16, 12, 4)), tmp_path / "m.ckpt")
    result = fork("demo", "--ckpt_path", "m.ckpt", "--port", 0).wait()
    assert result.code == 2
    assert "The model takes images of 4 channels, and a picture is read as 1" in result.err
    assert "Traceback" not in result.err
