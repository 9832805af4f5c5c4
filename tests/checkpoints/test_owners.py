"""The border's other side: what an owner's run is made with is followed when it is resumed, with no
option named again.

What is an owner's own class, or leads out of the working directory, is named again: see
commands/test_trusted_config.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from signs_lightning.checkpoints.run_links import check_links
from signs_lightning.commands.ckpt_path import find_start


def made(path: str, /, **arguments: Any) -> dict[str, Any]:
    return {"class_path": path, "init_args": arguments} if arguments else {"class_path": path}


def callback(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"trainer": {"callbacks": [made(f"lightning.pytorch.callbacks.{name}", **arguments)]}}


def logger(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"trainer": {"logger": made(f"lightning.pytorch.loggers.{name}", **arguments)}}


CLASSIFICATION = "torchmetrics.classification"
OWN: dict[str, dict[str, Any]] = {  # of a run's configuration
    "early stopping": callback("EarlyStopping", monitor="val_loss", patience=3),
    "the rate of every step": callback("LearningRateMonitor", logging_interval="step"),
    "averaged weights": callback("StochasticWeightAveraging", swa_lrs=0.01),
    "a limit of time": callback("Timer", duration={"hours": 12}),
    "a wide progress bar": callback("RichProgressBar"),
    "another progress bar": callback("TQDMProgressBar", refresh_rate=10),
    "a summary": callback("ModelSummary", max_depth=2),
    "checkpoints by a pattern": callback("ModelCheckpoint", filename="{epoch}-{val_loss:.2f}"),
    "checkpoints in a folder": callback("ModelCheckpoint", dirpath="kept/all", monitor="loss"),
    "checkpoints without versions": callback(
        "ModelCheckpoint", filename="newest", enable_version_counter=False
    ),
    "a checkpoint of what fails": callback("OnExceptionCheckpoint", dirpath="failed"),
    "accumulation": callback("GradientAccumulationScheduler", scheduling={"4": 2}),
    "spikes": callback("SpikeDetection", warmup=100),
    "TensorBoard elsewhere": logger("TensorBoardLogger", save_dir="logs.d/all", name="a/b"),
    "CSV in a folder": logger("CSVLogger", save_dir="logs", name="hands"),
    "MLflow in a folder": logger("MLFlowLogger", save_dir="ml", experiment_name="signs"),
    "W&B without a server": logger("WandbLogger", offline=True, project="signs"),
    "a profiler by name": {"trainer": {"profiler": "simple"}},
    "a profiler into a folder": {
        "trainer": {"profiler": made("lightning.pytorch.profilers.SimpleProfiler", dirpath="prof")}
    },
    "bfloat16": {"trainer": {"precision": "bf16-mixed"}},
    "two GPUs": {"trainer": {"devices": "0,1", "accelerator": "gpu", "strategy": "ddp"}},
    "clipped gradients": {"trainer": {"gradient_clip_val": 1.0}},
    "a limit of hours": {"trainer": {"max_time": {"hours": 1}}},
    "a strategy with arguments": {
        "trainer": {
            "strategy": made(
                "lightning.pytorch.strategies.DDPStrategy", find_unused_parameters=True
            )
        }
    },
    "an optimizer": {"model": {"optimizer": made("torch.optim.SGD", momentum=0.9)}},
    "a schedule": {
        "model": {
            "optimizer": made("torch.optim.AdamW"),
            "lr_scheduler": made("torch.optim.lr_scheduler.StepLR", step_size=2),
        }
    },
    "one's own schedule": {"model": {"schedule": "one_cycle", "warmup": 0.1}},
    "a loss": {"model": {"loss": made("torch.nn.CrossEntropyLoss", label_smoothing=0.1)}},
    "a metric": {"model": {"metrics": [made(f"{CLASSIFICATION}.MulticlassF1Score")]}},
    "a transform": {
        "model": {"augmentation": [made("torchvision.transforms.v2.RandomHorizontalFlip", p=0.5)]}
    },
    "transforms in one": {
        "model": {
            "augmentation": [
                made(
                    "torchvision.transforms.v2.RandomApply",
                    transforms=[made("torchvision.transforms.v2.RandomGrayscale", p=0.5)],
                )
            ]
        }
    },
    "weights of classes": {"model": {"class_weights": [1.0, 2.0, 1.0, 1.0, 1.0, 1.0]}},
    "compiled": {"model": {"compile": True}},
    "data from the root": {"data": {"train_file": "/data/hands/train.h5"}},
    "data above": {"data": {"train_file": "../hands/train.h5"}},
    "several files": {"data": {"train_file": ["a.h5", "/data/b.h5"]}},
    "a pattern": {"data": {"train_file": "/data/hands/*.h5"}},
    "names of any kind": {"data": {"class_names": ["=1+1", "<b>", "手", "{a: b}", "c", "d"]}},
    "links in data": {"data": {"follow_links": True}},
    "keys of data": {"data": {"images_key": "signs/train/x", "labels_key": "signs/train/y"}},
    "workers": {"data": {"num_workers": 4, "shuffle_buffer": 64}},
    "another figure": {"checkpoint": {"monitor": "val_accuracy", "mode": "max"}},
    "a name with a folder": {"name": "hands/first"},
    "a seed": {"seed_everything": 7},
}
RUNS = (  # so far apart that each is trained and resumed for itself
    "early stopping", "averaged weights", "checkpoints by a pattern", "checkpoints in a folder",
    "checkpoints without versions", "a checkpoint of what fails", "TensorBoard elsewhere",
    "CSV in a folder", "a profiler into a folder", "an optimizer", "a schedule", "a loss",
    "a transform", "another figure", "a name with a folder",
)  # fmt: skip


@pytest.mark.parametrize("case", OWN)
def test_followed(
    case: str, plant: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `fit` takes from the checkpoint has the option as it was."""

    def change(checkpoint: dict[str, Any]) -> None:
        config = checkpoint["config"]
        for section, value in OWN[case].items():
            if not isinstance(value, dict):
                config[section] = value
            elif section == "model":
                config["model"]["init_args"].update(value)
                checkpoint["hyper_parameters"].update(
                    {k: part for k, part in value.items() if k in checkpoint["hyper_parameters"]}
                )
            else:
                config.setdefault(section, {}).update(value)

    monkeypatch.chdir(tmp_path)
    plant(change)
    start = find_start("fit", ["--ckpt_path", "RUN"])
    taken = yaml.safe_load(start.args[0].removeprefix("--config="))
    for section, value in OWN[case].items():
        found = taken[section]["init_args"] if section == "model" else taken[section]
        if not isinstance(value, dict):
            assert found == value
        else:
            assert {key: found.get(key) for key in value} == value


@pytest.mark.slow
@pytest.mark.parametrize("case", RUNS)
def test_resumed(case: str, cli: Callable, small_signs: tuple[Path, Path], tmp_path: Path) -> None:
    """A run that was made so goes on by itself."""
    config: dict[str, Any] = {
        "model": {"class_path": "SignsFunctional", "init_args": {}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
        "data": {"train_file": str(small_signs[0]), "val_fraction": 0.2, "batch_size": 24},
    }
    for section, value in OWN[case].items():
        if section == "model":
            config["model"]["init_args"] |= value
        else:
            config[section] = (
                {**config.get(section, {}), **value} if isinstance(value, dict) else value
            )
    Path("own.yaml").write_text(yaml.safe_dump(config))
    done = cli("fit", "--config", "own.yaml")
    assert done.code == 0, done.err
    run = next(tmp_path.rglob("history.csv")).parent
    done = cli("fit", "--ckpt_path", run.relative_to(tmp_path), "--trainer.max_epochs", 2)
    assert done.code == 0, done.err
    assert len((run / "history.csv").read_text().splitlines()) == 3


def test_links_of_one_s_own(tmp_path: Path) -> None:
    """Into the run folder, as ModelCheckpoint's `save_last: link` makes them, and above it."""
    (tmp_path / "disk/run/checkpoints").mkdir(parents=True)
    (tmp_path / "disk/run/checkpoints/a.ckpt").touch()
    (tmp_path / "disk/run/checkpoints/last.ckpt").symlink_to("a.ckpt")
    (tmp_path / "lightning_logs").symlink_to(tmp_path / "disk")
    check_links(tmp_path / "lightning_logs/run")
    check_links(tmp_path / "lightning_logs/run/checkpoints/last.ckpt")
