"""A checkpoint that a run replaces while another command reads it."""

from __future__ import annotations

import os
import shutil

import pytest
import torch

from signs_lightning.checkpoints.files import load_checkpoint
from signs_lightning.checkpoints.replaced_files import ATTEMPTS, read_unreplaced
from signs_lightning.errors import InputError


def test_no_tensor_of_one_file_at_the_place_of_another(tmp_path, cli, small_signs, monkeypatch):
    """PyTorch has read the table of the first file when the second one is put in its place, whose
    tensors lie elsewhere.
    """
    files = []
    for name in ("first", "second"):
        done = cli(
            *("fit", "--name", name, "--data.train_file", small_signs[0], "--data.batch_size", 12),
            *("--trainer.max_epochs", 2 * (name == "second") + 1),
        )
        assert done.code == 0, done.err
        files.append(tmp_path / f"lightning_logs/{name}/version_0/checkpoints/last.ckpt")
    place, kept = tmp_path / "last.ckpt", tmp_path / "kept.ckpt"
    shutil.copy(files[0], place)
    shutil.copy(files[1], kept)
    from_file = torch.UntypedStorage.from_file
    mapped: list[str] = []

    def replaced_first(path, *args):
        if not mapped:
            os.replace(kept, place)
        mapped.append(path)
        return from_file(path, *args)

    monkeypatch.setattr(torch.UntypedStorage, "from_file", replaced_first)
    found = load_checkpoint(place)
    assert len(mapped) == 2
    expected = torch.load(files[1], weights_only=True)
    assert found["epoch"] == expected["epoch"] == 2
    for key, weight in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][key], weight)
    assert len(found["signs_lightning"]["history"]) == 3


def test_a_file_that_never_rests(tmp_path):
    path, count = tmp_path / "file", []

    def read():
        count.append(1)
        path.write_text("x" * len(count))

    path.write_text("")
    with pytest.raises(InputError, match=r"file is replaced faster than it can be read\. Try"):
        read_unreplaced(path, read)
    assert len(count) == ATTEMPTS


def test_an_error_of_a_file_that_rests_is_its_own(tmp_path):
    with pytest.raises(ZeroDivisionError):
        read_unreplaced(tmp_path / "none", lambda: 1 // 0)
