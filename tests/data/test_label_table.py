"""Labels in CSV files: by the pictures' names, or in the images' order."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_encoded_pictures import CONTENTS, COUNT, SIZE, decode

from signs_lightning import H5DataModule
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.data.label_table import find_label_table, read_label_table
from signs_lightning.errors import InputError

NAMES = [f"ISIC_{k:07d}" for k in range(COUNT)]
LABELS = [k % 3 for k in range(COUNT)]


def write_csv(path: Path, rows: list[list[Any]], **options: Any) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file, **options).writerows(rows)
    return path


def write_pictures(path: Path) -> Path:
    """One dataset a picture at the top of the file, as ISIC 2024 has them."""
    with h5py.File(path, "w") as file:
        for name, content in zip(NAMES, CONTENTS, strict=True):
            file[name] = np.void(content)
    return path


def shuffled(header: list[str], suffix: str = "", **columns: list[Any]) -> list[list[Any]]:
    """Lines in another order than the pictures, with one of a picture that is not there."""
    lines = [[f"{n}{suffix}", *v] for n, *v in zip(NAMES, *columns.values(), strict=True)]
    lines.append(["ISIC_9999999", *["9"] * len(columns)])
    return [header, *[lines[k] for k in np.random.default_rng(0).permutation(len(lines))]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_labels_by_name(tmp_path: Path, delimiter: str, suffix: str) -> None:
    """The table beside the file is found, whatever order its lines have."""
    path = write_pictures(tmp_path / "train-image.hdf5")
    age = list(range(40, 40 + COUNT))
    rows = shuffled(["age", "isic_id", "target"], suffix, age=age, target=LABELS)
    rows = [
        [age, name, target] if k else row
        for k, row in enumerate(rows)
        for name, age, target in [row]
    ]
    write_csv(tmp_path / "train-metadata.csv", rows, delimiter=delimiter)
    write_csv(tmp_path / "other.csv", [["a", "b"], [1, 2]])
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 2000)
    images = check_file(path)
    assert images.labels.tolist() == LABELS
    assert images.layout.endswith(f"labels target in {tmp_path / 'train-metadata.csv'}")
    expected = [decode(content) for content in CONTENTS]
    np.testing.assert_array_equal(ImageReader(images).read(0, COUNT), expected)


def test_one_command_trains_on_pictures_with_a_table(tmp_path: Path) -> None:
    """Words become classes; batches bring each picture with its own label."""
    path = write_pictures(tmp_path / "train.h5")
    words = [("cat", "dog", "ape")[label] for label in LABELS]
    write_csv(tmp_path / "labels.csv", shuffled(["id", "class"], words=words))
    data = H5DataModule(train_file=str(path), batch_size=4, shuffle=True)
    data.setup("fit")
    assert (data.class_names, data.image_shape) == (["ape", "cat", "dog"], (*SIZE, 3))
    known = {decode(content).tobytes(): word for content, word in zip(CONTENTS, words, strict=True)}
    for images, labels in data.train_dataloader():
        for image, label in zip(images, labels, strict=True):
            assert known[image.numpy().tobytes()] == ["ape", "cat", "dog"][label]


def test_a_column_is_asked_for_and_named(tmp_path: Path) -> None:
    """Where no name says labels, the message names the option that leads on."""
    path = write_pictures(tmp_path / "train.h5")
    rows = shuffled(["isic_id", "sex", "is bad"], sex=["f"] * COUNT, bad=LABELS)
    table = write_csv(tmp_path / "table.csv", rows)
    with pytest.raises(InputError) as error:
        check_file(path)
    assert str(error.value) == (
        f"{table} has the columns 'sex', 'is bad'. Name that of the labels: `--data.labels_key 'is "
        "bad'` or another."
    )
    assert check_file(path, labels_key="is bad").labels.tolist() == LABELS
    assert check_file(path, labels_key="sex").class_names == ["f"]
    with pytest.raises(InputError, match=r"no column 'isbad' .*Did you mean 'is bad'"):
        check_file(path, labels_key="isbad")
    second = write_csv(tmp_path / "second.csv", shuffled(["id", "label"], label=LABELS[::-1]))
    with pytest.raises(InputError, match=r"several tables .*: 'second.csv', 'table.csv'\. Name"):
        check_file(path)
    assert check_file(path, labels_file=second).labels.tolist() == LABELS[::-1]


@pytest.mark.parametrize("has_header", [True, False])
@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        (["0", "1", "2", "1", "0"], [0, 1, 2, 1, 0]),
        (["0.0", "1.0", "2.0", "1.0", "0.0"], [0, 1, 2, 1, 0]),
        (["b", "c", "a", "c", "b"], [1, 2, 0, 2, 1]),
    ],
)
def test_labels_in_order(
    tmp_path: Path, has_header: bool, labels: list[str], numbers: list[int]
) -> None:
    """One line for each image of an array, with or without a line of names."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["images"] = np.zeros((5, 4, 4, 3), np.uint8)
    rows = [["label"]] * has_header + [[label] for label in labels]
    table = write_csv(tmp_path / "labels.csv", rows)
    images = check_file(tmp_path / "f.h5", labels_file=table)
    assert images.labels.tolist() == numbers
    write_csv(table, rows[:-1])
    with pytest.raises(InputError, match=r"(4 lines of|3) labels for 5 images, expected"):
        check_file(tmp_path / "f.h5", labels_file=table)


WRONG: dict[str, tuple[list[list[Any]], str]] = {
    "nothing": ([], "is empty, expected labels of 3 images."),
    "other names": ([["id", "label"], ["x", 1]], "has no column with the names of the pictures, "),
    "a picture without a line": (
        [["id", "label"], ["a", 1], ["c", 2]],
        "has no line for 1 of 3 pictures, such as 'b'. Add them, or name another file of labels.",
    ),
    "no label": (
        [["id", "label"], ["a", 1], ["b", ""], ["c", 1]],
        "has no label in line 2 of its labels. Fill it in.",
    ),
    "two labels": (
        [["id", "label"], ["a", 1], ["b", 2], ["c", 1], ["a", 3]],
        "gives 'a' the labels '1' and '3'. Keep one.",
    ),
    "a short line": (
        [["id", "label"], ["a", 1], ["b", 2], ["c"]],
        "has 1 columns instead of 2 in line 3 of its labels. Correct it.",
    ),
    "two columns of labels": (
        [["id", "label", "class"], ["a", 1, 2], ["b", 2, 2], ["c", 1, 1]],
        "has the columns 'label', 'class'. Name that of the labels: `--data.labels_key class` or "
        "another.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables(tmp_path: Path, case: str) -> None:
    """Each is a sentence."""
    rows, expected = WRONG[case]
    table = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(InputError, match=re.escape(f"{table} {expected}")):
        read_label_table(table, ["a", "b", "c"], {3}, None)


def test_names_in_several_groups(tmp_path: Path) -> None:
    """A table that cannot tell two pictures apart is refused; the same label twice is not."""
    table = write_csv(tmp_path / "t.csv", [["id", "label"], ["a.png", 1], ["x/b.jpg", 2], ["a", 1]])
    assert read_label_table(table, ["g/a", "b.jpg"], {2}, None)[1].tolist() == [1, 2]
    assert find_label_table(tmp_path / "f.h5", ["a", "b"], "--data.test_labels_file") == table
    with pytest.raises(InputError, match="in several groups they have the same name"):
        read_label_table(table, ["g/a", "h/a"], {2}, None)


def test_lines_that_are_numbered_in_another_order(tmp_path: Path) -> None:
    """A table that was shuffled has its old index in a column."""
    table = tmp_path / "labels.csv"
    for numbers in ([0, 1, 2, 3], [1, 2, 3, 4], [17, 3, 9, 5]):  # those of a part of a table, too
        table.write_text("id,label\n" + "".join(f"{k},{k % 2}\n" for k in numbers))
        _, labels = read_label_table(table, None, {4}, None)
        assert labels.tolist() == [k % 2 for k in numbers]
    table.write_text("label,other\n2,a\n0,b\n1,c\n")  # the labels of three classes
    assert read_label_table(table, None, {3}, None)[1].tolist() == [2, 0, 1]
    table.write_text("id,label\n3,x\n1,y\n0,x\n2,y\n")
    with pytest.raises(InputError, match="its column 'id' numbers them in another order"):
        read_label_table(table, None, {4}, None)
