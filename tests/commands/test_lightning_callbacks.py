"""What `fit` accepts of Lightning's callbacks, loggers and profilers, every later verb takes back.

A row of the table goes through `fit`, `test`, `validate`, `predict`, `report`, `export`, `summary`,
a resumed run, and a new run with the configuration that the first one wrote.
"""

from __future__ import annotations

import csv
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

PARTS = "lightning.pytorch.callbacks"


def callback(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"callbacks": [{"class_path": kind, "init_args": arguments}]}


def logger(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"logger": [{"class_path": kind, "init_args": arguments}]}


def profiler(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"profiler": {"class_path": kind, "init_args": arguments}}


TABLE: dict[str, dict[str, Any]] = {
    "checkpoint pattern": callback(
        "ModelCheckpoint", monitor="val_accuracy", mode="max", filename="{epoch}-{val_loss:.2f}"
    ),
    "checkpoint": callback("ModelCheckpoint", monitor="val_accuracy", mode="max", save_top_k=2),
    "checkpoint last": callback("ModelCheckpoint", save_last=True),
    "checkpoint link": callback("ModelCheckpoint", save_last="link", monitor="val_loss"),
    "checkpoint weights": callback("ModelCheckpoint", monitor="loss", save_weights_only=True),
    "checkpoint steps": callback(
        "ModelCheckpoint", dirpath="mine", every_n_train_steps=2, save_top_k=-1
    ),
    "checkpoint time": callback("ModelCheckpoint", train_time_interval="00:00:00:01"),
    "lr finder": callback("LearningRateFinder", num_training_steps=30),
    "batch finder": callback("BatchSizeFinder", init_val=4, max_trials=2, steps_per_trial=1),
    "our lr finder": callback("FindLearningRate", num_training_steps=30),
    "swa": callback("StochasticWeightAveraging", swa_lrs=0.01, swa_epoch_start=1),
    "ema": callback("EMAWeightAveraging", decay=0.9),
    "averaging": callback("WeightAveraging"),
    "early stopping": callback("EarlyStopping", monitor="val_loss", patience=3),
    "accumulation": callback("GradientAccumulationScheduler", scheduling={0: 2, 1: 1}),
    "timer": callback("Timer", duration="00:12:00:00"),
    "timer mapping": callback("Timer", duration={"hours": 1}, interval="epoch"),
    "device": callback("DeviceStatsMonitor", cpu_stats=False),
    "lr monitor": callback("LearningRateMonitor", logging_interval="step"),
    "rich bar": callback("RichProgressBar", refresh_rate=1, leave=True),
    "rich theme": callback(
        "RichProgressBar",
        theme={
            "class_path": f"{PARTS}.progress.rich_progress.RichProgressBarTheme",
            "init_args": {"description": "green"},
        },
    ),
    "tqdm bar": callback("TQDMProgressBar", refresh_rate=10),
    "pruning": callback("ModelPruning", pruning_fn="l1_unstructured", amount=0.2),
    "structured pruning": callback(
        "ModelPruning", pruning_fn="ln_structured", pruning_dim=0, pruning_norm=2, amount=0.2,
        use_global_unstructured=False, parameter_names=["weight"], verbose=1,
    ),
    "exception": callback("OnExceptionCheckpoint", dirpath="kept"),
    "summary": callback("ModelSummary", max_depth=2),
    "rich summary": callback("RichModelSummary", max_depth=-1),
    "spikes": callback("SpikeDetection", warmup=100),
    "predictions": callback("BasePredictionWriter", write_interval="batch"),
    "csv": logger("CSVLogger", save_dir="logs"),
    "csv here": logger("CSVLogger", save_dir="lightning_logs", name="run"),
    "tensorboard": logger("TensorBoardLogger", save_dir="tb"),
    "tensorboard below": logger("TensorBoardLogger", save_dir="tb", sub_dir="below"),
    "two loggers": {
        "logger": [
            {"class_path": "CSVLogger", "init_args": {"save_dir": "logs"}},
            {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "logs"}},
        ]
    },
    "wandb": logger("WandbLogger", offline=True, project="signs"),
    "wandb model": logger("WandbLogger", offline=True, save_dir="wb", name="run"),
    "mlflow": logger("MLFlowLogger", experiment_name="signs", tracking_uri="file:./ml"),
    "mlflow model": logger("MLFlowLogger", save_dir="ml", log_model=True),
    "simple": profiler("SimpleProfiler", dirpath="profile", filename="simple"),
    "simple word": {"profiler": "simple"},
    "advanced": profiler("AdvancedProfiler", filename="advanced"),
    "pytorch": profiler("PyTorchProfiler", filename="pytorch"),
    "pass": profiler("PassThroughProfiler"),
    "sync_batchnorm": {"sync_batchnorm": True},
}  # fmt: skip

REFUSED = {
    "no backbone": (callback("BackboneFinetuning"), "SignsFunctional has none"),
    "base class": (callback("BaseFinetuning"), "it is made for subclasses"),
    "masks": (
        callback("ModelPruning", pruning_fn="l1_unstructured", make_pruning_permanent=False),
        "make_pruning_permanent false writes weights and masks apart",
    ),
    "comet": (logger("CometLogger"), "CometLogger cannot be made: Requirement 'comet"),
    "lightning.ai": (logger("LitLogger"), "expected Logger"),
    "xla": (profiler("XLAProfiler"), "XLAProfiler cannot be made: Requirement 'torch_xla"),
    "fsdp": ({"strategy": "fsdp", "devices": 2}, "`fsdp` requires a GPU"),
}

ASKED = {
    "lambda": callback("LambdaCallback", on_train_start="hooks.say"),
    "throughput": callback("ThroughputMonitor", batch_size_fn="hooks.size"),
}
HOOKS = """
def say(trainer, model):
    print("training begins")

def size(batch):
    return len(batch[1])
"""
NET = """
from torch import nn
from signs_lightning import ImageClassifier

class Net(ImageClassifier):
    def build(self):
        layers = [nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.ReLU()]
        head = [nn.Flatten(), nn.Linear(256, self.num_classes)]
        return nn.Sequential(nn.Sequential(*layers), *head)

    @property
    def backbone(self):
        return self.network[0]
"""


@pytest.fixture
def fit(cli, small_signs, tmp_path, monkeypatch) -> Callable[..., Any]:
    """Runs `fit` for two epochs with options of the Trainer."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("hooks", "net"):  # of an earlier test
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(trainer: dict[str, Any], *args: object) -> Any:
        train, test = (str(path) for path in small_signs)
        config = {
            "model": {"class_path": "SignsFunctional", "init_args": {"lr": 0.01}},
            "trainer": {"max_epochs": 2, "accelerator": "cpu", "devices": 1, **trainer},
            "data": {"train_file": train, "test_file": test, "val_fraction": 0.2},
        }
        config["data"]["batch_size"] = 16
        (tmp_path / "given.yaml").write_text(yaml.safe_dump(config))
        return cli("fit", "--config", "given.yaml", "--name", "run", *args)

    return run


def run_folder(tmp_path: Path) -> Path:
    """Return the folder of the one run that there is."""
    (config,) = tmp_path.rglob("config.yaml")
    return config.parent


def epochs(folder: Path) -> list[str]:
    with (folder / "history.csv").open() as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def check_every_verb(cli: Callable[..., Any], fit: Callable[..., Any], trainer: Any) -> None:
    place = Path.cwd()
    done = fit(trainer)
    assert done.code == 0, done.err
    folder = run_folder(place)
    assert epochs(folder) == ["0", "1"]
    Image.new("RGB", (64, 64)).save("hand.png")
    for line in (
        "test RUN", "validate RUN", "predict RUN", "predict RUN hand.png", "report RUN",
        "export RUN --format keras-weights --output model.weights.h5", "summary RUN",
    ):  # fmt: skip
        done = cli(*line.replace("RUN", str(folder)).split())
        assert done.code == 0, (line, done.err)
    done = cli("fit", "--ckpt_path", folder, "--trainer.max_epochs", 3)
    assert done.code == 0, done.err
    assert epochs(folder) == ["0", "1", "2"]
    assert len(list(place.rglob("config.yaml"))) == 1
    done = cli("fit", "--config", folder / "config.yaml", "--name", "again")
    assert done.code == 0, done.err
    (again,) = (path.parent for path in place.rglob("config.yaml") if path.parent != folder)
    assert epochs(again) == ["0", "1", "2"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the packages behind loggers and profilers
@pytest.mark.parametrize("name", TABLE)
def test_each(cli, fit, name):
    package = next((part for part in ("wandb", "mlflow") if part in name), None)
    if package is not None:
        pytest.importorskip(package, reason=f"{package} is not installed")
    check_every_verb(cli, fit, TABLE[name])
    if package == "wandb":
        pytest.importorskip("wandb").finish()  # else a later run goes into the same


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the profiler's, which could not be made and is deleted
@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_written(fit, tmp_path, name):
    trainer, sentence = REFUSED[name]
    done = fit(trainer)
    assert done.code == 2, done.err
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.rglob("config.yaml")) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:When using the `ThroughputMonitor`")
@pytest.mark.parametrize("name", ASKED)
def test_functions_of_ones_own_are_named_again(cli, fit, tmp_path, name):
    """A resumed run does not call them on the checkpoint's word: it says what to add."""
    (tmp_path / "hooks.py").write_text(HOOKS)
    assert fit(ASKED[name]).code == 0
    resume = ["fit", "--ckpt_path", run_folder(tmp_path), "--trainer.max_epochs", 3]
    done = cli(*resume)
    assert done.code == 2
    added = re.search(r"If you trust it, add (--.+)\.$", done.err.strip())
    assert added is not None, done.err
    done = cli(*resume, *shlex.split(added[1]))
    assert done.code == 0, done.err
    assert name != "lambda" or "training begins" in done.out
    assert epochs(run_folder(tmp_path)) == ["0", "1", "2"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The provided params to be frozen")  # its BatchNorm is trained
def test_a_backbone_is_unfrozen(cli, fit, tmp_path):
    """BackboneFinetuning with a model that has one: its weights are trained from epoch 1 on."""
    (tmp_path / "net.py").write_text(NET)
    model = ["--model", "net.Net", "--model.lr", 0.01]
    done = fit(callback("BackboneFinetuning", unfreeze_backbone_at_epoch=1), *model)
    assert done.code == 0, done.err
    folder = run_folder(tmp_path)
    for line in ("test", "validate"):
        assert cli(line, folder, "--model", "net.Net").code == 0
    done = cli("fit", "--ckpt_path", folder, "--trainer.max_epochs", 3, "--model", "net.Net")
    assert done.code == 0, done.err
    assert epochs(folder) == ["0", "1", "2"]


@pytest.mark.slow
def test_a_run_that_failed_goes_on_where_it_was(cli, fit, tmp_path):
    """OnExceptionCheckpoint keeps the failed step; a new run says that it begins from there."""
    (tmp_path / "hooks.py").write_text(
        "import lightning as L\n"
        "class Boom(L.Callback):\n"
        "    def on_train_batch_end(self, trainer, *args):\n"
        "        if trainer.global_step == 5:\n"
        "            raise KeyError('boom')\n"
    )
    kept = callback("OnExceptionCheckpoint", dirpath="kept")
    with pytest.raises(KeyError, match="boom"):
        fit(kept, "--trainer.callbacks+=hooks.Boom")
    assert (tmp_path / "kept/on_exception.ckpt").is_file()
    failed = run_folder(tmp_path)
    done = fit(kept)
    assert done.code == 0, done.err
    assert "OnExceptionCheckpoint kept kept/on_exception.ckpt" in " ".join(done.out.split())
    (folder,) = (x.parent for x in tmp_path.rglob("config.yaml") if x.parent != failed)
    assert epochs(folder) == ["0", "1"]
    assert not (tmp_path / "kept/on_exception.ckpt").exists()
