"""The verb convert: files that NumPy, SciPy and Python's csv module wrote, there and back."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from signs_lightning import InputError
from signs_lightning.data import array_import, csv_import
from signs_lightning.data.hdf5_image_set import check_file

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def read(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of a file, as h5py reads it."""
    found = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(add)
    return found


@pytest.mark.parametrize("is_compressed", [False, True])
def test_npz(
    is_compressed: bool, cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every array under its own name, in any order of axes, also where it is read in parts; what
    would run code is left out and named.
    """
    monkeypatch.setattr(array_import, "READ_BYTES", 1000)
    arrays: dict[str, Any] = {
        "x_train": IMAGES,
        "y_train": LABELS.astype(np.uint8),
        "x_test": np.asfortranarray(IMAGES[:5]),
        "y_test": LABELS[:5, None],
        "floats": RNG.random((300, 2)).astype(">f4"),
        "deep/empty": np.zeros((0, 3)),
        "scalar": np.array(7.5),
        "flags": LABELS > 1,
    }
    texts: dict[str, Any] = {
        "names": np.array(["cat", "ß", "owl"]),
        "octets": np.array([b"a", b"bc"]),
    }
    save = np.savez_compressed if is_compressed else np.savez
    save(tmp_path / "a.npz", **arrays, **texts, objects=np.array([{}], dtype=object))
    result = cli("convert", "a.npz", "--output", "a.h5")
    assert result.code == 0
    assert result.err == "Converting a.npz …\n"
    found = read(tmp_path / "a.h5")
    assert found.keys() == arrays.keys() | texts.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array, key)
        assert found[key].dtype == array.dtype
    assert [name.decode() for name in found["names"]] == texts["names"].tolist()
    assert found["octets"].tolist() == texts["octets"].tolist()
    said = (
        "'objects' was left out: it holds Python objects, which can run code when they are opened"
    )
    assert said in result.out
    assert "a.h5: x_train 12×8×6×3, y_train 12, x_test 5×8×6×3, y_test 5×1" in result.out
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["x_train"].chunks is None


def follow(cli: Callable, out: str) -> Any:
    """Run the command after "next:", and return what came of it."""
    command = next(line for line in out.splitlines() if line.startswith("next: "))
    assert command.startswith("next: python -m signs_lightning ")
    return cli(*command.split()[4:])


def test_the_next_command(cli: Callable, tmp_path: Path) -> None:
    """What is printed at the end describes the file that was written."""
    np.savez(tmp_path / "a.npz", x=IMAGES, y=LABELS)
    result = follow(cli, cli("convert", "a.npz", "--output", "a.h5").out)
    assert result.code == 0
    assert "12×8×6×3" in result.out


def change_header(path: Path, before: bytes, after: bytes) -> None:
    """Write a zip archive again, with other bytes in its arrays."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name).replace(before, after) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: change_header(path, b"(12, 8", b"(99, 8"), "is shorter than its header"),
        (lambda path: change_header(path, b"(12, 8", b"(11, 8"), "is longer than its header"),
        (lambda path: change_header(path, b"\x93NUMPY", b"\x93NUMPI"), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"\x80\x81", b"\x80\x80")), "CRC"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "etch it again"),
        (lambda path: np.savez(path, a=np.array([None])), "no array that can be written. 'a' was"),
    ],
    ids=["too short", "too long", "no array", "changed bytes", "cut off", "objects only"],
)
def test_damaged_npz(
    spoil: Callable[[Path], object], message: str, cli: Callable, tmp_path: Path
) -> None:
    """Exit code 2 with a sentence, and nothing is written."""
    path = tmp_path / "a.npz"
    np.savez(path, x=np.concatenate([IMAGES.ravel(), [128, 129]]).astype(np.uint8), z=IMAGES)
    spoil(path)
    result = cli("convert", "a.npz", "--output", "a.h5")
    assert result.code == 2, result.out
    assert message in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_nothing_in_an_archive_runs(cli: Callable, tmp_path: Path) -> None:
    """A pickle in an array is never opened."""

    class Evil:
        def __reduce__(self) -> Any:
            return Path.write_text, (tmp_path / "ran", "")

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([Evil()], dtype=object))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", buffer.getvalue())
    assert cli("convert", "a.npz", "--output", "a.h5").code == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("is_compressed", [False, True])
def test_matlab(is_compressed: bool, cli: Callable, tmp_path: Path) -> None:
    """SVHN's axes become images first; rows stay, columns become rows; a structure becomes a group;
    labels from 1 are said.
    """
    io_ = pytest.importorskip("scipy.io")
    last = IMAGES.transpose(1, 2, 3, 0)  # (N, H, W, C) -> (H, W, C, N)
    rows = RNG.random((12, 30))
    names = np.array(["ant", "bee", "owl"], dtype=object)
    content = {
        "X": last, "y": (LABELS + 1).astype(np.uint8)[:, None], "rows": rows, "columns": rows.T,
        "names": names, "text": "hello", "part": {"images": last[..., :5], "labels": LABELS[:5]},
    }  # fmt: skip
    io_.savemat(tmp_path / "a.mat", content, do_compression=is_compressed)
    result = cli("convert", "a.mat", "--output", "out")
    assert result.code == 0, result.err
    found = read(tmp_path / "out" / "a.h5")
    expected = {
        "X": IMAGES, "y": LABELS + 1, "rows": rows, "columns": rows,
        "part/images": IMAGES[:5], "part/labels": LABELS[:5],
    }  # fmt: skip
    assert found.keys() == expected.keys() | {"names", "text"}
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, key)
    assert found["X"].dtype == np.uint8
    assert found["names"].tolist() == [b"ant", b"bee", b"owl"]
    assert found["text"] == b"hello"
    assert "'X': (8, 6, 3, 12) -> (12, 8, 6, 3), images first." in result.out
    assert "'y' counts from 1 to 3; labels here begin at 0" in result.out
    images = check_file(tmp_path / "out" / "a.h5", images_key="X", labels_key="y")
    assert images.shape == (12, 8, 6, 3)


def test_matlab_that_leaves_it_open(cli: Callable, tmp_path: Path) -> None:
    """As many images as pixels in a column: asked, and each of the two answers is followed."""
    io_ = pytest.importorskip("scipy.io")
    images = RNG.integers(0, 256, (12, 8, 3, 12), dtype=np.uint8)
    io_.savemat(tmp_path / "a.mat", {"X": images, "y": LABELS})
    result = cli("convert", "a.mat", "--output", "a.h5")
    assert result.code == 2
    assert "Add --samples first or --samples last." in result.err
    assert not (tmp_path / "a.h5").exists()
    for samples, expected in (("first", images), ("last", np.moveaxis(images, -1, 0))):
        assert cli("convert", "a.mat", "--output", "a.h5", "--samples", samples).code == 0
        np.testing.assert_array_equal(read(tmp_path / "a.h5")["X"], expected)


def test_matlab_without_scipy(
    cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names what to install; a damaged file is called so."""
    head = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\1IM"
    (tmp_path / "a.mat").write_bytes(head + b"\x0f\0\0\0\xff\0\0\0broken")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "scipy.io", None)
        result = cli("convert", "a.mat", "--output", "a.h5")
    assert (result.code, "Install it with `pip install scipy`." in result.err) == (2, True)
    pytest.importorskip("scipy.io")
    result = cli("convert", "a.mat", "--output", "a.h5")
    assert (result.code, "a.mat cannot be read as a MATLAB file (" in result.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mat"]


def write_csv(
    path: Path, pixels: np.ndarray, labels: Any, header: list[str] | None = None, column: int = 0
) -> None:
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow(header)
        for values, label in zip(pixels.tolist(), labels, strict=True):
            writer.writerow([*values[:column], label, *values[column:]])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("has_header", [False, True])
def test_csv(
    name: str, has_header: bool, cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kaggle's MNIST, with and without its first line: the same images and labels."""
    monkeypatch.setattr(csv_import, "LINES", 5)
    pixels = RNG.integers(0, 256, (12, 64))
    header = ["label", *(f"pixel{k}" for k in range(64))] if has_header else None
    write_csv(tmp_path / name, pixels, LABELS, header)
    result = cli("convert", name, "--output", "data")
    assert (result.code, "The first column is taken" in result.out) == (0, not has_header)
    found = read(tmp_path / "data" / "a.h5")
    assert found.keys() == {"x", "y"}
    np.testing.assert_array_equal(found["x"], pixels.reshape(12, 8, 8, 1))
    np.testing.assert_array_equal(found["y"], LABELS)
    assert found["x"].dtype == np.uint8
    assert check_file(tmp_path / "data" / "a.h5").num_classes == 3


def test_labels_of_a_csv(cli: Callable, tmp_path: Path) -> None:
    """`numpy.savetxt` writes labels as 1.0e+00; fractions are neither classes nor words."""
    pixels = RNG.integers(0, 256, (12, 64))
    write_csv(tmp_path / "a.csv", pixels, [f"{label:.18e}" for label in LABELS])
    assert cli("convert", "a.csv", "--output", "a.h5").code == 0
    np.testing.assert_array_equal(check_file(tmp_path / "a.h5").labels, LABELS)
    write_csv(tmp_path / "b.csv", pixels, [label / 2 for label in LABELS])
    assert cli("convert", "b.csv", "--output", "b.h5").code == 0
    with pytest.raises(InputError, match=r"holds the fractional label 0.5"):
        check_file(tmp_path / "b.h5")


def test_csv_of_other_shapes(cli: Callable, tmp_path: Path) -> None:
    """Three channels in both orders, a shape that is not square, fractions, words in the last
    column, blank lines: each option that a message names is enough.
    """
    images = RNG.integers(0, 256, (6, 5, 5, 3))
    write_csv(tmp_path / "a.csv", images.reshape(6, -1), LABELS[:6])
    result = cli("convert", "a.csv", "--output", "a.h5")
    assert result.code == 2
    assert (
        "add --data.axes H,W,C (colour by colour in each pixel) or --data.axes C,H,W" in result.err
    )
    assert cli("convert", "a.csv", "--output", "a.h5", "--data.axes", "H,W,C").code == 0
    np.testing.assert_array_equal(read(tmp_path / "a.h5")["x"], images)
    write_csv(tmp_path / "a.csv", images.transpose(0, 3, 1, 2).reshape(6, -1), LABELS[:6])
    assert cli("convert", "a.csv", "--output", "a.h5", "--data.axes", "C,H,W").code == 0
    np.testing.assert_array_equal(read(tmp_path / "a.h5")["x"], images)

    write_csv(tmp_path / "a.csv", RNG.integers(0, 256, (6, 8)), LABELS[:6])
    assert "If the first column is the label" in cli("convert", "a.csv", "--output", "a.h5").err
    assert cli("convert", "a.csv", "--output", "a.h5", "--data.row_shape", "4,2").code == 0
    assert read(tmp_path / "a.h5")["x"].shape == (6, 4, 2, 1)

    pixels, words = RNG.random((6, 35)), ["ß", "b", "a"] * 2
    header = [*(f"p{k}" for k in range(35)), "Class"]
    write_csv(tmp_path / "b.csv", pixels, words, header, column=35)
    text = (tmp_path / "b.csv").read_text()
    (tmp_path / "b.csv").write_text("\ufeff" + text.replace("\n", "\n\n"))
    result = cli("convert", "b.csv", "--output", "b.h5")
    assert result.code == 2
    assert "Name height and width, such as --data.row_shape 28,20." in result.err
    assert cli("convert", "b.csv", "--output", "b.h5", "--data.row_shape", "5,7").code == 0
    found = read(tmp_path / "b.h5")
    np.testing.assert_allclose(found["x"], pixels.reshape(6, 5, 7, 1), rtol=1e-6)
    assert [name.decode() for name in found["list_classes"]] == ["a", "b", "ß"]
    assert found["y"].tolist() == [2, 1, 0] * 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,3,4,5", "1,2,3"], "3 columns in line 2, expected 5"),
        (["1,2,3,4,5", "1,2,x,4,5"], "a pixel that is no number between line 1 and line 2"),
        (["1,2,3,4,5", "1,2,nan,4,5"], "a pixel that is no number"),
        (["1,2,3,4,5", *["1,2,3,4,5"] * 5, "1,2,3,4,256"], "has others after image 5"),
        (["1,2,3,4,5,6,7,8,9"], "9 columns, 3×3 pixels without a column of labels:"),
        (["a,b,c,d,e"], "holds no lines of pixels"),
        (["emotion,pixels,Usage", "0,1 2 3 4,Training"], "all pixels of an image in its column"),
        ([""], "holds no lines of pixels"),
    ],
)
def test_csv_that_is_none(
    lines: list[str],
    message: str,
    cli: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2 with a sentence, and nothing is written."""
    monkeypatch.setattr(csv_import, "LINES", 5)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    result = cli("convert", "a.csv", "--output", "a.h5")
    assert (result.code, message in result.err) == (2, True), result.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("damage", ["cut off", "changed bytes", "not packed"])
def test_damaged_csv_gz(damage: str, cli: Callable, tmp_path: Path) -> None:
    """Exit code 2 with a sentence, and nothing is written."""
    text = "".join(f"{k},{k * k % 251},{k * 7 % 253},4,5\n" for k in range(200)).encode()
    packed = gzip.compress(text)
    half = len(packed) // 2
    contents = {"cut off": packed[:half], "not packed": text}
    contents["changed bytes"] = packed[:half] + bytes(9) + packed[half + 9 :]
    (tmp_path / "a.csv.gz").write_bytes(contents[damage])
    result = cli("convert", "a.csv.gz", "--output", "a.h5")
    assert (result.code, "a.csv.gz is damaged (" in result.err) == (2, True), result.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv.gz"]


def test_folder_and_back(cli: Callable, tmp_path: Path) -> None:
    """Two folders of PNGs to a file and back to folders: the same pixels in the same classes, at
    the pictures' own size and in grey where all are.
    """
    for number, pixels in enumerate(IMAGES[..., 0]):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "photos" / "a" / "cut.png").write_bytes(b"broken")
    result = cli("convert", "photos", "--output", "data", "--test_fraction", 0, "--name", "p")
    assert result.code == 0
    assert result.err.startswith("Converting photos …\n1 of 13 files were skipped (1 damaged):\n")
    assert "data/train_p.h5: 12×8×6×1, 2 classes" in result.out
    assert "fit --data.train_file data/train_p.h5 --data.val_fraction 0.2" in result.out
    result = cli("convert", "data/train_p.h5", "--output", "back")
    assert (result.code, result.out) == (
        0,
        "back: 12 pictures\nnext: python -m signs_lightning inspect back\n",
    )
    for number, name in enumerate("ab"):
        found = set()
        for path in (tmp_path / "back" / name).iterdir():
            with Image.open(path) as picture:
                assert picture.mode == "L"
                found.add(np.asarray(picture).tobytes())
        assert found == {pixels.tobytes() for pixels in IMAGES[number::2, ..., 0]}


def test_sizes_of_a_folder(cli: Callable, tmp_path: Path) -> None:
    """Asked for where pictures differ, and the option that is named is enough."""
    for number in range(6):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[0, : 3 + number % 3]).save(path)
    result = cli("convert", "photos", "--output", "data")
    assert result.code == 2
    assert "3 different sizes (shorter side 3 to 5 pixels)" in result.err
    assert "add --size 32, for one." in result.err
    assert not list(tmp_path.glob("data/*"))
    result = cli("convert", "photos", "--output", "data", "--size", 32, "--test_fraction", 0.4)
    assert result.code == 0
    assert "data/test_photos.h5: 2×32×32×3, 2 classes" in result.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("a.npz gone.npz --output o", "No such file: gone.npz. Did you mean "),
        ("a.npz folder --output o", "The sources are of several kinds."),
        ("a.npz b.npz --output o.h5", "2 files are named, and --output o.h5 is one file."),
        ("a.npz sub/a.npz --output o", "Two of the files have one name."),
        (
            "a.npz --output o --size 8",
            "--size is for a folder or an HDF5 file, and a.npz is a NumPy archive.",
        ),
        (
            "folder --output o --data.axes H,W",
            "--data.axes is for a CSV file or an HDF5 file, and folder is a folder.",
        ),
        ("folder folder --output o", "Several folders are named."),
        ("folder --output o.h5", "A folder becomes train_NAME.h5 and test_NAME.h5"),
        ("folder --output o --size 1 2 3", "--size is 1 2 3, expected pixels"),
        ("page.csv.html --output o", "page.csv.html is no folder of pictures, .npz, .mat, .csv or"),
        (
            "a.csv --output o --data.row_shape 5",
            "Argument --data.row_shape: invalid pixels value: '5'",
        ),
        ("a.csv --output o --data.axes W,H", "--data.axes is W,H, expected H,W, H,W,C or C,H,W."),
        ("a.npz --output gone/o.h5", "The folder gone does not exist."),
        ("a.npz --output b.npz", "The folder b.npz cannot be made"),
    ],
)
def test_usage_errors(args: str, message: str, cli: Callable, tmp_path: Path) -> None:
    """Exit code 2 with a sentence, and nothing is written."""
    for name in ("a.npz", "b.npz", "sub/a.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savez(tmp_path / name, x=IMAGES)
    (tmp_path / "folder").mkdir()
    (tmp_path / "page.csv.html").write_text("<html>")
    (tmp_path / "a.csv").write_text("0,1,2,3,4\n")
    before = set(tmp_path.rglob("*"))
    result = cli("convert", *args.split())
    assert result.code == 2
    assert result.err.rpartition("…\n")[2].startswith(message)
    assert {path for path in set(tmp_path.rglob("*")) - before if path.is_file()} == set()


def test_a_bar_in_a_terminal(tmp_path: Path) -> None:
    """On a terminal progress is a bar on standard error, which is gone at the end."""
    pty = pytest.importorskip("pty")
    np.savez(tmp_path / "a.npz", x=IMAGES)
    main, terminal = pty.openpty()
    program = (
        "from signs_lightning.commands.convert import main\n"
        "from signs_lightning.runtime import progress\n"
        "progress.REDRAW_SECONDS = 0\n"  # what is done within 0.1 s shows no bar
        "main('convert', ['a.npz', '--output', 'a.h5'])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal,
        env={"TERM": "xterm", "PYTHONPATH": ":".join(sys.path)}, check=True,
    )  # fmt: skip
    os.close(terminal)
    shown = ""
    with contextlib.suppress(OSError):  # at the end; a read may give less than was written
        while text := os.read(main, 100_000).decode():
            shown += text
    os.close(main)
    assert "Converting a.npz" in shown
    assert "\x1b[" in shown
    assert process.stdout.decode().startswith("a.h5: x 12×8×6×3")


def test_all_roles_of_a_file(cli: Callable, tmp_path: Path) -> None:
    """Training and test images of one archive: one HDF5 file, and a folder for each role."""
    np.savez(
        tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:6], y_test=LABELS[:6]
    )
    assert cli("convert", "a.npz", "--output", "a.h5").code == 0
    assert cli("convert", "a.h5", "--output", "back").code == 0
    for split, count in (("train", 12), ("test", 6)):
        for label in range(3):
            found = set()
            for path in (tmp_path / "back" / split / str(label)).iterdir():
                with Image.open(path) as picture:
                    found.add(np.asarray(picture).tobytes())
            assert found == {pixels.tobytes() for pixels in IMAGES[label:count:3]}


def test_a_file_that_needs_an_option(cli: Callable, tmp_path: Path) -> None:
    """What the message names is taken here, too."""
    rows = IMAGES.transpose(0, 3, 1, 2).reshape(12, -1)  # (N, H, W, C) -> (N, C * H * W)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = rows, LABELS
    result = cli("convert", "a.h5", "--output", "back")
    assert result.code == 2
    assert "--data.axes" in result.err
    options = ["--data.axes", "C,H,W", "--data.row_shape", "8,6", "--data.class_names", "[p,q,r]"]
    assert cli("convert", "a.h5", "--output", "back", *options).code == 0
    with Image.open(sorted((tmp_path / "back" / "q").iterdir())[0]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), IMAGES[1])
