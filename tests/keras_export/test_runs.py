"""Training runs beside real Keras: the same weights, the same batches, both sides in float64, step
by step the same loss.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.models.layers import KerasBatchNorm2d
from signs_lightning.models.signs_resnet50 import SignsResNet50

STEPS = 5

# JAX has float64 only where JAX_ENABLE_X64 is set before its import: hence a process of its own.
# The softmax goes, because Keras on JAX clips probabilities in its cross-entropy, and logits it
# does not.
KERAS_RUN = """
import sys
import keras
import numpy as np
from keras.src.backend.common import dtypes

assert keras.backend.backend() == "jax"
# Else BatchNormalization computes in float32, whatever its dtype.
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
keras.config.set_floatx("float64")
keras.config.set_dtype_policy("float64")
loaded = keras.models.load_model("before.keras", compile=False)
inputs = keras.Input(loaded.input_shape[1:], dtype="float64")  # the file says float32
model = keras.models.clone_model(loaded, inputs)
model.set_weights(loaded.get_weights())
assert model.layers[-1].activation is keras.activations.softmax
model.layers[-1].activation = keras.activations.linear
model.compile(keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
data = np.load("data.npz")
images, labels, losses = data["images"].astype("float64") / 255, data["labels"], []
for start in range(0, len(images), int(sys.argv[1])):
    model.reset_metrics()  # what train_on_batch returns is a running mean
    batch = slice(start, start + int(sys.argv[1]))
    losses.append(float(model.train_on_batch(images[batch], labels[batch])))
np.save("losses.npy", np.array(losses))
model.save_weights("theirs.weights.h5")
"""


class Losses(Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.values.append(outputs["loss"].clone())


def new_model(width: int, identity_blocks: tuple[int, int, int, int]) -> SignsResNet50:
    """ResNet50 as it is drawn, but with moving statistics that are not 0 and 1: the run has to keep
    0.99 of them.
    """
    torch.manual_seed(0)
    model = SignsResNet50(
        num_classes=6,
        image_size=(64, 64, 3),
        width=width,
        identity_blocks=identity_blocks,
        biased_variance=True,
    )
    for layer in model.network.modules():
        if isinstance(layer, KerasBatchNorm2d):
            layer.get_buffer("running_mean").normal_()
            layer.get_buffer("running_var").uniform_(0.5, 1.5)
    return model.double()


def weights_file(path: Path) -> dict[str, np.ndarray]:
    """Every weight of a `.weights.h5`, by its path: layers/batch_normalization_1/vars/2."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, entry: h5py.Group | h5py.Dataset) -> None:
        if isinstance(entry, h5py.Dataset) and not name.startswith("optimizer/"):
            found[name] = entry[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec")
@pytest.mark.parametrize(
    ("width", "identity_blocks", "batch_size"),
    [
        pytest.param(8, (1, 0, 0, 0), 8, id="narrow and shallow", marks=pytest.mark.slow),
        pytest.param(8, (2, 3, 5, 2), 8, id="narrow", marks=pytest.mark.slow),
        pytest.param(64, (2, 3, 5, 2), 4, id="resnet50", marks=pytest.mark.slow),
    ],
)
def test_five_steps_of_resnet50(tmp_path, width, identity_blocks, batch_size):
    """Unshuffled, Adam with Keras's defaults: the loss of each step, and the moving averages after
    the last, within 1e-6.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS * batch_size, 64, 64, 3), dtype=np.uint8)
    labels = rng.integers(0, 6, STEPS * batch_size)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    model, losses = new_model(width, identity_blocks), Losses()
    export_keras(model, tmp_path / "before.keras")

    trainer = lightning.Trainer(
        max_epochs=1,
        precision="64-true",
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        accelerator="cpu",
    )
    trainer.fit(
        model,
        DataLoader(TensorDataset(torch.from_numpy(images), torch.from_numpy(labels)), batch_size),
    )
    export_keras(model, tmp_path / "ours.weights.h5", "keras-weights")

    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
    }
    run = subprocess.run(
        [sys.executable, "-c", KERAS_RUN, str(batch_size)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr

    our_losses = [float(value) for value in losses.values]
    assert len(our_losses) == STEPS
    np.testing.assert_allclose(our_losses, np.load(tmp_path / "losses.npy"), atol=1e-6, rtol=0)
    ours, theirs = (weights_file(tmp_path / f"{side}.weights.h5") for side in ("ours", "theirs"))
    assert ours.keys() == theirs.keys()
    averages = [
        name for name in ours if "/batch_normalization" in name and name.endswith(("/2", "/3"))
    ]
    assert len(averages) == 2 * (17 + 3 * sum(identity_blocks))  # moving mean and moving variance
    for name in averages:
        assert ours[name].dtype == theirs[name].dtype == np.float64
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6, rtol=0, err_msg=name)
