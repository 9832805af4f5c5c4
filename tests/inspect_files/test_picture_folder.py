"""inspect of a folder of pictures: all that is in it, and all that stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from signs_lightning.inspect.examine_file import examine
from signs_lightning.inspect.file_report import FileReport
from signs_lightning.runtime.image_files import read_header


def save(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> None:
    """Write a picture of noise, `size` as Pillow has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of five pictures each, two of them of another kind."""
    for number in range(10):
        save(tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png")
    save(tmp_path / "photos" / "cat" / "0.png", mode="L")
    save(tmp_path / "photos" / "dog" / "1.png", (300, 200))
    return tmp_path / "photos"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def describe(path: Path) -> FileReport:
    return examine(str(path), {}, 10)


def test_a_folder(photos: Path) -> None:
    """Classes with counts, sizes, modes, and each file that is skipped with the reason; also one
    whose header is sound. The command trains with the size that is missing.
    """
    cut(photos / "cat" / "2.png")
    assert read_header(str(photos / "cat" / "2.png")).size == (30, 40)
    (photos / "dog" / "3.png").write_bytes(b"broken")
    frames = [Image.new("L", (8, 8), color) for color in (0, 255)]
    frames[0].save(photos / "dog" / "moving.gif", save_all=True, append_images=frames[1:])
    (photos / "dog" / "film.mp4").write_bytes(b"film")
    (photos / "dog" / "notes.txt").write_text("no picture")
    report = describe(photos)
    assert (report.what, report.problem) == ("folder of pictures", "")
    facts = dict(report.facts)
    assert facts["pictures"] == "8"
    assert facts["formats"] == "PNG 8"
    assert facts["modes"] == "RGB 7, L 1"
    assert facts["pixels"] == "2 different, shorter side 30 to 200"
    assert facts["skipped"] == "damaged 2, unknown 1, animated 1"
    classes, skipped = report.listings
    assert classes.rows == [("0", "cat", "4"), ("1", "dog", "4")]
    assert {row[0]: row[1].partition(" (")[0] for row in skipped.rows} == {
        str(photos / "cat" / "2.png"): "damaged",
        str(photos / "dog" / "3.png"): "not a picture in any format that Pillow knows",
        str(photos / "dog" / "moving.gif"): "animated",
        str(photos / "dog" / "film.mp4"): "not a picture in any format that Pillow knows",
    }
    (command,) = report.commands
    assert command == (
        f"python -m signs_lightning fit --data.train_file {photos} --data.val_fraction 0.2 "
        "--data.image_size 32"
    )


def test_one_size(photos: Path) -> None:
    """Pictures of one size need no option."""
    (photos / "dog" / "1.png").unlink()
    report = describe(photos)
    assert dict(report.facts)["pixels"] == "30×40 (height×width)"
    assert report.commands[0].endswith("--data.val_fraction 0.2")


def test_splits(photos: Path) -> None:
    """The counts of each split side by side, and one option for all of them."""
    whole = photos.parent / "whole"
    whole.mkdir()
    photos.rename(whole / "train")
    save(whole / "test" / "dog" / "p.png")
    report = describe(whole)
    assert report.listings[0].columns == ("label>", "class", "train>", "test>")
    assert report.listings[0].rows == [("0", "cat", "5", "0"), ("1", "dog", "5", "1")]
    assert report.commands[0] == (
        f"python -m signs_lightning fit --data.file {whole} --data.image_size 32"
    )


def test_all_at_once(photos: Path) -> None:
    """A class that training lacks, and one without a picture that can be read: both are said."""
    whole = photos.parent / "whole"
    whole.mkdir()
    photos.rename(whole / "train")
    for path in (whole / "train" / "cat").iterdir():
        cut(path)
    save(whole / "test" / "owl" / "p.png")
    save(whole / "test" / "dog" / "p.png")
    report = describe(whole)
    assert "has the class owl, which training does not have (cat, dog)." in report.problem
    assert f"No picture of the class cat can be read: {whole}/train/cat/0.png" in report.problem
    assert report.commands == []
    assert report.listings[0].rows == [("0", "cat", "0"), ("1", "dog", "5")]


def test_pictures_without_classes(tmp_path: Path) -> None:
    """They can be predicted."""
    save(tmp_path / "p.png")
    report = describe(tmp_path)
    assert report.facts == [("pictures", "1, without classes")]
    assert report.commands == [f"python -m signs_lightning predict RUN_FOLDER {tmp_path}"]


def test_on_the_screen(photos: Path, cli: Callable, guarded_forks: None) -> None:
    """Exit code 0 when it can be used, 1 when not."""
    result = cli("inspect", photos)
    assert (result.code, "folder of pictures" in result.out) == (0, True)
    (photos / "owl").mkdir()
    result = cli("inspect", photos)
    assert (result.code, "owl holds no pictures." in result.out) == (1, True)
