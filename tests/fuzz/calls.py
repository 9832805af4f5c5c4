"""What is done with a file of each kind: what a verb would do. Importing this imports everything
that the calls need.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # noqa: F401  # imported before the forks
import torch
from lightning import pytorch  # noqa: F401
from onnx import shape_inference  # noqa: F401
from PIL import Image

import signs_lightning
from fuzz import text_calls
from fuzz.seeds import SIZE
from signs_lightning import SignsFunctional
from signs_lightning.callbacks import model_summary  # noqa: F401
from signs_lightning.checkpoints.files import checkpoint_config, load_checkpoint, load_classifier
from signs_lightning.commands.ckpt_path import find_start
from signs_lightning.commands.import_keras import main as import_keras
from signs_lightning.commands.import_keras import run as import_keras_here
from signs_lightning.commands.inspect import examine_in_sandbox
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.errors import InputError
from signs_lightning.export.onnx_classifier import OnnxClassifier
from signs_lightning.keras_io import keras_check
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.models.resume_optimizer_state import check_optimizer_states
from signs_lightning.runtime.image_files import read_image
from signs_lightning.runtime.run_errors import MISFITS
from signs_lightning.runtime.sandbox import run_sandboxed

__all__ = ["CALLS", "VERBS", "run_sandboxed"]
Image.init()
keras_check.find_keras = lambda: None  # what is written is not read by Keras, which takes seconds
signs_lightning.ImageClassifier, signs_lightning.FromKeras  # noqa: B018  # imported on first use
# Bytes of a file's images that are read: an epoch of a set that claims terabytes would take days.
READ = 64 * 2**20
PIXELS = 2**18  # of an image that a damaged model may ask for and is given


def data(path: Path, out: Path) -> None:
    """As `fit` does: checks, then reads images in blocks and at random."""
    images = H5Images([check_file(path)])
    count, bytes_each = len(images), int(np.prod(images.image_shape, dtype=np.float64))
    step = max(1, 2**20 // bytes_each)
    most = max(1, min(count, READ // bytes_each))
    for low in range(0, most, step):
        images.read_sorted(np.arange(low, min(low + step, most)))
    images.__getitems__(
        random.Random(0).sample(range(count), min(count, max(1, min(8, READ // bytes_each))))
    )


def keras(path: Path, out: Path) -> None:
    """As `import-keras` does, in this process; then one prediction."""
    checkpoint = out / "model.ckpt"
    try:
        import_keras_here("import-keras", [str(path), "--output", str(checkpoint)])
        _predict(load_classifier(checkpoint)[0])
    finally:
        checkpoint.unlink(missing_ok=True)


def checkpoint(path: Path, out: Path) -> None:
    """As `predict` does, and what `fit` and `test` take the configuration from."""
    model, _ = load_classifier(path)
    checkpoint_config(load_checkpoint(path), path)
    _predict(model)


def resume(path: Path, out: Path) -> None:
    """As `fit --ckpt_path` does, up to the first step of a fused optimizer."""
    try:
        find_start("fit", ["--ckpt_path", str(path)])
    except InputError as error:  # what is offered instead is as long as what was written
        raise InputError(str(error).partition(" If you trust it, add ")[0]) from error
    model, _ = load_classifier(path)
    stored = load_checkpoint(path)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    check_optimizer_states([optimizer], stored)
    for state in stored.get("optimizer_states", [])[:1]:
        try:
            optimizer.load_state_dict(state)
        except MISFITS as error:  # as fit explains it
            raise InputError("refused") from error
        optimizer.step()


def architecture(path: Path, out: Path) -> None:
    """As `import-keras --architecture` does with what Keras's `to_json` wrote."""
    weights, checkpoint = out / "x.weights.h5", out / "model.ckpt"
    try:
        export_keras(SignsFunctional(num_classes=6, image_size=SIZE), weights, "keras-weights")
        options = ["--architecture", str(path), "--output", str(checkpoint)]
        import_keras_here("import-keras", [str(weights), *options])
    finally:
        weights.unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)


def image(path: Path, out: Path) -> None:
    """As `predict` does, in colour and in grey."""
    assert read_image(str(path), (64, 64, 3)).shape == (64, 64, 3)
    assert read_image(str(path), (32, 48, 1)).shape == (32, 48, 1)


def onnx(path: Path, out: Path) -> None:
    """As `predict` does."""
    _predict(OnnxClassifier(path))


def _predict(model: Any) -> None:
    height, width, channels = model.image_size
    if height * width <= PIXELS:
        found = model.predict(torch.zeros(1, height, width, channels, dtype=torch.uint8))
        assert found.shape == (1, model.num_classes)
        assert len(model.class_names) == model.num_classes


def _inspect(path: Path, out: Path) -> str:
    return examine_in_sandbox(str(path), {}, 20).problem


def _import(path: Path, out: Path) -> str:
    try:
        import_keras("import-keras", [str(path), "--output", str(out / "model.ckpt")])
    except InputError as error:
        return str(error)
    (out / "model.ckpt").unlink()
    return ""


CALLS = {"data": data, "keras": keras, "checkpoint": checkpoint, "image": image, "onnx": onnx}
CALLS |= {"resume": resume, "architecture": architecture, "config": text_calls.config}
CALLS |= {"command": text_calls.command, "notebook": text_calls.notebook}
# Guarded ones.
VERBS = {"data": {"inspect": _inspect}, "keras": {"inspect": _inspect, "import-keras": _import}}
