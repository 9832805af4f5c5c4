"""Files of earlier formats are read, those of later ones refused; and old names, which still work
for one release.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import signs_lightning
from signs_lightning import InputError, SignsFunctional
from signs_lightning.commands import argv
from signs_lightning.runtime import format_migrations
from signs_lightning.runtime.format_migrations import (
    FORMAT_VERSION,
    Renames,
    migrate_checkpoint,
    migrate_config,
)


@pytest.fixture
def run(cli, small_signs) -> Path:
    """A run folder of one epoch with a best checkpoint."""
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--data.val_fraction", 0.2,
        "--trainer.max_epochs", 1, "--name", "first",
    )  # fmt: skip
    assert done.code == 0, done.err
    return Path("lightning_logs/first/version_0")


def change(path: Path, changes) -> None:
    """Writes a checkpoint or a configuration anew after `changes` was called with it."""
    if path.suffix == ".ckpt":
        content = torch.load(path, weights_only=True)
        changes(content)
        torch.save(content, path)
    else:
        content = yaml.safe_load(path.read_text())
        changes(content)
        path.write_text(yaml.safe_dump(content))


def test_both_files_carry_the_number(run):
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["signs_lightning"]["format_version"] == FORMAT_VERSION
    assert yaml.safe_load((run / "config.yaml").read_text())["format_version"] == FORMAT_VERSION


@pytest.mark.slow
def test_files_without_a_number(cli, run, small_signs):
    """What the first releases wrote is tested, goes on, and runs again; what comes of it has
    today's number.
    """
    change(
        run / "checkpoints/last.ckpt",
        lambda content: content["signs_lightning"].pop("format_version"),
    )
    change(run / "config.yaml", lambda content: content.pop("format_version"))
    done = cli(
        "test", "--ckpt_path", run / "checkpoints/last.ckpt", "--data.test_file", small_signs[1]
    )
    assert done.code == 0, done.err
    assert cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 2).code == 0
    assert cli("fit", "--config", run / "config.yaml", "--trainer.max_epochs", 2).code == 0
    again = run.parent / "version_1"
    assert (again / "history.csv").read_text() == (run / "history.csv").read_text()
    for folder in (run, again):
        test_both_files_carry_the_number(folder)


def test_later_numbers_are_refused(cli, run):
    """By number, before anything is written; also in Python. What is no number is not later."""
    path, config = run / "checkpoints/last.ckpt", run / "config.yaml"
    sentence = f"has format_version 99, this signs_lightning reads up to {FORMAT_VERSION}: "
    sentence += "install a newer release."
    change(
        path,
        lambda content: content["signs_lightning"].update(format_version=99, later=torch.zeros(1)),
    )
    change(config, lambda content: content.update(format_version=99, later={"name": 1}))
    before = sorted(Path().rglob("*"))
    for args, name in (
        (["predict", "--ckpt_path", path], path),
        (["fit", "--config", config], "config.yaml"),
    ):
        done = cli(*args)
        assert (done.code, done.err) == (2, f"{name} {sentence}\n")
    with pytest.raises(InputError, match=f"The checkpoint {sentence}"):
        SignsFunctional.load_from_checkpoint(path, weights_only=True)
    for number in (
        "1",
        1.0,
        True,
        -1,
        10**5000,
    ):  # the last one has more digits than Python writes out
        with pytest.raises(
            InputError,
            match=rf"^f has a format_version that is none, expected .* up to {FORMAT_VERSION}\.$",
        ):
            migrate_config({"format_version": number}, "f")
    assert sorted(Path().rglob("*")) == before


RENAMES = Renames(
    classes={
        "signs_lightning.callbacks": "lightning.pytorch.callbacks",
        "SignsOld": "SignsFunctional",
    },
    states={"OldCheckpoint": "RunCheckpoint", "OldDataModule": "H5DataModule"},
    options={"data.batch": "data.batch_size", "model.init_args.rate": "model.init_args.lr"},
)


def with_old_names(content) -> None:
    """Today's names become those that `RENAMES` knows as old ones."""
    config = content.get("config", content)
    config["model"]["class_path"] = "SignsOld"
    config["model"]["init_args"]["rate"] = config["model"]["init_args"].pop("lr")
    config["data"]["batch"] = config["data"].pop("batch_size")
    config["trainer"]["callbacks"] = [
        {"class_path": "signs_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "loss"}}
    ]
    content.get("signs_lightning", content).pop("format_version")


def test_old_names_in_files_are_brought_up_to_date(cli, run, monkeypatch):
    """Classes, callbacks' states and options: a run under the old names goes on and runs again,
    with the same numbers.
    """
    path, config = run / "checkpoints/last.ckpt", run / "config.yaml"

    def old(content):
        with_old_names(content)
        content["signs_lightning"]["model"] = "SignsOld"
        content["hyper_parameters"]["rate"] = content["hyper_parameters"].pop("lr")
        content["OldDataModule"] = content.pop("H5DataModule")
        content["OldDataModule"]["batch"] = content["OldDataModule"].pop("batch_size")
        content["callbacks"]["OldCheckpoint"] = {
            **content["callbacks"].pop("RunCheckpoint"),
            "best_value": -1.0,
        }

    change(path, old)
    change(config, with_old_names)
    typed = config.read_text()
    assert cli("test", "--ckpt_path", path).code == 2  # the old names are not today's
    assert cli("fit", "--config", config).code == 2
    monkeypatch.setattr(format_migrations, "MIGRATIONS", (RENAMES,))
    done = cli("fit", "--config", config, "--trainer.max_epochs", 2)
    assert done.code == 0, done.err
    assert config.read_text() == typed  # what a user wrote stays
    again = run.parent / "version_1"
    written = yaml.safe_load((again / "config.yaml").read_text())
    callback = written["trainer"]["callbacks"][0]["class_path"]
    assert callback == "lightning.pytorch.callbacks.EarlyStopping"
    assert "rate" not in written["model"]["init_args"]
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 2)
    assert done.code == 0, done.err
    assert (again / "history.csv").read_text() == (run / "history.csv").read_text()
    checkpoint = torch.load(path, weights_only=True)
    # Kept, so the state was found.
    assert checkpoint["callbacks"]["RunCheckpoint"]["best_value"] == -1
    assert checkpoint["signs_lightning"]["model"] == "SignsFunctional"
    assert {"rate", "batch"}.isdisjoint(
        {**checkpoint["hyper_parameters"], **checkpoint["H5DataModule"]}
    )


def test_each_number_leads_to_the_next(monkeypatch):
    """A file goes through the renames after its own number only; a value under the new name wins;
    what has other shapes stays.
    """
    first = Renames(options={"data.a": "data.b"}, classes={"x": "y"})
    monkeypatch.setattr(
        format_migrations,
        "MIGRATIONS",
        (first, Renames(options={"data.b": "data.c", "old": "new.part"})),
    )
    monkeypatch.setattr(format_migrations, "FORMAT_VERSION", 2)
    old = {"data": {"a": 1}, "old": 5, "list": [{"class_path": "x.Z"}]}
    assert migrate_config(old, "f") == {
        "data": {"c": 1},
        "new": {"part": 5},
        "list": [{"class_path": "y.Z"}],
    }
    assert old["data"] == {"a": 1}
    assert migrate_config({**old, "format_version": 1}, "f")["data"] == {"a": 1}
    assert migrate_config({"data": {"b": 1, "c": 2}}, "f") == {"data": {"c": 2}}
    assert migrate_config({"data": "file.yaml", "old": 1, "new": 2}, "f") == {
        "data": "file.yaml",
        "new": 2,
    }
    foreign = {"state_dict": {}, "hyper_parameters": {"a": 1}}
    migrate_checkpoint(foreign, "f")
    assert foreign == {"state_dict": {}, "hyper_parameters": {"a": 1}}
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(InputError, match="nests more deeply"):
        migrate_config({"data": nested}, "f")


def test_the_weight_decay_of_earlier_runs_stays_a_penalty():
    """KerasAdam's was an L2 penalty; what is typed today, without a number, takes Keras's."""
    optimizer = {
        "class_path": "signs_lightning.models.keras_adam.KerasAdam",
        "init_args": {"lr": 0.001, "weight_decay": 0.1},
    }
    config = {"model": {"class_path": "SignsFunctional", "init_args": {"optimizer": optimizer}}}
    for version, expected in ((3, False), (FORMAT_VERSION, None)):
        migrated = migrate_config({**config, "format_version": version}, "f")
        arguments = migrated["model"]["init_args"]["optimizer"]["init_args"]
        assert arguments.get("decoupled") is expected
    assert migrate_config(config, "f") == config


def test_an_old_name_of_the_package_warns(monkeypatch):
    monkeypatch.setitem(signs_lightning._RENAMED, "SignsOld", "SignsFunctional")
    sentence = (
        "signs_lightning.SignsOld is now signs_lightning.SignsFunctional; the old name "
        "goes with the next release."
    )
    with pytest.warns(FutureWarning, match=sentence) as warned:
        assert signs_lightning.SignsOld is SignsFunctional
    assert [Path(warning.filename) for warning in warned] == [Path(__file__)]
    with pytest.raises(AttributeError, match="no attribute 'SignsOlder'"):
        _ = signs_lightning.SignsOlder


def test_an_old_option_still_works(cli, small_signs, monkeypatch):
    """In both spellings, with one line on standard error for each."""
    monkeypatch.setitem(argv.RENAMED_OPTIONS, "--data.batch", "--data.batch_size")
    monkeypatch.setitem(argv.RENAMED_OPTIONS, "--data.train", "--data.train_file")
    done = cli(
        "fit", f"--data.train={small_signs[0]}", "--data.batch", 8, "--trainer.max_epochs", 1,
        "--name", "old",
    )  # fmt: skip
    assert done.code == 0, done.err
    said = [
        f"--data.{old} is now --data.{new}; the old name goes with the next release."
        for old, new in (("train", "train_file"), ("batch", "batch_size"))
    ]
    assert done.err.splitlines() == said
    config = yaml.safe_load(Path("lightning_logs/old/version_0/config.yaml").read_text())
    assert config["data"]["batch_size"] == 8
