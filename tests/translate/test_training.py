"""A translated notebook trains as the notebook did in Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from corpus import FOLDER
from references import Reference

from signs_lightning import FromKeras, H5DataModule
from signs_lightning.__main__ import main

# Which reference, its learning rate and batch size, and the largest difference of a loss: in the
# first five epochs, in all, in the last.
FOLLOWED = [
    ("signs", 0.005, 16, (1e-5, 0.08, 0.08)),
    pytest.param("photos of hands", 0.001, 64, (5e-4, 0.03, 0.01), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(
    ("reference", "lr", "batch_size", "bounds"), FOLLOWED, indirect=["reference"]
)
def test_functional_notebook_follows_keras(
    reference: Reference, lr: float, batch_size: int, bounds: tuple[float, ...], tmp_path: Path
) -> None:
    """From Keras's initial weights, not shuffled, through the folder that `translate` writes."""
    config, names = _translate(reference, lr, batch_size, tmp_path)
    settings = config["model"]["init_args"]
    model = names["Net"](lr=settings["lr"])
    model.configure_model()
    _take_weights(model, FromKeras(str(reference.folder / "initial.h5"), scale="/255"))
    expected = reference.history
    epochs = config["trainer"]["max_epochs"]
    assert epochs == len(expected["loss"])
    data = H5DataModule(**config["data"])
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, data)
    losses = np.array([row["loss"] for row in model.history])
    difference = np.abs(losses - expected["loss"])
    assert difference[:5].max() < bounds[0]
    assert difference.max() < bounds[1]
    assert difference[-1] < bounds[2]


def _translate(
    reference: Reference, lr: float, batch_size: int, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration and the names in the model's file of the translated notebook."""
    text = (FOLDER / "signs_functional.ipynb").read_text()
    changes = {
        "datasets/train_signs.h5": str(reference.train_file),
        "datasets/test_signs.h5": str(reference.test_file),
        "optimizer='adam'": f"optimizer=tf.keras.optimizers.Adam({lr})",
        ".batch(64)": f".batch({batch_size})",
        "epochs=100": f"epochs={len(reference.history['loss'])}",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "signs.ipynb").write_text(text)
    assert main(["translate", str(folder / "signs.ipynb"), "--output", str(folder / "out")]) == 0
    config = yaml.safe_load((folder / "out/config.yaml").read_text())
    names: dict[str, Any] = {"__name__": "model"}
    exec(compile((folder / "out/model.py").read_text(), "model.py", "exec"), names)
    return config, names


def _take_weights(model: torch.nn.Module, other: torch.nn.Module) -> None:
    ours, theirs = list(model.parameters()), list(other.parameters())
    with torch.no_grad():
        for mine, value in zip(ours, theirs, strict=True):
            assert mine.shape == value.shape
            mine.copy_(value)
