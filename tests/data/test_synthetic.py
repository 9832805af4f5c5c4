"""The drawn hands and faces: the same every time, in the course's schema, written whole or not at
all, learnable.
"""

import hashlib
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import pytest
from references import GOLDEN

from signs_lightning.data import synthetic
from signs_lightning.data.synthetic import DrawnSigns, DrawnSmiles, draw_face, draw_hand

SETS: dict[str, DrawnSigns | DrawnSmiles] = {
    "signs": DrawnSigns(train_size=360, test_size=120, seed=3),
    "smiles": DrawnSmiles(180, 90, seed=3),
}
SMALL = DrawnSigns(train_size=12, test_size=6)


def read(path, kind):
    with h5py.File(path) as file:
        return file[f"{kind}_set_x"][:], file[f"{kind}_set_y"][:], file["list_classes"][:]


@pytest.fixture(scope="module", params=SETS)
def data(request, tmp_path_factory):
    """(name, training images, training labels, test images, test labels)"""
    train, test = SETS[request.param].files(tmp_path_factory.mktemp(request.param))
    return request.param, *read(train, "train")[:2], *read(test, "test")[:2]


def test_the_defaults_are_the_sizes_of_the_course():
    signs, smiles = DrawnSigns(), DrawnSmiles()
    assert (signs.train_size, signs.test_size) == (1080, 120)
    assert (smiles.train_size, smiles.test_size) == (600, 150)


@pytest.mark.parametrize(
    ("drawing", "classes"),
    [
        (DrawnSigns(12, 6), np.arange(6)),
        (DrawnSmiles(8, 4), np.array([b"not smiling", b"smiling"])),
    ],
    ids=["signs", "smiles"],
)
def test_schema_types_and_balance(tmp_path, drawing, classes):
    train, test = drawing.files(tmp_path)
    for path, kind, size in (
        (train, "train", drawing.train_size),
        (test, "test", drawing.test_size),
    ):
        with h5py.File(path) as file:
            assert set(file) == {f"{kind}_set_x", f"{kind}_set_y", "list_classes"}
            stored = file[f"{kind}_set_x"]
            assert stored.chunks is None, "contiguous, so it can be memory-mapped"
            assert stored.id.get_offset() is not None
            assert stored.id.get_storage_size() == stored.nbytes
        images, labels, names = read(path, kind)
        assert (images.shape, images.dtype) == ((size, 64, 64, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((size,), np.int64)
        assert names.dtype == classes.dtype
        np.testing.assert_array_equal(names, classes)
        assert np.ptp(np.bincount(labels, minlength=len(classes))) == 0


def test_a_memory_map_at_the_dataset_s_offset_holds_the_same_images(tmp_path):
    path, _ = SMALL.files(tmp_path)
    with h5py.File(path) as file:
        offset, shape = file["train_set_x"].id.get_offset(), file["train_set_x"].shape
    np.testing.assert_array_equal(
        np.memmap(path, np.uint8, "r", offset, shape), read(path, "train")[0]
    )


def test_another_process_draws_the_same_bytes(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from signs_lightning.data.synthetic import DrawnSigns\n"
        "DrawnSigns(train_size=12, test_size=6).files(Path(sys.argv[1]))\n"
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    # Two at once in one folder, as two ranks of a training would: both must succeed and leave one
    # good pair of files.
    both = [
        subprocess.Popen([*command, tmp_path / "two"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert set(outputs) == {"False False"}, "drawing needs neither torch nor matplotlib"
    ours = [path.read_bytes() for path in SMALL.files(tmp_path / "one")]
    theirs = [(tmp_path / "two" / path.name).read_bytes() for path in SMALL.files(tmp_path / "one")]
    assert ours == theirs
    assert len(list((tmp_path / "two").iterdir())) == 2, "no temporary files are left"


def test_another_seed_size_or_version_is_another_file(tmp_path, monkeypatch):
    others = (SMALL, DrawnSigns(12, 6, seed=1), DrawnSigns(18, 7))
    names = {path.name for drawing in others for path in drawing.files(tmp_path)}
    assert len(names) == 6
    monkeypatch.setattr(synthetic, "FORMAT_VERSION", synthetic.FORMAT_VERSION + 1)
    assert not names & {path.name for path in SMALL.files(tmp_path)}
    images = [read(DrawnSigns(12, 6, seed).files(tmp_path)[0], "train")[0] for seed in (0, 1)]
    assert not np.array_equal(*images)


@pytest.mark.skipif(synthetic.FORMAT_VERSION > 1, reason="golden files keep those of version 1")
@pytest.mark.parametrize("drawing", [DrawnSigns(96, 24, seed=7), DrawnSmiles(48, 24, seed=7)])
def test_a_version_keeps_its_pictures(tmp_path, drawing):
    """Those of the golden files, up to a level where another processor rounds otherwise."""
    for path, kind in zip(drawing.files(tmp_path), ("train", "test"), strict=True):
        images, labels, names = read(path, kind)
        golden = read(GOLDEN / f"{path.name.split('_')[1]}_{kind}.h5", kind)
        others = np.abs(images.astype(int) - golden[0]) > 1
        assert not others.any(), "other pictures: raise FORMAT_VERSION"
        np.testing.assert_array_equal(labels, golden[1])
        np.testing.assert_array_equal(names, golden[2])


def test_files_are_reused(tmp_path, monkeypatch):
    first = SMALL.files(tmp_path)
    before = [path.stat().st_mtime_ns for path in first]
    monkeypatch.setattr(synthetic, "draw_hand", None)  # drawing again would fail
    assert SMALL.files(tmp_path) == first
    assert [path.stat().st_mtime_ns for path in first] == before


@pytest.mark.parametrize("damage", ["cut", "pixel", "label", "empty", "text", "other schema"])
def test_a_damaged_file_is_drawn_again(tmp_path, damage):
    path, _ = SMALL.files(tmp_path)
    good = path.read_bytes()
    if damage == "cut":
        path.write_bytes(good[: len(good) // 2])
    elif damage in ("pixel", "label"):
        with h5py.File(path, "r+") as file:
            stored = file["train_set_x" if damage == "pixel" else "train_set_y"]
            stored[3] = stored[3] ^ 1
    elif damage == "other schema":
        with h5py.File(path, "w") as file:
            file["images"] = np.zeros(3)
    else:
        path.write_bytes(
            b"" if damage == "empty" else b"version https://git-lfs.github.com/spec/v1\n"
        )
    assert SMALL.files(tmp_path)[0] == path
    assert path.read_bytes() == good


def test_a_leftover_temporary_file_is_not_used(tmp_path):
    """What a killed process leaves has another name; what a failing one leaves is removed."""
    leftover = tmp_path / f".{SMALL.files(tmp_path / 'elsewhere')[0].name}.0123.tmp"
    leftover.write_bytes(b"half a file")
    train, _ = SMALL.files(tmp_path)
    assert read(train, "train")[0].shape == (12, 64, 64, 3)
    assert leftover.read_bytes() == b"half a file"


def test_a_failure_while_drawing_leaves_nothing(tmp_path, monkeypatch):
    def fail(label, rng):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "draw_hand", fail)
    with pytest.raises(KeyboardInterrupt):
        SMALL.files(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SIGNS_LIGHTNING_CACHE": "own", "XDG_CACHE_HOME": "xdg"}, "own"),
        ({"XDG_CACHE_HOME": "xdg"}, "xdg/signs_lightning"),
        ({}, "home/.cache/signs_lightning"),
        ({"SIGNS_LIGHTNING_CACHE": "", "XDG_CACHE_HOME": ""}, "home/.cache/signs_lightning"),
    ],
)
def test_where_the_cache_is(tmp_path, monkeypatch, variables, expected):
    for name in ("SIGNS_LIGHTNING_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value) if value else "")
    assert {path.parent for path in SMALL.files()} == {tmp_path / expected}


def test_a_cache_that_cannot_be_written_gives_way_to_a_private_temporary_folder(
    tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("in the way")  # even root cannot make a folder below a file
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders = {path.parent for path in SMALL.files()}
    assert len(folders) == 1
    folder = folders.pop()
    assert folder.parent == tmp_path
    assert folder.name.startswith("signs_lightning-")
    if os.name == "posix":
        assert folder.stat().st_mode & 0o077 == 0, "nobody else may put files there"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders have no owner here")
def test_a_temporary_folder_of_somebody_else_is_not_trusted(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    somebody = os.getuid() + 1
    (tmp_path / f"signs_lightning-{somebody}").mkdir()
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # The folder is ours, so to somebody it is foreign.
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    train, _ = SMALL.files()
    assert train.parent.name != f"signs_lightning-{somebody}"


def test_a_folder_asked_for_is_used_or_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        SMALL.files(tmp_path / "file" / "data")


@pytest.mark.parametrize(
    "drawing", [DrawnSigns(train_size=5), DrawnSigns(test_size=0), DrawnSmiles(test_size=1)]
)
def test_too_few_images_for_the_classes(tmp_path, drawing):
    with pytest.raises(ValueError, match="one image per class"):
        drawing.files(tmp_path)


@pytest.mark.parametrize(("draw", "label"), [(draw_hand, 6), (draw_hand, -1), (draw_face, 2)])
def test_a_class_that_does_not_exist(draw, label):
    with pytest.raises(ValueError, match=f"not {label}"):
        draw(label, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("draw", "label"), [(draw_hand, 0), (draw_hand, 5), (draw_face, 0), (draw_face, 1)]
)
def test_one_picture(draw, label):
    image = draw(label, np.random.default_rng(7))
    assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
    np.testing.assert_array_equal(image, draw(label, np.random.default_rng(7)))
    assert not np.array_equal(image, draw(label, np.random.default_rng(8)))


def test_the_order_is_shuffled(data):
    _, _, labels, _, _ = data
    repeats = (labels[1:] == labels[:-1]).mean()
    assert repeats == pytest.approx(1 / len(np.unique(labels)), abs=0.12), (
        "neither sorted nor in turns"
    )


def test_no_image_appears_twice(data):
    _, train, _, test, _ = data
    digests = {hashlib.sha256(image.tobytes()).digest() for image in (*train, *test)}
    assert len(digests) == len(train) + len(test)
    # Nor nearly twice: the nearest training image is far beyond what pixel noise alone would
    # explain.
    distance = np.sqrt(
        ((test[:, None, ::4, ::4].astype(float) - train[None, :, ::4, ::4]) ** 2).mean((2, 3, 4))
    )
    assert distance.min() > 10


def test_pictures_are_shaded_and_various(data):
    _, images, labels, _, _ = data
    levels = [len(np.unique(image)) for image in images]
    assert np.median(levels) > 120, "shading and soft edges: many levels, not a few flat colours"
    assert images.std(0).min() > 15, "no pixel is the same in all pictures"
    corners = images[:, :4, :4].reshape(len(images), -1).mean(1)
    assert np.ptp(corners) > 120, "dark and bright backgrounds"
    brightness = images.reshape(len(images), -1).mean(1)
    means = np.array([brightness[labels == label].mean() for label in np.unique(labels)])
    assert np.ptp(means) < 0.5 * brightness.std(), "brightness does not give the class away"


def features(images):
    """Grey 16×16 pixels without the picture's own brightness and contrast: (N, 256)"""
    grey = (
        images.astype(float)
        .mean(-1)
        .reshape(len(images), 16, 4, 16, 4)
        .mean((2, 4))
        .reshape(len(images), -1)
    )
    return (grey - grey.mean(1, keepdims=True)) / grey.std(1, keepdims=True)


def test_neither_trivial_nor_impossible(data):
    """Nearest class mean and ridge regression on edges, both in plain numpy, against chance and
    against perfection.
    """
    name, train, train_labels, test, test_labels = data
    classes = np.unique(train_labels)
    x, z = features(train), features(test)
    means = np.stack([x[train_labels == label].mean(0) for label in classes])
    nearest = ((z[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == test_labels).mean() < 0.85, (
        "too easy: the mean picture of each class is enough"
    )

    right = edges_score(train, train_labels, test, test_labels)
    chance = 1 / len(classes)
    assert right.mean() > chance + (0.25 if name == "signs" else 0.15), (
        "the pictures do not show their class"
    )
    recall = [right[test_labels == label].mean() for label in classes]
    assert min(recall) > chance, "a class is no more than noise"


def edges_score(train, train_labels, test, test_labels):
    """Right or wrong for each test image: ridge regression from the strength of edges, pooled to
    16×16.
    """

    def edges(images):
        grey = images.astype(float).mean(-1)
        dy, dx = np.gradient(grey, axis=(1, 2))
        parts = [
            np.abs(d).reshape(len(images), 16, 4, 16, 4).mean((2, 4)).reshape(len(images), -1)
            for d in (dx, dy)
        ]
        both = np.concatenate(parts, 1)
        return both / both.mean(1, keepdims=True)

    x, z = edges(train), edges(test)
    z, x = z - x.mean(0), x - x.mean(0)
    targets = np.eye(train_labels.max() + 1)[train_labels] - 1 / (train_labels.max() + 1)
    weights = x.T @ np.linalg.solve(x @ x.T + 30.0 * len(x) * np.eye(len(x)), targets)
    return (z @ weights).argmax(1) == test_labels
