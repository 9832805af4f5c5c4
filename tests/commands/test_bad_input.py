"""Whatever a user can get wrong ends in one or two sentences, exit code 2, and nothing written."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from references import Reference

from signs_lightning.__main__ import VERBS, main
from signs_lightning.commands.known_models import model_names

# Of a file: as it is, datasets of an HDF5 file by name, or a folder.
Content = bytes | dict[str, Any] | None


def course(**changes: Any) -> dict[str, Any]:
    """Eight grey 16×16 images of six classes in the course's schema, with some datasets exchanged;
    None leaves one out.
    """
    content = {
        "train_set_x": np.full((8, 16, 16, 3), 127, np.uint8),
        "train_set_y": np.arange(8)[None] % 6,
        "list_classes": np.arange(6),
    } | changes
    return {key: value for key, value in content.items() if value is not None}


def images(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def labels(value: float) -> np.ndarray:
    """Eight labels, the third of which is `value`."""
    return np.array([0, 1, value, 3, 4, 5, 0, 1])


def floats(value: float) -> np.ndarray:
    """Eight float images of zeros with one other value in the last."""
    array = np.zeros((8, 16, 16, 3), np.float32)
    array[7, 3, 2, 1] = value
    return array


def hdf5(datasets: dict[str, Any]) -> bytes:
    """The bytes of an HDF5 file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return buffer.getvalue()


def zip_of(*names: str) -> bytes:
    """An archive of empty files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return buffer.getvalue()


def zipped(datasets: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("train.h5", hdf5(datasets))
    return buffer.getvalue()


def numpy_file(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write(folder: Path, files: dict[str, Content]) -> None:
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(hdf5(content) if isinstance(content, dict) else content)


def snapshot(folder: Path) -> dict[str, str]:
    """Everything below a folder, with a digest of each file."""
    return {
        str(path.relative_to(folder)): ""
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
    }


def sentences(text: str) -> list[str]:
    """The sentences of a message: a mark ends one where a space and a capital follow."""
    return re.split(r"(?<=[.!?]) (?=[A-Z`-])", text.strip())


def refused(cli: Callable, folder: Path, args: str) -> str:
    """The first sentence of the refusal, after all that must hold of any: code 2, one or two
    sentences, nothing written.
    """
    before = snapshot(folder)
    result = cli(*args.split())
    assert result.code == 2
    assert "Traceback" not in result.err
    assert result.err.count("\n") == 1, "more than one line"
    assert len(sentences(result.err)) <= 2, result.err
    is_to_copy = " Write --" in result.err  # what follows has no stop, so that it can be copied
    assert result.err.rstrip().endswith((".", "?")) or is_to_copy
    assert len(result.err) < 600
    assert snapshot(folder) == before
    return sentences(result.err)[0]


# cases whose sentence is compared word by word; of the others it may change, as long as it names
# the same things
WHOLE = {
    *(
        "git-lfs pointer", "truncated HDF5", "Keras model", "no images", "NCHW",
        "label beyond the class list", "centred floats",
    ),
    *(
        "mistyped file",
        "other classes",
        "mistyped key",
        "unknown model",
        "text for a number",
        "broken YAML",
        "unknown verb",
    ),
    *("test --data.test_file data.h5 --ckpt_path half.ckpt", "predict --ckpt_path code.ckpt"),
}  # fmt: skip
FACT = re.compile(
    r"'[^']*'|`[^`]*`|--[\w.]+|\b[\w-]+\.[a-z]\w+(?:\.\w+)*|-?\d[\d,.×]*\d|-?\d|\b[A-Z]\w*[A-Z]\w*"
)


def facts(sentence: str) -> set[str]:
    """What a sentence names: values, options, files, classes."""
    return set(FACT.findall(sentence))


def agree(case: str, found: str, expected: str) -> None:
    """A message says what it is to say."""
    if case in WHOLE or not facts(expected):
        assert found == expected
    else:
        assert facts(found) >= facts(expected), found


FIT = "fit --data.train_file train.h5"
HDF5 = "train.h5 is not an HDF5 file but "
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 13272064\n"
)
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
APPLE_DOUBLE = bytes.fromhex("00051607 00020000") + b"Mac OS X        " + bytes(4072)

FILES: dict[str, tuple[dict[str, Content], str]] = {  # what lies there → the first sentence
    "nothing": ({}, "No such file: train.h5."),
    "directory": (
        {"train.h5": None},
        "train.h5 holds no folders, expected one folder for each class with its pictures in it.",
    ),
    "empty": ({"train.h5": b""}, HDF5 + "an empty file (0 bytes)."),
    "git-lfs pointer": (
        {"train.h5": POINTER},
        HDF5 + f"a git-lfs pointer ({len(POINTER)} bytes of text).",
    ),
    "HTML page": (
        {"train.h5": PAGE},
        HDF5 + f"an HTML page ({len(PAGE)} bytes): the link led to a web page.",
    ),
    "macOS companion": (
        {"train.h5": APPLE_DOUBLE},
        HDF5 + "a macOS `._` companion file (4,096 bytes).",
    ),
    "zip": (
        {"train.h5": zipped(course())},
        HDF5 + f"a zip archive ({len(zipped(course())):,} bytes).",
    ),
    "gzip": (
        {"train.h5": gzip.compress(hdf5(course()), mtime=0)},
        HDF5 + f"a gzip archive ({len(gzip.compress(hdf5(course()), mtime=0)):,} bytes).",
    ),
    "NumPy file": ({"train.h5": numpy_file(images(8, 16, 16, 3))}, HDF5 + "a NumPy file ("),
    "other bytes": (
        {"train.h5": b"\x8e\x01\x02 and so on" * 100},
        HDF5 + "something else (1,300 bytes that begin with b'\\x8e\\x01\\x02 and ').",
    ),
    "truncated HDF5": (
        {"train.h5": hdf5(course())[:5000]},
        "train.h5 is a truncated HDF5 file (5,000 bytes): a download that broke off.",
    ),
    "damaged HDF5": (
        {"train.h5": hdf5(course())[:8] + bytes(4000)},
        "train.h5 (4,008 bytes) begins as an HDF5 file and cannot be opened (",
    ),
    "HDF5 with nothing in it": (
        {"train.h5": {}},
        "train.h5 holds no dataset at all; expected images and labels such as 'train_set_x' and "
        "'train_set_y'.",
    ),
    "Keras model": (
        {"train.h5": {"model_weights/conv0/conv0/kernel:0": np.zeros((7, 7, 3, 32), np.float32)}},
        "train.h5 holds a Keras model, not images.",
    ),
    "Keras weights": (
        {"train.h5": {"layers/conv2d/vars/0": np.zeros((7, 7, 3, 32), np.float32)}},
        "train.h5 holds a Keras model, not images.",
    ),
    "no images": (
        {"train.h5": {"train_sets_x2": labels(1), "train_set_y": labels(2)}},
        "train.h5 has no dataset that looks like the images ('train_set_x' or the like); "
        "it has 'train_set_y', 'train_sets_x2'.",
    ),
    "no labels": (
        {"train.h5": course(train_set_y=None)},
        "train.h5 has no dataset that looks like the labels ('train_set_y' or the like) of "
        "'train_set_x'; it has 'list_classes', 'train_set_x'.",
    ),
    "several images": (
        {"train.h5": {"x": images(8, 16, 16, 3), "images": images(8, 16, 16, 3), "y": labels(2)}},
        "train.h5 has several datasets that could be the images: 'images', 'x'.",
    ),
    "five axes": (
        {"train.h5": course(train_set_x=images(8, 16, 16, 3)[..., None])},
        "'train_set_x' in train.h5 has shape 8×16×16×3×1, expected images (N, "
        "height, width, channels).",
    ),
    "flattened": (
        {"train.h5": course(train_set_x=images(8, 768))},
        "'train_set_x' in train.h5 has flat rows of 768 values (shape 8×768).",
    ),
    "a single value": (
        {"train.h5": course(train_set_x=np.uint8(1))},
        "'train_set_x' in train.h5 is a single value, expected images (N, "
        "height, width, channels).",
    ),
    "no value": (
        {"train.h5": course(train_set_x=h5py.Empty("u1"))},
        "'train_set_x' in train.h5 is an empty dataset, expected images (N, "
        "height, width, channels).",
    ),
    "no label value": (
        {"train.h5": course(train_set_y=h5py.Empty("i8"))},
        "'train_set_y' in train.h5 is an empty dataset, expected one label for each of 8 images, "
        "or one-hot (8, K).",
    ),
    "channels anywhere": (
        {"train.h5": course(train_set_x=images(8, 16, 16, 16))},
        "'train_set_x' in train.h5 has shape 8×16×16×16: channels may come first or last.",
    ),
    "seventeen channels": (
        {"train.h5": course(train_set_x=images(8, 32, 32, 17))},
        "'train_set_x' in train.h5 has images of 17 channels (shape 8×32×32×17), expected 1 to 16.",
    ),
    "zero images": (
        {"train.h5": course(train_set_x=images(0, 16, 16, 3), train_set_y=np.zeros((1, 0)))},
        "'train_set_x' in train.h5 holds zero images (shape 0×16×16×3), expected at least one.",
    ),
    "images of text": (
        {"train.h5": course(train_set_x=np.full((8, 1, 1, 1), b"cat"))},
        "'train_set_x' in train.h5 holds values of type |S3, expected uint8, or numbers.",
    ),
    "fewer labels than images": (
        {"train.h5": course(train_set_y=np.arange(5))},
        "'train_set_y' in train.h5 has 5 labels for 8 images, expected one for each.",
    ),
    "more labels than images": (
        {"train.h5": course(train_set_y=np.zeros((1, 9), np.int64))},
        "'train_set_y' in train.h5 has 9 labels for 8 images, expected one for each.",
    ),
    "labels of three axes": (
        {"train.h5": course(train_set_y=np.zeros((8, 2, 6)))},
        "'train_set_y' in train.h5 has shape 8×2×6, expected one label for each of 8 images, or "
        "one-hot (8, K).",
    ),
    "labels of text": (
        {"train.h5": course(train_set_y=np.full(8, b"three"))},
        "'train_set_y' in train.h5 holds the label 'three', which is none of the classes 0, 1, 2, "
        "3, 4, 5.",
    ),
    "negative label": (
        {"train.h5": course(train_set_y=labels(-3))},
        "'train_set_y' in train.h5 holds the negative label -3, expected class numbers from 0 up.",
    ),
    "fractional label": (
        {"train.h5": course(train_set_y=labels(2.5))},
        "'train_set_y' in train.h5 holds the fractional label 2.5, expected "
        "class numbers from 0 up.",
    ),
    "NaN label": (
        {"train.h5": course(train_set_y=labels(np.nan))},
        "'train_set_y' in train.h5 holds NaN or infinite labels, expected class numbers from 0 up.",
    ),
    "label beyond the class list": (
        {"train.h5": course(train_set_y=labels(6))},
        "'train_set_y' in train.h5 holds the label 6, but the file lists 6 classes (0 to 5).",
    ),
    "not one-hot": (
        {"train.h5": course(train_set_y=np.full((8, 6), 1 / 6))},
        "'train_set_y' in train.h5 has shape 8×6 but is not one-hot: expected a single 1 in each "
        "row, else 0.",
    ),
    "a class listed twice": (
        {"train.h5": course(list_classes=np.array([b"cat", b"dog", b"cat"]))},
        "The class list in train.h5 is ['cat', 'dog', 'cat'], expected different "
        "names, one for each class.",
    ),
    "integers beyond a byte": (
        {"train.h5": course(train_set_x=floats(256).astype(np.int32))},
        "'train_set_x' in train.h5 holds int32 values from 0 to 256, and nothing tells "
        "which numbers are black and white.",
    ),
    "negative integers": (
        {"train.h5": course(train_set_x=floats(-1).astype(np.int8))},
        "'train_set_x' in train.h5 holds int8 values from -1 to 0, and nothing tells "
        "which numbers are black and white.",
    ),
    "floats beyond a byte": (
        {"train.h5": course(train_set_x=floats(260.5))},
        "'train_set_x' in train.h5 holds float32 values from 0 to 260.5, and nothing tells "
        "which numbers are black and white.",
    ),
    "centred floats": (
        {"train.h5": course(train_set_x=floats(-0.5))},
        "'train_set_x' in train.h5 holds float32 values from -0.5 to 0, and nothing tells "
        "which numbers are black and white.",
    ),
    "NaN in the images": (
        {"train.h5": course(train_set_x=floats(np.nan))},
        "'train_set_x' in train.h5 holds NaN or infinite values, expected numbers.",
    ),
    "infinity in the images": (
        {"train.h5": course(train_set_x=floats(np.inf))},
        "'train_set_x' in train.h5 holds NaN or infinite values, expected numbers.",
    ),
    "floats up to 1.5": (
        {"train.h5": course(train_set_x=floats(1.5))},
        "'train_set_x' in train.h5 holds float32 values from 0 to 1.5, and nothing tells "
        "which numbers are black and white.",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_and_what_is_in_them(case: str, cli: Callable, tmp_path: Path) -> None:
    """A training file that cannot be one."""
    files, sentence = FILES[case]
    write(tmp_path, files)
    agree(case, refused(cli, tmp_path, FIT), sentence)


OPTIONS: dict[
    str, tuple[str, str]
] = {  # arguments → the first sentence; data.h5 and its like are sound
    "mistyped file": ("fit --data.train_file dat.h5", "No such file: dat.h5."),
    "pattern without a match": (
        "fit --data.train_file shard_*.h5",
        "No file matches 'shard_*.h5'.",
    ),
    "test without a test file": (
        "test --data.train_file data.h5 --model SignsFunctional",
        "There is nothing to test on.",
    ),
    "test of nothing": ("test --data.test_file data.h5", "There is no trained model to test."),
    "validation of nothing": (
        "validate --data.val_file data.h5",
        "There is no trained model to validate.",
    ),
    "no checkpoint named": (
        "test --data.test_file data.h5 --ckpt_path",
        "--ckpt_path has no value.",
    ),
    "no run named": ("fit --data.train_file data.h5 --ckpt_path", "--ckpt_path has no value."),
    "scheduler without its option": (
        "fit --data.train_file data.h5 --model.lr_scheduler StepLR",
        "StepLR needs step_size.",
    ),
    "callback without its option": (
        "fit --data.train_file data.h5 --trainer.callbacks+=EarlyStopping",
        "EarlyStopping needs monitor.",
    ),
    "folder that cannot be made": (
        "fit --data.train_file data.h5 --trainer.default_root_dir data.h5",
        "No run folder can be made in data.h5: it is no folder.",
    ),
    "validation without a file": (
        "validate --data.train_file data.h5 --model SignsFunctional",
        "There is nothing to validate on.",
    ),
    "fit without a training file": (
        "fit --data.test_file data.h5",
        "There is nothing to train on.",
    ),
    "other image size": (
        "fit --data.train_file data.h5 --data.test_file larger.h5",
        "larger.h5 has images of 18×16×3, data.h5 of 16×16×3.",
    ),
    "other channels": (
        "fit --data.train_file data.h5 --data.test_file grey.h5",
        "grey.h5 has images of 16×16×1, data.h5 of 16×16×3.",
    ),
    "other classes": (
        "fit --data.train_file data.h5 --data.test_file animals.h5",
        "animals.h5 lists the classes cat, dog, data.h5 lists 0, 1, 2, 3, 4, 5.",
    ),
    "labels beyond another file's list": (
        "fit --data.train_file data.h5 --data.test_file unlisted.h5",
        "unlisted.h5 holds the label 9, but there are 6 classes.",
    ),
    "mistyped key": (
        "fit --data.train_file data.h5 --data.images_key train_set_X",
        "data.h5 has no dataset 'train_set_X' (images_key); it has 'list_classes', 'train_set_x', "
        "'train_set_y'.",
    ),
    "mistyped labels key": (
        "fit --data.train_file data.h5 --data.labels_key set_y",
        "data.h5 has no dataset 'set_y' (labels_key); it has 'list_classes', 'train_set_x', "
        "'train_set_y'.",
    ),
    "batch of none": ("fit --data.batch_size 0", "batch_size is 0, expected at least 1."),
    "negative batch": ("fit --data.batch_size -4", "batch_size is -4, expected at least 1."),
    "negative seed": (
        "fit --seed_everything=-1",
        "--seed_everything is -1, expected 0 to 4294967295.",
    ),
    "negative workers": ("fit --data.num_workers -1", "num_workers is -1, expected 0 or more."),
    "fraction of 0": (
        "fit --data.val_fraction 0",
        "val_fraction is 0, expected a share between 0 and 1 (exclusive).",
    ),
    "fraction of 1": (
        "fit --data.val_fraction 1",
        "val_fraction is 1, expected a share between 0 and 1 (exclusive).",
    ),
    "fraction of 2": (
        "fit --data.val_fraction 2",
        "val_fraction is 2, expected a share between 0 and 1 (exclusive).",
    ),
    "fraction of no image": (
        "fit --data.train_file data.h5 --data.val_fraction 0.01",
        "val_fraction 0.01 of 8 images leaves none to validate on.",
    ),
    "file and fraction": (
        "fit --data.train_file data.h5 --data.val_file data.h5 --data.val_fraction 0.2",
        "val_file and val_fraction are both given.",
    ),
    "image size 0": ("fit --data.image_size 0", "image_size is 0, expected pixels, at least 1."),
    "unknown model": (
        "fit --model SignFunctional",
        "Unknown model 'SignFunctional'; there are {models}.",
    ),
    "unknown option": ("fit --data.batchsize 16", "Unknown option '--data.batchsize'."),
    "unknown option with =": (
        "fit --trainer.max_epoch=3",
        "Unknown option '--trainer.max_epoch'.",
    ),
    "unknown option of the model": (
        "fit --model.learning_rate 0.1",
        "Unknown option '--model.learning_rate'.",
    ),
    "unknown option in YAML": ("fit --config misspelt.yaml", "Unknown option 'data.bach_size'."),
    "unknown option of the model in YAML": (
        "fit --config learning.yaml",
        "Unknown option 'model.lrr'.",
    ),
    "unknown section in YAML": ("fit --config section.yaml", "Unknown option 'dataa.batch_size'."),
    "unknown model in YAML": (
        "fit --config model.yaml",
        "Unknown model 'Signs'; there are {models}.",
    ),
    "text for a number": (
        "fit --data.batch_size many",
        "data.batch_size is many, expected int.",
    ),
    "fractional whole number": (
        "fit --trainer.max_epochs 1.5",
        "trainer.max_epochs is 1.5, expected int.",
    ),
    "text for the model's number": ("fit --model.lr fast", "model.lr is fast, expected float."),
    "wrong type in YAML": ("fit --config typed.yaml", "data.batch_size is many, expected int."),
    "no such configuration": ("fit --config absent.yaml", "No such file: absent.yaml."),
    "broken YAML": (
        "fit --config broken.yaml",
        "The configuration is not valid YAML: did not find expected ',' or ']', line 3, column 8.",
    ),
    "unknown verb": ("fitt", "Unknown verb 'fitt'; there are {verbs}."),
    "option without a value": ("fit --data.batch_size", "--data.batch_size has no value."),
    "a name that no file can have": (
        f"predict --ckpt_path run --images a.png --output {'x' * 300}",
        "The name of --output is too long for a file. Choose a shorter one.",
    ),
    "an option below a plain value": (
        "fit --data.drawn.train_size=64",
        "data.drawn takes no 'train_size', expected DrawnSigns or DrawnSmiles.",
    ),
    "no value after =": ("fit --data.batch_size=", "data.batch_size is empty, expected int."),
    "none of the values": (
        "fit --data.drawn Cats",
        "data.drawn is Cats, expected DrawnSigns or DrawnSmiles.",
    ),
    "number for a list": (
        "fit --data.image_size=[1,2,3]",
        "data.image_size is [1, 2, 3], expected int or tuple[int, int].",
    ),
    "YAML without sections": (
        "fit --config list.yaml",
        "The configuration is '- 16 - 32', expected options such as `data: {batch_size: 32}`.",
    ),
    "two classes wanted": (
        "fit --model HappySequential --data.train_file data.h5",
        "HappySequential tells two classes apart, the data have 6.",
    ),
}
SOUND: dict[str, Content] = {
    "data.h5": course(),
    "larger.h5": course(train_set_x=images(8, 18, 16, 3)),
    "grey.h5": course(train_set_x=images(8, 16, 16, 1)),
    "animals.h5": course(train_set_y=np.arange(8) % 2, list_classes=np.array([b"cat", b"dog"])),
    "unlisted.h5": course(train_set_y=labels(9), list_classes=None),
    "misspelt.yaml": b"data:\n  bach_size: 16\n",
    "learning.yaml": b"model:\n  class_path: SignsFunctional\n  init_args:\n    lrr: 0.1\n",
    "section.yaml": b"dataa:\n  batch_size: 16\n",
    "model.yaml": b"model: Signs\n",
    "typed.yaml": b"data:\n  batch_size: many\n",
    "list.yaml": b"- 16\n- 32\n",
    "letters.h5": course(list_classes=np.array([b"a", b"b", b"c", b"d", b"e", b"f"])),
    "broken.yaml": b"data:\n  batch_size: [16\ntrainer: {\n",
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, cli: Callable, tmp_path: Path) -> None:
    """An option, a configuration or a pair of files that makes no sense."""
    args, sentence = OPTIONS[case]
    write(tmp_path, SOUND)
    found = refused(cli, tmp_path, args)
    agree(
        case,
        found,
        sentence.replace("{models}", ", ".join(model_names())).replace("{verbs}", ", ".join(VERBS)),
    )


def test_what_there_is_is_listed() -> None:
    """The lists in the messages above hold the three architectures and the four verbs, whatever is
    added to them.
    """
    assert {"HappySequential", "SignsFunctional", "SignsResNet50"} <= set(model_names())
    assert {"fit", "validate", "test", "predict"} <= set(VERBS)


NEAREST: dict[str, str] = {  # arguments → the end of the message
    "fit --data.train_file data.h5 --model.lr_scheduler StepLR": "Give it with "
    "--model.lr_scheduler.step_size "
    "VALUE.",
    "fit --data.train_file data.h5 --trainer.callbacks+=EarlyStopping": "Give it with "
    "--trainer.callbacks.monitor VALUE.",
    "fit --data.train_file dat.h5": "Did you mean data.h5?",
    "fit --config misspel.yaml": "Did you mean misspelt.yaml?",
    "fit --data.train_file data.h5 --data.images_key train_set_X": "Did you mean 'train_set_x'?",
    "fit --data.train_file data.h5 --data.labels_key set_y": "Did you mean 'train_set_y'?",
    "fit --data.train_file unnamed.h5": "Did you mean `--data.images_key train_set_1`?",
    "fit --data.train_file unlabelled.h5": "their file with `--data.train_labels_file`.",
    "fit --data.batchsize 16": "Write --data.batch_size 16",
    "fit --config misspelt.yaml": "Did you mean 'data.batch_size'?",
    "fit --model.optimiser SGD": "Did you mean --model.optimizer SGD?",
    "fit --zqzq 1": "See --help_all for all of them.",
    "fit --model SignFunctional": "Did you mean 'SignsFunctional'?",
    "fitt": "Did you mean 'fit'?",
}


@pytest.mark.parametrize("args", NEAREST)
def test_the_nearest_word(args: str, cli: Callable, tmp_path: Path) -> None:
    """A message about something misspelt or missing ends with the nearest word that there is, or
    the option to give.
    """
    unnamed = {"train_set_1": labels(2), "train_set_y": labels(2)}
    write(
        tmp_path,
        SOUND | {"unnamed.h5": unnamed, "unlabelled.h5": {"train_set_x": images(8, 16, 16, 3)}},
    )
    result = cli(*args.split())
    assert result.code == 2
    assert result.err.rstrip().endswith(NEAREST[args])


class Payload:
    """Pickles as a call that makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: one epoch on the sound data."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder, SOUND)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "--data.train_file=data.h5", "--data.val_fraction=0.3", *QUICK]) == 0
    return folder / "lightning_logs" / "signs_functional" / "version_0"


QUICK = [
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]


@pytest.fixture
def checkpoints(trained: Path, tmp_path: Path) -> Path:
    """What a --ckpt_path may name, beside sound data: a run folder, and files that are no
    checkpoints of ours.
    """
    shutil.copytree(trained, tmp_path / "run")
    write(tmp_path, SOUND)
    whole = (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes()
    write(
        tmp_path,
        {
            "half.ckpt": whole[: len(whole) // 2],
            "empty.ckpt": b"",
            "text.ckpt": b"epoch,loss\n0,1.79\n",
            "zip.ckpt": zipped(course()),
            "model.keras": zip_of("config.json", "model.weights.h5"),
            "started/config.yaml": b"data: {batch_size: 4}\n",
        },
    )
    torch.save([1, 2, 3], tmp_path / "list.ckpt")
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "foreign.ckpt")
    torch.save({"state_dict": {}, "hyper_parameters": {}}, tmp_path / "lightning.ckpt")
    contents = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save(contents | {"extra": Payload(tmp_path / "owned")}, tmp_path / "code.ckpt")
    torch.save(
        contents | {"extra": Payload(tmp_path / "owned")},
        tmp_path / "legacy.ckpt",
        _use_new_zipfile_serialization=False,
    )
    return tmp_path


TEST, REFIT = (
    "test --data.test_file data.h5 --ckpt_path ",
    "fit --data.train_file data.h5 --ckpt_path ",
)
NOT_ONE = "is not a checkpoint but a"
HALF = f"half.ckpt {NOT_ONE} truncated zip archive ({{half:,}} bytes)."
LEGACY = f"legacy.ckpt {NOT_ONE} PyTorch file of before version 1.6 ({{legacy:,}} bytes)."
CHECKPOINTS: dict[str, str] = {  # arguments → the first sentence
    TEST + "absent.ckpt": "No such checkpoint: absent.ckpt.",
    REFIT + "absent.ckpt": "No such checkpoint: absent.ckpt.",
    "predict --ckpt_path absent.ckpt": "No such checkpoint: absent.ckpt.",
    TEST + "half.ckpt": HALF,
    REFIT + "half.ckpt": HALF,
    "predict --ckpt_path half.ckpt": HALF,
    TEST + "empty.ckpt": f"empty.ckpt {NOT_ONE}n empty file (0 bytes).",
    TEST + "text.ckpt": f"text.ckpt {NOT_ONE} CSV file of 2 columns (18 bytes).",
    TEST + "data.h5": "data.h5 is an HDF5 file, not a checkpoint.",
    TEST + "model.keras": "model.keras is a Keras file.",
    TEST + "zip.ckpt": f"zip.ckpt {NOT_ONE} zip archive (",
    TEST + "list.ckpt": "list.ckpt holds no trained model of this project.",
    TEST + "foreign.ckpt": "foreign.ckpt holds no trained model of this project.",
    TEST + "lightning.ckpt": "lightning.ckpt was not written by this project.",
    TEST + "started": "started holds no checkpoint (expected checkpoints/last.ckpt in it).",
    "predict --ckpt_path started": "started holds no checkpoint (expected "
    "checkpoints/last.ckpt in it).",
    **{
        verb
        + "code.ckpt": "code.ckpt holds more than weights and plain values, and could run code "
        "when loaded: refused."
        for verb in (TEST, REFIT, "predict --ckpt_path ")
    },
    TEST + "legacy.ckpt": LEGACY,
    "fit --ckpt_path run --data.train_file animals.h5": (
        "animals.h5 lists the classes cat, dog, the run (--data.class_names, or its checkpoint) "
        "lists 0, 1, 2, 3, 4, 5."
    ),
    "test --ckpt_path run --data.test_file animals.h5": "The model was made for 6 classes, the "
    "data have 2.",
    "predict --ckpt_path run --data.test_file animals.h5": "The model was made for 6 classes, the "
    "data have 2.",
    "test --ckpt_path run --data.test_file letters.h5": (
        "The model was made for the classes 0, 1, 2, 3, 4, 5, the data have a, b, c, d, e, f."
    ),
    "fit --ckpt_path run --data.train_file larger.h5": (
        "The model takes 16×16 images, the data have 18×16."
    ),
    "test --ckpt_path run --data.test_file larger.h5": "The model takes 16×16 images, the "
    "data have 18×16.",
    "predict --ckpt_path run --data.test_file larger.h5": "The model takes 16×16 images, the "
    "data have 18×16.",
    "test --ckpt_path run --data.test_file grey.h5": "The model takes images of 3 channels, the "
    "data have 1.",
}


@pytest.mark.parametrize("args", CHECKPOINTS)
def test_checkpoints(args: str, cli: Callable, checkpoints: Path) -> None:
    """A checkpoint that is none, is damaged, would run code, or was made for other data."""
    sizes = {path.stem: path.stat().st_size for path in checkpoints.glob("*.ckpt")}
    agree(args, refused(cli, checkpoints, args), CHECKPOINTS[args].format(**sizes))
    assert not (checkpoints / "owned").exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    """The payload of the tests above does what it threatens where a file is loaded without care."""
    torch.save({"extra": Payload(tmp_path / "owned")}, tmp_path / "code.ckpt")
    torch.load(tmp_path / "code.ckpt", weights_only=False)
    assert (tmp_path / "owned").is_dir()


def test_real_keras_files_are_not_data(reference: Reference, cli: Callable, tmp_path: Path) -> None:
    """Weights that real Keras wrote, named in place of the images."""
    path = reference.folder / "trained.h5"
    sentence = f"{path} holds a Keras model, not images."
    assert refused(cli, tmp_path, f"fit --data.train_file {path}") == sentence


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            ["fit", "--data.train_file={train}", "--trainer.accelerator", "foo"],
            "The trainer's settings cannot be used:",
        ),
        (
            ["fit", "--data.train_file={train}", "--trainer.strategy", "dpp"],
            "The trainer's settings cannot be used:",
        ),
        (["fit", "--data.train_file="], "--data.train_file is empty."),
        (["test", "--ckpt_path="], ". holds no checkpoint"),
        (["predict", "--ckptpath", "x"], "Unknown option '--ckptpath'; see --help. Did you mean"),
        (
            ["predict", "--ckpt_path", "x", "--image", "y"],
            "Unknown option '--image'. Write --images y",
        ),
    ],
)
def test_settings_that_only_the_trainer_or_a_verb_refuses(cli, small_signs, args, sentence):
    """One line on the screen, exit code 2, nothing written."""
    done = cli(*(arg.format(train=small_signs[0]) for arg in args))
    assert done.code == 2
    assert done.err.startswith(sentence)
    assert done.err.count("\n") == 1
    assert not list(Path().iterdir())


def test_a_deleted_working_folder(tmp_path, monkeypatch, capsys):
    """Nothing else is blamed: neither the file, nor the memory."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for args in (["inspect", "x.h5"], ["fit"], ["import-keras", "a.h5", "--output", "b.ckpt"]):
        assert main(args) == 2
        assert "has been deleted. Change to one that exists" in capsys.readouterr().err
