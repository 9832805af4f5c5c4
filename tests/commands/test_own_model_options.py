"""A model of one's own in every verb: imported where this command line names it, and only there."""

from __future__ import annotations

import csv
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml

from signs_lightning import ImageClassifier

MODEL = """
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from torch import nn
from signs_lightning import ImageClassifier

Path("imported").write_text("yes")


def make(num_classes: int, width: int = 2, pretrained: bool = False) -> nn.Module:
    if pretrained:
        Path("fetched").touch()
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, width, 5), pool, nn.Flatten(), nn.Linear(width, num_classes))


def ten_outputs():
    return make(10)


def with_softmax(num_classes):
    return nn.Sequential(make(num_classes), nn.Softmax(1))


def broken(num_classes):
    raise RuntimeError("the user's own mistake")


class Net(ImageClassifier):
    def __init__(self, width: int = 4):
        super().__init__()

    def build(self):
        return make(self.num_classes, self.hparams["width"])


class Plain(LightningModule):
    def __init__(self, lr: float = 0.01):
        super().__init__()
        self.save_hyperparameters()
        self.net = make(6)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        logits = self.net(images.permute(0, 3, 1, 2) / 255)
        loss = nn.functional.cross_entropy(logits, labels)
        self.log("loss", loss)
        return loss

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.training_step(batch, batch_idx))

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.lr)


class Fails(Net):
    def training_step(self, batch, batch_idx):
        return open("nowhere.txt")
"""


@pytest.fixture
def own(tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module in the working directory, which is not imported yet."""
    name = f"own_{tmp_path.name}"
    Path(f"{name}.py").write_text(MODEL)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def fit(cli: Callable, files: tuple[Path, Path], *options: object) -> Path:
    data = ("--data.train_file", files[0], "--data.test_file", files[1], "--data.batch_size", 30)
    done = cli("fit", "--name", "own", "--trainer.max_epochs", 1, *data, *options)
    assert done.code == 0, done.err
    return Path("lightning_logs/own/version_0")


def forget(module: str) -> None:
    """Let a module be imported anew, and see whether it was."""
    sys.modules.pop(module, None)
    Path("imported").unlink(missing_ok=True)


def follow(cli: Callable, message: str) -> Any:
    """Run the command that a refusal gives in its last line."""
    words = shlex.split(message.strip().splitlines()[-1])
    assert words[:3] == ["python", "-m", "signs_lightning"]
    return cli(*words[3:])


def probabilities() -> np.ndarray:
    with open("predictions.csv") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[f"p({k})"]) for k in range(6)] for row in rows])


def every_verb(cli: Callable, run: Path, verbs: tuple[str, ...]) -> None:
    """Each refuses without importing anything, and its message has the command that works."""
    commands = {
        "predict": ("predict", run),
        "test": ("test", run),
        "report": ("report", run),
        "summary": ("summary", run),
        "export": ("export", run, "--format", "onnx", "--output", "own.onnx"),
        "fit": ("fit", "--ckpt_path", run, "--trainer.max_epochs", 2),
    }
    for verb in verbs:
        forget(next(iter(Path().glob("own_*.py"))).stem)
        done = cli(*commands[verb])
        assert done.code == 2, verb
        assert "which is imported only where you name it. If you trust it, add --model" in done.err
        assert not Path("imported").exists()
        done = follow(cli, done.err)
        assert done.code == 0, (verb, done.err)
    assert len((run / "history.csv").read_text().splitlines()) == 3


def test_a_class_of_one_s_own(cli: Callable, own: str, small_signs: tuple[Path, Path]) -> None:
    """It takes none of this package's arguments, and comes back with its classes and weights."""
    run = fit(cli, small_signs, "--model", f"{own}.Net", "--model.width", 3)
    every_verb(cli, run, ("predict", "fit"))
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert state["state_dict"]["network.0.weight"].shape[0] == 3
    assert state["signs_lightning"]["model"] == f"{own}.Net"
    assert state["hyper_parameters"]["num_classes"] == 6


def test_a_network_of_one_s_own(cli: Callable, own: str, small_signs: tuple[Path, Path]) -> None:
    """What the checkpoint's network predicts is what the function's network does by hand; weights
    to begin with are fetched once, and no more where those of a checkpoint take their place.
    """
    network = ("--model.network", f"{own}.make", "--model.network.width", 5)
    pretrained = ("--model.network.pretrained", "true")
    run = fit(cli, small_signs, "--model", "ImageClassifier", *network, *pretrained)
    Path("fetched").unlink()
    every_verb(cli, run, ("predict", "fit"))
    assert not Path("fetched").exists()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["network_args"] == {"width": 5, "pretrained": True}
    assert cli("predict", run, "--model.network", f"{own}.make").code == 0
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    by_hand = sys.modules[own].make(6, 5)
    by_hand.load_state_dict({key.removeprefix("network."): v for key, v in state.items()})
    with h5py.File(small_signs[1]) as file:
        images = torch.from_numpy(file["test_set_x"][()])
    with torch.no_grad():
        expected = by_hand(images.permute(0, 3, 1, 2) / 255).softmax(1)
    np.testing.assert_allclose(probabilities(), expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["Net --model.width 5", "ImageClassifier --model.network {}.make"]
)
def test_the_other_verbs(
    model: str, cli: Callable, own: str, small_signs: tuple[Path, Path]
) -> None:
    name = model if model.startswith("Image") else f"{own}.{model}"
    run = fit(cli, small_signs, "--model", *name.format(own).split())
    every_verb(cli, run, ("report", "export", "summary", "test", "fit"))
    forget(own)
    done = cli("fit", "--config", run / "config.yaml", "--name", "again")
    assert done.code == 0, done.err


def test_a_module_beside_the_configuration(
    cli: Callable, own: str, small_signs: tuple[Path, Path]
) -> None:
    """`class_path: NAME.Net` is found there, also from another folder; a folder that nobody names
    does not join the path.
    """
    folder = Path("project")
    folder.mkdir()
    Path(f"{own}.py").rename(folder / f"{own}.py")
    (folder / "run.yaml").write_text(f"model: {{class_path: {own}.Net, init_args: {{width: 3}}}}\n")
    run = fit(cli, small_signs, "--config", folder / "run.yaml")
    done = cli("test", run, "--config", folder / "run.yaml")
    assert done.code == 0, done.err
    forget(own)
    sys.path.remove(str(folder.resolve()))
    done = cli("predict", run, "--data.test_file", small_signs[1])
    assert done.err.endswith(f"--model project.{own}.Net\n"), "what is suggested works, see below"
    Path("other").mkdir()
    Path(f"other/{own}.py").touch()
    done = cli("predict", run, "--data.test_file", small_signs[1])
    assert done.err.endswith(f"--model FOLDER.{own}.Net\n"), "nothing tells which of the two"
    Path(f"other/{own}.py").unlink()
    done = cli("predict", run, "--model", f"{own}.Net")
    assert done.code == 2
    assert f"There is no module '{own}' to import {own}.Net from" in done.err
    assert done.err.endswith(f"project/{own}.py would be project.{own}.Net.\n")
    done = cli("predict", run, "--model", f"project.{own}.Net", "--data.test_file", small_signs[1])
    assert done.code == 0, done.err


def test_networks_that_do_not_fit(cli: Callable, own: str, small_signs: tuple[Path, Path]) -> None:
    """They are refused before anything is trained or written."""
    cases = {
        "ten_outputs": "gives the shape (2, 10) for 2 images, expected (2, 6)",
        "with_softmax": "ends in a softmax, expected logits",
        "mak": "has no 'mak'. Did you mean 'make'?",
        "make --model.network.widht 3": "unexpected keyword argument 'widht'",
    }
    for network, message in cases.items():
        options = ("--model", "ImageClassifier", "--model.network", *f"{own}.{network}".split())
        done = cli("fit", "--data.train_file", small_signs[0], *options)
        assert (done.code, message in done.err) == (2, True), done.err
    done = cli("fit", "--data.train_file", small_signs[0], "--model", f"{own}.make")
    assert done.code == 2
    assert f"write --model ImageClassifier --model.network {own}.make" in done.err
    assert not Path("lightning_logs").exists()


def test_errors_of_one_s_own_code_are_not_explained_away(
    cli: Callable, own: str, small_signs: tuple[Path, Path]
) -> None:
    """A file that the user's step does not find is not the run's folder, and no sentence hides
    what the user's network raises.
    """
    data = ("--data.train_file", small_signs[0], "--trainer.max_epochs", 1)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        cli("fit", *data, "--model", f"{own}.Fails")
    with pytest.raises(RuntimeError, match="the user's own mistake"):
        cli("fit", *data, "--model", "ImageClassifier", "--model.network", f"{own}.broken")
    Path(f"{own}.py").write_text("import a_package_that_is_missing\n")
    forget(own)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_missing"):
        cli("fit", *data, "--model", f"{own}.Net")
    Path("callbacks_of_mine.py").write_text("class Says:\n    word = unknown\n")
    with pytest.raises(NameError, match="unknown"):
        cli("fit", *data, "--trainer.callbacks", "callbacks_of_mine.Says")


def test_debug_shows_the_traceback_of_a_refusal(cli: Callable) -> None:
    done = cli("predict", "nothing.ckpt", "--debug")
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert "Traceback" not in cli("predict", "nothing.ckpt").err


def test_any_lightning_module(cli: Callable, own: str, small_signs: tuple[Path, Path]) -> None:
    """It takes our batches in fit and test, and goes on from its checkpoint; other verbs say that
    they know no way from its batches to classes.
    """
    run = fit(cli, small_signs, "--model", f"{own}.Plain", "--model.lr", 0.02)
    done = follow(cli, cli("test", run).err)
    assert done.code == 0, done.err
    assert "test_loss" in done.out
    done = cli("predict", run, "--model", f"{own}.Plain")
    assert done.code == 2
    assert "is no subclass of ImageClassifier" in done.err
    given = ("--model", f"{own}.Plain", "--trainer.max_epochs", 2)
    done = cli("fit", "--ckpt_path", run, *given)
    assert done.code == 0, done.err
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert (state["epoch"], state["hyper_parameters"]["lr"]) == (1, 0.02)


def test_nothing_in_a_checkpoint_names_what_is_imported(
    cli: Callable, own: str, small_signs: tuple[Path, Path]
) -> None:
    """Not a class, not a network, not in Python; a text among the network's arguments that leads to
    a file is refused, and shell words stay out of the command that is suggested.
    """
    options = ("--model", "ImageClassifier", "--model.network", f"{own}.make")
    run = fit(cli, small_signs, *options)
    path = run / "checkpoints/last.ckpt"
    forget(own)
    with pytest.raises(ValueError, match="which is not imported: a checkpoint may say anything"):
        ImageClassifier.load_from_checkpoint(path, weights_only=True)
    state = torch.load(path, weights_only=True)
    state["hyper_parameters"]["network_args"] = {"width": "../weights.pth"}
    torch.save(state, path)
    done = cli("predict", run, *options[2:])
    assert done.code == 2
    assert "calls the network with width '../weights.pth'" in done.err
    assert cli("predict", run, *options[2:], "--model.network.width", 2).code == 0
    state["signs_lightning"]["model"] = "model.Net; touch owned"
    state["signs_lightning"]["network"] = "os.system"
    torch.save(state, path)
    done = cli("predict", run)
    assert done.code == 2
    assert done.err.splitlines()[-1].endswith(
        "--model MODULE.CLASS --model.network MODULE.FUNCTION"
    )
