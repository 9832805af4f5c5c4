"""What a GPU gives, beside the CPU: `SIGNS_LIGHTNING_TEST_GPU=0 python -m pytest tests/gpu`."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import torch
from references import reference_of
from torch import nn

from signs_lightning import (
    H5DataModule,
    HappySequential,
    SignsFunctional,
    SignsResNet50,
    from_keras,
)
from signs_lightning.callbacks.running_figures import RunningFigures
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.metrics import EpochTotals
from signs_lightning.runtime.resize import resize_images
from signs_lightning.runtime.resize_options import FITS, RESIZES

if not torch.cuda.is_available():
    pytest.skip("no GPU; with one: SIGNS_LIGHTNING_TEST_GPU=0 pytest tests/gpu", True)

pytestmark = [
    pytest.mark.filterwarnings("ignore:GPU available but not used"),  # a test asks for the CPU
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]


def rows(folder):
    """What history.csv says of every epoch, less the seconds."""
    with (folder / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


def weights(folder):
    path = folder / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True, map_location="cpu")["state_dict"]


def fit(cli, small_signs, name, *args):
    train_file, test_file = small_signs
    result = cli(
        *("fit", "--model", "SignsFunctional", "--name", name, "--data.batch_size", 16),
        *("--data.train_file", train_file, "--data.test_file", test_file, *args),
    )
    assert result.code == 0, result.err
    return result


@pytest.mark.parametrize("name", ["signs", "smiles"])
def test_probabilities_are_keras(name, tmp_path, cli):
    """What `predict` writes, and the model in Python, beside Keras on a CPU."""
    reference = reference_of(name)
    path = reference.trained("keras", tmp_path)
    images, _ = reference.test()
    expected = reference.probabilities
    model = from_keras(path, scale="/255").to("cuda")
    found = model.predict(images)
    found = found[:, 1:] if reference.binary else found
    print(f"{name}: in Python {np.abs(found - expected).max():.2e} from Keras")
    result = cli(
        *("predict", "--ckpt_path", path, "--scale", "/255"),
        *("--data.test_file", reference.test_file, "--output", "out.csv"),
    )
    assert result.code == 0, result.err
    with (tmp_path / "out.csv").open() as file:
        cells = [row[-model.num_classes :] for row in csv.reader(file)][1:]
    table = np.array(cells, float)
    table = (table[:, 1:] if reference.binary else table)[-len(expected) :]
    print(f"{name}: predict {np.abs(table - expected).max():.2e} from Keras")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(table, expected, rtol=0, atol=1e-5)


def test_resized_images_have_the_cpus_bytes():
    rng = np.random.default_rng(0)
    for _ in range(40):
        shape = (2, int(rng.integers(1, 14)), int(rng.integers(1, 120)), int(rng.integers(1, 120)))
        images = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
        size = (int(rng.integers(1, 90)), int(rng.integers(1, 90)))
        for resize in RESIZES:
            for way in FITS:
                expected = resize_images(images, size, resize, way)
                found = resize_images(images.cuda(), size, resize, way)
                assert torch.equal(found.cpu(), expected), (images.shape, size, resize, way)


def test_resident_batches_are_those_of_the_file(small_signs):
    import lightning as L

    class Collect(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight, self.seen = nn.Parameter(torch.zeros(())), []

        def training_step(self, batch):
            self.seen.append((batch[0].cpu(), batch[1].cpu(), batch[0].device.type))
            return self.weight * 0

        def validation_step(self, batch):
            pass

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    seen = []
    for accelerator in ("cpu", "gpu"):
        model = Collect()
        data = H5DataModule(str(small_signs[0]), batch_size=16, seed=1)
        trainer = L.Trainer(
            accelerator=accelerator, max_epochs=2, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, data)
        seen.append(model.seen)
    assert {device for *_, device in seen[1]} == {"cuda"}
    for (images, labels, _), (others, theirs, _) in zip(*seen, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, theirs)


def test_a_resumed_run_is_the_same_to_the_last_bit(cli, small_signs, tmp_path):
    flags = ("--trainer.accelerator", "gpu", "--trainer.deterministic", "true")
    fit(cli, small_signs, "whole", *flags, "--trainer.max_epochs", 6)
    fit(cli, small_signs, "part", *flags, "--trainer.max_epochs", 3)
    part, whole = (tmp_path / "lightning_logs" / n / "version_0" for n in ("part", "whole"))
    result = cli("fit", "--ckpt_path", part, "--trainer.max_epochs", 6)
    assert result.code == 0, result.err
    assert rows(part) == rows(whole)
    ours, theirs = weights(part), weights(whole)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_every_verb_takes_a_run_of_the_gpu(cli, small_signs, tmp_path):
    result = fit(cli, small_signs, "run", "--trainer.max_epochs", 2)
    assert "cuda" in result.out
    run = tmp_path / "lightning_logs" / "run" / "version_0"
    for command in (
        ("test", "--ckpt_path", run),
        ("validate", "--ckpt_path", run),
        ("predict", "--ckpt_path", run, "--data.test_file", small_signs[1]),
        ("report", run),
        ("summary", "--ckpt_path", run),
        ("export", "--ckpt_path", run, "--format", "torch", "--output", "model.pt2"),
        ("export", "--ckpt_path", run, "--format", "keras-weights", "--output", "m.weights.h5"),
        ("fit", "--ckpt_path", run, "--trainer.max_epochs", 3, "--trainer.accelerator", "cpu"),
    ):
        result = cli(*command)
        assert result.code == 0, (command, result.err)


def test_evaluation_is_the_cpus(cli, small_signs, tmp_path):
    """Loss and accuracy of `test`: rounding alone differs."""
    fit(cli, small_signs, "run", "--trainer.max_epochs", 2)
    run, losses = tmp_path / "lightning_logs" / "run" / "version_0", []
    for accelerator in ("cpu", "gpu"):
        result = cli("test", "--ckpt_path", run, "--trainer.accelerator", accelerator)
        assert result.code == 0, result.err
        losses.append(re.findall(r"loss (\d+\.\d+)", result.out)[0])
    assert losses[0] == losses[1], losses


@pytest.mark.parametrize(
    "flags",
    [("--trainer.precision", "bf16-mixed"), ("--trainer.strategy", "ddp", "--trainer.devices", 1)],
    ids=["bf16", "nccl"],
)
def test_other_ways_to_train(flags, cli, small_signs, tmp_path):
    flags = (*flags, "--trainer.max_epochs", 3)
    fit(cli, small_signs, "plain", "--trainer.max_epochs", 3)
    fit(cli, small_signs, "other", *flags)
    plain, other = (
        rows(tmp_path / "lightning_logs" / name / "version_0") for name in ("plain", "other")
    )
    for ours, theirs in zip(other, plain, strict=True):
        assert float(ours["loss"]) == pytest.approx(float(theirs["loss"]), abs=0.02)


@pytest.mark.filterwarnings("default")  # the compiler's about itself
def test_cuda_graphs_give_the_plain_steps(cli, small_signs, tmp_path):
    """In float64, where only the order of sums differs: BatchNorm and its moving averages, a
    smaller last batch, and validation between the epochs.
    """
    flags = [
        *("--model", "SignsResNet50", "--model.width", 4, "--model.identity_blocks", "[1,0,0,0]"),
        *("--trainer.precision", "64-true", "--trainer.max_epochs", 4),
    ]
    found = []
    for compiled in ("false", "true"):
        fit(cli, small_signs, compiled, *flags, "--model.compile", compiled)
        folder = tmp_path / "lightning_logs" / compiled / "version_0"
        found.append((rows(folder), weights(folder)))
    for ours, theirs in zip(found[1][0], found[0][0], strict=True):
        for name in ("loss", "val_loss"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-6), (name, ours)
    for key, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][key], value, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("default")
def test_cuda_graphs_resume_to_the_last_bit(cli, small_signs, tmp_path):
    flags = [
        *("--trainer.accelerator", "gpu", "--trainer.deterministic", "true"),
        *("--model.compile", "true"),
    ]
    fit(cli, small_signs, "whole", *flags, "--trainer.max_epochs", 4)
    fit(cli, small_signs, "part", *flags, "--trainer.max_epochs", 2)
    part, whole = (tmp_path / "lightning_logs" / n / "version_0" for n in ("part", "whole"))
    result = cli("fit", "--ckpt_path", part, "--trainer.max_epochs", 4)
    assert result.code == 0, result.err
    assert rows(part) == rows(whole)
    ours, theirs = weights(part), weights(whole)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("model", [SignsFunctional, HappySequential, SignsResNet50])
def test_training_steps_are_the_cpus(model):
    """Five steps of Keras's Adam in float64, where only the order of sums differs."""
    torch.manual_seed(0)
    classes = 1 if model is HappySequential else 6
    images, labels = torch.rand(8, 3, 64, 64).double(), torch.arange(8) % max(classes, 2)
    first = model().double()
    state = {k: v.clone() for k, v in first.state_dict().items()}
    found = []
    for device in ("cpu", "cuda"):
        network = model().double()
        network.load_state_dict(state)
        network.to(device).train()
        optimizer = KerasAdam(network.parameters())
        for _ in range(5):
            optimizer.zero_grad()
            network.compute_loss(network(images.to(device)), labels.to(device)).backward()
            optimizer.step()
        found.append({k: v.cpu() for k, v in network.state_dict().items()})
    for key, value in found[0].items():
        scale = max(value.double().abs().max().item(), 1e-3)
        difference = (found[1][key].double() - value.double()).abs().max().item() / scale
        assert difference < 1e-6, (key, difference)


def test_the_bar_waits_for_nothing():
    """CUDA itself reports whatever waits for the GPU; the figures are those of the sums, once the
    GPU is through.
    """
    totals, running = EpochTotals().to("cuda"), RunningFigures()
    running.read(totals)  # the first memory that is pinned waits
    torch.cuda.synchronize()
    running.reset()
    labels = torch.arange(64, device="cuda") % 4
    loss = torch.tensor(0.75, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(50):
            totals.update(loss, labels, (labels + (step % 2)) % 4, step)
            running.read(totals)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    running.read(totals)  # takes what has arrived, and asks for the rest
    torch.cuda.synchronize()
    assert running.read(totals) == pytest.approx({"loss": 0.75, "acc": 0.5})


def test_no_step_waits_for_the_gpu(small_signs):
    """CUDA itself reports whatever waits, from one batch's end to that of a later one."""
    import lightning as L

    class Watch(L.Callback):
        watched = 0

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.current_epoch != 1:  # the first epoch allocates
                return
            self.watched += torch.cuda.get_sync_debug_mode() == 2
            torch.cuda.set_sync_debug_mode("error" if 1 <= batch_idx < 6 else "default")

    data = H5DataModule(str(small_signs[0]), test_file=str(small_signs[1]), batch_size=8, seed=1)
    watch = Watch()
    trainer = L.Trainer(
        accelerator="gpu", max_epochs=2, logger=False, callbacks=[watch], num_sanity_val_steps=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    try:
        trainer.fit(SignsFunctional(), data)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watch.watched == 5
