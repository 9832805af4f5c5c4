"""Same seed, same machine, same files: same weights; and what becomes of a run whose files or
helpers are taken away.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import h5py
import lightning as L
import numpy as np
import pytest
import torch

from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.errors import InputError


def fit(
    folder: Path, file: Path, *callbacks: L.Callback, resume: bool = False, epochs: int = 3, **data
) -> SignsFunctional:
    L.seed_everything(3)
    model = SignsFunctional()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RunCheckpoint(every_n_steps=2), *callbacks],
    )
    path = folder / "checkpoints/last.ckpt" if resume else None
    trainer.fit(
        model,
        H5DataModule(str(file), val_fraction=0.2, batch_size=6, **data),
        ckpt_path=path,
        weights_only=True,
    )
    return model


def same(one: SignsFunctional, two: SignsFunctional) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return one.history == two.history and all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, small_signs) -> SignsFunctional:
    """A run that reads the file batch by batch, in its own process."""
    return fit(tmp_path_factory.mktemp("plain"), small_signs[0])


@pytest.mark.parametrize("data", [{}, {"num_workers": 2}, {"reading": "resident"}], ids=str)
def test_the_same_weights_however_images_are_read(tmp_path: Path, small_signs, plain, data) -> None:
    """Again, with two workers, or with all images in memory: to the last bit."""
    assert same(fit(tmp_path, small_signs[0], **data), plain)


def test_a_stream_repeats_itself(tmp_path: Path, small_signs) -> None:
    """Streamed images may come in another order than mapped ones, but in the same one each time."""
    stream: dict[str, Any] = {"reading": "streamed", "shuffle_buffer": 0.5}
    one, two = (fit(tmp_path / name, small_signs[0], **stream) for name in "ab")
    assert same(one, two)


class InSecondEpoch(L.Callback):
    """Does something to the run in the middle of its second epoch."""

    def __init__(self, action) -> None:
        self.action = action

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (1, 3):
            self.action(trainer)


CHANGES = {
    "cut": lambda file: os.truncate(file, 200_000),
    "emptied": lambda file: os.truncate(file, 0),
    "written to": lambda file: os.utime(file, ns=(0, 0)),
}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_under_a_run(
    tmp_path: Path, small_signs, plain, change: str, workers: int
) -> None:
    """One sentence instead of SIGBUS or other images; with the file back in its place, the run goes
    on to the same weights.
    """
    file = tmp_path / "train.h5"
    shutil.copy2(small_signs[0], file)
    with pytest.raises(InputError) as caught:
        fit(
            tmp_path,
            file,
            InSecondEpoch(lambda trainer: CHANGES[change](file)),
            num_workers=workers,
            reading="mapped",
        )
    assert str(caught.value).startswith(
        f"{file} was changed or replaced while this run reads it. Put it back and resume"
    )
    assert "Traceback" not in str(caught.value)
    shutil.copy2(small_signs[0], file)
    again = fit(tmp_path, file, resume=True, num_workers=workers, reading="mapped")
    assert same(again, plain)


def test_a_file_that_is_renamed_over(tmp_path: Path, small_signs, plain) -> None:
    """A process that has it open keeps the old bytes."""
    file, other = tmp_path / "train.h5", tmp_path / "other.h5"
    shutil.copy2(small_signs[0], file)
    other.write_bytes(b"something else")
    replace = InSecondEpoch(lambda trainer: os.replace(other, file))
    assert same(fit(tmp_path, file, replace, reading="mapped"), plain)


def test_a_file_that_is_replaced_before_it_is_read(tmp_path: Path, small_signs) -> None:
    """A process that opens it only then finds another file than the one that was checked."""
    file = tmp_path / "train.h5"
    shutil.copy2(small_signs[0], file)
    reader = ImageReader(check_file(file))
    shutil.copy2(small_signs[0], tmp_path / "other.h5")
    os.replace(tmp_path / "other.h5", file)
    with pytest.raises(InputError, match="was changed or replaced"):
        reader.take(np.array([0]))


def test_a_read_that_comes_up_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut between the look at its size and the read: the read itself says so."""
    file = tmp_path / "f.h5"
    with h5py.File(file, "w") as h5:
        h5["x"], h5["y"] = np.zeros((50, 8, 8, 3), np.uint8), np.arange(50) % 2
    reader = ImageReader(check_file(file))
    reader.take(np.array([0]))
    monkeypatch.setattr(
        "signs_lightning.data.hdf5_storage_readers.stamp_status", lambda status: reader._stamp
    )
    os.truncate(file, 4000)
    with pytest.raises(InputError, match="is damaged: the file has become shorter"):
        reader.take(np.array([3, 49]))


@pytest.mark.slow
def test_a_worker_that_is_killed(tmp_path: Path, small_signs, plain) -> None:
    """SIGKILL for one of two processes that read ahead: a sentence, and the run can go on."""

    def kill(trainer: L.Trainer) -> None:
        loader: Any = trainer.train_dataloader
        os.kill(loader._iterator._workers[0].pid, signal.SIGKILL)
        loader._iterator._workers[0].join()

    with pytest.raises(
        InputError, match="A process that reads images ahead was ended from outside"
    ):
        fit(tmp_path, small_signs[0], InSecondEpoch(kill), num_workers=2, reading="mapped")
    again = fit(tmp_path, small_signs[0], resume=True, num_workers=2, reading="mapped")
    assert same(again, plain)
