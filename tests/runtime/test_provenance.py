"""What a run was made with: versions, commits, and fingerprints of its data, which tell when a file
is no longer the same.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import lightning
import numpy as np
import pytest
import torch
import yaml

import signs_lightning
from signs_lightning import H5DataModule, SignsFunctional
from signs_lightning.data.fingerprints import describe_changes, fingerprint
from signs_lightning.data.hdf5_image_set import check_arrays, check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.runtime import provenance

git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def in_git(folder: Path, *args: str) -> str:
    options = [
        "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main",
        "-c", "commit.gpgSign=false",
    ]  # fmt: skip
    return subprocess.run(
        ["git", *options, *args], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_versions_are_those_that_are_imported():
    versions = provenance.made_with()["versions"]
    assert versions.pop("python") == sys.version.split()[0]
    for name, version in versions.items():
        installed = importlib.import_module(name).__version__
        assert version.partition("+")[0] == installed.partition("+")[0]
    assert set(versions) == {
        "torch", "torchvision", "lightning", "h5py", "numpy", "signs_lightning",
    }  # fmt: skip


@git
def test_commits_are_those_that_git_names(tmp_path, monkeypatch):
    """On a branch, on one with a slash in packed references, detached, in a worktree; none without
    a repository or a commit.
    """
    monkeypatch.chdir(tmp_path)

    def found() -> str | None:
        return provenance.made_with()["commits"].get("working_directory")

    assert found() is None
    repository = tmp_path / "repository"
    (repository / "deep" / "down").mkdir(parents=True)
    in_git(repository, "init")
    monkeypatch.chdir(repository / "deep" / "down")
    assert found() is None
    in_git(repository, "commit", "--allow-empty", "-m", "one")
    first = in_git(repository, "rev-parse", "HEAD")
    assert found() == first
    in_git(repository, "checkout", "-b", "some/branch")
    in_git(repository, "commit", "--allow-empty", "-m", "two")
    in_git(repository, "worktree", "add", "../beside", first)
    in_git(repository, "worktree", "add", "../branch", "-b", "other", first)
    in_git(repository, "pack-refs", "--all")
    assert found() == in_git(repository, "rev-parse", "HEAD") != first
    for worktree in ("beside", "branch"):
        monkeypatch.chdir(tmp_path / worktree)
        assert found() == first
    monkeypatch.chdir(repository)
    in_git(repository, "checkout", "--detach", first)
    assert found() == first
    (repository / ".git" / "HEAD").write_bytes(b"ref: \xff\n")
    assert found() is None


@git
def test_the_package_s_own_clone(tmp_path, monkeypatch):
    """Its commit, where it lies in one; not that of a repository which holds the environment it is
    installed in.
    """
    place = tmp_path / "clone" / "signs_lightning" / "__init__.py"
    place.parent.mkdir(parents=True)
    monkeypatch.setattr(signs_lightning, "__file__", str(place))
    monkeypatch.chdir(tmp_path / "clone")
    in_git(tmp_path, "init")
    in_git(tmp_path, "commit", "--allow-empty", "-m", "one")
    outside = in_git(tmp_path, "rev-parse", "HEAD")
    assert provenance.made_with()["commits"] == {"working_directory": outside}
    in_git(tmp_path / "clone", "init")
    in_git(tmp_path / "clone", "commit", "--allow-empty", "-m", "two")
    commit = in_git(tmp_path / "clone", "rev-parse", "HEAD")
    assert provenance.made_with()["commits"] == {
        "signs_lightning": commit,
        "working_directory": commit,
    }


IMAGES = np.random.default_rng(0).integers(0, 256, (200, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(200) % 4


def of_arrays(images: np.ndarray, labels: np.ndarray = LABELS) -> dict:
    return fingerprint(ImageReader(check_arrays(images, labels[: len(images)])))


@pytest.mark.parametrize("count", [200, 70, 64, 63, 9, 1])
def test_64_images_spread_over_the_file_are_looked_at(count):
    """Changing one of them changes the hash; the first and the last are among them, and no seven
    eighths of the file go unseen.
    """
    before = of_arrays(IMAGES[:count])
    seen = []
    for k in range(count):
        changed = IMAGES[:count].copy()
        changed[k, 3, 2, 1] ^= 1
        seen.append(of_arrays(changed)["hash"] != before["hash"])
    places = np.flatnonzero(seen)
    assert len(places) == min(count, 64)
    assert places[0] == 0
    assert places[-1] == count - 1
    assert np.diff(places).max(initial=0) <= max(1, count / 8)
    assert all(
        of_arrays(IMAGES[:count], np.roll(LABELS, k))["hash"] != before["hash"] for k in (1, 2, 3)
    )


def write(path: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, **storage) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("train_set_x", data=images, **storage)
        file["train_set_y"] = labels
    return path


def of_file(path: Path) -> dict:
    return fingerprint(ImageReader(check_file(path)))


@pytest.mark.parametrize("chunks", [(200, 6, 5, 3), (7, 6, 5, 3), (1, 3, 5, 1)])
def test_packing_changes_nothing_but_the_size(tmp_path, chunks):
    plain = of_file(write(tmp_path / "a.h5"))
    packed = of_file(write(tmp_path / "b.h5", chunks=chunks, compression="gzip"))
    assert plain["hash"] == packed["hash"] == of_arrays(IMAGES)["hash"]
    assert plain["size"] == (tmp_path / "a.h5").stat().st_size != packed["size"]
    again = {"train": [{**packed, "path": plain["path"]}]}
    message = describe_changes(again, {"train": [plain]})
    assert message is not None
    assert f"a.h5 ({packed['size']:,} bytes then, {plain['size']:,} now)" in message


def test_of_large_images_and_chunks_few_are_read(tmp_path, monkeypatch):
    """No more than is allowed, at least one; a hash of other images is no difference."""
    read, real = [], ImageReader.read

    def counted(self, low, high):
        read.append(high - low)
        return real(self, low, high)

    monkeypatch.setattr(ImageReader, "read", counted)
    monkeypatch.setattr("signs_lightning.data.fingerprints.MAX_BYTES", 90 * 24)
    monkeypatch.setattr("signs_lightning.data.storage_layout.BLOCK_BYTES", 90)
    plain = of_file(write(tmp_path / "a.h5"))
    assert (plain["hashed"], sum(read)) == (24, 24)
    read.clear()
    packed = of_file(write(tmp_path / "a.h5", chunks=(50, 6, 5, 3), compression="gzip"))
    assert (packed["hashed"], sum(read)) == (8, 8)  # of a single chunk
    message = describe_changes({"train": [plain]}, {"train": [{**packed, "size": plain["size"]}]})
    assert message is None
    read.clear()
    single = of_file(write(tmp_path / "a.h5", chunks=(200, 6, 5, 3), compression="gzip"))
    assert (single["hashed"], read) == (24, [200])  # which is unpacked whole in any case, but once
    assert single["hash"] == plain["hash"]
    monkeypatch.setattr("signs_lightning.data.fingerprints.MAX_BYTES", 80)
    assert of_file(write(tmp_path / "a.h5"))["hashed"] == 1


def test_images_that_cannot_be_read_have_no_hash(tmp_path):
    path = write(tmp_path / "a.h5", chunks=(50, 6, 5, 3), compression="gzip")
    reader = ImageReader(check_file(path))
    with h5py.File(path) as file:
        places = [file["train_set_x"].id.get_chunk_info(k) for k in range(4)]
    with path.open("r+b") as file:
        for place in places:
            file.seek(place.byte_offset)
            file.write(bytes(place.size))
    found = fingerprint(ImageReader(reader.images))
    assert (found["hashed"], found["hash"]) == (0, None)
    message = describe_changes(
        {"train": [{**found, "hash": "0", "size": None}]}, {"train": [found]}
    )
    assert message is None


def test_whatever_a_checkpoint_remembers_is_looked_at(tmp_path):
    """Of other shapes, nothing; many files are cut short; control characters are escaped."""
    now = [
        {"path": f"{k}.h5", "size": 1, "mtime": 1.0, "images": 3, "hashed": 3, "hash": "a"}
        for k in range(7)
    ]
    malformed: list[Any] = [None, [], {"train": 1}, {"train": [1, {}]}, {1: [{"path": []}]}]
    for remembered in [*malformed, {"train": [{"path": "0.h5"}]}]:
        assert describe_changes(remembered, {"train": now}) is None
    before = [{**file, "images": 2, "mtime": 2.0} for file in now]
    said = describe_changes({"val": before}, {"train": now, "test": now[:2]})
    assert said is not None
    assert said.startswith(
        "Changed since the model was trained on it: 0.h5 (2 images then, 3 now), 1.h5 ("
    )
    assert said.endswith("3.h5 (2 images then, 3 now) and 3 more.")
    arrays = {**now[0], "path": "(arrays)"}
    said = describe_changes(
        {"train": [arrays]}, {"train": [{**arrays, "hash": "b"}], "test": [{**arrays, "hash": "c"}]}
    )
    sentence = (
        "Changed since the model was trained on it: the train arrays (other images or labels)."
    )
    assert said == sentence
    hostile = {**now[0], "path": "\x1b[2J.h5"}
    assert "\x1b" not in str(
        describe_changes({"train": [{**hostile, "hash": "b"}]}, {"train": [hostile]})
    )


CHANGED = "Changed since the model was trained on it: "


def rewritten(path: Path, change) -> None:
    """The same bytes but for what `change` does to the images and labels."""
    with h5py.File(path, "r+") as file:
        change(file["train_set_x"], file["train_set_y"])


@pytest.mark.slow
def test_a_run_remembers_and_says_what_changed(cli, tmp_path):
    """In run.yaml and in the checkpoint; at resume, test and validate one line, of changed contents
    only.
    """
    train, test = (
        write(tmp_path / "train.h5"),
        write(tmp_path / "test.h5", IMAGES[:20], LABELS[:20]),
    )
    fit = ["fit", "--data.train_file", train, "--data.test_file", test, "--trainer.max_epochs", 1]
    assert cli(*fit, "--name", "run").code == 0
    run = Path("lightning_logs/run/version_0")
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    recorded = yaml.safe_load((run / "run.yaml").read_text())
    assert recorded["made_with"] == [provenance.made_with()]
    assert checkpoint["signs_lightning"]["made_with"] == recorded["made_with"]
    assert recorded["data"] == checkpoint["H5DataModule"]["fingerprints"]
    assert recorded["data"] == {"train": [of_file(train)], "test": [of_file(test)]}
    assert [file["path"] for files in recorded["data"].values() for file in files] == [
        str(train),
        str(test),
    ]

    os.utime(test, (1, 1))
    os.utime(train, (1, 1))
    for args in (["test"], ["validate"], ["fit", "--trainer.max_epochs", 2]):
        done = cli(*args, "--ckpt_path", run)
        assert done.code == 0, done.err
        assert CHANGED not in done.out

    rewritten(test, lambda images, labels: labels.__setitem__(0, 3))
    line = f"{CHANGED}{test} (other images or labels)."
    for args in (["test"], ["validate"]):
        assert cli(*args, "--ckpt_path", run).out.splitlines().count(line) == 1
    rewritten(train, lambda images, labels: images.__setitem__(199, 7))
    both = f"{CHANGED}{train} (other images or labels), {test} (other images or labels)."
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3)
    assert done.out.splitlines().count(both) == 1
    other = write(tmp_path / "other.h5", IMAGES[:30], LABELS[:30])
    # Asked for, so no news.
    assert CHANGED not in cli("test", "--ckpt_path", run, "--data.test_file", other).out
    # It went on with the file as it is now.
    assert CHANGED not in cli("test", "--ckpt_path", run).out
    assert yaml.safe_load((run / "run.yaml").read_text())["data"]["test"] == [of_file(test)]


def test_other_versions_of_a_run_that_goes_on_are_added(tmp_path, monkeypatch, capsys):
    """In Python, without the command line: once for each of them; changed arrays are said there,
    too.
    """
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False}
    quiet |= {"enable_progress_bar": False, "enable_model_summary": False}

    def train(epochs: int, images: np.ndarray, resume: bool = True) -> list:
        trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet)
        path = tmp_path / "run.ckpt"
        data = H5DataModule((images, LABELS), val_fraction=0.2)
        trainer.fit(SignsFunctional(), data, ckpt_path=path if resume else None, weights_only=True)
        trainer.save_checkpoint(path)
        return torch.load(path, weights_only=True)["signs_lightning"]["made_with"]

    first = train(1, IMAGES, resume=False)
    assert first == [provenance.made_with()]
    assert train(2, IMAGES) == first
    assert CHANGED not in capsys.readouterr().out
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    second = train(3, IMAGES[::-1])
    assert second[:-1] == first
    assert second[-1]["versions"]["torch"] == "9.9"
    assert f"{CHANGED}the train arrays (other images or labels)." in capsys.readouterr().out
    assert train(4, IMAGES[::-1]) == second
