"""Labels that name no single class: read for a task, asked for without one."""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from task_sets import NAMES, TARGETS, draw_labelled, draw_measured, write_set

from signs_lightning import H5DataModule, InputError
from signs_lightning.data.hdf5_image_set import check_arrays, check_file
from signs_lightning.runtime.display_table import DisplayTable

IMAGES = np.zeros((6, 8, 8, 3), np.uint8)
ROWS = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("dtype", ["u1", "i8", "?", "f4"])
@pytest.mark.parametrize("by_column", [False, True])
def test_rows_of_zero_and_one(dtype, by_column):
    """Of any type, and in MATLAB's order."""
    found = check_arrays(IMAGES, (ROWS.T if by_column else ROWS).astype(dtype), task="multilabel")
    np.testing.assert_array_equal(found.labels, ROWS)
    assert found.labels.dtype == np.float32
    assert found.num_classes == 3


def test_without_a_task_it_is_asked_for():
    """A matrix that cannot be one-hot names the option; fractions name the other one."""
    with pytest.raises(
        InputError, match=r"2 rows have several 1s, 1 have none. .*task multilabel`"
    ):
        check_arrays(IMAGES, ROWS)
    with pytest.raises(InputError, match=r"fractional label 0.5, .*add `--model.task regression`"):
        check_arrays(IMAGES, np.arange(6) / 2)
    with pytest.raises(InputError, match=r"not one-hot: .*add `--model.task regression`"):
        check_arrays(IMAGES, np.arange(12).reshape(6, 2) / 2)


def test_what_could_be_either_stays_as_it_was():
    """One-hot rows and whole numbers name classes, unless a task is given."""
    one_hot, numbers = np.eye(3)[[0, 1, 2, 0, 1, 2]], np.array([3, 1, 2, 0, 1, 2])
    assert check_arrays(IMAGES, one_hot).labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert check_arrays(IMAGES, numbers).labels.tolist() == numbers.tolist()
    assert check_arrays(IMAGES, one_hot, task="multilabel").labels.shape == (6, 3)
    given = check_arrays(IMAGES, numbers, task="regression")
    assert given.labels.dtype == np.float64
    assert given.labels.shape == (6, 1)


@pytest.mark.parametrize(
    ("labels", "task", "sentence"),
    [
        (ROWS * 2, "multilabel", "holds the value 2, expected a 0 or 1 for each class"),
        (np.array([0.5] * 5 + [np.nan]), "regression", "NaN or infinite numbers, .* image 5 "),
        (np.array(["a"] * 6), "regression", "holds words, expected one number or more"),
        (np.zeros((5, 3)), "regression", r"has shape 5×3, expected one number or more"),
    ],
)
def test_labels_of_no_use_are_refused(labels, task, sentence):
    """What was found, what is expected, and which option asked for it."""
    with pytest.raises(InputError, match=sentence):
        check_arrays(IMAGES, labels, task=task)


def test_other_refusals(tmp_path):
    """Folders have one class a picture; class numbers alone have an offset; names are K."""
    rows: dict[str, Any] = {"train_file": (IMAGES, ROWS), "task": "multilabel"}
    with pytest.raises(InputError, match="label_offset is -1, and there are no class numbers"):
        H5DataModule(**rows, label_offset=-1).setup("fit")
    with pytest.raises(InputError, match="has 2 names"):
        H5DataModule(**rows, class_names=["a", "b"]).setup("fit")
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="is a folder, whose folders give each picture one class"):
        H5DataModule(train_file=str(tmp_path), task="regression").setup("fit")
    with pytest.raises(InputError, match="for the task multilabel, and the model's is regression"):
        H5DataModule(**rows).adopt_task("regression")


def test_names_of_columns(tmp_path):
    """A list in the file that has as many; another list is not of the columns."""
    path = write_set(tmp_path / "named.h5", *draw_labelled(8), NAMES)
    assert check_file(path, task="multilabel").class_names == NAMES
    path = write_set(tmp_path / "other.h5", *draw_measured(8), ["a", "b", "c"])
    assert check_file(path, task="regression").class_names is None


@pytest.mark.parametrize("reading", ["mapped", "resident", "streamed"])
def test_batches_of_either_task(tmp_path, reading):
    """Images and rows belong together however they are read; padding has a row of NaN."""
    images, numbers = draw_measured(21)
    path = write_set(tmp_path / "x.h5", images, numbers)
    data = H5DataModule(
        train_file=str(path), val_fraction=0.3, batch_size=4, reading=reading, task="regression"
    )
    data.setup("fit")
    seen = []
    for batch, rows in (*data.train_dataloader(), *data.val_dataloader()):
        assert rows.dtype == torch.float64
        for image, row in zip(batch.numpy(), rows.numpy(), strict=True):
            (k,) = np.flatnonzero((numbers == row).all(axis=1))
            np.testing.assert_array_equal(image, images[k])
            seen.append(int(k))
    assert sorted(seen) == list(range(21))
    dataset = data._dataset("val")
    padded = dataset.__getitems__([1, -1])[1]
    assert torch.isnan(padded).tolist() == [[False, False], [True, True]]
    assert not np.isnan(dataset.labels).any()


def shown_rows(data: H5DataModule) -> list[list[str]]:
    """The rows of its last table."""
    table = data.display_parts()[2]
    assert isinstance(table, DisplayTable)
    return [list(row) for row in table.rows]


def test_what_a_data_module_shows(tmp_path):
    """Images with each label; the range of each target."""
    images, labels = draw_labelled(9)
    data = H5DataModule(train_file=(images, labels), task="multilabel")
    data.setup("fit")
    assert [row[1] for row in shown_rows(data)] == [str(n) for n in labels.sum(axis=0)]
    images, numbers = draw_measured(9)
    data = H5DataModule(train_file=(images, numbers), task="regression")
    data.setup("fit")
    assert f"{numbers[:, 0].min():.6g} to" in shown_rows(data)[0][1]


def test_a_constant_column_is_told(tmp_path, capsys):
    """Nothing can be learned of it."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = IMAGES, np.column_stack([np.arange(6) / 2, np.ones(6)])
    H5DataModule(train_file=str(path), task="regression").setup("fit")
    assert "All training images have the same value for 1 (1)" in capsys.readouterr().out


def test_columns_of_a_table(tmp_path):
    """Several columns of a CSV file, by the pictures' names; they name the outputs."""
    images, numbers = draw_measured(6)
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for k, image in enumerate(images):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            file[f"pictures/p{k}.png"] = np.frombuffer(buffer.getvalue(), np.uint8)
    rows = [f"p{k},{x},{y},some" for k, (x, y) in enumerate(numbers.tolist())]
    (tmp_path / "x.csv").write_text("\n".join(["name,warmth,metres,kind", *rows[::-1]]))
    found = check_file(path, labels_key="warmth,metres", task="regression")
    np.testing.assert_array_equal(found.labels, numbers)
    assert found.class_names == TARGETS
    alone = check_file(path, labels_key="metres", task="regression")
    np.testing.assert_array_equal(alone.labels, numbers[:, 1:])
    with pytest.raises(InputError, match="has words in the column 'kind', expected numbers"):
        check_file(path, labels_key="warmth,kind", task="regression")
    with pytest.raises(InputError, match="has no column 'cold'"):
        check_file(path, labels_key="warmth,cold", task="regression")
