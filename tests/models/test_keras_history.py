"""The files of Keras's CSVLogger, as `csv_logger.py` of Keras 3.15 writes them."""

from pathlib import Path

import pytest

from signs_lightning.errors import InputError
from signs_lightning.models.keras_history import read_keras_history

HEADER = "epoch,acc,learning_rate,loss,val_acc,val_loss\n"
PLAIN = HEADER + "0,0.25,0.001,1.5,NA,NA\n1,0.5,0.001,1.25,1.0,2\n"
FIRST = {"epoch": 0, "accuracy": 0.25, "learning_rate": 0.001, "loss": 1.5}
SECOND = {"epoch": 1, "accuracy": 0.5, "learning_rate": 0.001, "loss": 1.25}
SECOND |= {"val_accuracy": 1.0, "val_loss": 2.0}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


def test_rows_have_the_names_of_the_history(file):
    """Also with another separator; of the epochs that are done, not of those after them."""
    for separator in ",;\t":
        file.write_text(PLAIN.replace(",", separator))
        assert read_keras_history(file, 5) == [FIRST, SECOND]
        assert read_keras_history(file, 1) == [FIRST]


def test_each_epoch_counts_once(file):
    """A run that was resumed repeats epochs; one that was begun anew is another one."""
    file.write_text(PLAIN + "2,0,0,7,0,7\n1,0.5,0.001,1.25,1.0,2.0\n")
    assert read_keras_history(file, 5) == [FIRST, SECOND]
    file.write_text(PLAIN + "0,0.5,0.001,1.25,1.0,2.0\n")
    with pytest.raises(InputError, match="holds two runs: epoch 0 stands in line 4 once more"):
        read_keras_history(file, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it begins with ''"),
        (b"\x89HDF\r\n\x1a\n", "is no file of Keras's CSVLogger"),
        (b"step,loss\n1,2\n", "it begins with 'step,loss'"),
        (b"epoch,loss\nx,2\n", "it has no epoch in line 2"),
    ],
)
def test_other_files_are_refused(file, content, message):
    """In a sentence that says what to do."""
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        read_keras_history(file, 5)
    assert "or leave --history out" in str(refused.value)
    with pytest.raises(InputError):
        read_keras_history(file.with_name("none.csv"), 5)
