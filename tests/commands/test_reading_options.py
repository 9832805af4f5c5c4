"""Keys and files of labels that a run remembers, and others that a later verb is given."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image


def write(path: Path, **datasets: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


@pytest.mark.slow
def test_given_keys_win_over_remembered_ones_of_a_role(cli: Callable) -> None:
    """Also in a file that has datasets under both keys."""
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    labels = np.arange(12) % 2
    write(Path("a.h5"), p1=images, k1=labels, p2=images[:6], k2=labels[:6])
    write(Path("b.h5"), p2=images, k2=labels, p3=images[:5], k3=1 - labels[:5])
    keys = "--data.train_images_key p1 --data.train_labels_key k1"
    keys += " --data.test_images_key p2 --data.test_labels_key k2"
    fit = cli("fit", "--data.file", "a.h5", *keys.split(), "--trainer.max_epochs", 1, "--name", "r")
    assert fit.code == 0
    run = next(Path("lightning_logs/r").iterdir())
    for prefix in ("", "test_"):
        others = f"--data.{prefix}images_key p3 --data.{prefix}labels_key k3".split()
        for verb in ("predict", "test"):
            result = cli(verb, "--ckpt_path", run, "--data.test_file", "b.h5", *others)
            assert result.code == 0, result.err
            assert "/5 = " in result.out
        with open("predictions.csv", newline="") as file:
            assert [int(line["label"]) for line in csv.DictReader(file)] == [1, 0, 1, 0, 1]


def test_a_folder_is_tested_without_the_training_folder(cli: Callable) -> None:
    for name, color in (("a", 0), ("b", 200)):
        for part in ("train", "test"):
            folder = Path(part) / name
            folder.mkdir(parents=True)
            Image.new("RGB", (16, 16), (color, 9, 9)).save(folder / "0.png")
    fit = cli("fit", "--data.train_file", "train", "--trainer.max_epochs", 1, "--name", "r")
    assert fit.code == 0
    run = next(Path("lightning_logs/r").iterdir())
    shutil.rmtree("train")
    for verb in ("test", "predict"):
        assert cli(verb, "--ckpt_path", run, "--data.test_file", "test").code == 0


def test_files_of_labels_go_with_their_images(cli: Callable) -> None:
    """Labels of a test file that is replaced are not those of the other; nor is the file itself."""
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    labels = np.arange(12) % 2
    write(Path("a.h5"), X=images, y=labels)
    write(Path("t.h5"), X=images)
    write(Path("k.h5"), y=labels)
    write(Path("other.h5"), X=images, y=1 - labels)
    write(Path("both.h5"), X_train=images, y_train=labels, X_test=images[:5], y_test=labels[:5])
    files = "--data.train_file a.h5 --data.test_file t.h5 --data.test_labels_file k.h5"
    assert cli("fit", *files.split(), "--trainer.max_epochs", 1, "--name", "r").code == 0
    run = next(Path("lightning_logs/r").iterdir())
    again = "fit", "--ckpt_path", run, "--trainer.max_epochs", 2
    said = cli(*again, "--data.test_file", "other.h5").out
    assert "12 images in other.h5 (images X, labels y)" in said
    assert "/5 = " in cli("test", "--ckpt_path", run, "--data.file", "both.h5").out


def test_one_hot_labels_of_fewer_classes_than_the_model_has(cli: Callable) -> None:
    """Their columns may be other classes than the model's first three."""
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    labels = np.arange(12) % 4
    write(Path("a.h5"), X=images, y=np.eye(4)[labels])
    write(Path("b.h5"), X=images, y=np.eye(3)[labels % 3])
    write(Path("c.h5"), X=images, y=labels % 3)
    fit = ("fit", "--data.train_file", "a.h5", "--trainer.max_epochs", 1, "--name", "r")
    assert cli(*fit).code == 0
    run = next(Path("lightning_logs/r").iterdir())
    for verb in (("test", "--ckpt_path"), ("predict", "--ckpt_path"), ("report",)):
        result = cli(*verb, run, "--data.test_file", "b.h5")
        assert result.code == 2
        assert "The model was made for 4 classes, the data have 3." in result.err
    assert cli("test", "--ckpt_path", run, "--data.test_file", "c.h5").code == 0


@pytest.mark.slow
def test_numbers_for_a_model_that_was_trained_on_words(cli: Callable) -> None:
    """Nobody knows which number is which word, unless the file lists them in their order."""
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    words = np.array([b"owl", b"cat", b"dog"])  # whose sorted order is another
    write(Path("a.h5"), X=images, y=words[np.arange(12) % 3])
    write(Path("numbers.h5"), X=images, y=np.arange(12) % 3)
    write(Path("listed.h5"), X=images, y=np.arange(12) % 3, list_classes=np.sort(words))
    write(Path("other.h5"), X=images, y=np.arange(12) % 3, list_classes=words)
    write(Path("words.h5"), X=images, y=words[np.arange(12) % 3])
    fit = ("fit", "--data.train_file", "a.h5", "--trainer.max_epochs", 1, "--name", "r")
    assert cli(*fit).code == 0
    Path("a.h5").unlink()
    run = next(Path("lightning_logs/r").iterdir())
    for verb in (("test", "--ckpt_path"), ("predict", "--ckpt_path"), ("report",)):
        result = cli(*verb, run, "--data.test_file", "numbers.h5")
        assert (result.code, "Write the words there in place" in result.err) == (2, True)
        for name in ("words.h5", "listed.h5"):
            assert cli(*verb, run, "--data.test_file", name).code == 0
        result = cli(*verb, run, "--data.test_file", "other.h5")
        assert "made for the classes cat, dog, owl, the data have owl, cat, dog" in result.err
