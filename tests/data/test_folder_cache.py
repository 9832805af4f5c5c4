"""A folder of pictures as training data: what is read, what is named, and when it is read again."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from signs_lightning import H5DataModule, HappySequential, InputError
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.data import folder_cache, picture_folders
from signs_lightning.data.fingerprints import describe_changes, fingerprint
from signs_lightning.data.folder_cache import ConvertedFolder, convert_folder_once, open_folder
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.image_set import ImageSet
from signs_lightning.data.picture_folders import find_split_folders
from signs_lightning.inspect.examine_file import examine
from signs_lightning.runtime import image_files

HEIGHT, WIDTH = 16, 24
CLASSES = ("10", "2", "Zebra", "ant")  # as Keras sorts them
FORMATS = ("png", "bmp", "gif", "tiff", "webp")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of each test's own."""
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "folders"


def blocks(seed: int, height: int = HEIGHT, width: int = WIDTH, side: int = 8) -> np.ndarray:
    """Squares of random colours, few enough for a GIF's palette."""
    colors = np.random.default_rng(seed).integers(0, 256, (height // side, width // side, 3))
    return colors.astype(np.uint8).repeat(side, axis=0).repeat(side, axis=1)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".webp":
        options["lossless"] = True
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)


def small_folder(folder: Path, classes: tuple[str, ...] = ("a", "b"), count: int = 3) -> Path:
    """`count` pictures of each class."""
    for number, name in enumerate(classes):
        for k in range(count):
            save(folder / name / f"{k}.png", blocks(10 * number + k))
    return folder


def read(images: ImageSet) -> dict[str, tuple[np.ndarray, int]]:
    """Path within the folder → image and label, as training reads them."""
    assert images.path is not None
    reader = ImageReader(images)
    assert reader.layout.is_mapped
    with h5py.File(images.path) as file:
        paths = [path.decode() for path in file["paths"][()]]
    pixels = reader.read(0, images.shape[0])
    return dict(zip(paths, zip(pixels, images.labels.tolist(), strict=True), strict=True))


@pytest.fixture(params=["without the plugin", "with the plugin"])
def has_heic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether Pillow can read HEIC."""
    has_plugin = request.param == "with the plugin"
    if has_plugin:
        pytest.importorskip("pillow_heif")
    else:
        Image.init()
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    image_files._formats.cache_clear()
    yield has_plugin
    image_files._formats.cache_clear()


def add_special_pictures(folder: Path, has_heic: bool) -> dict[str, tuple[np.ndarray, int]]:
    """Write pictures of special kinds, and what is none; return path → pixels, and by how many grey
    levels a picture may be off.
    """
    upright, grey = blocks(1001), blocks(1002)[..., 0]
    expected: dict[str, tuple[np.ndarray, int]] = {}
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right it is upright
    turned = np.ascontiguousarray(np.rot90(upright))
    save(folder / "10" / "turned.jpg", turned, exif=exif, quality=100, subsampling=0)
    expected["10/turned.jpg"] = upright, 3
    inks = np.concatenate([255 - upright, grey[..., None] // 2], axis=2)
    Image.fromarray(inks, "CMYK").save(folder / "10" / "print.tiff")
    printed = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    expected["10/print.tiff"] = printed.round().astype(np.uint8), 1
    Image.fromarray(inks, "CMYK").save(folder / "10" / "print.jpg", quality=100, subsampling=0)
    expected["10/print.jpg"] = printed.round().astype(np.uint8), 4
    save(folder / "2" / "deep.png", grey.astype(np.uint16) * 257)
    expected["2/deep.png"] = grey[..., None].repeat(3, axis=2), 0
    Image.fromarray(upright).quantize(16).save(folder / "2" / "palette.gif")
    expected["2/palette.gif"] = upright, 0
    save(folder / "ant" / "web.webp", upright)
    expected["ant/web.webp"] = upright, 0
    clear = np.dstack([upright, np.where(np.arange(WIDTH) < 12, 255, 0)[None].repeat(HEIGHT, 0)])
    save(folder / "ant" / "clear.png", clear.astype(np.uint8))
    seen = np.where(np.arange(WIDTH)[None, :, None] < 12, upright, 255).astype(np.uint8)
    expected["ant/clear.png"] = seen, 0
    if has_heic:
        import pillow_heif

        heif = pillow_heif.from_pillow(Image.fromarray(upright))
        heif.save(str(folder / "Zebra" / "phone.heic"), quality=-1)
        expected["Zebra/phone.heic"] = upright, 3
    else:
        head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
        (folder / "Zebra" / "phone.heic").write_bytes(head)
    frames = [Image.fromarray(blocks(seed)) for seed in (1, 2, 3)]
    for name in ("moving.gif", "moving.webp", "moving.png"):
        frames[0].save(folder / "Zebra" / name, save_all=True, append_images=frames[1:])
    save(folder / "2" / "cut.jpg", blocks(5, side=1))
    content = (folder / "2" / "cut.jpg").read_bytes()
    (folder / "2" / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "2" / "empty.png").write_bytes(b"")
    (folder / "ant" / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    for name in ("notes.txt", ".DS_Store", "Thumbs.db", "desktop.ini", "._1.png"):
        (folder / "ant" / name).write_bytes(b"no picture")
    (folder / "ant" / ".ipynb_checkpoints").mkdir()
    save(folder / "ant" / ".ipynb_checkpoints" / "copy.png", upright)
    save(folder / "loose.png", upright)
    return expected


def test_300_pictures(has_heic: bool, tmp_path: Path) -> None:
    """Each readable picture has the pixels that it was made of and its folder's number; each other
    file is named with the reason, and what is beside pictures is not.
    """
    folder = tmp_path / "photos"
    plain = {}
    for number in range(292):
        name = f"{CLASSES[number % 4]}/{'deep/' * (number % 3)}{number}.{FORMATS[number % 5]}"
        plain[name] = blocks(number)
        save(folder / name, plain[name])
    special = add_special_pictures(folder, has_heic)
    images = open_folder(folder, "train")
    assert images.name == str(folder)
    assert images.class_names == list(CLASSES)
    assert images.shape == (292 + len(special), HEIGHT, WIDTH, 3)
    found = read(images)
    assert found.keys() == plain.keys() | special.keys()
    for name, pixels in plain.items():
        np.testing.assert_array_equal(found[name][0], pixels, name)
    for name, (pixels, tolerance) in special.items():
        difference = np.abs(found[name][0].astype(int) - pixels)
        assert difference.max() <= tolerance, name
    assert all(label == CLASSES.index(name.split("/")[0]) for name, (_, label) in found.items())
    reasons = {
        "2/cut.jpg": "damaged (",
        "2/empty.png": "not a picture",
        "Zebra/moving.gif": "animated (3 frames)",
        "Zebra/moving.webp": "animated (3 frames)",
        "Zebra/moving.png": "animated (3 frames)",
        "ant/film.mp4": "not a picture",
        "loose.png": "in no class",
    }
    if not has_heic:
        reasons["Zebra/phone.heic"] = "a HEIC picture, which needs `pip install pillow-heif`"
    first, *differences, counted = images.note.partition("\n  ")[0].splitlines()
    assert differences == [
        f"1 picture was turned by EXIF orientation, as Keras does not ({folder}/10/turned.jpg).",
        f"1 picture was scaled from 16 bits to 8, where Keras cuts off ({folder}/2/deep.png).",
        "1 picture was put on white where transparent, as Keras does not "
        f"({folder}/ant/clear.png).",
    ]
    assert open_folder(folder, "train").note == images.note
    lines = images.note.splitlines()[-len(reasons) :]
    total = len(found) + len(reasons)
    assert first == f"{folder}: {len(found)} pictures, 4 classes (10, 2, Zebra, ant), as 16×24×3."
    assert counted.startswith(f"{len(reasons)} of {total} files were skipped (")
    for kind in ("2 damaged", "3 animated", "1 unknown", "1 outside the class folders"):
        assert kind in counted
    assert ("1 HEIC" in counted) is not has_heic
    for name, reason in reasons.items():
        assert any(line.startswith(f"  {folder / name}: {reason}") for line in lines), name


def test_found_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are read once, until one is added, changed or touched; then the old file goes."""
    folder = small_folder(tmp_path / "photos")
    first = convert_folder_once(folder, (8, 8)).path
    inode = first.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(picture_folders, "read_header", None)
        assert convert_folder_once(folder, (8, 8)).path == first
        os.symlink(folder, tmp_path / "link")
        assert convert_folder_once(tmp_path / "link", (8, 8)).path == first
    assert first.stat().st_ino == inode
    for change in (
        lambda: save(folder / "a" / "new.png", blocks(77)),
        lambda: os.utime(folder / "a" / "new.png", (1, 1)),
        lambda: (folder / "a" / "0.png").unlink(),
        lambda: small_folder(folder, ("c",)),
    ):
        change()
        second = convert_folder_once(folder, (8, 8)).path
        assert second != first
        assert list(cache.glob("*.h5")) == [second]
        first = second
    other = {convert_folder_once(folder, (8, 8), channels=1).path, first}
    assert set(cache.glob("*.h5")) == other, "other options replaced it"
    (folder / "notes.txt").write_text("no picture")
    assert convert_folder_once(folder, (8, 8)).path == first


def test_found_again_where_options_were_left_out(tmp_path: Path, cache: Path) -> None:
    """A verb that knows size and channels of the run takes the file that `fit` made without them;
    another size, or channels that the pictures did not get, makes another.
    """
    folder = small_folder(tmp_path / "photos")
    first = convert_folder_once(folder).path
    with h5py.File(first) as file:
        _, height, width, channels = file["x"].shape
    for size, depth in (((height, width), channels), ([height, width], None), (None, channels)):
        assert convert_folder_once(folder, size, depth).path == first  # type: ignore[arg-type]
    assert list(cache.glob("*.h5")) == [first]
    for size, depth in (((height + 1, width), channels), (None, 4 - channels)):
        assert convert_folder_once(folder, size, depth).path != first


def test_skipped_files_are_named_each_time(tmp_path: Path) -> None:
    """Also when the cached file is found."""
    folder = small_folder(tmp_path / "photos")
    (folder / "a" / "bad\n.png").write_bytes(b"broken")
    note = open_folder(folder, "train").note
    assert "bad\\n.png: not a picture in any format that Pillow knows" in note
    assert open_folder(folder, "train").note == note


def test_a_damaged_cached_file(tmp_path: Path) -> None:
    """It is written again."""
    folder = small_folder(tmp_path / "photos")
    path = convert_folder_once(folder).path
    before = path.read_bytes()
    for content in (before[:2000], b"", b"\0" * len(before)):
        path.write_bytes(content)
        assert convert_folder_once(folder).path == path
        assert path.read_bytes() == before


def convert_and_count(folder: Path, log: Path, barrier: Any) -> None:
    convert = folder_cache._convert

    def count(*args: Any) -> ConvertedFolder:
        with log.open("a") as file:
            file.write("converted\n")
        return convert(*args)

    monkeypatch = pytest.MonkeyPatch()  # of a process of its own
    monkeypatch.setattr(folder_cache, "_convert", count)
    barrier.wait(60)
    with log.open("a") as file:
        file.write(f"{convert_folder_once(folder).path}\n")


def test_one_process_converts(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Four processes that start together: one reads the pictures, all get the same file."""
    folder, log = small_folder(tmp_path / "photos", count=40), tmp_path / "log"
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    processes = [
        context.Process(target=convert_and_count, args=(folder, log, barrier)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    lines = log.read_text().splitlines()
    assert lines.count("converted") == 1
    assert lines.count(str(convert_folder_once(folder).path)) == 4
    waiting = f"Waiting for another process, which converts {folder} …"
    assert 1 <= capfd.readouterr().err.count(waiting) <= 3


def test_interrupted(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of a conversion that ends early, and the next one is whole; what a killed one
    left is removed.
    """
    folder = small_folder(tmp_path / "photos")

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder_cache, "write_images", stop)
        with pytest.raises(KeyboardInterrupt):
            convert_folder_once(folder)
    (lock,) = cache.iterdir()
    assert lock.suffix == ".lock"
    (cache / f".{lock.stem}-0.h5.left").write_bytes(b"left")
    path = convert_folder_once(folder).path
    assert set(cache.iterdir()) == {lock, path}


def test_sizes(tmp_path: Path) -> None:
    """Pictures of several sizes: the size is asked for, and the named option is enough."""
    folder = small_folder(tmp_path / "photos")
    save(folder / "a" / "large.png", blocks(9, 160, 80))
    with pytest.raises(InputError) as error:
        open_folder(folder, "train")
    assert str(error.value) == (
        f"The pictures in {folder} have 2 different sizes (shorter side 16 to 80 pixels). Choose "
        "the size that the model sees: add --data.image_size 32, for one."
    )
    images = open_folder(folder, "train", (32, 32))
    assert images.shape == (7, 32, 32, 3)
    with Image.open(folder / "a" / "large.png") as picture:
        box = (0, 40, 80, 120)  # the middle square
        expected = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR, box=box))
    np.testing.assert_array_equal(read(images)["a/large.png"][0], expected)


def test_grey_pictures(tmp_path: Path) -> None:
    """One channel where every picture is grey, and that is said; three where one is not, or where
    three are asked for.
    """
    folder = tmp_path / "scans"
    for number, mode in enumerate(("L", "1", "L", "LA")):
        save(folder / "ab"[number % 2] / f"{number}.png", blocks(number), mode)
    save(folder / "a" / "deep.png", blocks(4)[..., 0].astype(np.uint16) * 257)
    images = open_folder(folder, "train")
    assert images.shape == (5, HEIGHT, WIDTH, 1)
    assert "5 pictures, all of them grey, 2 classes (a, b), as 16×24×1." in images.note
    np.testing.assert_array_equal(read(images)["a/deep.png"][0], blocks(4)[..., :1])
    assert open_folder(folder, "train", channels=3).shape[3] == 3
    save(folder / "a" / "color.png", blocks(5))
    assert open_folder(folder, "train").shape[3] == 3


def test_splits(tmp_path: Path) -> None:
    """A folder with train, valid and test serves each role; a class that the test lacks leaves the
    others' numbers as they are.
    """
    whole = tmp_path / "whole"
    small_folder(whole / "train", ("a", "b", "c"))
    small_folder(whole / "Valid", ("a", "b", "c"), 1)
    small_folder(whole / "test", ("a", "c"), 2)
    (whole / "annotations").mkdir()
    assert find_split_folders(whole) == {
        "train": whole / "train", "val": whole / "Valid", "test": whole / "test"
    }  # fmt: skip
    names = open_folder(whole, "train").class_names
    assert names == ["a", "b", "c"]
    assert open_folder(whole, "val", class_names=names).shape[0] == 3
    for folder in (whole, whole / "test"):
        images = open_folder(folder, "test", class_names=names)
        assert images.labels.tolist() == [0, 0, 2, 2]
        assert (images.class_names, images.num_classes) == (names, 3)
    assert open_folder(whole, "test").labels.tolist() == [0, 0, 1, 1]


def test_a_class_that_training_lacks(tmp_path: Path) -> None:
    """Refused; what training has is named."""
    folder = small_folder(tmp_path / "test", ("a", "x"))
    with pytest.raises(InputError, match=r"has the class x, which training does not have \(a, b\)"):
        open_folder(folder, "test", class_names=["a", "b"])


def test_one_class_only(tmp_path: Path) -> None:
    """Enough to test on, when the classes are known; not to train on."""
    folder = small_folder(tmp_path / "test", ("b",))
    assert open_folder(folder, "test", class_names=["a", "b"]).labels.tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="holds the folder b only, expected one folder for each"):
        open_folder(folder, "train")


def shards(folder: Path) -> None:
    folder.mkdir()
    for number in range(2):
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file["x"], file["y"] = np.zeros((2, 4, 4, 3), np.uint8), [0, 1]


def test_the_pattern_for_shards(tmp_path: Path) -> None:
    """The pattern that the message names opens all of them."""
    shards(tmp_path / "shards")
    with pytest.raises(InputError) as error:
        open_folder(tmp_path / "shards", "train")
    pattern = str(error.value).split("'")[1]
    data = H5DataModule(train_file=pattern)
    data.setup("fit")
    assert len(data.images("train", 10)[1]) == 4


def two_of_a_split(folder: Path) -> None:
    small_folder(folder / "val")
    small_folder(folder / "validation")


def no_test(folder: Path) -> None:
    small_folder(folder / "train")
    small_folder(folder / "val")


def wrapped(folder: Path) -> None:
    small_folder(folder / "inner")


def all_broken(folder: Path) -> None:
    small_folder(folder)
    for path in (folder / "b").iterdir():
        path.write_bytes(b"broken")


def all_cut_off(folder: Path) -> None:
    small_folder(folder)
    for path in (folder / "b").iterdir():
        path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (two_of_a_split, "val and validation, which are both of the val split. Rename one"),
        (no_test, "has no folder test; it has .*/train, .*/val. Name one of them."),
        (shards, r"is a folder of HDF5 files. Name them all with '.*/photos/\*.h5'"),
        (lambda folder: save(folder / "a.png", blocks(0)), "holds pictures, but no folders, exp"),
        (wrapped, "holds the folder inner only, .* Name .*/photos/inner?"),
        (all_broken, "No picture of the class b can be read: .*/b/0.png is not a picture"),
        (all_cut_off, "No picture of the class b can be read: .*/b/0.png is damaged"),
        (lambda folder: (folder / "a").mkdir(parents=True), "holds the folder a only"),
        (lambda folder: folder.write_text("x"), "is a file, expected a folder"),
        (lambda folder: None, "is not there, expected a folder"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_used(
    build: Callable[[Path], object], message: str, tmp_path: Path, cache: Path
) -> None:
    """A sentence, and nothing is written."""
    build(tmp_path / "photos")
    with pytest.raises(InputError, match=message):
        open_folder(tmp_path / "photos", "test")
    assert not list(cache.glob("*.h5"))


def test_no_room(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before pictures are unpacked, with an option that helps."""
    folder = small_folder(tmp_path / "photos")
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * 6 * 32 * 32 * 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="Choose a smaller size with --data"):
        convert_folder_once(folder, (99, 99))
    assert convert_folder_once(folder, (32, 32)).path.exists()


def test_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache cannot be made, the temporary folder takes its place."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = convert_folder_once(small_folder(tmp_path / "photos")).path
    assert path.is_relative_to(tmp_path / "tmp")


def test_a_folder_that_changed(tmp_path: Path) -> None:
    """A resumed run says that a folder has other pictures, by the folder's name."""
    folder = small_folder(tmp_path / "photos")

    def look() -> Any:
        return {"train": [fingerprint(ImageReader(open_folder(folder, "train")))]}

    before = look()
    assert describe_changes(before, look()) is None
    save(folder / "a" / "new.png", blocks(77))
    said = f"Changed since the model was trained on it: {folder} (6 images then, 7 now)."
    assert describe_changes(before, look()) == said


def test_one_command_trains(tmp_path: Path, cli: Callable) -> None:
    """fit on a folder with splits, then test, predict and inspect: each takes the folder as it is.

    The test folder lacks a class, and a model that learned to tell brightness finds the others.
    """
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("b", "a10", "a9")):
            for k in range(count if (split, name) != ("test", "a9") else 0):
                level = {"a10": 20, "a9": 128, "b": 235}[name] + k
                pixels = np.full((30 + k, 40 + label, 3), level, np.uint8)
                save(tmp_path / "photos" / split / name / f"{k}.png", pixels)
    (tmp_path / "photos" / "train" / "b" / "bad.png").write_bytes(b"broken")
    asked = cli("fit", "--data.file", "photos", "--trainer.max_epochs", 1)
    assert asked.code == 2
    assert "add --data.image_size 32, for one." in asked.err
    (command,) = examine("photos", {}, 10).commands  # what inspect prints
    assert command == "python -m signs_lightning fit --data.file photos --data.image_size 32"
    fitted = cli(
        *command.split()[3:], "--trainer.max_epochs", 12, "--model.lr", 0.01,
        "--data.batch_size", 4, "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert fitted.code == 0, fitted.err
    assert "labels y" not in fitted.out  # keys of the cached file
    train = "photos/train: 36 pictures, 3 classes (a10, a9, b), as 32×32×3."
    assert (
        f"{train}\n1 of 37 files were skipped (1 damaged):\n  photos/train/b/bad.png: not a "
        in (fitted.out)
    )
    run = "lightning_logs/signs_functional/version_0"
    for files in ([], ["--data.test_file", "photos/test"]):
        tested = cli("test", "--ckpt_path", run, *files)
        assert tested.code == 0, tested.err
        assert "photos/test: 8 pictures, 3 classes (a10, a9, b), as 32×32×3." in tested.out
        assert "test accuracy 8/8" in tested.out
    predicted = cli("predict", "--ckpt_path", run, "--data.test_file", "photos/test")
    assert (predicted.code, "accuracy 8/8" in predicted.out) == (0, True)


@pytest.mark.parametrize("name", ["nearest", "bicubic"])
def test_resize_options(name: Any, tmp_path: Path) -> None:
    """Pictures are resized as the options say, each way in a file of its own, and it is known
    whether one was.
    """
    folder = small_folder(tmp_path / "photos")
    images = open_folder(folder, "train", (10, 9), resize=name, fit="stretch")
    assert images.resizing == (name, "stretch")
    with Image.open(folder / "b" / "1.png") as picture:
        expected = np.asarray(picture.resize((9, 10), Image.Resampling[name.upper()]))
    np.testing.assert_array_equal(read(images)["b/1.png"][0], expected)
    other = open_folder(folder, "train", (10, 9))
    assert other.resizing == ("bilinear", "crop")
    assert (read(other)["b/1.png"][0] != expected).any()
    assert open_folder(folder, "train", (HEIGHT, WIDTH), resize=name).resizing is None
    data = H5DataModule(train_file=str(folder), image_size=(10, 9), resize=name, fit="stretch")
    data.setup("fit")
    np.testing.assert_array_equal(data.images("train", 6)[0][4], expected)
    assert data.resizes


def test_the_training_folder_decides(tmp_path: Path) -> None:
    """Channels and size of the other roles are those of the training pictures, and a later test
    takes the channels that the checkpoint remembers.
    """
    for number in range(4):
        save(tmp_path / "grey" / "ab"[number % 2] / f"{number}.png", blocks(number), "L")
    small_folder(tmp_path / "color")
    save(tmp_path / "color" / "a" / "large.png", blocks(9, 64, 64))
    data = H5DataModule(train_file=tmp_path / "grey", val_file=tmp_path / "color")
    data.setup("fit")
    images, labels = data.images("val", 7)
    assert images.shape == (7, HEIGHT, WIDTH, 1)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    expected = np.asarray(Image.fromarray(blocks(0)).convert("L"))
    np.testing.assert_array_equal(images[0, ..., 0], expected)
    state = data.state_dict()
    assert (state["channels"], state["class_names"]) == (1, ["a", "b"])
    later = H5DataModule(test_file=tmp_path / "color", channels=3, image_size=8)
    later.setup("test")
    assert later.image_shape == (8, 8, 3)
    with pytest.raises(InputError, match="takes images of 13 channels, and a picture is read as 1"):
        H5DataModule(test_file=tmp_path / "color", channels=13).setup("test")


def test_a_model_from_keras_asks(tmp_path: Path, cli: Callable) -> None:
    """Its file does not tell how pictures were resized: nothing is predicted from a folder of
    pictures of another size until that is said.
    """
    model = HappySequential(num_classes=2, image_size=(8, 8, 3), resize="unknown")
    save_checkpoint(model, tmp_path / "k.ckpt")
    small_folder(tmp_path / "photos")
    test = ["test", "--ckpt_path", "k.ckpt", "--data.test_file", "photos", "--data.image_size", 8]
    asked = cli(*test)
    assert asked.code == 2
    assert "Add `--data.resize nearest --data.fit stretch` if by" in asked.err
    answered = cli(*test, "--data.resize", "nearest", "--data.fit", "stretch")
    assert answered.code == 0, answered.err


def test_one_folder_under_two_names(tmp_path: Path) -> None:
    """As a part of another, and by a link."""
    folder = tmp_path / "pictures"
    train = small_folder(folder / "train")
    (folder / "test").symlink_to(train)
    given: Any = ({"train_file": folder}, {"train_file": folder, "test_file": train})
    for options in given:
        module = H5DataModule(**options)
        with pytest.warns(UserWarning, match="serves for training and for validation"):
            module.setup("fit")


def test_a_folder_and_class_numbers_need_names(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.h5"
    with h5py.File(numbers, "w") as file:
        file["x"] = np.zeros((3, HEIGHT, WIDTH, 3), np.uint8)
        file["y"] = [1, 0, 1]
    named, digits = small_folder(tmp_path / "named"), small_folder(tmp_path / "digits", ("0", "1"))
    for train, test in ((named, numbers), (numbers, named)):
        with pytest.raises(InputError, match="nothing says which name has which number"):
            H5DataModule(train_file=train, test_file=test).setup("fit")
    H5DataModule(train_file=digits, test_file=numbers).setup("fit")
    H5DataModule(train_file=numbers, test_file=named, class_names=["b", "a"]).setup("fit")
