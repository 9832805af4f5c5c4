"""A run's own callbacks, loggers, losses and the like: what every later verb makes of them, and
that no run is locked out.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

OWN = """
import lightning as L
import torch
import torchmetrics
from torch import nn


class Focal(nn.Module):
    def __init__(self, gamma: float = 2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, labels):
        loss = nn.functional.cross_entropy(logits, labels, reduction="none")
        return ((1 - torch.exp(-loss)) ** self.gamma * loss).mean()


class Sgd(torch.optim.SGD):
    pass


class Steps(torch.optim.lr_scheduler.StepLR):
    pass


class Counts(torchmetrics.classification.MulticlassAccuracy):
    pass


class Says(L.Callback):
    def __init__(self, word: str, seen: int = 0):
        self.word, self.seen = word, seen

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]

    def on_train_epoch_end(self, trainer, pl_module):
        self.seen += 1
        print(f"{self.word} {self.seen}", flush=True)
"""


def write_config(name: str, train: Path, model: dict | None = None, **trainer: object) -> None:
    """NAME.yaml: two epochs of the functional model."""
    config = {
        "model": {"class_path": "SignsFunctional", "init_args": {"lr": 0.01, **(model or {})}},
        "trainer": {"max_epochs": 2, **trainer},
        "data": {"train_file": str(train), "val_fraction": 0.2, "batch_size": 16},
    }
    Path(f"{name}.yaml").write_text(yaml.safe_dump(config))


def epochs(run: Path) -> list[str]:
    with (run / "history.csv").open() as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def every_verb(cli: Callable, run: Path, test_file: Path) -> None:
    """All verbs that take a run, then one epoch more of it, and the whole once more from its
    config.yaml.
    """
    given = ("--ckpt_path", run)
    tested = ("--data.test_file", test_file)
    commands = [("test", *given, *tested), ("validate", *given), ("predict", *given, *tested)]
    commands += [("report", run, *tested), ("summary", *given)]
    commands += [("export", "--format", "keras", "--output", "model.keras", *given)]
    for command in commands:
        done = cli(*command)
        assert done.code == 0, (command, done.err)
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3)
    assert done.code == 0, done.err
    assert epochs(run) == ["0", "1", "2"]
    done = cli("fit", "--config", run / "config.yaml", "--name", "again")
    assert done.code == 0, done.err


@pytest.mark.slow
def test_callbacks_as_people_write_them(cli: Callable, small_signs: tuple[Path, Path]) -> None:
    """ModelCheckpoint with a pattern, progress bars and the like by their bare names, as
    Lightning's own documentation has them.
    """
    callbacks = {
        "ModelCheckpoint": {
            "monitor": "val_accuracy",
            "mode": "max",
            "filename": "{epoch}-{val_loss:.2f}",
        },
        "TQDMProgressBar": {"refresh_rate": 10},
        "LearningRateMonitor": {"logging_interval": "epoch"},
        "GradientAccumulationScheduler": {"scheduling": {4: 2}},
        "StochasticWeightAveraging": {"swa_lrs": 0.01},
        "Timer": {"duration": {"hours": 12}},
        "SpikeDetection": {"warmup": 100},
        "RichModelSummary": {},
    }
    made = [{"class_path": name, "init_args": arguments} for name, arguments in callbacks.items()]
    write_config("many", small_signs[0], callbacks=made)
    assert cli("fit", "--config", "many.yaml").code == 0
    run = Path("lightning_logs/many/version_0")
    assert list((run / "checkpoints").glob("epoch=*-val_loss=*.ckpt"))
    every_verb(cli, run, small_signs[1])


@pytest.mark.parametrize(
    "kind", [pytest.param("CSVLogger", marks=pytest.mark.slow), "TensorBoardLogger"]
)
def test_a_logger_s_own_folder(kind: str, cli: Callable, small_signs: tuple[Path, Path]) -> None:
    """A name with a slash, dots in a folder: the run goes on there, and what was logged before
    stays.
    """
    logger = {"class_path": kind, "init_args": {"save_dir": "logs.d/all", "name": "hands/first"}}
    theme = {"progress_bar": "#6206E0", "metrics_format": ".2f"}
    bar = {"class_path": "RichProgressBar", "init_args": {"theme": theme}}
    profiler = {
        "class_path": "SimpleProfiler",
        "init_args": {"dirpath": "profiles", "filename": "first.run"},
    }
    write_config("logged", small_signs[0], logger=logger, profiler=profiler, callbacks=[bar])
    done = cli("fit", "--config", "logged.yaml")
    assert done.code == 0, done.err
    run = Path("logs.d/all/hands/first/version_0")
    done = cli("test", "--ckpt_path", run, "--data.test_file", small_signs[1])
    assert done.code == 0, done.err
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3)
    assert done.code == 0, done.err
    assert epochs(run) == ["0", "1", "2"]
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    if kind == "CSVLogger":
        with (run / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows if row["loss"]] == ["0", "1", "2"]


@pytest.fixture
def own(
    cli: Callable, small_signs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a run with a loss, an optimizer, a scheduler, a metric and a callback that are
    nobody else's.
    """
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    model = {
        "loss": {"class_path": "mine.Focal", "init_args": {"gamma": 3.0}},
        "optimizer": {"class_path": "mine.Sgd", "init_args": {"momentum": 0.5}},
        "lr_scheduler": {"class_path": "mine.Steps", "init_args": {"step_size": 1, "gamma": 0.5}},
        "metrics": [{"class_path": "mine.Counts", "init_args": {"num_classes": 6}}],
    }
    write_config(
        "own",
        small_signs[0],
        model,
        callbacks=[{"class_path": "mine.Says", "init_args": {"word": "epoch"}}],
    )
    done = cli("fit", "--config", "own.yaml")
    assert done.code == 0, done.err
    assert "epoch 2" in done.out
    return Path("lightning_logs/own/version_0")


def suggested(message: str) -> list[str]:
    """The options that a refusal says to add."""
    return shlex.split(message.strip().rpartition("add ")[2].removesuffix("."))


def test_a_loss_of_one_s_own(cli: Callable, own: Path, small_signs: tuple[Path, Path]) -> None:
    """`test` asks for it with the option that then works; the loss is the one with the remembered
    gamma, computed here by hand.
    """
    given = ("--ckpt_path", own, "--data.test_file", small_signs[1])
    done = cli("test", *given)
    assert done.code == 2
    assert suggested(done.err) == ["--model.loss", "mine.Focal"]
    done = cli("validate", "--ckpt_path", own)
    assert done.code == 2
    assert cli("validate", "--ckpt_path", own, *suggested(done.err)).code == 0
    done = cli("test", *given, "--model.loss", "mine.Focal")
    assert done.code == 0, done.err
    found = float(done.out.rpartition("loss ")[2])
    assert cli("predict", *given).code == 0
    with open("predictions.csv") as file:
        rows = list(csv.DictReader(file))
    right = torch.tensor([float(row[f"p({row['label']})"]) for row in rows], dtype=torch.float64)
    expected = ((1 - right) ** 3 * -right.log()).mean().item()
    assert found == pytest.approx(expected, abs=6e-4)
    line = next(
        line
        for line in done.out.splitlines()
        if line.startswith("model.metrics leaves out 'mine.Counts'")
    )
    done = cli("test", *given, "--model.loss", "mine.Focal", *suggested(line))
    assert done.code == 0, done.err
    assert "leaves out" not in done.out


@pytest.mark.slow
def test_verbs_that_need_no_loss(cli: Callable, own: Path) -> None:
    """They make nothing of what the run was trained with, and need no option."""
    for verb in (("report",), ("summary", "--ckpt_path"), ("inspect",)):
        path = own / "checkpoints/best.ckpt" if verb[0] == "inspect" else own
        done = cli(*verb, path)
        assert done.code == 0, (verb, done.err)
    done = cli("export", "--ckpt_path", own, "--format", "keras", "--output", "own.keras")
    assert done.code == 0, done.err


@pytest.mark.slow
def test_a_run_with_classes_of_one_s_own_goes_on(cli: Callable, own: Path) -> None:
    """`fit` names all of them and the options, which then work; so does the run's own
    configuration, given by the user.
    """
    before = (own / "checkpoints/last.ckpt").read_bytes()
    done = cli("fit", "--ckpt_path", own, "--trainer.max_epochs", 3)
    assert done.code == 2
    assert (own / "checkpoints/last.ckpt").read_bytes() == before
    options = suggested(done.err)
    assert {option.partition("=")[0] for option in options if option.startswith("--")} == {
        "--model.loss",
        "--model.optimizer",
        "--model.lr_scheduler",
        "--model.metrics+",
        "--trainer.callbacks+",
    }
    done = cli("fit", "--ckpt_path", own, "--trainer.max_epochs", 3, *options)
    assert done.code == 0, done.err
    assert "epoch 3" in done.out  # the callback went on from its state
    assert epochs(own) == ["0", "1", "2"]
    optimizer = torch.load(own / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0][
        "param_groups"
    ][0]
    assert (optimizer["momentum"], optimizer["lr"]) == (0.5, 0.01 * 0.5**3)
    done = cli(
        "fit", "--ckpt_path", own, "--config", own / "config.yaml", "--trainer.max_epochs", 4
    )
    assert done.code == 0, done.err
    assert epochs(own) == ["0", "1", "2", "3"]
    others = [option for option in options if not option.startswith("--trainer.callbacks")]
    done = cli(
        "fit", "--ckpt_path", own, "--trainer.max_epochs", 5, *others,
        '--trainer.callbacks+={"class_path": "mine.Says", "init_args": {"word": "again"}}',
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "trainer.callbacks is what is given here, not the remembered" in done.out
    assert "again 5" in done.out


def test_a_run_begun_with_classes_of_one_s_own_begins_anew(cli: Callable, own: Path) -> None:
    """Killed before its first checkpoint: from config.yaml, with what the error says to add."""
    for path in (own / "checkpoints").iterdir():
        path.unlink()
    done = cli("fit", "--ckpt_path", own)
    assert done.code == 2
    done = cli("fit", "--ckpt_path", own, *suggested(done.err))
    assert done.code == 0, done.err
    assert epochs(own) == ["0", "1"]


def test_a_folder_outside_is_named_by_the_user(
    cli: Callable, small_signs: tuple[Path, Path], tmp_path: Path
) -> None:
    """A logger's folder from the root is not taken from a checkpoint, but from the option that the
    refusal shows.
    """
    away = tmp_path / "away"
    write_config(
        "away",
        small_signs[0],
        logger={"class_path": "CSVLogger", "init_args": {"save_dir": str(away)}},
    )
    done = cli("fit", "--config", "away.yaml")
    assert done.code == 0, done.err
    run = away / "lightning_logs/version_0"
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3)
    assert done.code == 2
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3, *suggested(done.err))
    assert done.code == 0, done.err
    assert epochs(run) == ["0", "1", "2"]
