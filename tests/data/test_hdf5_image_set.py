"""HDF5 files of many layouts: the images, labels and class names that h5py reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from references import GOLDEN, read_images

from signs_lightning import H5DataModule, InputError
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_image_set import check_arrays, check_file
from signs_lightning.data.run_values import find_run_values, settle_values
from signs_lightning.runtime.value_ranges import RunValues


def pictures(count: int = 7, height: int = 5, width: int = 9, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 256, (count, height, width, channels), dtype=np.uint8
    )


LEGACY = RunValues("legacy")
LABELS = np.array([2, 0, 1, 1, 2, 0, 0])


def write(path: Path, **datasets: Any) -> Path:
    """Datasets by name; `__` in a name stands for `/`."""
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def read(path: Path, run: RunValues | None = None, **keys: Any) -> tuple[np.ndarray, np.ndarray]:
    """Everything in a file, through our reader, as a run of these or its own numbers has it."""
    sets = [check_file(path, **keys)]
    dataset = H5Images(settle_values(sets, None, run or find_run_values(sets, None)))
    images, labels = dataset.__getitems__(range(len(dataset)))
    assert labels.dtype == torch.int64
    return images.numpy(), labels.numpy()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("train_set_x", "train_set_y"), ("test_set_x", "test_set_y"), ("x", "y"), ("X", "Y"),
        ("X_train", "y_train"), ("x_val", "y_val"), ("images", "labels"), ("image", "label"),
        ("data", "targets"), ("features", "target"), ("group__images", "group__labels"),
        ("deep__er__train_set_x", "deep__er__train_set_y"), ("inputs__x", "outputs__y"),
    ],
)  # fmt: skip
def test_keys_are_found(tmp_path: Path, x: str, y: str) -> None:
    """The usual names of images and labels, also in groups."""
    images, labels = read(write(tmp_path / "f.h5", **{x: pictures(), y: LABELS}))
    np.testing.assert_array_equal(images, pictures())
    np.testing.assert_array_equal(labels, LABELS)


def test_named_keys_win(tmp_path: Path) -> None:
    """Keys that are named are used, also where others look likelier."""
    path = write(
        tmp_path / "f.h5",
        x=pictures(3),
        y=np.zeros(3, int),
        photos=pictures(),
        kinds=LABELS,
        words=[7, 8, 9],
    )
    images, labels = read(path, images_key="photos", labels_key="kinds")
    np.testing.assert_array_equal(images, pictures())
    np.testing.assert_array_equal(labels, LABELS)
    assert check_file(path, "photos", "kinds", "words").class_names == ["7", "8", "9"]


def test_naming_the_images_finds_their_labels(tmp_path: Path) -> None:
    """Of two pairs in one file, the labels go with the images that are named."""
    path = write(
        tmp_path / "f.h5",
        train_set_x=pictures(),
        train_set_y=LABELS,
        test_set_x=pictures(3),
        test_set_y=[1, 0, 2],
    )
    assert read(path, images_key="test_set_x")[1].tolist() == [1, 0, 2]
    assert read(path, images_key="train_set_x")[1].tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        (
            {"x": pictures(), "images": pictures(), "y": LABELS},
            "the images: 'images', 'x'. Name one with `--data.images_key`.",
        ),
        (
            {"images": pictures(), "y": LABELS, "target": LABELS},
            "the labels: 'target', 'y'. Name one with `--data.labels_key`.",
        ),
        (
            {"a__x": pictures(), "b__y": LABELS, "c__y": LABELS},
            "the labels: 'b/y', 'c/y'. Name one with `--data.labels_key`.",
        ),
        (
            {"x": pictures(), "y": LABELS, "classes": [1, 2, 3], "list_classes": [1, 2, 3]},
            "the classes: 'classes', 'list_classes'. Name one with `--data.classes_key`.",
        ),
    ],
    ids=["images", "labels", "labels in groups", "classes"],
)
def test_what_is_ambiguous_is_an_error(tmp_path: Path, datasets: dict, message: str) -> None:
    """The message lists the candidates and names the option."""
    with pytest.raises(InputError) as error:
        check_file(write(tmp_path / "f.h5", **datasets))
    assert str(error.value).endswith(message)


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (17, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_and_channels(tmp_path: Path, size: tuple[int, int], channels: int) -> None:
    """Any height and width, grey or RGB."""
    x = pictures(7, *size, channels)
    path = write(tmp_path / "f.h5", x=x, y=LABELS)
    assert check_file(path).shape == (7, *size, channels)
    np.testing.assert_array_equal(read(path)[0], x)


@pytest.mark.parametrize(
    "dtype", ["u1", "i2", "u2", "<u4", "i4", "i8", ">i2", "f2", "f4", ">f4", "f8"]
)
def test_bytes_in_other_types(tmp_path: Path, dtype: str) -> None:
    """0..255 in any whole-number type is the same bytes; floats stay, in this machine's order."""
    x = pictures()
    x[0, 0, 0] = 255, 0, 1
    path = write(tmp_path / "f.h5", x=x.astype(dtype), y=LABELS)
    kind = np.dtype(dtype).newbyteorder("=") if "f" in dtype else np.uint8
    np.testing.assert_array_equal(read(path)[0], x.astype(kind), strict=True)
    np.testing.assert_array_equal(read(path, LEGACY)[0], x, strict=True)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
def test_floats_from_0_to_1(tmp_path: Path, dtype: str) -> None:
    """Bytes divided by 255 come as they are, in an old run as those bytes, each of the 256."""
    x = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    path = write(tmp_path / "f.h5", x=(x / 255).astype(dtype), y=[0, 1, 0, 1])
    np.testing.assert_array_equal(read(path, LEGACY)[0], x, strict=True)
    native = (x / 255).astype(dtype).astype(np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(read(path)[0], native, strict=True)
    assert "0..1 (largest value 1)" in check_file(path).note


def test_floats_are_rounded_to_the_nearest_byte(tmp_path: Path) -> None:
    """In old runs, as `numpy.rint` does it, of the value times 255 where the values are 0..1."""
    rng = np.random.default_rng(1)
    unit, wide = rng.random((5, 4, 4, 3)), rng.random((5, 4, 4, 3)) * 255
    labels = np.zeros(5, int)
    np.testing.assert_array_equal(
        read(write(tmp_path / "a.h5", x=unit, y=labels), LEGACY)[0], np.rint(unit * 255)
    )
    np.testing.assert_array_equal(
        read(write(tmp_path / "b.h5", x=wide, y=labels), LEGACY)[0], np.rint(wide)
    )


def test_a_black_float_file_is_black(tmp_path: Path) -> None:
    """All zero, or at most 1: taken as 0..1, and said."""
    x = np.zeros((2, 4, 4, 3), np.float32)
    path = write(tmp_path / "f.h5", x=x, y=[0, 1])
    sentence = f"'x' in {path}: float32 images in 0..1 (largest value 0)."
    assert check_file(path).note == sentence
    assert not read(path)[0].any()


def test_the_range_is_that_of_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the images are looked at in several goes, the last counts as much as the first."""
    monkeypatch.setattr("signs_lightning.data.value_range.SCAN_BYTES", 1)  # one image at a time
    x = np.zeros((4, 2, 2, 1), np.float32)
    x[3] = 200
    images, _ = read(write(tmp_path / "f.h5", x=x, y=[0, 1, 0, 1]))
    np.testing.assert_array_equal(images, x)


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS[None],
        LABELS[:, None],
        np.eye(3)[LABELS],
        np.eye(3, dtype=np.uint8)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        LABELS.astype(np.float32),
        LABELS[None].astype(np.float64),
        LABELS.astype(np.uint8),
        LABELS.astype(">i4"),
    ],
    ids=[
        "(N,)", "(1, N)", "(N, 1)", "one-hot float", "one-hot byte", "one-hot bool", "float",
        "(1, N) float", "u1", ">i4",
    ],
)  # fmt: skip
def test_labels(tmp_path: Path, labels: np.ndarray) -> None:
    """Every form that labels come in is the same int64 (N,)."""
    checked = check_file(write(tmp_path / "f.h5", x=pictures(), y=labels))
    np.testing.assert_array_equal(checked.labels, LABELS, strict=True)
    assert (checked.num_classes, checked.class_names) == (3, None)


def test_one_image(tmp_path: Path) -> None:
    """A file of one image, whose label may have shape (1,) or (1, 1)."""
    for labels in ([2], [[2]]):
        checked = check_file(write(tmp_path / "f.h5", x=pictures(1), y=np.array(labels)))
        assert (checked.labels.tolist(), checked.num_classes) == ([2], 3)


def test_a_one_hot_column_without_images_is_a_class(tmp_path: Path) -> None:
    """One-hot labels tell the number of classes, also of one that no image has."""
    assert check_file(write(tmp_path / "f.h5", x=pictures(), y=np.eye(5)[LABELS])).num_classes == 5


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (np.arange(4), ["0", "1", "2", "3"]),
        (np.array([b"non-cat", b"cat", b"dog"]), ["non-cat", "cat", "dog"]),
        (np.array(["Katze", "Hündin", "猫"], h5py.string_dtype()), ["Katze", "Hündin", "猫"]),
        (np.array([["a", "b", "c"]], h5py.string_dtype()), ["a", "b", "c"]),
        (np.array([b"caf\xe9", b"tea", b"milk"]), ["caf\\xe9", "tea", "milk"]),
    ],
    ids=["integers", "bytes", "text", "a row", "Latin-1"],
)
@pytest.mark.parametrize("key", ["list_classes", "classes", "class_names", "group__list_classes"])
def test_class_names(tmp_path: Path, key: str, classes: np.ndarray, names: list[str]) -> None:
    """Class names come out as text, and their number is the number of classes."""
    checked = check_file(write(tmp_path / "f.h5", x=pictures(), y=LABELS, **{key: classes}))
    assert (checked.class_names, checked.num_classes) == (names, len(names))


def test_arrays_are_checked_like_files() -> None:
    """NumPy arrays go through the same checks."""
    checked = check_arrays(pictures() / 255, np.eye(3)[LABELS])
    assert (checked.shape, checked.values.meaning, checked.num_classes) == ((7, 5, 9, 3), (0, 1), 3)
    with pytest.raises(
        InputError, match=r"labels has 3 labels for 7 images, expected one for each\."
    ):
        check_arrays(pictures(), [0, 1, 0])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A sound file that others point to."""
    return write(tmp_path / "secret.h5", x=pictures(), y=LABELS)


@pytest.mark.parametrize("link", [h5py.ExternalLink("secret.h5", "x"), h5py.SoftLink("/nowhere")])
def test_links_are_not_followed(tmp_path: Path, secret: Path, link: Any) -> None:
    """What lies behind a link is no dataset of the file, named or not."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x"] = link
        file["y"] = LABELS
    with pytest.raises(InputError, match=r"has no dataset that looks like|links to other files"):
        check_file(tmp_path / "f.h5")
    with pytest.raises(InputError, match=r"has no dataset 'x' \(images_key\); it has 'y'"):
        check_file(tmp_path / "f.h5", images_key="x")


def test_a_group_behind_an_external_link_is_not_followed(tmp_path: Path, secret: Path) -> None:
    """Nor are keys that pass through one."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["far"] = h5py.ExternalLink("secret.h5", "/")
    with pytest.raises(
        InputError,
        match=r"links to other files \('far'\). Follow them with `--data.follow_links true`.",
    ):
        check_file(tmp_path / "f.h5")
    with pytest.raises(InputError, match="has no dataset 'far/x'"):
        check_file(tmp_path / "f.h5", images_key="far/x", labels_key="far/y")


def read_as_h5py_does(path: Path) -> None:
    module = H5DataModule(test_file=str(path), batch_size=10_000, image_size=None)
    module.setup("test")
    images, labels = next(iter(module.test_dataloader()))
    expected_images, expected_labels = read_images(path)
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(labels, expected_labels)
    with h5py.File(path) as file:
        assert module.num_classes == len(file["list_classes"])


def test_golden_data() -> None:
    """Files in the course's schema, as h5py reads them."""
    paths = sorted(GOLDEN.glob("*.h5"))
    assert len(paths) == 4
    for path in paths:
        read_as_h5py_does(path)


@pytest.mark.slow
def test_real_data(shared: Path) -> None:
    """The course's own files, unchanged, as h5py reads them."""
    for name, split in (
        ("signs", "train"),
        ("signs", "test"),
        ("happy", "test"),
        ("cats", "train"),
    ):
        read_as_h5py_does(next((shared / "datasets" / name).glob(f"{split}_*.h5")))


def test_labels_of_another_role_are_never_taken(tmp_path: Path) -> None:
    """Of as many images as there are test images, too."""
    path = write(tmp_path / "a.h5", X_train=pictures(), y_train=LABELS, X_test=pictures())
    assert list(check_file(path, role="train").labels) == list(LABELS)
    groups = {"train__x": pictures(), "train__kind": LABELS, "test__x": pictures()}
    shared = {"X_train": pictures(), "X_test": pictures(), "y": LABELS}
    for content in ({}, groups, shared):
        path = write(tmp_path / "b.h5", **content) if content else path
        with pytest.raises(InputError, match="no dataset that looks like the labels"):
            check_file(path, role="test")


def test_numbers_that_tell_images_apart_are_no_labels(tmp_path: Path) -> None:
    labels = np.arange(20) % 3
    path = write(tmp_path / "images.h5", images=pictures(20), index=np.arange(20))
    with pytest.raises(InputError, match="no dataset that looks like the labels"):
        check_file(path)
    write(tmp_path / "labels.h5", labels=labels)
    assert list(check_file(path).labels) == list(labels)


def test_a_data_set_beside_another_is_no_file_of_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", images=pictures())
    write(tmp_path / "y.h5", images=pictures(), labels=LABELS)
    with pytest.raises(InputError, match="no dataset that looks like the labels"):
        check_file(path)


WORDS = np.array([b"cat", b"dog", b"eel"])


def train_and_test(*paths: Path | list[Path], **options: Any) -> list[list[int]]:
    """Labels of the training and of the test images of a run."""
    train, test = paths
    module = H5DataModule(train_file=train, test_file=test, shuffle=False, **options)
    module.setup("fit")
    loaders = module.train_dataloader(), module.val_dataloader()
    return [torch.cat([labels for _, labels in loader]).tolist() for loader in loaders]


def test_words_have_the_numbers_of_the_list(tmp_path: Path) -> None:
    """As one file, as shards, and where another file numbers them."""
    listed = {"X": pictures(), "list_classes": WORDS[[1, 0, 2]]}
    words = write(tmp_path / "words.h5", y=WORDS[LABELS], **listed)
    plain = write(
        tmp_path / "plain.h5", X=pictures(), y=np.array([b"dog  ", b"eel\t"] * 3 + [b"dog"])
    )
    numbers = write(tmp_path / "numbers.h5", y=LABELS, **listed)
    expected = np.array([1, 0, 2])[LABELS].tolist()
    assert train_and_test(words, numbers) == [expected, LABELS.tolist()]
    assert train_and_test([words, plain], numbers)[0] == [*expected, 0, 2, 0, 2, 0, 2, 0]


def test_words_and_numbers_need_a_list(tmp_path: Path) -> None:
    words = write(tmp_path / "words.h5", X=pictures(), y=WORDS[LABELS])
    numbers = write(tmp_path / "numbers.h5", X=pictures(), y=LABELS)
    plain = write(tmp_path / "plain.h5", X=pictures(), y=LABELS)
    for paths in ((words, numbers), (numbers, words), ([words, numbers], plain)):
        with pytest.raises(InputError, match="nothing says which name has which number"):
            train_and_test(*paths)
    names = np.array(["eel", "dog", "cat"])  # numpy's own texts, as scikit-learn has them
    assert train_and_test(numbers, words, class_names=names) == [
        LABELS.tolist(), (2 - LABELS).tolist()
    ]  # fmt: skip


def test_class_names_that_contradict_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", X=pictures(), y=LABELS, classes=WORDS)
    with pytest.raises(InputError, match="lists the classes cat, dog, eel, the run"):
        train_and_test(path, path, class_names=["dog", "cat", "eel"])


def test_a_value_for_each_image_is_no_class_list(tmp_path: Path) -> None:
    labels = np.arange(20) % 3
    path = write(tmp_path / "a.h5", X=pictures(20), y=labels, class_name=WORDS[labels])
    assert check_file(path).class_names is None
    with h5py.File(path, "a") as file:
        file["class_names"] = WORDS
    assert check_file(path).class_names == ["cat", "dog", "eel"]


def test_one_hot_rows_tell_the_number_of_classes(tmp_path: Path) -> None:
    """Which class a narrower row leaves out is not known."""
    wide, narrow = np.eye(4)[LABELS], np.eye(3)[LABELS]
    train = write(tmp_path / "train.h5", X=pictures(), y=wide)
    test = write(tmp_path / "test.h5", X=pictures(), y=narrow)
    with pytest.raises(InputError, match="one-hot labels of 3 classes, the run has 4"):
        train_and_test(train, test)
    listed = write(tmp_path / "listed.h5", X=pictures(), y=wide, classes=WORDS)
    with pytest.raises(InputError, match="one-hot rows of 4 classes, expected 3: cat, dog, eel"):
        check_file(listed)


def test_roles_of_one_file_by_named_keys(tmp_path: Path) -> None:
    content = {"a": pictures(), "b": pictures(5), "kind_a": LABELS, "kind_b": LABELS[:5]}
    keys: dict[str, Any] = {"train_images_key": "a", "train_labels_key": "kind_a"}
    keys |= {"test_images_key": "b", "test_labels_key": "kind_b"}
    module = H5DataModule(file=str(write(tmp_path / "a.h5", **content)), **keys)
    assert list(module.role_files.files.values()) == [
        str(tmp_path / "a.h5"),
        None,
        str(tmp_path / "a.h5"),
    ]


def test_a_part_of_the_training_images_in_place_of_those_for_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    images = {"X_train": pictures(20), "y_train": np.arange(20) % 2}
    path = write(tmp_path / "a.h5", **images, X_val=pictures(), y_val=LABELS % 2)
    module = H5DataModule(file=str(path), val_fraction=0.2)
    module.setup("fit")
    assert sum(len(labels) for _, labels in module.val_dataloader()) == 4
    assert "which --data.val_fraction leaves out" in capsys.readouterr().out


@pytest.mark.parametrize("unit", [True, False])
def test_floats_beyond_the_range_by_less_than_rounding(tmp_path: Path, unit: bool) -> None:
    """As bicubic resizing and lossy storage leave them."""
    values = pictures().astype(np.float32)
    values[0, 0, 0], values[0, 0, 1] = 255, 0
    expected = values.astype(np.uint8)
    values[0, 0, 0], values[0, 0, 1] = 255.3, -0.3
    path = write(tmp_path / "a.h5", X=values / 255 if unit else values, y=LABELS)
    np.testing.assert_array_equal(read(path, LEGACY)[0], expected)
    path = write(tmp_path / "b.h5", X=(values - 0.4) / (255 if unit else 1), y=LABELS)
    for run in (None, LEGACY):
        with pytest.raises(InputError, match="holds float32 values"):
            read(path, run)


def test_a_table_of_images_and_labels(tmp_path: Path) -> None:
    table = np.zeros(7, [("image", np.uint8, (5, 9, 3)), ("label", np.int64)])
    path = write(tmp_path / "a.h5", data=table)
    with pytest.raises(
        InputError, match=r"^'data' in .* a table with the fields image, label, [^\n]*$"
    ):
        check_file(path, collect=True)
