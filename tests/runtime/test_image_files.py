"""Loose pictures: how they become model input, and the predict verb."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from signs_lightning import InputError
from signs_lightning.__main__ import main
from signs_lightning.runtime import image_files
from signs_lightning.runtime.image_files import UnreadableImageError, find_images, read_image

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 0)
COLORS = np.array([[RED, GREEN], [BLUE, YELLOW]], np.uint8)
QUARTERS = COLORS.repeat(8, axis=0).repeat(8, axis=1)  # (16, 16, 3)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> str:
    image = Image.fromarray(array, mode) if mode else Image.fromarray(array)
    image.save(path, **options)
    return str(path)


def read(path: str, height: int = 16, width: int = 16, channels: int = 3) -> np.ndarray:
    image = read_image(path, (height, width, channels))
    assert image.shape == (height, width, channels)
    assert image.dtype == np.uint8
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "webp", "ppm"])
def test_formats(suffix: str, tmp_path: Path) -> None:
    """Lossless formats give back the bytes that were saved, at their own size."""
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"p.{suffix}", QUARTERS, **options)
    np.testing.assert_array_equal(read(path), QUARTERS)


UPRIGHT = {  # EXIF orientation → how the upright picture lies in the file, in NumPy's words
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(orientation: int, tmp_path: Path) -> None:
    """However a camera was held, the picture is upright; also one that is not square."""
    upright = np.concatenate([QUARTERS, QUARTERS[:8]])  # (24, 16, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "p.png", np.ascontiguousarray(UPRIGHT[orientation](upright)), exif=exif)
    np.testing.assert_array_equal(read(path, 24, 16), upright)


def test_transparency_becomes_white(tmp_path: Path) -> None:
    """Transparent is white, half transparent is halfway to it, opaque is itself, whatever colour
    lies below.
    """
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[..., :3] = 0, 0, 200
    rgba[:, 2:4, 3], rgba[:, 4:, 3] = 51, 255  # a fifth
    image = read(save(tmp_path / "p.png", rgba), 4, 6)
    assert image[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_allclose(image[0, 2], [204, 204, 244], atol=1)
    assert image[0, 5].tolist() == [0, 0, 200]


@pytest.mark.parametrize("mode", ["LA", "P with transparency", "RGB with a transparent colour"])
def test_other_transparency(mode: str, tmp_path: Path) -> None:
    """Grey with alpha, a palette with a transparent entry, a colour that stands for transparent."""
    left = np.zeros((4, 4), bool)
    left[:, :2] = True
    if mode == "LA":
        array = np.stack([np.full((4, 4), 10), np.where(left, 0, 255)], axis=2).astype(np.uint8)
        path, right = save(tmp_path / "p.png", array), (10, 10, 10)
    elif mode.startswith("P"):
        picture = Image.fromarray(np.where(left, 0, 1).astype(np.uint8), "L").convert("P")
        picture.putpalette([9, 9, 9, 255, 0, 0])
        picture.save(tmp_path / "p.png", transparency=0)
        path, right = str(tmp_path / "p.png"), RED
    else:
        array = np.where(left[..., None], (1, 2, 3), BLUE).astype(np.uint8)
        path, right = save(tmp_path / "p.png", array, transparency=(1, 2, 3)), BLUE
    image = read(path, 4, 4)
    assert (image[:, :2] == 255).all()
    assert (image[:, 2:] == right).all()


def test_grey_and_palette(tmp_path: Path) -> None:
    """A grey picture has three equal channels; a palette is looked up; a colour picture for a grey
    model is its luma.
    """
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = read(save(tmp_path / "grey.png", grey))
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], grey)
    np.testing.assert_array_equal(read(str(tmp_path / "grey.png"), channels=1)[..., 0], grey)
    Image.fromarray(QUARTERS).convert("P", palette=Image.Palette.ADAPTIVE, colors=4).save(
        tmp_path / "palette.png"
    )
    np.testing.assert_array_equal(read(str(tmp_path / "palette.png")), QUARTERS)
    luma = QUARTERS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(
        read(str(tmp_path / "palette.png"), channels=1)[..., 0], luma, atol=1
    )
    Image.fromarray(grey > 99).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(
        read(str(tmp_path / "bits.png"), channels=1)[..., 0], np.where(grey > 99, 255, 0)
    )


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey(suffix: str, tmp_path: Path) -> None:
    """The upper byte of 16 bits: 65,535 is white, and a dark grey is not."""
    values = np.array([[0, 256 * 10, 256 * 128, 65535]], np.uint16).repeat(4, axis=0)
    image = read(save(tmp_path / f"p.{suffix}", values), 4, 4, channels=1)
    np.testing.assert_allclose(image[0, :, 0].astype(int), [0, 10, 128, 255], atol=1)


def test_the_middle_is_cut_out(tmp_path: Path) -> None:
    """A wide picture loses its left and right, a high one its top and bottom."""
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = QUARTERS
    np.testing.assert_array_equal(read(save(tmp_path / "wide.png", wide)), QUARTERS)
    high = np.ascontiguousarray(wide.swapaxes(0, 1))
    np.testing.assert_array_equal(read(save(tmp_path / "high.png", high)), QUARTERS.swapaxes(0, 1))


@pytest.mark.parametrize("size", [(4, 4), (64, 64), (32, 8), (1, 1)])
def test_scaling(size: tuple[int, int], tmp_path: Path) -> None:
    """A picture of one colour keeps it at any size; four quarters stay in their corners."""
    flat = np.full((20, 30, 3), (7, 80, 200), np.uint8)
    assert (read(save(tmp_path / "flat.png", flat), *size) == (7, 80, 200)).all()
    if size[0] == size[1] > 1:
        image = read(save(tmp_path / "quarters.png", QUARTERS), *size)
        corners = [image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]]
        np.testing.assert_array_equal(corners, [RED, GREEN, BLUE, YELLOW])


@pytest.mark.parametrize(
    "kind", ["text", "empty", "truncated JPEG", "truncated PNG", "bomb", "folder", "HDF5"]
)
def test_what_cannot_be_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each becomes the one error that says why."""
    path, message = tmp_path / "p.png", "not a picture in any format that Pillow knows"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "HDF5":
        with h5py.File(path, "w") as file:
            file["x"] = noise
        message = "an HDF5 file, no picture; name a file of images with --data.test_file"
    elif kind == "folder":
        path.mkdir()
        message = "is a folder"
    elif kind == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        save(path, noise)
        message = "it unpacks to too many pixels"
    else:
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind.split()[1])
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        message = "damaged"
    with pytest.raises(UnreadableImageError, match=message):
        read(str(path))


def test_threads_leave_the_filters_of_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads read pictures, and the first to begin ends first."""
    first, second = (save(tmp_path / f"{name}.png", QUARTERS) for name in ("first", "second"))
    is_second_inside, is_first_done = threading.Event(), threading.Event()
    flatten = image_files._flatten

    def wait_and_flatten(opened: Any) -> Any:
        if opened.filename == first:
            assert is_second_inside.wait(10)
        else:
            is_second_inside.set()
            assert is_first_done.wait(10)
        return flatten(opened)

    monkeypatch.setattr(image_files, "_flatten", wait_and_flatten)
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as threads:
        readings = [threads.submit(read, first)]
        time.sleep(0.1)  # the first is inside before the second begins
        readings.append(threads.submit(read, second))
        readings[0].result()
        is_first_done.set()
        readings[1].result()
    assert list(warnings.filters) == before


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads one picture from standard input."""
    buffer = io.BytesIO()
    Image.fromarray(QUARTERS).save(buffer, "PNG")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(buffer.getvalue())))
    np.testing.assert_array_equal(read("-"), QUARTERS)


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures in folders, beside what is none."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.png", "a.JPG", "c/d.webp", "c/e/f.gif", "c/._d.webp", "notes.txt", "odd[1].png",
    ):  # fmt: skip
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "album" / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (
            ["album"],
            ["album/a.JPG", "album/b.png", "album/c/d.webp", "album/c/e/f.gif", "album/odd[1].png"],
        ),
        (["album/c"], ["album/c/d.webp", "album/c/e/f.gif"]),
        (["album/*.png"], ["album/b.png", "album/odd[1].png"]),
        (["album/**/*.gif"], ["album/c/e/f.gif"]),
        (["album/odd[1].png"], ["album/odd[1].png"]),
        (["album/notes.txt"], ["album/notes.txt"]),
        (["-"], ["-"]),
        (
            ["album/b.png", "-", "album/b.png", "album/*.png"],
            ["album/b.png", "-", "album/odd[1].png"],
        ),
    ],
    ids=[
        "folder", "folder in it", "pattern", "deep pattern", "brackets", "any file by name",
        "stdin", "duplicates",
    ],
)  # fmt: skip
def test_find_images(arguments: list[str], found: list[str], album: Path) -> None:
    """Files as named, folders and patterns sorted, nothing twice, no macOS companions."""
    assert find_images(arguments) == found


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("album/c.png", "No such picture or folder: album/c.png. Did you mean album/"),
        ("gone/a.png", "No such picture or folder: gone/a.png. It was looked for in /"),
        ("album/*.bmp", "No picture matches album/*.bmp. Check the pattern."),
        ("album/empty", "album/empty holds no pictures ("),
    ],
)
def test_what_names_nothing(argument: str, message: str, album: Path) -> None:
    """An argument without a picture is an error, also beside sound ones."""
    with pytest.raises(InputError) as error:
        find_images(["album/b.png", argument])
    assert str(error.value).startswith(message)


@pytest.fixture(scope="module")
def run(small_signs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: one epoch on the small drawn hands."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        files = [f"--data.train_file={small_signs[0]}", f"--data.test_file={small_signs[1]}"]
        assert main(["fit", *files, "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]) == 0
    return folder / "lightning_logs" / "signs_functional" / "version_0"


@pytest.fixture
def hands(small_signs: tuple[Path, Path], tmp_path: Path) -> Path:
    """The first five test images as loose PNG files."""
    (tmp_path / "hands").mkdir()
    with h5py.File(small_signs[1]) as file:
        for number, image in enumerate(file["test_set_x"][:5]):
            save(tmp_path / "hands" / f"{number}.png", image)
    return tmp_path / "hands"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def probabilities(found: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[f"p({k})"]) for k in range(6)] for row in found])


def test_predict_pictures(run: Path, hands: Path, cli: Callable, tmp_path: Path) -> None:
    """Every probability in the table that is written; the class is the likeliest, on the screen,
    too.
    """
    result = cli("predict", "--ckpt_path", run, "--images", "hands")
    assert (result.code, result.err) == (0, "")
    found = rows(tmp_path / "predictions.csv")
    assert [row["image"] for row in found] == [f"hands/{k}.png" for k in range(5)]
    likely = probabilities(found)
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-6)
    assert [int(row["class"]) for row in found] == likely.argmax(axis=1).tolist()
    assert [float(row["probability"]) for row in found] == likely.max(axis=1).tolist()
    shown = [line.split()[:3] for line in result.out.splitlines()]
    for row in found:
        assert [row["image"], row["class"], f"{float(row['probability']):.3f}"] in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hands", "predictions.csv"]


def test_pictures_and_file_agree(
    run: Path, hands: Path, small_signs: tuple[Path, Path], cli: Callable, tmp_path: Path
) -> None:
    """The same images as PNG files and in the HDF5 file have the same probabilities; the file's
    labels are its own.
    """
    assert cli("predict", "--ckpt_path", run, "--images", "hands", "--output", "a.csv").code == 0
    result = cli(
        "predict", "--ckpt_path", run, "--data.test_file", small_signs[1], "--output", "b.csv",
        "--batch_size", 5,
    )  # fmt: skip
    assert result.code == 0
    loose, whole = rows(tmp_path / "a.csv"), rows(tmp_path / "b.csv")
    np.testing.assert_allclose(probabilities(loose), probabilities(whole)[:5], atol=1e-6)
    with h5py.File(small_signs[1]) as file:
        labels = file["test_set_y"][()].ravel()
    assert [int(row["label"]) for row in whole] == labels.tolist()
    right = int((probabilities(whole).argmax(axis=1) == labels).sum())
    assert f"accuracy {right}/12 = {right / 12:.3f}" in result.out


def test_one_unreadable_picture(run: Path, hands: Path, cli: Callable, tmp_path: Path) -> None:
    """It is named, the others are predicted, and the exit code is 1."""
    (hands / "2.png").write_text("no picture")
    result = cli("predict", "--ckpt_path", run, "--images", "hands")
    assert result.code == 1
    assert result.err == "hands/2.png: not a picture in any format that Pillow knows; skipped.\n"
    assert [row["image"] for row in rows(tmp_path / "predictions.csv")] == [
        f"hands/{k}.png" for k in (0, 1, 3, 4)
    ]


def test_only_unreadable_pictures(run: Path, cli: Callable, tmp_path: Path) -> None:
    """Nothing to predict: exit code 1, and no table is written."""
    (tmp_path / "a.png").write_bytes(b"")
    result = cli("predict", "--ckpt_path", run, "--images", "a.png")
    assert (result.code, result.out) == (1, "")
    assert os.listdir(tmp_path) == ["a.png"]


def test_another_size_is_scaled(run: Path, hands: Path, cli: Callable, tmp_path: Path) -> None:
    """A picture twice as large, of doubled pixels, gets nearly the same probabilities."""
    image = np.asarray(Image.open(hands / "0.png"))
    shutil.rmtree(hands)
    hands.mkdir()
    save(hands / "a.png", image)
    save(hands / "b.png", image.repeat(2, axis=0).repeat(2, axis=1))
    assert cli("predict", "--ckpt_path", run, "--images", "hands").code == 0
    one, two = probabilities(rows(tmp_path / "predictions.csv"))
    np.testing.assert_allclose(one, two, atol=0.01)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--images nothing.png", "No such picture or folder: nothing.png. It was looked for in "),
        (
            "--images hands --data.test_file f.h5",
            "--images and --data.test_file are both given. Drop one of them.",
        ),
        ("--images hands --batch_size 0", "--batch_size is 0, expected at least 1."),
    ],
)
def test_bad_input(
    args: str, message: str, run: Path, hands: Path, cli: Callable, tmp_path: Path
) -> None:
    """One sentence or two, exit code 2, nothing written."""
    result = cli("predict", "--ckpt_path", run, *args.split())
    assert result.code == 2
    assert result.err.startswith(message)
    assert result.err.count("\n") == 1
    assert os.listdir(tmp_path) == ["hands"]
