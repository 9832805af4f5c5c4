"""The verb inspect, and the child process in which it reads."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from signs_lightning import InputError, SignsFunctional, export_keras
from signs_lightning.commands.inspect import examine_in_sandbox
from signs_lightning.inspect.examine_file import examine
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.sandbox import run_sandboxed

NOISE = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


def course(**changes: Any) -> dict[str, Any]:
    """Twelve 16×16 images of three classes in the course's schema, with some datasets exchanged;
    None leaves one out.
    """
    content = {
        "train_set_x": NOISE,
        "train_set_y": np.arange(12) % 3,
        "list_classes": np.array([b"cat", b"dog", b"owl"]),
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def hdf5(path: Path, datasets: dict[str, Any], **storage: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values, **(storage if np.ndim(values) == 4 else {}))
    return path


def next_commands(out: str) -> list[list[str]]:
    """What stands behind every `next:`, in words as a shell would take it."""
    return [
        shlex.split(line.partition("next:")[2])
        for line in out.splitlines()
        if line.strip().startswith("next:")
    ]


def test_drawn_data(
    cli: Callable, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shapes, keys, classes and range are those that h5py gives; every line fits 80 columns, but
    for paths and commands.
    """
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("inspect", *small_signs)
    assert (result.code, result.err) == (0, "")
    with h5py.File(small_signs[0]) as file:
        images, labels = file["train_set_x"][()], file["train_set_y"][()]
    assert "60 of 64×64 pixels, RGB" in result.out
    assert "60×64×64×3   uint8   contiguous   images" in result.out
    assert f"values {images.min()} to {images.max()} duplicates" in " ".join(result.out.split())
    for k, count in enumerate(np.bincount(labels)):
        assert f"      {k}   {k}           {count}   {count / 60:.1%}" in result.out
    assert "mapped: any image is read alone" in result.out
    assert "No image is in more than one of the files." in result.out
    short = [
        line
        for line in result.out.splitlines()
        if "next:" not in line and str(small_signs[0].parent) not in line
    ]
    assert max(map(len, short)) <= 80


def test_roles_of_one_file(cli: Callable, tmp_path: Path) -> None:
    """Training comes first, each table says whose it is, and all that is wrong is said at once."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    parts = {"test": images[:20], "train": images[20:50], "val": images[50:]}
    words = np.array(["cat", "dog"] * 30, dtype=h5py.string_dtype())
    with h5py.File(tmp_path / "all.h5", "w") as file, h5py.File(tmp_path / "flat.h5", "w") as flat:
        for role, part in parts.items():
            file[f"{role}/images"], file[f"{role}/labels"] = part, words[: len(part)]
            flat[f"{role}/images"] = part.reshape(len(part), -1)
            flat[f"{role}/labels"] = np.arange(len(part)) % 2
    result = cli("inspect", "all.h5")
    assert result.code == 0
    heads = [line.split()[:1] for line in result.out.splitlines() if " found " in line]
    assert heads == [["train"], ["val"], ["test"]]
    tables = [line.split()[2:4] for line in result.out.splitlines() if "  share" in line]
    assert tables == [["train", "images"], ["val", "images"], ["test", "images"]]
    assert "train/labels   30         text" in result.out
    assert "No image is in more than one of the roles." in result.out
    result = cli("inspect", "flat.h5")
    problems = [line for line in result.out.splitlines() if "Problem:" in line]
    assert result.code == 1
    assert [line.split("'")[1] for line in problems] == [
        f"{r}/images" for r in ("train", "val", "test")
    ]


def test_next_command_runs(cli: Callable, small_signs: tuple[Path, Path], tmp_path: Path) -> None:
    """What stands behind the last `next:` trains, with file names that a shell would take apart."""
    for path, name in zip(small_signs, ("train it's.h5", "test & co.h5"), strict=True):
        (tmp_path / name).write_bytes(path.read_bytes())
    command = next_commands(cli("inspect", "train it's.h5", "test & co.h5").out)[-1]
    assert command[:4] == ["python", "-m", "signs_lightning", "fit"]
    result = cli(*command[3:], "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    assert result.code == 0, result.err


def copies(first: np.ndarray, second: np.ndarray | None = None) -> int:
    """Images of the first set that equal an earlier one, or one of the second set, compared pixel
    by pixel.
    """
    return sum(
        any((image == other).all() for other in (first[:k] if second is None else second))
        for k, image in enumerate(first)
    )


def test_duplicates(cli: Callable, tmp_path: Path) -> None:
    """Copies within a file, with the same label and another, and between training and test file,
    also stored otherwise.
    """
    train, labels = NOISE.copy(), np.arange(12) % 3
    train[[3, 7, 9]], train[10] = train[0], train[1]  # labels 0, 1, 0 beside 0; 1 beside 1
    test = np.concatenate([NOISE[4:6], 255 - NOISE[:5], NOISE[8:9]])
    hdf5(tmp_path / "train.h5", course(train_set_x=train, train_set_y=labels))
    content = {"test_set_x": (test / 255).astype(np.float32), "test_set_y": np.arange(8) % 3}
    hdf5(tmp_path / "test.h5", content, chunks=(3, 16, 16, 3), compression="gzip")
    result = cli("inspect", "test.h5", "train.h5")
    sentence = (
        f"{copies(train)} images are exact copies of an earlier one, 1 of them with another label"
    )
    assert sentence in result.out
    sentence = (
        f"{copies(test, train)} of the 8 images of test.h5 (37.5%) are also in train.h5. A model"
    )
    assert sentence in result.out
    assert result.out.count("duplicates  none") == 1


@pytest.mark.slow
def test_duplicates_of_real_data(cli: Callable, shared: Path) -> None:
    """As many as NumPy finds by sorting whole images."""
    paths = [
        shared / "datasets" / name
        for name in ("signs/train_signs.h5", "cats/train_catvnoncat.h5", "cats/test_catvnoncat.h5")
    ]
    found = []
    for path in paths:
        with h5py.File(path) as file:
            found.append(
                next(
                    file[key][()].reshape(len(file[key]), -1) for key in file if key.endswith("_x")
                )
            )
    reports = [examine_in_sandbox(str(path), {}) for path in paths]
    for images, report in zip(found, reports, strict=True):
        assert report.data is not None
        assert len(np.unique(report.data[0].fingerprints)) == len(np.unique(images, axis=0))
    shared_cats = len(np.unique(found[1], axis=0)) + len(np.unique(found[2], axis=0))
    shared_cats -= len(np.unique(np.concatenate(found[1:]), axis=0))
    assert f"{shared_cats} of the 50 images of" in cli("inspect", *paths[1:]).out


def test_storage(cli: Callable, tmp_path: Path) -> None:
    """Chunks and filters are named, a file in chunks is streamed, links are not followed."""
    path = hdf5(
        tmp_path / "a.h5", course(), chunks=(4, 16, 16, 3), compression="gzip", shuffle=True
    )
    with h5py.File(path, "a") as file:
        file["away"] = h5py.ExternalLink("/etc/passwd", "/")
    result = cli("inspect", "a.h5")
    assert result.code == 0
    assert "chunks 4×16×16×3, shuffle, gzip" in result.out
    assert "streamed" in result.out
    assert "away lead elsewhere and are not followed" in result.out
    with h5py.File(path, "a") as file, h5py.File(tmp_path / "b.h5", "w") as other:
        del file["away"]
        file["away"] = h5py.ExternalLink(other.filename, "/")
    result = cli("inspect", "a.h5", "--data.follow_links", "true")
    assert "away lead elsewhere and are followed" in result.out
    hdf5(path, course(train_set_x=(NOISE / 255).astype(">f4")))
    result = cli("inspect", "a.h5")
    assert "float32 images in 0..1" in result.out
    assert "values      float32 values from 0 to 1" in result.out


def test_keys_that_cannot_be_told(cli: Callable, tmp_path: Path) -> None:
    """The candidates are marked, the option is named, and with it all is well; the next command
    carries it on.
    """
    hdf5(tmp_path / "both.h5", {"x": NOISE, "images": NOISE, "y": np.arange(len(NOISE)) % 3})
    result = cli("inspect", "both.h5")
    assert result.code == 1
    assert result.out.count("images?") == 2
    sentence = (
        "several datasets that could be the images: 'images', 'x'. Name one with "
        "`--data.images_key`"
    )
    assert sentence in result.out
    result = cli("inspect", "both.h5", "--data.images_key", "x")
    assert result.code == 0
    assert next_commands(result.out)[0][3:] == [
        *(
            "fit", "--data.train_file", "both.h5", "--data.val_fraction", "0.2",
            "--data.images_key", "x",
        )
    ]  # fmt: skip


def test_several_roles_in_one_file(cli: Callable, tmp_path: Path) -> None:
    """Each is described, copies between them are counted, and one option takes them all."""
    hdf5(tmp_path / "both.h5", course(test_set_x=NOISE[:6], test_set_y=np.arange(6) % 3))
    result = cli("inspect", "both.h5")
    assert result.code == 0
    assert "test images" in result.out
    assert "6 of the 6 images of both.h5 (test) (100.0%) are also in both.h5 (train)." in result.out
    assert next_commands(result.out)[0][3:] == ["fit", "--data.file", "both.h5"]
    assert cli(*next_commands(result.out)[0][3:], "--trainer.max_epochs=1").code == 0


def test_everything_in_the_way_at_once(cli: Callable, tmp_path: Path) -> None:
    """Labels of another number, values that are none and too many axes are three lines."""
    images = np.full(NOISE.shape, np.nan, np.float32)
    hdf5(tmp_path / "bad.h5", {"x": images[..., None], "y": [0.5], "classes": [b"a", b"a"]})
    result = cli("inspect", "bad.h5")
    assert result.code == 1
    problems = [line for line in result.out.splitlines() if "Problem:" in line]
    assert len(problems) == 3
    for part in (
        "expected images (N, height",
        "expected different names",
        "holds NaN",
    ):
        assert sum(part in line for line in problems) == 1


def test_files_that_do_not_fit_together(cli: Callable, tmp_path: Path) -> None:
    """Other sizes and other classes are said."""
    hdf5(tmp_path / "a.h5", course())
    hdf5(
        tmp_path / "b.h5",
        course(train_set_x=NOISE[:, :8], list_classes=np.array([b"x", b"y", b"z"])),
    )
    out = cli("inspect", "a.h5", "b.h5").out
    assert "Images of b.h5 are 8×16×3, those of a.h5 16×16×3." in out
    assert "b.h5 lists the classes x, y, z, a.h5 lists cat, dog, owl." in out


def test_names_are_escaped(cli: Callable, tmp_path: Path) -> None:
    """Control characters and rich's markup in class names and file names are shown, not obeyed."""
    name = "a\x1b[2J[bold].h5"
    hdf5(tmp_path / name, course(list_classes=np.array([b"\x1b[31mred", b"[bold]b", b"new\nline"])))
    out = cli("inspect", name).out
    assert "\x1b" not in out
    for shown in (r"a\x1b[2J[bold].h5: HDF5 data set", r"\x1b[31mred", "[bold]b", r"new\nline"):
        assert shown in out
    shell = subprocess.run(
        ["bash", "-c", f"printf %s {quote_path(name)}"], capture_output=True, check=True
    )
    assert shell.stdout == name.encode()
    assert quote_path("-x y") == "'./-x y'"


def test_black_images(cli: Callable, tmp_path: Path) -> None:
    """A dataset that was made and never filled."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (8, 4, 4, 3), "u1")
        file["y"] = np.arange(8) % 2
    result = cli("inspect", "a.h5")
    assert result.code == 1
    assert "never written" in result.out
    assert "Every image in a.h5 is black" in result.out


@pytest.mark.slow
def test_samples(cli: Callable, tmp_path: Path) -> None:
    """A row of its own for every class, also in a file that is sorted by class; each class here is
    one colour.
    """
    colours = np.array([[255, 0, 0], [0, 160, 0], [0, 0, 255]], np.uint8)
    labels = np.arange(3).repeat(400)
    names = np.array(["$a$", "日本", "c"], dtype=h5py.string_dtype())
    hdf5(
        tmp_path / "a.h5",
        course(
            train_set_x=np.broadcast_to(colours[labels][:, None, None], (1200, 200, 100, 3)),
            train_set_y=labels,
            list_classes=names,
        ),
        compression="gzip",
    )
    result = cli("inspect", "a.h5", "--samples", "s.png")
    assert (result.code, result.err) == (0, "")
    picture = np.asarray(Image.open(tmp_path / "s.png").convert("RGB")).reshape(-1, 3)
    counts = [int((picture == colour).all(axis=1).sum()) for colour in colours]
    assert min(counts) > 5000
    assert max(counts) < 1.1 * min(counts)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "s.png"]


@pytest.mark.usefixtures("guarded_forks")
@pytest.mark.parametrize(
    ("name", "written_as"), [("m.h5", "keras-h5"), ("m.weights.h5", "keras-weights")]
)
def test_keras_files(name: str, written_as: Any, cli: Callable, tmp_path: Path) -> None:
    """Keras's own table of the functional model, and a command that imports the file."""
    export_keras(SignsFunctional(), tmp_path / name, written_as)
    result = cli("inspect", name)
    assert (result.code, result.err) == (0, "")
    assert "parameters  1,310" in result.out
    words = result.out.split()
    expected = (
        ["4×4×3×8", "2×2×8×16", "64×6"]
        if "weights" in name
        else ["64×64×8", "392", "8×8×16", "528", "390"]
    )
    assert set(expected) <= set(words)
    command = next_commands(result.out)[0]
    assert command[3:5] == ["import-keras", name]
    if name == "m.h5":
        assert cli(*command[3:]).code == 0
        assert (tmp_path / "model.ckpt").is_file()


def test_keras_file_beyond_the_bridge(tmp_path: Path) -> None:
    """Its layers are listed all the same; nothing in it is run."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8, 3], "name": "image"}},
        {"class_name": "Lambda", "config": {"name": "evil", "function": "import os"}},
        {"class_name": "Dense", "config": {"name": "fc", "units": 2, "activation": "softmax"}},
    ]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
        )
        file.attrs["keras_version"] = "2.3.1"
        file.create_group("model_weights").attrs["layer_names"] = np.array([b"fc"])
    report = examine(str(tmp_path / "a.h5"), {}, 1)
    assert ("Keras", "2.3.1") in report.facts
    assert [row[:2] for row in report.listings[0].rows] == [("evil", "Lambda"), ("fc", "Dense")]
    assert "a.h5: The model has what the bridge does not know: Lambda 'evil'" in report.problem
    assert not report.commands


def test_checkpoint_and_run_folder(
    cli: Callable, small_signs: tuple[Path, Path], tmp_path: Path
) -> None:
    """Model, classes, size, the last row of the history and the data that it remembers."""
    files = [f"--data.train_file={small_signs[0]}", f"--data.test_file={small_signs[1]}"]
    assert cli("fit", *files, "--trainer.max_epochs=1", "--trainer.accelerator=cpu").code == 0
    run = Path("lightning_logs/signs_functional/version_0")
    columns, row = (tmp_path / run / "history.csv").read_text().split()
    loss = float(dict(zip(columns.split(","), row.split(","), strict=True))["val_loss"])
    for path in (run, run / "checkpoints" / "last.ckpt"):
        report = examine(str(path), {}, 1)
        facts = dict(report.facts)
        assert (report.problem, facts["model"], facts["images"]) == (
            "",
            "SignsFunctional",
            "64×64×3",
        )
        assert facts["classes"] == "6 (0, 1, 2, 3, 4, 5)"
        assert facts["trained"] == "1 epoch, 2 steps"
        assert f"val_loss {loss:.3f}" in facts["last epoch"]
        assert facts["data.test_file"] == str(small_signs[1])
        assert sorted(shlex.split(command)[3] for command in report.commands) == ["predict", "test"]


def test_other_pytorch_files(tmp_path: Path) -> None:
    """The tensors of plain weights are listed; a file that could run code is not opened."""
    import torch

    torch.save({"fc.weight": torch.zeros(3, 4)}, tmp_path / "weights.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.h5")
    report = examine(str(tmp_path / "weights.pt"), {}, 1)
    assert report.listings[0].rows == [("fc.weight", "3×4", "float32")]
    assert "weights.pt holds no trained model of this project" in report.problem
    report = examine(str(tmp_path / "module.h5"), {}, 1)
    sentence = (
        "module.h5 holds more than weights and plain values, and could run "
        "code when loaded: refused."
    )
    assert sentence in report.problem


def test_foreign_onnx(cli: Callable, tmp_path: Path) -> None:
    """What goes in and out is shown, and that it is not ours."""
    onnx = pytest.importorskip("onnx")
    port = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["a"], ["b"])],
        "g",
        [port("a", 1, ["N", 3, 8, 8])],
        [port("b", 1, ["N", 3, 8, 8])],
    )
    onnx.save(onnx.helper.make_model(graph, producer_name="somebody"), tmp_path / "model.bin")
    result = cli("inspect", "model.bin")
    assert result.code == 1
    assert "somebody" in result.out
    assert "input    a      float   N×3×8×8" in result.out
    assert "Problem: model.bin " in result.out


def test_onnx_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence that names what is missing."""
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch" + bytes(100))
    monkeypatch.setitem(sys.modules, "onnx", None)
    report = examine(str(tmp_path / "m.onnx"), {}, 1)
    assert "onnx" in report.problem
    assert "pip install" in report.problem


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, NOISE.tobytes())
    return buffer.getvalue()


IMPOSTORS: dict[str, tuple[bytes, str]] = {  # content → what inspect says of it
    "HTML page": (b"\n<!DOCTYPE html><html></html>", "is an HTML page (29 bytes)"),
    "git-lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "is a git-lfs pointer (43 bytes of text)",
    ),
    "macOS companion": (
        bytes.fromhex("0005160700020000") + bytes(4088),
        "is a macOS `._` companion file (4,096 bytes)",
    ),
    "empty": (b"", "is an empty file (0 bytes)"),
    "gzip": (gzip.compress(b"x" * 99, mtime=0), "is a gzip archive"),
    "zip": (zipped("train.h5"), "is a zip archive"),
    "truncated zip": (zipped("train.h5")[:999], "is a truncated zip archive (999 bytes)"),
    "empty zip": (b"PK\x05\x06" + bytes(18), "is an empty zip archive"),
    "NumPy archive": (zipped("x.npy"), "is a NumPy archive"),
    "exported program": (zipped("m/models/model.json"), "is a program of torch.export"),
    "pickle": (b"\x80\x04\x95" + bytes(20), "is a Python pickle (23 bytes), which can run code"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "is a 7-Zip archive"),
    "tar": (bytes(257) + b"ustar" + bytes(250), "is a tar archive"),
    "text": (b"404: Not Found", "is something else (14 bytes that begin with b'404: Not')"),
    "broken ONNX": (b"\x08\x0a\x12\xff" + bytes(30), "is a damaged ONNX model, or something else"),
}


@pytest.mark.parametrize("case", IMPOSTORS)
@pytest.mark.parametrize("suffix", [".h5", ".onnx"])
def test_impostors(case: str, suffix: str, tmp_path: Path) -> None:
    """Told from the content, whatever the name says; for the project none of them is of use."""
    content, sentence = IMPOSTORS[case]
    if case == "broken ONNX":
        pytest.importorskip("onnx")
    elif suffix == ".onnx" and case in ("text", "tar"):
        sentence = "m.onnx is "
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    assert sentence in examine(str(path), {}, 1).problem


def test_the_others_are_shown(cli: Callable, tmp_path: Path) -> None:
    """A broken file, one that is not there, a folder and a pipe, among sound ones: exit code 1, and
    each has its section.
    """
    hdf5(tmp_path / "good.h5", course())
    (tmp_path / "cut.h5").write_bytes((tmp_path / "good.h5").read_bytes()[:3000])
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    Image.fromarray(NOISE[0]).save(tmp_path / "picture.h5", "PNG")
    result = cli("inspect", "good.h5", "cut.h5", "god.h5", "folder", "pipe", "picture.h5")
    assert (result.code, result.err) == (1, "")
    for sentence in (
        "good.h5: HDF5 data set",
        "cut.h5 is a truncated HDF5 file (3,000 bytes)",
        "No such file: god.h5. Did you mean good.h5?",
        "folder is a directory.",
        "pipe is a device, a pipe or a socket.",
        "picture.h5: picture",
    ):
        assert sentence in result.out
    assert cli("inspect", "go*.h5").code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("", "The following arguments are required: FILE"),
        ("a.h5 --smples s.png", "Unknown option '--smples'; see --help. Did you mean '--samples'?"),
        ("a.h5 --seconds 0", "--seconds is 0, expected more than 0."),
        ("a.h5 --samples gone/s.png", "The folder of --samples gone/s.png does not exist."),
        (
            "text.h5 --samples s.png",
            "--samples draws the pictures of an HDF5 data file, and none of the files is one.",
        ),
    ],
)
def test_usage_errors(args: str, message: str, cli: Callable, tmp_path: Path) -> None:
    """Exit code 2 and a sentence."""
    hdf5(tmp_path / "a.h5", course())
    (tmp_path / "text.h5").write_text("text")
    result = cli("inspect", *args.split())
    assert result.code == 2
    assert result.err.startswith(message)


@pytest.mark.slow
def test_mutated_files(tmp_path: Path) -> None:
    """Whatever happens to the bytes, there is a report, and a damaged file has its sentence."""
    rng = random.Random(0)
    whole = hdf5(
        tmp_path / "whole.h5", course(), chunks=(4, 16, 16, 3), compression="gzip"
    ).read_bytes()
    paths = []
    for number in range(16):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 8, 64))):
            content[rng.randrange(4096)] = rng.randrange(256)
        paths.append(tmp_path / f"{number}.h5")
        paths[-1].write_bytes(content)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda path: examine_in_sandbox(str(path), {}, 20), paths))
    assert all(report.data is not None or report.problem.endswith((".", "?")) for report in reports)
    assert any(report.problem for report in reports)
    assert not any("given up" in report.problem for report in reports)


@pytest.mark.parametrize(
    ("function", "args", "seconds", "message"),
    [
        (
            "ctypes:string_at",
            (1,),
            20,
            "x.h5 crashed the library that reads it (signal SIGSEGV). It is damaged or malicious",
        ),
        ("os:abort", (), 20, "x.h5 crashed the library that reads it (signal SIGABRT)"),
        (
            "os:_exit",
            (1,),
            20,
            "x.h5 was not read to its end: the process that did so was ended "
            "from outside (exit code 1)",
        ),
        (
            "signal:raise_signal",
            (9,),
            20,
            "x.h5 was not read to its end: the process that did so was ended "
            "from outside (SIGKILL)",
        ),
        (
            "time:sleep",
            (60,),
            0.5,
            "x.h5 was given up after 0.5 s. The file may be fine and the machine busy, or the "
            "file large. Try",
        ),
        pytest.param(
            "builtins:sum",
            (range(10**12),),
            60,
            "x.h5 was given up after 3 s of computing: reading it does not end.",
            marks=pytest.mark.slow,
        ),
        (
            "builtins:bytearray",
            (2**40,),
            20,
            "x.h5 asks for more memory than there is for it (16 GiB at most). Close other programs",
        ),
        ("builtins:open", ("gone.h5",), 20, "gone.h5 is gone: it was moved or deleted meanwhile."),
        (
            "builtins:int",
            ("{x}",),
            20,
            "x.h5 cannot be read (ValueError: invalid literal for int() with base 10: '{x}')",
        ),
        (
            "signs_lightning.data.hdf5_image_set:check_file",
            ("gone.h5",),
            20,
            "No such file: gone.h5.",
        ),
    ],
)
def test_a_child_that_dies(function: str, args: tuple, seconds: float, message: str) -> None:
    """One sentence, and this process lives on; a file is called damaged only where the library that
    reads it has crashed.
    """
    with pytest.raises(InputError) as error:
        run_sandboxed(function, *args, about="x.h5", seconds=seconds, processor_seconds=3)
    assert str(error.value).startswith(message)
    assert ("damaged" in str(error.value)) == ("crashed" in message)


def test_a_child_that_answers(capfd: pytest.CaptureFixture) -> None:
    """Values of any kind come back, and nothing that the child prints is seen."""
    np.testing.assert_array_equal(run_sandboxed("numpy:arange", 5), np.arange(5))
    assert run_sandboxed("builtins:print", "noise") is None
    assert capfd.readouterr() == ("", "")


def test_time_runs_out(cli: Callable, tmp_path: Path) -> None:
    """A file that takes too long is given up with a sentence."""
    hdf5(tmp_path / "a.h5", course())
    result = cli("inspect", "a.h5", "--seconds", "0.001")
    assert result.code == 1
    said = " ".join(result.out.split())
    sentence = (
        "a.h5 was given up after 0.001 s. The file may be fine and the machine "
        "busy, or the file large."
    )
    assert sentence in said
    assert "Give it more time with --seconds." in said


def test_partial_scan(tmp_path: Path) -> None:
    """A file too long for half of the time is described by what was read, and says so."""
    path = hdf5(
        tmp_path / "a.h5",
        course(train_set_x=np.resize(NOISE, (3000, 16, 16, 3)), train_set_y=np.arange(3000) % 3),
    )
    report = examine(str(path), {}, 0)
    assert report.data is not None
    seen = len(report.data[0].fingerprints)
    assert 0 < seen < 3000
    assert f"among the first {seen} images" in dict(report.facts)["duplicates"]


def test_data_need_no_torch(tmp_path: Path) -> None:
    """The child that looks at data starts without torch; so does the help."""
    path = hdf5(tmp_path / "a.h5", course())
    code = (
        "import sys; from signs_lightning.inspect.examine_file import examine; from "
        "signs_lightning.commands import inspect;"
        f"assert examine({str(path)!r}, {{}}, 5).data is not None; assert not {{'torch', "
        f"'matplotlib'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_range_that_nothing_tells(cli: Callable, tmp_path: Path) -> None:
    """The values, what fit would ask, and a command that works; a range that is said is kept."""
    path = hdf5(tmp_path / "a.h5", course(train_set_x=NOISE.astype(np.int16) * 100 - 5))
    result = cli("inspect", path.name)
    low, high = int(NOISE.min()) * 100 - 5, int(NOISE.max()) * 100 - 5
    assert f"values      int16 values from {low} to {high}" in result.out
    assert "nothing tells which numbers are black and white" in result.out
    (command,) = next_commands(result.out)
    assert command[-2:] == ["--data.value_range", "minmax"]
    result = cli("inspect", path.name, "--data.value_range=-5,30000")
    (command,) = next_commands(result.out)
    assert command[-1] == "--data.value_range=-5,30000"
    assert "int16 images in -5..30000" in result.out
