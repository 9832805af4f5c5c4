"""The predict verb: any model file, any images; names are harmless, tables appear whole, large
files stream.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from screens import Terminal, plain

from signs_lightning import InputError, SignsFunctional
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.commands import predict
from signs_lightning.export.artefacts import export_artefact
from signs_lightning.export.compared_images import random_images
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.models.tasks import find_task

NAMES = ["=1+1", "[red]x[/red]", "\x1b[31mloud", "two\nlines", "Größe 手", "plain"]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[SignsFunctional, Path]:
    """One model as a checkpoint, a Keras file and an ONNX file."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = SignsFunctional(class_names=NAMES, num_classes=6, image_size=(64, 64, 3)).eval()
    save_checkpoint(model, folder / "model.ckpt")
    export_keras(model, folder / "model.keras")
    export_artefact(model, folder / "model.onnx", "onnx", random_images(4, (64, 64, 3)))
    return model, folder


@pytest.fixture
def models(written, tmp_path) -> SignsFunctional:
    """The model, and its files in the working directory."""
    model, folder = written
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return model


@pytest.fixture
def hands(small_signs, tmp_path) -> np.ndarray:
    """Five test images as loose PNG files."""
    (tmp_path / "hands").mkdir()
    with h5py.File(small_signs[1]) as file:
        images = file["test_set_x"][:5]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "hands" / f"{number}.png")
    return images


def table(path: str = "predictions.csv") -> tuple[list[dict[str, str]], np.ndarray]:
    """Rows, and the probabilities of all classes."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return rows, np.array(
        [[float(value) for key, value in row.items() if key.startswith("p(")] for row in rows]
    )


@pytest.mark.parametrize("file", ["model.ckpt", "model.keras", "model.onnx"])
def test_every_file_of_a_model_predicts_the_same(file, models, hands, cli):
    """The probabilities are the model's own in Python, whichever file it is loaded from."""
    done = cli("predict", "--ckpt_path", file, "--images", "hands", "--batch_size", 2)
    assert (done.code, done.err) == (0, "")
    _, found = table()
    np.testing.assert_allclose(found, models.predict(hands), rtol=0, atol=1e-6)


def test_folders_named_as_classes_are_labels(hands, cli):
    """Their pictures are counted as `test` counts those of a file; others have no label."""
    models = SignsFunctional(class_names=list("abcdef")).eval()
    save_checkpoint(models, Path("model.ckpt"))
    classes = [*models.predict(hands[:3]).argmax(1), (models.predict(hands[3:4]).argmax() + 1) % 6]
    for number, k in enumerate(classes):
        folder = Path("photos") / models.class_names[k]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"hands/{number}.png", folder)
    done = cli("predict", "model.ckpt", "photos")
    assert done.code == 0, done.err
    assert "accuracy 3/4 = 0.750" in done.out
    assert "The labels are the names of the folders." in done.out
    assert [row["label"] == row["class"] for row in table()[0]].count(True) == 3
    for given in (["photos", "hands"], ["hands/0.png"], [str(folder)]):
        assert "accuracy" not in cli("predict", "model.ckpt", *given).out
    folder.rename("photos/zebra")
    said = "No accuracy: the folder 'zebra' is no class of the model, whose first is 'a'."
    assert said in cli("predict", "model.ckpt", "photos").out


def test_a_run_without_test_images(small_signs, cli):
    """`inspect` suggests what works, and `predict` asks for pictures."""
    fit = f"fit --model SignsFunctional --data.train_file {small_signs[0]} --trainer.max_epochs 1"
    assert cli(*fit.split(), "--data.val_fraction", "0.2").code == 0
    run = "lightning_logs/signs_functional/version_0"
    validate = f"validate {run}"
    assert f"next: python -m signs_lightning {validate}\n" in cli("inspect", run).out
    assert cli(*validate.split()).code == 0
    assert cli("predict", run).err.startswith("There is nothing to predict. Name pictures after")


def test_the_default_table_replaces_none_of_the_user(models, hands, cli):
    """Only one that predict wrote; what --output names is replaced, as by the other verbs."""
    for _ in range(2):
        assert cli("predict", "model.ckpt", "hands").code == 0
    Path("predictions.csv").write_text("image,price\n1,2\n")
    done = cli("predict", "model.ckpt", "hands")
    assert done.code == 2
    assert "Add --output OTHER.csv, or --output predictions.csv to replace it." in done.err
    assert Path("predictions.csv").read_text() == "image,price\n1,2\n"
    assert cli("predict", "model.ckpt", "hands", "--output", "predictions.csv").code == 0


@pytest.mark.parametrize("file", ["model.ckpt", "model.onnx"])
def test_names_are_harmless(file, models, hands, cli):
    """A class or a file that is called like a formula, like markup or like a terminal's command is
    shown as text.
    """
    os.rename("hands/0.png", "hands/=cmd [bold].png")
    os.rename("hands/1.png", "hands/\x1b[2J.png")
    os.rename(b"hands/2.png", b"hands/\xff.png")  # not UTF-8
    done = cli(
        "predict",
        "--ckpt_path",
        file,
        "--images",
        *(f"hands/{name}" for name in os.listdir("hands")),
    )
    assert (done.code, done.err) == (0, "")
    rows, likely = table()
    shown = set(re.findall(r"^hands/.*?(?=  )", done.out, re.M))
    assert shown == {
        "hands/=cmd [bold].png",
        "hands/\\x1b[2J.png",
        "hands/\\udcff.png",
        "hands/3.png",
        "hands/4.png",
    }
    assert {row["image"] for row in rows} == shown
    safe = ["'=1+1", "[red]x[/red]", "\\x1b[31mloud", "two\\nlines", "Größe 手", "plain"]
    assert [row["class"] for row in rows] == [safe[k] for k in likely.argmax(axis=1)]
    assert [key for key in rows[0] if key.startswith("p(")] == [
        f"p({name.removeprefix(chr(39))})" for name in safe
    ]
    assert "\x1b" not in done.out + Path("predictions.csv").read_text()


def test_names_beginning_like_a_formula(models, hands, cli):
    """The name of a picture alone, in its own folder."""
    os.chdir("hands")
    os.rename("0.png", "=1+1.png")
    assert cli("predict", "--ckpt_path", "../model.onnx", "--images", "=1+1.png").code == 0
    assert table()[0][0]["image"] == "'=1+1.png"


def test_standard_input(models, hands, cli, monkeypatch):
    """`-` is one picture, beside others."""
    picture = io.BytesIO()
    Image.fromarray(hands[0]).save(picture, "PNG")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(picture.getvalue())))
    done = cli("predict", "--ckpt_path", "model.onnx", "--images", "-", "hands/1.png")
    assert (done.code, done.err) == (0, "")
    rows, found = table()
    assert [row["image"] for row in rows] == ["standard input", "hands/1.png"]
    np.testing.assert_allclose(found, models.predict(hands[:2]), rtol=0, atol=1e-6)


def test_what_cannot_be_read_is_named(models, hands, cli):
    """The others are predicted, and the exit code is 1; when nothing is left, that is said and no
    table is written.
    """
    Path("hands/2.png").write_text("no picture")
    done = cli("predict", "--ckpt_path", "model.onnx", "--images", "hands")
    assert done.code == 1
    assert done.err == "hands/2.png: not a picture in any format that Pillow knows; skipped.\n"
    assert len(table()[0]) == 4
    os.remove("predictions.csv")
    done = cli("predict", "--ckpt_path", "model.onnx", "--images", "hands/2.png")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[1:] == [
        "None of the pictures could be read: there is nothing to predict."
    ]
    assert not Path("predictions.csv").exists()


def test_a_file_through_an_exported_model(models, small_signs, cli):
    """Labels and accuracy as from the checkpoint; the data's names must be the model's."""
    with h5py.File(small_signs[1]) as old, h5py.File("test.h5", "w") as new:
        new["x"], new["y"] = old["test_set_x"][()], old["test_set_y"][()]
    accuracy = set()
    for file in ("model.ckpt", "model.onnx"):
        done = cli("predict", "--ckpt_path", file, "--data.test_file", "test.h5")
        assert done.code == 0, done.err
        accuracy.add(next(line for line in done.out.splitlines() if line.startswith("accuracy")))
        refused = cli("predict", "--ckpt_path", file, "--data.test_file", small_signs[1])
        assert refused.code == 2
        assert "the data have 0, 1, 2, 3, 4, 5" in refused.err
    assert len(accuracy) == 1
    _, found = table()
    right = int((found.argmax(axis=1) == labels("test.h5")).sum())
    assert f"accuracy {right}/12 = " in accuracy.pop()


def labels(path: str) -> list[int]:
    with h5py.File(path) as file:
        return file["y"][()].ravel().tolist()


@pytest.mark.parametrize("file", ["small.ckpt", pytest.param("small.onnx", marks=pytest.mark.slow)])
def test_data_of_another_size(file, small_signs, cli, tmp_path):
    """Refused with the option to add; with it, the same from checkpoint and ONNX file but for the
    rounding to bytes.
    """
    torch.manual_seed(0)
    model = SignsFunctional(image_size=(32, 48, 3)).eval()
    save_checkpoint(model, tmp_path / "small.ckpt")
    export_artefact(model, tmp_path / "small.onnx", "onnx", random_images(4, model.image_size))
    data = ["--data.test_file", small_signs[1]]
    refused = cli("predict", "--ckpt_path", file, *data)
    assert refused.code == 2
    assert "Add `--data.image_size [32,48]` to resize them." in refused.err
    done = cli("predict", "--ckpt_path", file, *data, "--data.image_size", "[32,48]")
    assert done.code == 0, done.err
    with h5py.File(small_signs[1]) as opened:
        expected = model.predict(opened["test_set_x"][()])
    np.testing.assert_allclose(table()[1], expected, rtol=0, atol=3e-3)
    for size in ("x", "1,2,3", "[]"):
        wrong = cli("predict", "--ckpt_path", file, *data, "--data.image_size", size)
        assert wrong.code == 2
        assert wrong.err.startswith(
            f"Argument --data.image_size: invalid image_size value: '{size}'"
        )


@pytest.mark.parametrize("file", ["model.ckpt", "model.keras", "model.onnx"])
def test_a_model_that_remembers_no_data(file, models, cli):
    """What to predict must be named, for it is not guessed."""
    done = cli("predict", "--ckpt_path", file)
    assert done.code == 2
    sentence = (
        f"{file} remembers no data. Name pictures with --images or a file with --data.test_file.\n"
    )
    assert done.err == sentence


def classifier(*names):
    """What the table takes of a model."""
    return SimpleNamespace(class_names=list(names), task_rules=find_task(None))


def test_predictions_are_written_as_they_come(tmp_path, capsys):
    """Of 5,000 predictions a few exist at a time, 40 are shown, all are written and counted."""
    alive: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
    most = 0

    def stream():
        nonlocal most
        rng = np.random.default_rng(0)
        for k in range(5000):
            prediction = predict.Prediction(str(k), rng.dirichlet([1, 1, 1]), k % 3)
            alive[k] = prediction
            most = max(most, len(alive))
            yield prediction

    predict.write_and_print(stream(), True, classifier("a", "b", "c"), tmp_path / "out.csv")
    assert most <= 3
    shown = capsys.readouterr().out
    rows, likely = table(str(tmp_path / "out.csv"))
    assert [row["image"] for row in rows] == [str(k) for k in range(5000)]
    right = int((likely.argmax(axis=1) == np.arange(5000) % 3).sum())
    assert f"accuracy {right}/5000 = " in shown
    assert "… and 4,960 more" in shown
    assert "\n39 " in shown
    assert "\n40 " not in shown


def test_a_table_appears_whole_or_not_at_all(tmp_path):
    """When the images end in an error, the table of an earlier run stays and nothing lies beside
    it.
    """

    def stream():
        yield predict.Prediction("0", np.array([0.5, 0.5], np.float32))
        raise InputError("'x' in test.h5 is damaged.")

    (tmp_path / "out.csv").write_text("what was there")
    with pytest.raises(InputError, match="is damaged"):
        predict.write_and_print(stream(), False, classifier("a", "b"), tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "what was there"


def test_the_folder_is_looked_for_first(models, cli):
    """Before anything is predicted."""
    done = cli(
        "predict", "--ckpt_path", "model.onnx", "--images", "x.png", "--output", "no/out.csv"
    )
    assert done.code == 2
    assert done.err == "The folder no does not exist. Make it, or choose another --output.\n"


def test_a_model_of_one_class(capsys, tmp_path):
    """There is no runner-up."""
    predict.write_and_print(
        iter([predict.Prediction("only", np.ones(1, np.float32))]),
        False,
        classifier("it"),
        tmp_path / "out.csv",
    )
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["only", "it", "1.000"] in shown


def test_help_imports_no_torch():
    """`predict --help` and `export --help` are instant."""
    code = (
        "import sys; from signs_lightning.__main__ import main\n"
        "for verb in ('predict', 'export'):\n"
        "    try: main([verb, '--help'])\n"
        "    except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'onnx', "
        "'onnxruntime')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "predict RUN [PICTURE ...]" in done.stdout


def test_the_bar(models, hands, cli, monkeypatch):
    """In a terminal, on standard error; nothing of it is left, and the table is not in it."""
    terminal = Terminal(60)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("signs_lightning.runtime.progress.REDRAW_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setenv("COLUMNS", "60")
    done = cli("predict", "--ckpt_path", "model.onnx", "--images", "hands", "--batch_size", 2)
    assert done.code == 0
    assert terminal.close() == []
    drawn = re.findall(
        r"predicting [━╸╺]+ (\d)/(\d) \d:\d\d left [\d.,]+ img/s", plain(terminal.octets)
    )
    assert drawn[0][0] == "2"
    assert drawn[-1][0] == drawn[-1][1]
    assert "hands/" in done.out
