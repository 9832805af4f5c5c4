"""Folders of pictures to HDF5 and back: scripts/images_to_h5.py and what it calls."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from PIL import Image, ImageOps

from signs_lightning import InputError
from signs_lightning.data.folder_export import h5_to_folder, safe_name
from signs_lightning.data.folder_import import folder_to_h5
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.runtime.image_files import UnreadableImageError, read_image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "images_to_h5.py"
SIZE = (16, 16)
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/images_to_h5.py, imported."""
    spec = importlib.util.spec_from_file_location("images_to_h5", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(seed: int, height: int, width: int) -> Image.Image:
    """Blocks of random colours, so that no two pictures are alike and JPEG keeps them apart."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """60 pictures of the classes 1, 2 and 10 in six formats; every tenth is broken; beside them
    what is no picture.
    """
    for number in range(60):
        place = tmp_path / "album" / ("1", "2", "10")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        form = FORMATS[number % 6]
        buffer = io.BytesIO()
        noise(number, 20 + number % 7, 40 - number % 11).save(buffer, form)
        content = buffer.getvalue()
        if number % 10 == 9:
            content = b"" if number % 20 == 9 else content[: len(content) // 3]
        (place / f"{number}.{form.lower()}").write_bytes(content)
    (tmp_path / "album" / "1" / "notes.txt").write_text("no picture")
    (tmp_path / "album" / "2" / "._2.png").write_bytes(b"companion")
    (tmp_path / "album" / ".git").mkdir()
    return tmp_path / "album"


def contents(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images, labels and class names as h5py reads them."""
    split = path.name.partition("_")[0]
    with h5py.File(path) as file:
        names = [name.decode() for name in file["list_classes"][()]]
        return file[f"{split}_set_x"][()], file[f"{split}_set_y"][()], names


def by_pillow(path: Path) -> np.ndarray:
    """The middle square of a picture, scaled: written down here once more, with Pillow alone."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR, box=box))


def test_60_pictures(album: Path, tmp_path: Path) -> None:
    """Every sound picture is in one of the two files, with Pillow's values and its folder's number;
    the broken ones are named.
    """
    written = folder_to_h5(album, tmp_path / "out", SIZE, 3, test_fraction=0.25)
    assert written.class_names == ["1", "10", "2"]
    broken = {
        str(path)
        for path in album.rglob("*.*")
        if path.stem.isdecimal() and int(path.stem) % 10 == 9
    }
    assert {skip.path for skip in written.skipped} == broken
    assert len(broken) == 6
    sound = [
        path for path in album.rglob("*.*") if path.stem.isdecimal() and str(path) not in broken
    ]
    expected = Counter(
        (by_pillow(path).tobytes(), ("1", "10", "2").index(path.parent.name)) for path in sound
    )
    found: Counter = Counter()
    for split, count in (("train", 41), ("test", 13)):
        images, labels, names = contents(tmp_path / "out" / f"{split}_album.h5")
        assert (images.shape, labels.shape) == ((count, *SIZE, 3), (count,))
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert names == ["1", "10", "2"]
        assert written.counts[split] == count
        assert max(Counter(labels.tolist()).values()) - min(Counter(labels.tolist()).values()) <= 1
        assert (np.diff(labels) < 0).any(), "in order of class"
        found.update(
            (image.tobytes(), label) for image, label in zip(images, labels.tolist(), strict=True)
        )
    assert found == expected
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "test_album.h5",
        "train_album.h5",
    ]


def test_the_file_suits_training(album: Path, tmp_path: Path) -> None:
    """Contiguous, so that it is mapped; found without naming a key."""
    path = folder_to_h5(album, tmp_path, SIZE).files["train"]
    images = check_file(path)
    reader = ImageReader(images)
    assert reader.layout.is_mapped
    assert images.class_names == ["1", "10", "2"]
    np.testing.assert_array_equal(reader.take(np.array([5, 0])), contents(path)[0][[5, 0]])


def test_deterministic(album: Path, tmp_path: Path) -> None:
    """The same seed gives the same bytes; another one another split."""
    one, two, other = (
        folder_to_h5(album, tmp_path / name, SIZE, seed=seed).files["test"]
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one.read_bytes() == two.read_bytes()
    assert not np.array_equal(contents(one)[0], contents(other)[0])


def test_modes(tmp_path: Path) -> None:
    """EXIF orientation, grey, alpha over white, 16 bits, a palette: each as `predict` reads it, the
    channels as asked for.
    """
    upright = np.asarray(noise(1, 16, 16))
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(
        tmp_path / "in" / "a" / "turned.png", exif=exif
    )
    alpha = np.dstack(
        [upright, np.where(np.arange(16) < 8, 255, 0)[None].repeat(16, 0).astype(np.uint8)]
    )
    Image.fromarray(alpha).save(tmp_path / "in" / "a" / "alpha.png")
    Image.fromarray(upright).convert("P").save(tmp_path / "in" / "a" / "palette.png")
    Image.fromarray(upright[..., 0]).save(tmp_path / "in" / "b" / "grey.png")
    Image.fromarray(upright[..., 0].astype(np.uint16) * 257).save(
        tmp_path / "in" / "b" / "deep.png"
    )
    written = folder_to_h5(tmp_path / "in", tmp_path, SIZE, 3, test_fraction=0)
    images, labels, _ = contents(written.files["train"])
    found = Counter(
        (image.tobytes(), label) for image, label in zip(images, labels.tolist(), strict=True)
    )
    grey = upright[..., :1].repeat(3, axis=2)
    see_through = np.where(np.arange(16)[None, :, None] < 8, upright, 255).astype(np.uint8)
    palette = np.asarray(Image.fromarray(upright).convert("P").convert("RGB"))
    expected = [(upright, 0), (see_through, 0), (palette, 0), (grey, 1), (grey, 1)]
    assert found == Counter((image.tobytes(), label) for image, label in expected)
    images, _, _ = contents(
        folder_to_h5(tmp_path / "in", tmp_path, SIZE, 1, test_fraction=0).files["train"]
    )
    assert images.shape == (5, 16, 16, 1)


@pytest.mark.parametrize("held_out", [("test",), ("val",), ("Test", "valid")])
def test_a_split_that_is_there(held_out: tuple[str, ...], album: Path, tmp_path: Path) -> None:
    """Folders train and test (val) stay the split; labels are the training classes' places."""
    whole = tmp_path / "whole"
    whole.mkdir()
    album.rename(whole / "train")
    for split in held_out:
        for name in ("10", "2"):
            (whole / split / name).mkdir(parents=True)
            noise(len(split) + len(name), 16, 16).save(whole / split / name / "p.png")
    written = folder_to_h5(whole, tmp_path, SIZE)
    names = {"test": "test", "val": "val", "Test": "test", "valid": "val"}
    assert written.counts == {"train": 54} | {names[split]: 2 for split in held_out}
    for split in held_out:
        images, labels, classes = contents(written.files[names[split]])
        assert classes == ["1", "10", "2"]
        assert sorted(labels.tolist()) == [1, 2]
        expected = by_pillow(whole / split / "10" / "p.png")
        np.testing.assert_array_equal(images[labels == 1][0], expected)


def test_round_trip(tmp_path: Path) -> None:
    """Two files to folders of PNGs and back: the same pictures, labels and names."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 9)):
        with h5py.File(tmp_path / f"{split}_a.h5", "w") as file:
            file[f"{split}_set_x"] = rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
            file[f"{split}_set_y"] = np.arange(count) % 3
            file["list_classes"] = np.array([b"b 10", b"b 2", "ß".encode()])
    files = [tmp_path / "train_a.h5", tmp_path / "test_a.h5"]
    counts, renamed = h5_to_folder(files, tmp_path / "folders")
    assert (counts, renamed) == ({"train": 30, "test": 9}, {})
    written = folder_to_h5(tmp_path / "folders", tmp_path / "back", SIZE)
    for path in files:
        split = path.name.partition("_")[0]
        before, after = contents(path), contents(written.files[split])
        pictures = [
            Counter((x.tobytes(), int(y)) for x, y in zip(*part[:2], strict=True))
            for part in (before, after)
        ]
        assert pictures[0] == pictures[1]
        assert before[2] == after[2]


def test_grey_and_float_files(tmp_path: Path) -> None:
    """One file becomes class folders; grey images stay grey, floats in 0..1 become bytes."""
    images = np.random.default_rng(0).random((6, 8, 8, 1)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = images, np.arange(6) % 2
    assert h5_to_folder([tmp_path / "a.h5"], tmp_path / "out") == ({"": 6}, {})
    for number in range(6):
        with Image.open(tmp_path / "out" / str(number % 2) / f"{number}.png") as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(
                np.asarray(picture), np.rint(images[number, ..., 0] * 255).astype(np.uint8)
            )


@pytest.mark.parametrize("channels", [2, 4, 13])
def test_images_that_are_no_pictures_are_refused(tmp_path: Path, channels: int) -> None:
    """A PNG of four channels would be read back as a transparent picture: nothing is written."""
    with h5py.File(tmp_path / "bands.h5", "w") as file:
        file["x"], file["y"] = np.ones((4, 24, 20, channels), np.uint8), np.arange(4) % 2
    with pytest.raises(InputError, match=f"images of {channels} channels, and a PNG here has 1"):
        h5_to_folder([tmp_path / "bands.h5"], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bands.h5"]


def test_names_that_lead_elsewhere(tmp_path: Path) -> None:
    """Whatever a class is called, its pictures stay below the folder, each class apart."""
    names = ["../x", "a/b", "a\\b", "..", "", "c\x1b[31m\n", "CON", "A/B", "/etc", "x" * 500, "~"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.zeros((22, 4, 4, 3), np.uint8), np.arange(22) % 11
        file["list_classes"] = np.array([name.encode() for name in names])
    before = set(tmp_path.rglob("*"))
    counts, renamed = h5_to_folder([tmp_path / "a.h5"], tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    assert counts == {"": 22}
    folders = list(out.iterdir())
    assert len(folders) == 11
    assert {path for path in tmp_path.rglob("*") if out not in (path, *path.parents)} - before == {
        tmp_path / "deep"
    }
    assert all(len(list(folder.glob("*.png"))) == 2 for folder in folders)
    assert all(folder.name.isprintable() and len(folder.name) < 120 for folder in folders)
    assert len({folder.name.casefold() for folder in folders}) == 11
    assert set(renamed) == set(names) - {"~"}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cat", "cat"),
        ("com1.x", "_com1.x"),
        (" . ", "_"),
        ("é 猫", "é 猫"),
        ("__MACOSX", "___MACOSX"),
    ],
)
def test_safe_name(name: str, safe: str) -> None:
    """Sound names stay as they are."""
    assert safe_name(name) == safe


def test_classes_sort_as_in_keras(tmp_path: Path) -> None:
    """Real Keras lists a folder's classes in the same order: by code point, without hidden ones."""
    from keras.src.utils.dataset_utils import index_directory

    names = ["b", "a10", "A2", "a2", "10", "9", "a", "1a", "é", ".git"]
    for name in names:
        (tmp_path / "in" / name).mkdir(parents=True)
        noise(0, 16, 16).save(tmp_path / "in" / name / "p.png")
    by_keras = index_directory(str(tmp_path / "in"), "inferred", (".png",))[2]
    assert folder_to_h5(tmp_path / "in", tmp_path, SIZE, test_fraction=0).class_names == by_keras


def test_ghostscript_is_not_started(tmp_path: Path) -> None:
    """An EPS file under a picture's name is none: Pillow would run a program on it."""
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(UnreadableImageError, match="not a picture"):
        read_image(str(tmp_path / "a.png"), (*SIZE, 3))


def test_odd_metadata(tmp_path: Path) -> None:
    """A picture whose EXIF block is broken is a picture all the same, without a warning."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
        tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01"
    )
    assert read_image(str(tmp_path / "a.jpg"), (*SIZE, 3)).max() == 0


def test_squares_agree_with_pillow(tmp_path: Path) -> None:
    """What a wide picture becomes is what Pillow's own fit makes of it."""
    noise(3, 30, 50).save(tmp_path / "a.png")
    fitted = np.asarray(ImageOps.fit(noise(3, 30, 50), (16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png"), (*SIZE, 3)), fitted)


def break_class(album: Path) -> None:
    for path in (album / "2").glob("[0-9]*"):
        path.write_bytes(b"broken")


def loose(album: Path) -> None:
    for path in list(album.iterdir()):
        path.rename(path.with_name(f".{path.name}"))
    noise(0, 9, 9).save(album / "a.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (break_class, "No picture of the class 2 can be read: .*album/2/.* is not a picture"),
        (lambda album: (album / "empty").mkdir(), "empty holds no pictures"),
        (loose, "album holds pictures, but no folders, expected one folder for each class"),
        (
            lambda album: [(album / name).rename(album / f".{name}") for name in ("1", "2")],
            "holds the folder 10 only",
        ),
    ],
    ids=["a class is broken", "a class is empty", "no classes", "one class"],
)
def test_folders_that_cannot_be_used(
    spoil: Callable[[Path], object], message: str, album: Path, tmp_path: Path
) -> None:
    """A sentence, and nothing is written."""
    spoil(album)
    with pytest.raises(InputError, match=message):
        folder_to_h5(album, tmp_path / "out", SIZE)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--output o", "Name either a FOLDER of class folders or files with --from-h5."),
        ("album --from-h5 a.h5 --output o", "Name either a FOLDER"),
        ("gone --output o", "No such file: gone."),
        ("album --output o --size 0", "--size is 0, expected pixels"),
        (
            "album --output o --test_fraction 1",
            "--test_fraction is 1, expected 0 or more, and less than 1.",
        ),
        (
            "album --output o --test_fraction 0.001",
            "--test_fraction 0.001 of 54 pictures leaves none to test on.",
        ),
        ("album --output o --name ../x", "--name is ../x, expected a part of a file's name."),
        ("--from-h5 album --output o", "album is not an HDF5 file but a directory."),
        ("--from-h5 album --output album", "album exists and is not an empty folder."),
    ],
)
def test_usage_errors(
    args: str,
    message: str,
    script: ModuleType,
    album: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sentence, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        script.main(args.split())
    assert str(error.value).startswith(message)
    assert not list(tmp_path.glob("o/*"))


def test_an_interrupted_run_leaves_nothing(album: Path, tmp_path: Path) -> None:
    """Neither half a file nor a temporary one, and a file of an earlier run stays."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train_album.h5").write_text("earlier")

    def stop(done: int, total: int | None) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder_to_h5(album, tmp_path / "out", SIZE, 3, advance=stop)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train_album.h5"]
    assert (tmp_path / "out" / "train_album.h5").read_text() == "earlier"


def test_the_script(album: Path, tmp_path: Path, cli: Callable) -> None:
    """Exit code 0, the skipped pictures by name and number, and a next command that trains."""
    done = subprocess.run(
        [sys.executable, SCRIPT, album, "--output", "o", "--size", "64"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "6 of 60 files were skipped (6 damaged):" in done.stderr
    assert done.stderr.count(f"{album}/") == 6
    assert "o/train_album.h5: 49×64×64×3, 3 classes" in done.stdout
    command = next(line for line in done.stdout.splitlines() if line.startswith("next: ")).split()
    result = cli(*command[4:], "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    assert result.code == 0, result.err


def test_the_script_back(
    script: ModuleType,
    small_signs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Both drawn files: as many pictures as images, class by class."""
    code = script.main(["--from-h5", *map(str, small_signs), "--output", str(tmp_path / "out")])
    assert code == 0
    assert f"{tmp_path / 'out' / 'train'}: 60 pictures" in capsys.readouterr().out
    with h5py.File(small_signs[0]) as file:
        labels = file["train_set_y"][()]
    for k, count in enumerate(np.bincount(labels)):
        assert len(list((tmp_path / "out" / "train" / str(k)).glob("*.png"))) == count
