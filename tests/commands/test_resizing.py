"""--data.resize and --data.fit from the data to the model, its checkpoint and every later verb;
what earlier checkpoints do; and what a model from Keras asks.
"""

from __future__ import annotations

import copy
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image, ImageOps

from signs_lightning import InputError, SignsFunctional, from_keras
from signs_lightning.checkpoints.files import load_classifier
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.export.artefacts import export_artefact
from signs_lightning.export.compared_images import random_images
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.models.classifier import ImageClassifier

ASKS = (
    "Add `--data.resize nearest --data.fit stretch` if by keras.utils.load_img or "
    "flow_from_directory, `--data.resize tf-bilinear --data.fit stretch` if by "
    "keras.utils.image_dataset_from_directory."
)
LAST = "lightning_logs/{}/version_0/checkpoints/last.ckpt"


@pytest.fixture
def wide(tmp_path: Path) -> np.ndarray:
    """12 images of 40×60 of two classes, as wide.h5, test.h5 and as PNG files."""
    images = np.random.default_rng(3).integers(0, 256, (12, 40, 60, 3), dtype=np.uint8)
    for name in ("wide.h5", "test.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"], file["y"] = images, np.arange(12) % 2
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{number:02}.png")
    return images


def probabilities() -> np.ndarray:
    """float (N, K) of predictions.csv"""
    lines = Path("predictions.csv").read_text().splitlines()
    first = next(k for k, name in enumerate(lines[0].split(",")) if name.startswith("p("))
    return np.array([line.split(",")[first:] for line in lines[1:]], float)


def by_pillow(image: np.ndarray, size: tuple[int, int], method: str, crop: bool) -> np.ndarray:
    """An image (40, 60, 3) resized to a square."""
    box = (10, 0, 50, 40) if crop else (0, 0, 60, 40)
    resampling = Image.Resampling[method]
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), resampling, box=box))


def fit(cli: Any, name: str, *options: object) -> Any:
    data = ("--data.train_file", "wide.h5", "--trainer.max_epochs", 1, "--data.image_size", 16)
    done = cli("fit", *data, "--name", name, *options)
    assert done.code == 0, done.err
    return done


def old(path: str) -> None:
    """Make a checkpoint one of format 2, which had no such options."""
    content = torch.load(path, weights_only=True)
    content["signs_lightning"]["format_version"] = 2
    sections = [content["hyper_parameters"]]
    if "config" in content:
        sections += [content["config"]["model"]["init_args"], content["config"]["data"]]
        sections += [content["H5DataModule"]]
    for section in sections:
        del section["resize"], section["fit"]
    torch.save(content, path)


@pytest.mark.parametrize("options", [(), ("--data.resize", "nearest", "--data.fit", "stretch")])
def test_every_verb_resizes_as_fit_did(options, cli, wide):
    """The checkpoint remembers it; HDF5 images and loose pictures give the same probabilities,
    those of the images that Pillow resized.
    """
    done = fit(cli, "run", *options)
    resize, how = ("nearest", "stretch") if options else ("bilinear", "crop")
    line = f"Images are resized to 16×16 pixels: --data.resize {resize} --data.fit {how}."
    assert done.out.count(line) == 1
    path = LAST.format("run")
    model, _ = load_classifier(Path(path))
    assert model.resizing == (resize, how)
    small = np.stack([by_pillow(image, (16, 16), resize.upper(), not options) for image in wide])
    expected = model.predict(small)
    assert cli("predict", "--ckpt_path", path, "--images", "pictures").code == 0
    np.testing.assert_allclose(probabilities(), expected, atol=1e-6)
    assert cli("predict", "--ckpt_path", path, "--data.test_file", "test.h5").code == 0
    np.testing.assert_allclose(probabilities(), expected, atol=1e-6)
    tested = cli("test", "--ckpt_path", path, "--data.test_file", "test.h5")
    assert line in tested.out
    right = int((expected.argmax(axis=1) == np.arange(12) % 2).sum())
    assert f"{right}/12" in tested.out


def test_options_win_over_what_is_remembered(cli, wide):
    """In predict and in test, one by one; and in a run that goes on."""
    fit(cli, "run", "--data.resize", "nearest")
    path = LAST.format("run")
    model, _ = load_classifier(Path(path))
    done = cli("predict", "--ckpt_path", path, "--images", "pictures", "--data.fit", "stretch")
    assert done.code == 0, done.err
    small = np.stack([by_pillow(image, (16, 16), "NEAREST", False) for image in wide])
    np.testing.assert_allclose(probabilities(), model.predict(small), atol=1e-6)
    tested = cli(
        "test", "--ckpt_path", path, "--data.test_file", "test.h5", "--data.resize", "lanczos"
    )
    assert "--data.resize lanczos --data.fit crop." in tested.out
    resumed = cli("fit", "--ckpt_path", path, "--trainer.max_epochs", 2, "--data.fit", "pad")
    assert resumed.code == 0, resumed.err
    assert load_classifier(Path(path))[0].resizing == ("nearest", "pad")


def test_earlier_checkpoints_do_as_before(cli, wide):
    """HDF5 images are stretched by PyTorch's antialiased filter, loose pictures are cropped by
    Pillow's `fit`; also when the run goes on, and in Python.
    """
    fit(cli, "run")
    path = LAST.format("run")
    old(path)
    model, _ = load_classifier(Path(path))
    images = torch.from_numpy(wide).permute(0, 3, 1, 2).float()
    stretched = F.interpolate(images, (16, 16), mode="bilinear", antialias=True)
    stretched = stretched.clamp(0, 255).round()
    assert torch.equal(model.preprocess(torch.from_numpy(wide)), stretched / 255)
    python = SignsFunctional.load_from_checkpoint(path)
    assert torch.equal(python.preprocess(torch.from_numpy(wide)), stretched / 255)
    expected = model.predict(stretched / 255)
    assert cli("predict", "--ckpt_path", path, "--data.test_file", "test.h5").code == 0
    np.testing.assert_allclose(probabilities(), expected, atol=1e-6)
    assert cli("predict", "--ckpt_path", path, "--images", "pictures").code == 0
    fitted = [ImageOps.fit(Image.fromarray(image), (16, 16), Image.Resampling.BILINEAR)
              for image in wide]  # fmt: skip
    expected = model.predict(np.stack([np.asarray(image) for image in fitted]))
    np.testing.assert_allclose(probabilities(), expected, atol=1e-6)
    resumed = cli("fit", "--ckpt_path", path, "--trainer.max_epochs", 2)
    assert "Images are resized to 16×16 pixels: stretched, antialiased." in resumed.out
    assert load_classifier(Path(path))[0].resizing == ("legacy", None)


def test_what_has_no_meaning_is_refused(cli, wide):
    """In Python, on the command line, and in a checkpoint that was edited."""
    with pytest.raises(InputError, match="fit is 'squash', expected one of stretch, crop, pad"):
        SignsFunctional(fit="squash")  # type: ignore[arg-type]
    fit(cli, "run")
    path = LAST.format("run")
    wrong = cli("predict", "--ckpt_path", path, "--images", "pictures", "--data.fit", "squash")
    assert wrong.code == 2
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["resize"] = ["x"]
    torch.save(content, path)
    edited = cli("predict", "--ckpt_path", path, "--images", "pictures")
    assert edited.code == 2
    assert edited.err.startswith("resize is '['x']', expected one of bilinear")


@pytest.mark.slow
def test_an_earlier_config_trains_as_before(cli, wide):
    """One that a run wrote; one that was typed has no number, and takes today's defaults."""
    fit(cli, "run")
    path = Path("lightning_logs/run/version_0/config.yaml")
    config = yaml.safe_load(path.read_text())
    for section in (config["model"]["init_args"], config["data"]):
        del section["resize"], section["fit"]
    for version, line in ((2, "stretched, antialiased."), (None, "bilinear --data.fit crop.")):
        config["format_version"] = version
        if version is None:
            del config["format_version"]
        Path("old.yaml").write_text(yaml.safe_dump(config))
        assert line in cli("fit", "--config", "old.yaml").out


def test_in_python_a_loaded_checkpoint_tells(cli, wide, tmp_path):
    """A new model that resumes from a checkpoint takes what that one remembers."""
    import lightning as L

    from signs_lightning import H5DataModule

    fit(cli, "run", "--data.fit", "pad")
    options: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    for is_old, expected in ((False, ("bilinear", "pad")), (True, ("legacy", None))):
        if is_old:
            old(LAST.format("run"))
        model = SignsFunctional()
        trainer = L.Trainer(max_epochs=2, accelerator="cpu", log_every_n_steps=1, **options)
        data = H5DataModule(train_file="wide.h5", image_size=16)
        trainer.fit(model, data, ckpt_path=LAST.format("run"), weights_only=True)
        assert model.resizing == expected


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageClassifier, Path]:
    """A model of two classes, 16×16, as a Keras file and what is made of it without an option."""
    folder = tmp_path_factory.mktemp("imported")
    torch.manual_seed(0)
    model = SignsFunctional(num_classes=2, image_size=(16, 16, 3)).eval()
    export_keras(model, folder / "model.keras")
    imported = from_keras(folder / "model.keras", scale="/255")
    save_checkpoint(imported, folder / "imported.ckpt")
    export_artefact(imported, folder / "model.onnx", "onnx", random_images(4, (16, 16, 3)))
    export_keras(model, folder / "model.weights.h5", "keras-weights")
    for number in range(2):
        small = np.full((16, 16, 3), 90 * number, np.uint8)
        Image.fromarray(small).save(folder / f"small_{number}.png")
    return imported, folder


@pytest.fixture
def keras_files(
    imported: tuple[ImageClassifier, Path], tmp_path: Path, wide: np.ndarray
) -> ImageClassifier:
    """The model, and its files in the working directory."""
    shutil.copytree(imported[1], tmp_path, dirs_exist_ok=True)
    return copy.deepcopy(imported[0])


COMMANDS = {
    "loose": ("predict", "--ckpt_path", "imported.ckpt", "--images", "pictures"),
    "file": ("predict", "--ckpt_path", "model.keras", "--scale", "/255", "--images", "pictures"),
    "ONNX": ("predict", "--ckpt_path", "model.onnx", "--images", "pictures"),
    "ONNX data": ("predict", "--ckpt_path", "model.onnx", "--data.test_file", "test.h5",
                  "--data.image_size", "16"),
    "data": ("predict", "--ckpt_path", "imported.ckpt", "--data.test_file", "test.h5",
             "--data.image_size", "16"),
    "test": ("test", "--ckpt_path", "imported.ckpt", "--data.test_file", "test.h5",
             "--data.image_size", "16"),
    "test ONNX": ("test", "--ckpt_path", "model.onnx", "--data.test_file", "test.h5",
                  "--data.image_size", "16"),
    "report": ("report", "imported.ckpt", "--data.test_file", "test.h5"),
    "fit": ("fit", "--model", "FromKeras", "--model.path", "model.keras", "--data.train_file",
            "wide.h5", "--data.image_size", "16", "--trainer.max_epochs", "1"),
}  # fmt: skip


SLOW = ("report", "fit", "test ONNX")


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=pytest.mark.slow if x in SLOW else ()) for x in COMMANDS]
)
def test_a_model_from_keras_asks(name, cli, keras_files):
    """In every verb, before anything is written; the answers lead on."""
    command = COMMANDS[name]
    before = sorted(Path().rglob("*"))
    asked = cli(*command)
    assert asked.code == 2
    assert asked.err.rstrip("\n").endswith(ASKS), asked.err
    assert sorted(Path().rglob("*")) == before
    found = []
    answers = re.findall(r"`([^`]+)`", ASKS)
    for answer in answers if command[0] == "predict" else answers[: 1 + (name == "fit")]:
        done = cli(*command, *answer.split())
        assert done.code == 0, done.err
        if command[0] == "predict":
            found.append(probabilities())
    if found:
        small = np.stack([by_pillow(image, (16, 16), "NEAREST", False) for image in
                          np.stack([np.asarray(Image.open(path)) for path in
                                    sorted(Path("pictures").iterdir())])])  # fmt: skip
        expected = keras_files.predict(small)
        np.testing.assert_allclose(found[0], expected, atol=1e-5)
        assert not np.array_equal(found[0], found[1])


def test_pictures_that_fit_do_not_ask(cli, keras_files):
    """From any file of a model from Keras."""
    for file in ("imported.ckpt", "model.keras", "model.onnx"):
        scale = ("--scale", "/255") if file == "model.keras" else ()
        done = cli("predict", "--ckpt_path", file, *scale, "--images", "small_0.png", "small_1.png")
        assert done.code == 0, done.err


def test_a_checkpoint_remembers_the_answer(cli, keras_files, guarded_forks):
    """import-keras takes it, also for weights alone; one half of it is not enough."""
    options = ("--data.resize", "tf-bilinear", "--data.fit", "stretch")
    for file in ("model.keras", "model.weights.h5"):
        command = ["import-keras", file, "--output", "new.ckpt", "--scale", "/255"]
        if file == "model.weights.h5":
            command += ["--image_size", "16", "--architecture", "signs"]
        assert cli(*command).code == 0
        asked = cli("predict", "--ckpt_path", "new.ckpt", "--images", "pictures")
        assert "pictures/00.png has 60×40 pixels, the model takes 16×16, and" in asked.err
        half = cli(*command, *options[:2])
        assert half.code == 2
        assert half.err.startswith("Only one of --data.resize and --data.fit is given, and")
        assert cli(*command, *options).code == 0
        assert cli("predict", "--ckpt_path", "new.ckpt", "--images", "pictures").code == 0
        assert load_classifier(Path("new.ckpt"))[0].resizing == ("tf-bilinear", "stretch")


def test_in_python_a_model_from_keras_asks(keras_files, wide):
    """Until it is told."""
    with pytest.raises(InputError, match="The images have 40×60 pixels, the model takes 16×16"):
        keras_files.predict(wide)
    keras_files.adopt_resizing("nearest", "stretch")
    small = np.stack([by_pillow(image, (16, 16), "NEAREST", False) for image in wide])
    np.testing.assert_array_equal(keras_files.predict(wide), keras_files.predict(small))


def test_an_earlier_onnx_file_does_as_before(keras_files, wide, tmp_path):
    """It does not tell how it resizes: stretched, antialiased. What it cannot mean is refused."""
    import onnx

    from signs_lightning.export.onnx_classifier import OnnxClassifier

    model = onnx.load(tmp_path / "model.onnx")
    (entry,) = (entry for entry in model.metadata_props if entry.key == "resize")
    model.metadata_props.remove(entry)
    onnx.save(model, tmp_path / "earlier.onnx")
    images = torch.from_numpy(wide).permute(0, 3, 1, 2).float()
    stretched = F.interpolate(images, (16, 16), mode="bilinear", antialias=True)
    stretched = stretched.clamp(0, 255).round() / 255
    found = OnnxClassifier(tmp_path / "earlier.onnx").predict(wide)
    torch.testing.assert_close(found, keras_files.predict(stretched))
    entry.value = "sinc"
    model.metadata_props.append(entry)
    onnx.save(model, tmp_path / "edited.onnx")
    with pytest.raises(InputError, match="resizing"):
        OnnxClassifier(tmp_path / "edited.onnx")


def test_the_page_of_a_model_from_keras_asks_at_once(cli, keras_files, monkeypatch):
    """Visitors could not answer. With an answer it starts."""
    made: list[Any] = []
    page = SimpleNamespace(build_page=lambda model, *_: made.append(model.resizing))
    monkeypatch.setitem(sys.modules, "signs_lightning.demo.gradio_page", page)  # without Gradio
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for place, function in (
        ("commands.demo.signal.signal", lambda *_: None),
        ("demo.server.configure_gradio", lambda *_: None),
        ("demo.server.serve", lambda *_: None),
    ):
        monkeypatch.setattr(f"signs_lightning.{place}", function)
    done = cli("demo", "--ckpt_path", "imported.ckpt", "--port", 0)
    assert done.code == 2
    assert done.err.startswith("The images are to be resized to 16×16, and the Keras file")
    assert done.err.rstrip("\n").endswith(ASKS)
    for answer in re.findall(r"`([^`]+)`", ASKS):
        cli("demo", "--ckpt_path", "imported.ckpt", "--port", 0, *answer.split())
    assert made == [("nearest", "stretch"), ("tf-bilinear", "stretch")]


def test_predict_says_what_keras_does_otherwise(cli, keras_files):
    """One line, after the table."""
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (16, 16)).save("turned.jpg", exif=exif)
    done = cli("predict", "--ckpt_path", "imported.ckpt", "--images", "turned.jpg", "small_0.png")
    assert done.code == 0, done.err
    line = "1 picture was turned by EXIF orientation, as Keras does not (turned.jpg)."
    assert done.out.splitlines()[-1] == line


@pytest.mark.parametrize("options", [(), ("--data.resize", "bicubic", "--data.fit", "pad")])
def test_encoded_pictures_are_resized_as_the_model_does(options, cli, wide, tmp_path):
    """PNG files inside HDF5, decoded before the model sees them, give what loose ones do."""
    model = SignsFunctional(num_classes=2, image_size=(32, 32, 3), resize="nearest", fit="stretch")
    save_checkpoint(model, tmp_path / "model.ckpt")
    pictures = sorted((tmp_path / "pictures").iterdir())
    with h5py.File("encoded.h5", "w") as file:
        file["labels"] = np.arange(12) % 2
        for path in pictures:
            file[path.stem] = np.void(path.read_bytes())
    assert cli("predict", "--ckpt_path", "model.ckpt", "--images", "pictures", *options).code == 0
    expected = probabilities()
    data = ("--data.test_file", "encoded.h5", "--data.image_size", 32)
    done = cli("predict", "--ckpt_path", "model.ckpt", *data, *options)
    assert done.code == 0, done.err
    np.testing.assert_allclose(probabilities(), expected, atol=1e-6)
