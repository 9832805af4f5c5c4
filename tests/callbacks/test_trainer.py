"""`signs_lightning.Trainer`: what it prints and leaves, and that what is passed wins."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger

from signs_lightning import H5DataModule, InputError, SignsFunctional, Trainer
from signs_lightning.callbacks import callbacks_and_loggers
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.history_writer import HistoryWriter
from signs_lightning.callbacks.notebook_progress_bar import NotebookProgressBar
from signs_lightning.callbacks.progress_bar import EpochProgressBar
from signs_lightning.callbacks.python_config import SavePythonConfig

RUN = Path("lightning_logs/signs_functional/version_0")


@pytest.fixture
def data(small_signs, tmp_path, monkeypatch) -> H5DataModule:
    """48 images to train on and 12 to validate on; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.delenv("PL_GLOBAL_SEED")  # what a test sets is undone
    files: Any = {"train_file": str(small_signs[0]), "test_file": str(small_signs[1])}
    return H5DataModule(**files, val_fraction=0.2, batch_size=16, seed=3)


def kinds(trainer: Any) -> set[type]:
    return {type(callback) for callback in trainer.callbacks}


def test_a_run_is_quiet_and_leaves_a_folder(data, capfd):
    """Nothing on standard error, and what the command line leaves; evaluations leave nothing."""
    model = SignsFunctional(lr=0.01)
    trainer = Trainer(max_epochs=2, accelerator="cpu")
    capfd.readouterr()
    trainer.fit(model, data)
    printed, errors = capfd.readouterr()
    assert errors == ""
    for part in ("conv1", "1,310", "epoch 1/2", "epoch 2/2", f"Run folder: {RUN}"):
        assert part in printed
    trainer.test(model, data)
    assert model.evaluation is not None
    assert f"accuracy {model.evaluation.correct}/12" in (printed := capfd.readouterr().out)
    assert "precision" in printed
    trainer.test(ckpt_path="best", datamodule=data, verbose=False)
    assert "accuracy" not in capfd.readouterr().out
    batches = trainer.predict(model, data)
    images, _ = data.images("test", 12)
    np.testing.assert_array_equal(torch.cat(batches), model.predict(images))

    names = {"checkpoints", "train", "validation"}
    names |= {"config.yaml", "run.yaml", "history.csv", "curves.png"}
    assert {path.name for path in RUN.iterdir()} == names
    assert {path.name for path in (RUN / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.slow
def test_the_command_line_goes_on_with_a_run_from_python(data, cli):
    """`fit --config` runs it again and `fit --ckpt_path` resumes it: the same three epochs."""
    L.seed_everything(1, verbose=False)
    Trainer(max_epochs=2, accelerator="cpu").fit(SignsFunctional(lr=0.01), data)
    longer = ("--trainer.max_epochs", 3)
    done = cli("fit", "--config", RUN / "config.yaml", *longer, "--name", "again")
    assert done.code == 0, done
    assert cli("fit", "--ckpt_path", RUN).code == 0
    assert len((RUN / "history.csv").read_text().splitlines()) == 3, "it knows its two epochs"
    assert cli("fit", "--ckpt_path", RUN, *longer).code == 0
    again = Path("lightning_logs/again/version_0/history.csv").read_text()
    assert (RUN / "history.csv").read_text() == again


def test_lightning_s_own_trainer_goes_on_as_before(data, caplog):
    """Log level and filters of warnings are those of before, and its run says what it says."""
    caplog.set_level(logging.INFO, "lightning.pytorch")  # other tests raise it
    logger, filters = logging.getLogger("lightning.pytorch"), list(warnings.filters)
    Trainer(max_epochs=1, accelerator="cpu", logger=False).validate(SignsFunctional(), data)
    assert (logger.level, warnings.filters) == (logging.INFO, filters)
    assert caplog.text == ""
    L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert "GPU available" in caplog.text


def test_what_is_passed_wins(data):
    """Bar, logger, checkpoints, limits and the name of the run are the user's."""
    bar, saver = TQDMProgressBar(), ModelCheckpoint()
    logger = CSVLogger("logs", name="mine")
    trainer: Any = Trainer(
        name="mine", callbacks=[bar, saver], logger=logger, max_steps=7, num_sanity_val_steps=1
    )
    assert trainer.loggers == [logger]
    assert bar in trainer.callbacks
    assert saver in trainer.callbacks
    assert not any(isinstance(callback, EpochProgressBar) for callback in trainer.callbacks)
    assert (trainer.max_epochs, trainer.max_steps, trainer.num_sanity_val_steps) == (None, 7, 1)
    assert (Trainer().max_epochs, Trainer().num_sanity_val_steps) == (100, 0)
    nothing = Trainer(logger=False, enable_progress_bar=False)
    assert not kinds(nothing) & {RunCheckpoint, HistoryWriter, EpochProgressBar, ModelCheckpoint}
    assert Trainer(callbacks=bar).progress_bar_callback is bar
    checkpoint = RunCheckpoint("val_accuracy", "max")
    chosen: Any = Trainer(callbacks=[checkpoint])
    assert [one for one in chosen.callbacks if isinstance(one, RunCheckpoint)] == [checkpoint]
    assert Trainer(barebones=True).loggers == []


class Interrupt(L.Callback):
    def on_train_batch_end(self, *args: Any) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_cell_ends_as_any_other(data, capfd):
    """KeyboardInterrupt, which the next Ctrl-C raises again, and the way to resume."""
    trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(SignsFunctional(), data)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "Interrupted." in capfd.readouterr().out


def test_a_trainer_whose_epochs_are_over_says_so(data, capfd):
    trainer = Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, logger=False)
    model = SignsFunctional()
    trainer.fit(model, data)
    capfd.readouterr()
    trainer.fit(model, data)
    assert "This Trainer has reached max_epochs=1. Make a new one" in capfd.readouterr().out
    assert len(model.history) == 1


def test_no_configuration_says_less_than_the_run(data, tmp_path):
    """A run with an optimizer of its own, on arrays, or with a callback, has no config.yaml."""

    class Own(SignsFunctional):
        pass

    arrays = np.zeros((20, 64, 64, 3), np.uint8), np.arange(20) % 6
    on_arrays = H5DataModule(train_file=arrays, val_fraction=0.2)
    plain, adam = SignsFunctional(), SignsFunctional(optimizer=torch.optim.AdamW)

    def write(model: Any, module: Any, **options: Any) -> bool:
        trainer: Any = SimpleNamespace(
            datamodule=module, log_dir=tmp_path, is_global_zero=True, loggers=[data], ckpt_path=None
        )
        data.name = "named"
        SavePythonConfig(options).on_fit_start(trainer, model)
        return (tmp_path / "config.yaml").exists()

    assert not write(adam, data)
    assert not write(plain, on_arrays)
    assert not write(Own(), data)
    assert not write(plain, data, callbacks=[Interrupt()])
    trained = SignsFunctional()
    trained.history.append({"epoch": 0, "loss": 1.0})
    assert not write(trained, data)
    assert write(plain, data, max_epochs=4, default_root_dir=tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (config["seed_everything"], config["data"]["seed"]) == (False, 3)
    assert config["trainer"] == {"max_epochs": 4, "default_root_dir": str(tmp_path)}


def test_the_bar_of_a_notebook_is_html_that_is_replaced_and_goes(data, monkeypatch, capsys):
    """What IPython is asked to display, one handle for a stage; lines of epochs are plain text."""
    shown: list[dict[str, str]] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            shown.append(content)

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(content)
        return Handle()

    monkeypatch.setattr(callbacks_and_loggers, "is_notebook", lambda: True)
    monkeypatch.setattr("signs_lightning.callbacks.notebook_progress_bar.REFRESH_SECONDS", -1.0)
    module: Any = ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    options: Any = {"logger": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=2, **options)
    assert NotebookProgressBar in kinds(trainer)
    model = SignsFunctional()
    trainer.fit(model, data)
    texts = [" ".join(content["text/plain"].split()) for content in shown]
    assert texts[0].startswith("epoch 1/2 1/3 loss ")
    assert texts[3].startswith("epoch 1/2 validation 1/1 loss ")
    assert texts[4].startswith("epoch 2/2 1/3 loss ")
    assert '<progress value="1" max="3">' in shown[0]["text/html"]
    assert shown[-1] == {"text/html": "", "text/plain": ""}
    assert "epoch 2/2" in capsys.readouterr().out
    trainer.test(model, data, verbose=False)
    assert shown[-2]["text/plain"].split()[:3] == ["test", "1/1", "loss"]


def test_other_inputs_than_images_are_refused(data):
    class Two(SignsFunctional):
        @property
        def other_inputs(self) -> dict[str, tuple[int, ...]]:
            return {"meta": (4,)}

    with pytest.raises(InputError, match="'meta' \\(4\\) beside the image, and a Trainer feeds"):
        Trainer(logger=False).fit(Two(), data)
