"""The verb `translate`: what it writes, prints, asks for and refuses."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

from signs_lightning.__main__ import main
from signs_lightning.errors import InputError
from signs_lightning.translate.facts import facts_of_file, parse_facts

NET = """
import keras
from keras.layers import *
{before}
model = keras.models.Sequential([
    Conv2D(4, 3, activation='relu', input_shape={shape}), Flatten(), Dense({units}, 'softmax')])
model.compile('adam', 'sparse_categorical_crossentropy')
model.fit(x_train / 255., y_train, epochs=2)
"""
LOADED = "from helper import *\nx_train, y_train, x_test, y_test, classes = load_dataset()"
STATEMENTS = "print(model)\nplt.plot([1])"


def _translate(folder: Path, text: str, *options: str) -> int:
    (folder / "train.py").write_text(text)
    return main(["translate", str(folder / "train.py"), "--output", str(folder / "out"), *options])


def _net(shape: str = "(8, 8, 3)", units: str = "5", before: str = "") -> str:
    before = before or "(x_train, y_train), _ = keras.datasets.cifar10.load_data()"
    return NET.format(shape=shape, units=units, before=before)


def test_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _translate(tmp_path, _net("(32, 32, 3)") + STATEMENTS) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.py", "config.yaml", "TRANSLATION.md"}
    printed = capsys.readouterr().out
    assert "Parameters: 18,117 in all, 18,117 trainable, 0 not trainable" in printed
    assert "Next: python -m signs_lightning fit --config" in printed
    page = (tmp_path / "out/TRANSLATION.md").read_text()
    assert "line 9, without effect: `print(model)`" in page
    assert "line 7, understood: `model.compile(" in page


def test_lines_fit_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _translate(tmp_path, _net("(32, 32, 3)"))
    table = capsys.readouterr().out.split("Parameters:")[0]
    assert max(map(len, table.splitlines())) < 80


def test_what_only_data_know_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _net("x_train.shape[1:]", "len(classes)", LOADED)
    assert _translate(tmp_path, text) == 2
    asked = capsys.readouterr().err
    assert "Only the data of train.py tell" in asked
    assert "--fact classes=6" in asked
    assert not (tmp_path / "out").exists()
    assert _translate(tmp_path, text, "--fact", "input_shape=8,8,3", "--fact", "classes=4") == 0
    assert "Parameters: 692 in all" in capsys.readouterr().out


def test_facts_of_a_data_file(tmp_path: Path, small_signs: tuple[Path, Path]) -> None:
    assert facts_of_file(str(small_signs[0])) == {"input_shape": (64, 64, 3), "classes": 6}
    text = _net("x_train.shape[1:]", "len(classes)", LOADED)
    assert _translate(tmp_path, text, "--data.train_file", str(small_signs[0])) == 0
    assert f"train_file: {small_signs[0]}" in (tmp_path / "out/config.yaml").read_text()


@pytest.mark.parametrize("part", ["", "train"])
def test_a_folder_tells_its_classes(tmp_path: Path, part: str) -> None:
    """Of pictures of any size."""
    for number in range(3):
        path = tmp_path / "pets" / part / f"class {number}" / "0.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8 + number, 9)).save(path)
    assert facts_of_file(str(tmp_path / "pets")) == {"classes": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input_shape=64,48,3", (64, 48, 3)),
        ("input_shape=(28, 28)", (28, 28)),
        ("input_shape=32x32x1", (32, 32, 1)),
        ("classes=6", 6),
        ("scale=/255", "/255"),
        ("weights=none", "none"),
        ("steps=12", 12),
    ],
)
def test_facts(text: str, value: object) -> None:
    assert parse_facts([text]) == {text.partition("=")[0]: value}


@pytest.mark.parametrize(
    "text", ["classes", "classes=", "classes=-1", "input_shape=6", "=3", "scale=255"]
)
def test_what_is_no_fact(text: str) -> None:
    with pytest.raises(InputError):
        parse_facts([text])


def test_several_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "\nother = keras.models.Sequential([Flatten(input_shape=(32, 32, 3)), Dense(3)])\n"
    assert _translate(tmp_path, _net("(32, 32, 3)") + other) == 0
    assert "Took model; --model NAME chooses another one: other." in capsys.readouterr().out
    assert _translate(tmp_path, _net("(32, 32, 3)") + other, "--model", "other") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.py", "TRANSLATION.md"}
    assert "never fits" in capsys.readouterr().out
    assert _translate(tmp_path, _net("(32, 32, 3)"), "--model", "mode") == 2


NEVER_FITTED = """
from tensorflow import keras
model = keras.{}
"""
PLAIN = (
    "Sequential([keras.layers.Flatten(input_shape=(8, 8, 3)), keras.layers.Dense(5, 'softmax')])"
)
KNOWN = "applications.ResNet50(weights=None, classes=6, input_shape=(64, 64, 3))"


def test_scale_of_a_model_that_is_never_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the messages suggest is done."""
    text = NEVER_FITTED.format(PLAIN)
    assert _translate(tmp_path, text) == 0
    assert "say another one with --fact scale=…" in " ".join(capsys.readouterr().out.split())
    assert _translate(tmp_path, text, "--fact", "scale=raw") == 0
    assert "assumed" not in capsys.readouterr().out
    assert "self.network(images * 255)" in (tmp_path / "out/model.py").read_text()
    text = NEVER_FITTED.format(KNOWN)
    assert _translate(tmp_path, text) == 2
    assert "Say such as --fact scale=" in capsys.readouterr().err
    assert _translate(tmp_path, text, "--fact", "scale=caffe") == 0


def test_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _translate(tmp_path, "def build():\n    return 1\n") == 3
    assert capsys.readouterr().out.startswith("Not understood: No Keras model is made")


@pytest.mark.parametrize(
    "change",
    [
        ("Dense(5, 'softmax')", "Dense(5, 'tanh')"),
        ("'sparse_categorical_crossentropy'", "'mae'"),
        ("model.compile('adam', 'sparse_categorical_crossentropy')\n", ""),
        ("'adam'", "my_optimizer"),
        ("epochs=2", "epochs=2, callbacks=[Mine()]"),
        ("epochs=2", "epochs=n_epochs"),
    ],
)
def test_training_that_cannot_be_said_is_refused(change: tuple[str, str], tmp_path: Path) -> None:
    text = _net("(32, 32, 3)")
    assert change[0] in text
    assert _translate(tmp_path, text.replace(*change)) == 3
    assert not (tmp_path / "out/config.yaml").exists()
    assert (tmp_path / "out/TRANSLATION.md").is_file()


def test_an_earlier_translation_goes_and_other_files_stay(tmp_path: Path) -> None:
    assert _translate(tmp_path, _net("(32, 32, 3)")) == 0
    (tmp_path / "out/config_mine.yaml").write_text("data: {}\n")
    assert _translate(tmp_path, _net("(32, 32, 3)", "mystery()")) == 3
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"TRANSLATION.md", "config_mine.yaml"}


@pytest.mark.parametrize("name", ["model.py", "config.yaml"])
def test_an_edited_file_is_not_replaced(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be run again on what it wrote, also for another result; not on what a user wrote."""
    assert _translate(tmp_path, _net("(32, 32, 3)")) == 0
    assert _translate(tmp_path, _net("(32, 32, 3)")) == 0
    assert _translate(tmp_path, _net("(32, 32, 3)", "7")) == 0
    written = (tmp_path / "out" / name).read_text()
    (tmp_path / "out" / name).write_text(f"{written}# mine\n")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert _translate(tmp_path, _net("(32, 32, 3)", "7")) == 2
    error = capsys.readouterr().err
    assert f"out/{name} exists, with other content" in error
    assert "`--overwrite true`" in error
    assert _translate(tmp_path, _net("(32, 32, 3)", "mystery()")) == 2  # would remove it
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert _translate(tmp_path, _net("(32, 32, 3)", "7"), "--overwrite", "true") == 0
    assert (tmp_path / "out" / name).read_text() == written


FILES = """
import h5py
import numpy as np
train, test = h5py.File('data/train.h5'), h5py.File('data/test.h5')
x_train, y_train = np.array(train['train_set_x']), np.array(train['train_set_y'])
x_test, y_test = np.array(test['test_set_x']){scaled}, np.array(test['test_set_y'])
"""
READ = FILES.format(scaled="")
EVALUATED = "\nmodel.evaluate(x_test / 255., y_test)\n"


@pytest.mark.parametrize("end", [EVALUATED, ""])
def test_the_file_to_test_on(end: str, tmp_path: Path) -> None:
    """Also one that is read and scaled, and never evaluated on."""
    scaled = "" if end else " / 255."
    text = _net("(8, 8, 3)", "6", FILES.format(scaled=scaled)) + end
    assert _translate(tmp_path, text) == 0
    data = yaml.safe_load((tmp_path / "out/config.yaml").read_text())["data"]
    assert data["test_file"] == "data/test.h5"
    assert (data["test_images_key"], data["test_labels_key"]) == ("test_set_x", "test_set_y")
    assert data["train_file"] == "data/train.h5"
    assert "val_file" not in data


def test_the_test_set_of_a_data_set_of_keras(tmp_path: Path) -> None:
    """One file has both roles."""
    before = "(a, b), (x_test, y_test) = keras.datasets.mnist.load_data(); x_train, y_train = a, b"
    assert _translate(tmp_path, _net("(28, 28, 1)", "10", before) + EVALUATED) == 0
    data = yaml.safe_load((tmp_path / "out/config.yaml").read_text())["data"]
    assert data["train_file"] == data["test_file"] == "mnist.h5"
    assert (data["train_images_key"], data["test_images_key"]) == ("x_train", "x_test")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (READ, "\nmodel.evaluate(x_test, y_test)", "scale than"),
        (LOADED, EVALUATED, "the images of 'test' come from load_dataset()"),
        (
            READ,
            EVALUATED.replace("x_test", "x_test[:9]"),
            "part",
        ),
        (READ, "\nmodel.evaluate(x_train[:50] / 255., y_train[:50])", "a part of its own"),
    ],
)
def test_a_test_that_is_not_taken_is_named(
    before: str, after: str, reason: str, tmp_path: Path
) -> None:
    assert _translate(tmp_path, _net("(8, 8, 3)", "6", before) + after) == 0
    assert "test_file:" not in (tmp_path / "out/config.yaml").read_text()
    lines = (tmp_path / "out/TRANSLATION.md").read_text().replace("\\", "").splitlines()
    (line,) = [line for line in lines if reason in line]
    assert "--data.test_file" in line


def test_nothing_is_said_of_files_that_are_named(
    tmp_path: Path, small_signs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = _net("x_train.shape[1:]", "len(classes)", LOADED) + EVALUATED
    files = "--data.train_file", str(small_signs[0]), "--data.test_file", str(small_signs[1])
    assert _translate(tmp_path, text, *files) == 0
    assert "load_dataset" not in capsys.readouterr().out
    assert "load_dataset" not in (tmp_path / "out/config.yaml").read_text()


def test_statements_of_one_line_and_long_ones(tmp_path: Path) -> None:
    """Both sides of a semicolon are listed; what is cut ends in "…"."""
    long = f"z = [{', '.join(map(str, range(60)))}]"
    assert _translate(tmp_path, f"{_net('(32, 32, 3)')}a = 1; b = a + 1\n{long}\n") == 0
    page = (tmp_path / "out/TRANSLATION.md").read_text()
    assert "line 9, understood: `a = 1; b = a + 1`" in page
    assert f"line 10, understood: `{long[:99]}…`" in page


def test_a_keras_file_is_sent_to_import_keras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "my.keras", "w") as file:
        file.writestr("config.json", "{}")
    assert main(["translate", str(tmp_path / "my.keras"), "--output", str(tmp_path / "out")]) == 2
    command = f"`python -m signs_lightning import-keras {tmp_path}/my.keras --output model.ckpt`"
    assert command in capsys.readouterr().err


def test_the_source_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.py").write_text(_net())
    assert main(["translate", str(tmp_path / "model.py"), "--output", str(tmp_path)]) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert (tmp_path / "model.py").read_text() == _net()


def test_nothing_of_the_source_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    touch = f"open({str(mark)!r}, 'w')"
    text = f"""
{touch}
def f(x={touch}, *, y=[{touch}]): return x
@{touch}
def g(): pass
class Meta(type):
    def __new__(cls, *a): {touch}; return type.__new__(cls, *a)
class A(metaclass=Meta):
    {touch}
    def __init__(self): {touch}
A(); f(); text = f'{{{touch}}}'
x = [{touch} for _ in range(2)]; exec({touch!r}); eval({touch!r})
import os; os.system('touch {mark}')
"""
    _translate(tmp_path, text + _net("(32, 32, 3)"))
    assert not mark.exists()
