"""Source and safetensors files on the command line: written, trained further, imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
import torch
from keras import layers
from lightning import Trainer, seed_everything
from safetensors.torch import load_file, save_file

from signs_lightning import (
    H5DataModule,
    HappySequential,
    ImageClassifier,
    SignsFunctional,
    SignsResNet50,
)
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.errors import InputError
from signs_lightning.models.weights_file import save_weights
from signs_lightning.source.check import load_class
from signs_lightning.source.write_source import export_source


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules in the test's folder can be imported, as with `python -m`."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "." not in name and (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


def history(folder: str) -> str:
    return Path(folder, "history.csv").read_text()


def fit(cli, files: tuple[Path, Path], name: str, *arguments: object) -> str:
    """Two epochs with one thread; returns history.csv."""
    done = cli(
        "fit", *arguments, "--data.train_file", files[0], "--data.test_file", files[1],
        "--trainer.max_epochs", 2, "--data.batch_size", 16, "--seed_everything", 3, "--name", name,
        "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert done.code == 0, done.err
    rows = history(f"lightning_logs/{name}/version_0").splitlines()
    assert len(rows) == 3
    return "\n".join(rows)


def save_compiled(path: Path) -> None:
    """A Keras file with what counts in training: penalty, constraint, schedule, smoothing."""
    image = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(4, 5, strides=4, kernel_regularizer="l2", kernel_constraint="max_norm")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D(4)(layers.ReLU()(x))
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(6, activation="softmax")(x))
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 4, 0.9)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)
    model.save(path)


@pytest.mark.slow
@pytest.mark.usefixtures("importable", "guarded_forks")
def test_trains_as_the_graph_it_came_from(cli, tmp_path: Path, small_signs):
    """Two epochs with one thread give the same history.csv, line by line."""
    save_compiled(tmp_path / "signs.keras")
    done = cli("import-keras", "signs.keras", "--source", "own_signs.py")
    assert done.code == 0, done.err
    graph = fit(cli, small_signs, "graph", "--model", "FromKeras", "--model.path", "signs.keras")
    own = ["--model", "own_signs.Net"]
    source = fit(cli, small_signs, "source", *own, "--model.weights", "own_signs.safetensors")
    assert source == graph
    fresh = cli(
        "fit", *own, "--data.train_file", small_signs[0], "--trainer.max_epochs", 1, "--name", "f"
    )
    assert "Net starts fresh" in fresh.out + fresh.err
    # The checkpoint holds the weights: the file may go.
    Path("own_signs.safetensors").unlink()
    last = "lightning_logs/source/version_0"
    done = cli("test", "--ckpt_path", last, "--model", "own_signs.Net")
    assert done.code == 0, done.err


def trained(model: ImageClassifier, files: tuple[Path, Path]) -> list[dict[str, float]]:
    """The history of two epochs in Python."""
    seed_everything(3)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = H5DataModule(train_file=str(files[0]), test_file=str(files[1]), batch_size=16)
    trainer.fit(model, datamodule=data)
    return model.history


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SignsFunctional, HappySequential, SignsResNet50])
def test_the_classics_train_as_before(kind, tmp_path: Path, small_signs, small_smiles):
    """Source and weights of a new model, trained, beside the model itself, trained."""
    small = {"width": 4} if kind is SignsResNet50 else {}
    classes = 2 if kind is HappySequential else 6
    files = small_smiles if kind is HappySequential else small_signs
    model = kind(num_classes=classes, image_size=(64, 64, 3), **small)
    export_source(model, tmp_path / "net.py")
    net = load_class(str(tmp_path / "net.py"))(weights=str(tmp_path / "net.safetensors"))
    assert trained(net, files) == trained(model, files)


def test_safetensors_there_and_back(cli, tmp_path: Path):
    model = SignsFunctional(num_classes=3, image_size=(16, 16, 1), class_names=["a", "b", "c"])
    save_checkpoint(model, tmp_path / "there.ckpt")
    done = cli("export", "--ckpt_path", "there.ckpt", "--format", "safetensors",
               "--output", "m.safetensors")  # fmt: skip
    assert done.code == 0, done.err
    assert "import-safetensors m.safetensors --model SignsFunctional" in done.out
    done = cli("import-safetensors", "m.safetensors", "--model", "SignsFunctional",
               "--output", "back.ckpt")  # fmt: skip
    assert done.code == 0, done.err
    there, back = (torch.load(name, weights_only=True) for name in ("there.ckpt", "back.ckpt"))
    assert back["hyper_parameters"] == there["hyper_parameters"]
    for name, tensor in there["state_dict"].items():
        assert torch.equal(back["state_dict"][name], tensor)


def test_safetensors_of_another_model(cli, tmp_path: Path):
    save_checkpoint(SignsFunctional(num_classes=3), tmp_path / "there.ckpt")
    cli(
        "export",
        "--ckpt_path",
        "there.ckpt",
        "--format",
        "safetensors",
        "--output",
        "m.safetensors",
    )
    tensors = load_file("m.safetensors")
    save_file({"x": torch.zeros(1)}, "x.safetensors")
    save_file({**tensors, "network.fc.bias": torch.zeros(4)}, "y.safetensors")
    whole = {name: (100 * value).to(torch.int8) for name, value in tensors.items()}
    save_file(whole, "int8.safetensors")  # quantized: their scales are nowhere
    Path("z.safetensors").write_bytes(b"no file of weights")
    for name, said in (
        ("x", "holds the weights of another model: it lacks"),
        ("y", "--num_classes"),
        ("int8", "conv1.weight as int8, expected floats"),
        ("z", "is no safetensors file"),
        ("gone", "No such file: gone.safetensors"),
    ):
        done = cli("import-safetensors", f"{name}.safetensors", "--model", "SignsFunctional",
                   "--output", "back.ckpt")  # fmt: skip
        assert (done.code, said in done.err) == (2, True), done.err
    given = ["--num_classes", 3, "--image_size", 64, 64, 3]
    save_file(tensors, "w.safetensors")  # as another program writes it
    done = cli("import-safetensors", "w.safetensors", "--model", "SignsFunctional", *given,
               "--output", "c.ckpt")  # fmt: skip
    assert done.code == 0, done.err
    done = cli("import-safetensors", "m.safetensors", "--model", "Signs", "--output", "b.ckpt")
    assert done.code == 2
    assert "expected one of" in done.err
    assert not list(tmp_path.glob("b*.ckpt"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import-keras", "m.keras"], "Name one of them"),
        (["import-keras", "m.keras", "--output", "m.ckpt", "--standalone"], "is for --source"),
        (["export", "--ckpt_path", "m.ckpt", "--format", "onnx", "--output", "m.onnx",
          "--standalone"], "is for --format source"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(cli, arguments, said):
    done = cli(*arguments)
    assert done.code == 2
    assert said in done.err


def test_an_edited_source_is_not_replaced(cli, tmp_path: Path):
    """Refused by either verb before anything is written, until it is said."""
    save_compiled(tmp_path / "m.keras")
    (tmp_path / "net.py").write_text("# mine\n")
    for arguments in (
        ["import-keras", "m.keras", "--source", "net.py", "--scale", "/255"],
        ["export", "m.keras", "--output", "net.py", "--scale", "/255"],
    ):
        done = cli(*arguments)
        assert done.code == 2
        assert done.err == (
            "net.py exists, with other content than would be written. Add `--overwrite true` to "
            "replace it, or name another place.\n"
        )
    assert not (tmp_path / "net.safetensors").exists()
    assert (tmp_path / "net.py").read_text() == "# mine\n"
    done = cli(*arguments, "--overwrite", "true")
    assert done.code == 0, done.err
    assert "class Net" in (tmp_path / "net.py").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-net.py", "cannot be imported by this name"),
        ("class.py", "cannot be imported"),
        ("torch.py", "would hide"),
        ("json.py", "would hide"),
        ("net.txt", "ends in .py"),
    ],
)
def test_names_that_cannot_be_imported(name: str, said: str, tmp_path: Path):
    with pytest.raises(InputError, match=said):
        export_source(SignsFunctional(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_no_file_decides_what_is_taken(cli, tmp_path: Path):
    """Neither memory nor other files."""
    settings = {"num_classes": 10**9, "image_size": [10**5, 10**5, 3], "weights": "other"}
    metadata = {"model": "signs_lightning.models.signs_functional.SignsFunctional"}
    state = SignsFunctional().state_dict()
    save_weights(tmp_path / "big.safetensors", state, metadata | {"settings": settings})
    done = cli("import-safetensors", "big.safetensors", "--model", "SignsFunctional",
               "--output", "big.ckpt")  # fmt: skip
    assert (done.code, "of shape" in done.err) == (2, True), done.err
    for number in (10**12, -1, "\x1b6"):
        save_weights(
            tmp_path / "big.safetensors", state, metadata | {"settings": {"num_classes": number}}
        )
        done = cli("import-safetensors", "big.safetensors", "--model", "SignsFunctional",
                   "--output", "big.ckpt")  # fmt: skip
        refused = ("settings that SignsFunctional does not take", f"of ({number}, 64)")
        assert done.code == 2
        assert any(said in done.err for said in refused), done.err
        assert "\x1b" not in done.err


def test_what_the_source_trains_otherwise(cli, tmp_path: Path, small_signs):
    """Optimizer and augmentation of a run are named, as they are not written."""
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--trainer.max_epochs", 1, "--name", "a",
        "--model.optimizer", "AdamW", "--model.test_time_augmentation", "[hflip]",
    )  # fmt: skip
    assert done.code == 0, done.err
    export = ("export", "lightning_logs/a/version_0", "--format", "source", "--output")
    said = "Not in the source: --model.optimizer of the run. Give them again."
    assert said in cli(*export, "net.py").out
    said = "--model.optimizer and --model.test_time_augmentation of the run"
    assert said in cli(*export, "alone.py", "--standalone").out
