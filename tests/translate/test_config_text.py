"""Configurations of translated trainings: what they say, and that they train."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from reading_data import ARRAYS, MODEL, fit_of, fits_of, write

from signs_lightning.translate.config_text import write_config

SOURCE = """
made = ImageDataGenerator(rescale=1 / 255, rotation_range=10, fill_mode="reflect")
stop = callbacks.EarlyStopping(monitor="val_loss", patience=3)
rate = callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))
model.fit(made.flow(x, y, batch_size=16), epochs=2, validation_data=(x_test / 255, y_test),
          class_weight=dict(enumerate([2, 1, 1, 1, 1, 1])),
          callbacks=[stop, rate])
"""


@pytest.fixture
def importable(tmp_path: Path) -> Iterator[None]:
    """Forget the modules beside a configuration, and their folder, after a test."""
    modules, folders = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = folders
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


def config_of(source: str, **options: Any) -> dict[str, Any]:
    return yaml.safe_load(write_config(None, fit_of(source), "model", **options))


def test_values_stand_where_fit_reads_them() -> None:
    config = config_of(SOURCE)
    arguments = config["model"]["init_args"]
    assert config["model"]["class_path"] == "model.Net"
    assert arguments["lr"] == 0.001
    assert arguments["optimizer"]["class_path"].endswith("KerasAdam")
    assert arguments["optimizer"]["init_args"]["betas"] == [0.9, 0.999]
    assert arguments["class_weights"] == [2, 1, 1, 1, 1, 1]
    assert arguments["lr_scheduler"]["init_args"]["rates"] == [0.01, 0.005]
    assert arguments["augmentation"][0]["init_args"]["fill_mode"] == "reflect"
    assert config["trainer"]["max_epochs"] == 2
    assert config["trainer"]["callbacks"][0]["init_args"]["monitor"] == "val_loss"
    assert config["data"]["batch_size"] == 16


def test_comments_name_cell_and_line() -> None:
    text = write_config(None, fit_of("model.fit(x, y, epochs=7)"), "model")
    line = next(line for line in text.splitlines() if "max_epochs" in line)
    number = len((MODEL + ARRAYS).splitlines()) + 1
    assert line == f"  max_epochs: 7  # line {number}"
    assert max(map(len, text.splitlines())) <= 100


def test_files_of_the_user_replace_those_of_the_source() -> None:
    config = config_of("model.fit(x, y)", data_files={"train_file": "mine.h5"})
    assert config["data"]["train_file"] == "mine.h5"
    assert "train_images_key" not in config["data"]


def test_files_that_are_not_known_are_named_in_the_command() -> None:
    text = write_config(None, fit_of("model.fit(x[:100], y[:100])"), "model")
    assert text.splitlines()[0].endswith("config.yaml --data.train_file FILE.h5")


def test_a_second_configuration_takes_back_what_the_first_one_said() -> None:
    _, second = fits_of(
        f"{SOURCE}model.compile('sgd', 'sparse_categorical_crossentropy')\nmodel.fit(x / 255, y)"
    )
    config = yaml.safe_load(write_config(None, second, "model_2"))
    arguments = config["model"]["init_args"]
    assert [arguments[k] for k in ("augmentation", "class_weights", "lr_scheduler")] == [None] * 3
    assert config["trainer"]["callbacks"] is None
    assert config["data"]["val_file"] is None
    assert config["fresh_optimizer"] is True


def train(cli: Any, folder: Path, name: str, *arguments: object) -> dict[str, Any]:
    """Train by a configuration, and return the whole one that the run wrote."""
    done = cli(
        "fit", *arguments, "--config", folder / "config.yaml" if not arguments else
        folder / "config_2.yaml", "--trainer.accelerator", "cpu", "--name", name,
    )  # fmt: skip
    assert done.code == 0, done.err
    return yaml.safe_load(Path(f"lightning_logs/{name}/version_0/config.yaml").read_text())


@pytest.mark.usefixtures("importable", "guarded_forks")
def test_both_configurations_train(cli: Any, tmp_path: Path, small_signs: Any) -> None:
    for name, file in zip(("train", "test"), small_signs, strict=True):
        (tmp_path / f"{name}_signs.h5").symlink_to(file)
    fits = fits_of(
        f"{SOURCE}for layer in model.layers[:-1]:\n    layer.trainable = False\n"
        "model.compile(keras.optimizers.SGD(0.01), 'sparse_categorical_crossentropy')\n"
        "model.fit(x / 255, y, epochs=1, shuffle=False)"
    )
    write(fits, tmp_path / "folder")
    first = train(cli, tmp_path / "folder", "first")
    assert first["data"]["batch_size"] == 16
    assert Path("lightning_logs/first/version_0/checkpoints/best.ckpt").is_file()
    second = train(
        cli, tmp_path / "folder", "second", "--ckpt_path", "lightning_logs/first/version_0"
    )
    arguments = second["model"]["init_args"]
    assert second["model"]["class_path"] == "model_2.Net"
    assert arguments["augmentation"] is None
    assert (second["data"]["shuffle"], second["data"]["val_file"]) == (False, None)
