"""What a run leaves behind: history.csv, curves, summary, TensorBoard's files and checkpoints, read
by other programs.
"""

import csv
import io
import math
import threading

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from signs_lightning import H5DataModule, InputError, SignsFunctional
from signs_lightning.callbacks import history_file
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.history_file import HistoryFile
from signs_lightning.callbacks.history_writer import HistoryWriter
from signs_lightning.callbacks.tensorboard_logger import RunLogger
from signs_lightning.commands.evaluation_table import print_evaluation
from signs_lightning.models.curves import draw_curves, plot_curves
from signs_lightning.models.metrics import Evaluation
from signs_lightning.models.packed_history import unpack_history

ROWS = [
    {"epoch": 0, "loss": 1.75, "accuracy": 0.25, "val_loss": 1.5, "val_accuracy": 0.5},
    {"epoch": 1, "loss": 1.25, "accuracy": 0.5},
    {
        "epoch": 2,
        "loss": 1 / 3,
        "accuracy": 0.75,
        "val_loss": 1e-9,
        "val_accuracy": 0.625,
        "val_auroc": 0.9,
    },
]


def data_of(files, batch_size):
    train_file, val_file = map(str, files)
    return H5DataModule(train_file, val_file, batch_size=batch_size)


def console():
    return Console(file=io.StringIO(), width=100)


def trainer(folder, **kwargs):
    options = {"max_epochs": 2, "logger": False, "enable_progress_bar": False}
    saves = any(isinstance(callback, RunCheckpoint) for callback in kwargs.get("callbacks", []))
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=folder,
        enable_model_summary=False,
        enable_checkpointing=saves,
        log_every_n_steps=1,
        **options | kwargs,
    )


def test_history_has_keras_s_columns_first_and_reads_back_exactly(tmp_path):
    path = tmp_path / "history.csv"
    HistoryFile(path).write(ROWS)
    raw = path.read_bytes()
    assert raw.startswith(b"epoch,loss,accuracy,val_loss,val_accuracy,val_auroc\n")
    assert b"\r" not in raw
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items() if value} for row in read] == ROWS
    assert read[1]["val_loss"] == read[1]["val_auroc"] == "", "empty where not measured"


def test_history_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    """A write that fails at its last moment leaves the former file; one that succeeds leaves
    nothing beside it.
    """
    path = tmp_path / "history.csv"
    HistoryFile(path).write(ROWS[:1])
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(history_file.os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            HistoryFile(path).write(ROWS)
    assert path.read_bytes() == before
    HistoryFile(path).write(ROWS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.csv"]


def coloured(path):
    """How many columns of pixels hold the training blue, and the validation orange; the lesser of
    loss and accuracy.
    """
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (1350, 510)  # 9 × 3.4 inches at 150 dpi
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (pixels == 255).all(2).mean() > 0.5, "a white ground"
    near = [
        np.abs(pixels - color).sum(2) < 30 for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00))
    ]
    return [
        int(min(side.any(0).sum() for side in (color[:, :675], color[:, 675:]))) for color in near
    ]


@pytest.mark.parametrize(
    ("rows", "blue", "orange"),
    [
        # A curve over the whole width; the legend's sample is some 40 columns wide.
        (ROWS, 500, 500),
        (ROWS[:1], 45, 45),  # a dot beside the legend's
        ([{**row, "loss": -row["loss"]} for row in ROWS], 500, 500),
        ([{**row, "loss": math.nan} for row in ROWS[:1]] + ROWS[1:], 200, 500),
        ([row | {"epoch": k} for k, row in enumerate([ROWS[1]] * 3)], 500, 0),
    ],
    ids=["three epochs", "one epoch", "negative loss", "diverged", "no validation"],
)
def test_curves_are_drawn_in_both_colours(tmp_path, rows, blue, orange):
    """Blue for training and, only where there was validation, orange; nothing left beside the
    picture.
    """
    draw_curves(rows, tmp_path / "curves.png", "title")
    found = coloured(tmp_path / "curves.png")
    assert found[0] >= blue
    assert found[1] >= orange > 0 or found[1] == orange == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["curves.png"]


def test_curves_show_the_highest_loss_and_equal_lines():
    """The axis ends above it, and the line below is wider than the one that covers it."""
    rows = [{"epoch": k, "loss": 1.8 - k / 100, "val_loss": 1.79} for k in range(3)]
    (axes,) = plot_curves(rows, names=["loss"]).axes
    assert axes.get_ylim()[0] == 0
    assert 1.85 < axes.get_ylim()[1] < 2
    below, above = axes.lines
    assert below.get_linewidth() >= 2 * above.get_linewidth()


def test_printed_evaluation_has_a_row_a_class_and_the_interval_on_one_line():
    output = io.StringIO()
    confusion = torch.tensor([[3, 1], [2, 1994]])
    evaluation = Evaluation(0.25, 1997, 2000, ["[red]none[/red]", "smiling"], confusion)
    print_evaluation(evaluation, Console(file=output, width=60))
    lines = output.getvalue().splitlines()
    assert any("smiling" in line and "0.999" in line and "1,996" in line for line in lines)
    assert lines[-1] == "test accuracy 1997/2000 = 0.999 (95% interval 0.996–0.999), loss 0.250"


def test_class_names_are_printed_as_they_are():
    """A name in square brackets is a name, not a colour of rich."""
    screen = console()
    print_evaluation(Evaluation(0.0, 1, 1, ["[red]", "b"], torch.eye(2, dtype=torch.int64)), screen)
    assert "[red]" in screen.file.getvalue()


@pytest.fixture(scope="module")
def logged(tmp_path_factory, small_signs):
    """A run of two epochs of four steps with a scheduler: (run folder, the model)."""
    folder = tmp_path_factory.mktemp("logs")
    logger = RunLogger(folder, "name")
    torch.manual_seed(0)
    model = SignsFunctional(
        lr=0.01,
        lr_scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
        lr_interval="step",
    )
    callbacks = [LearningRateMonitor("step"), HistoryWriter()]
    data = data_of(small_signs, batch_size=15)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "1")  # as seed_everything leaves it
        trainer(folder, logger=logger, callbacks=callbacks).fit(model, data)
    return folder / "name" / "version_0", model


def events(folder):
    return EventAccumulator(str(folder)).Reload()


@pytest.mark.parametrize(("part", "prefix"), [("train", ""), ("validation", "val_")])
@pytest.mark.parametrize("tag", ["loss", "accuracy"])
def test_training_and_validation_share_a_chart(logged, part, prefix, tag):
    """TensorBoard reads one tag in two runs, x the epoch, y the history's figure."""
    folder, model = logged
    points = [(event.step, event.value) for event in events(folder / part).Scalars(tag)]
    assert points == [
        (row["epoch"], pytest.approx(row[prefix + tag], rel=1e-6)) for row in model.history
    ]


def test_learning_rate_is_logged_at_every_step(logged):
    folder, _ = logged
    rates = [event.value for event in events(folder / "train").Scalars("lr-KerasAdam")]
    assert rates == pytest.approx([0.01 * 0.5**step for step in range(8)], rel=1e-6)


def test_hyperparameters_stand_beside_the_final_figures(logged):
    folder, model = logged
    read = events(folder / "train")
    content = read.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for value in (b"SignsFunctional", b"KerasAdam", b"batch_size", b"seed"):
        assert value in content
    assert read.Scalars("final/val_loss")[-1].value == pytest.approx(
        model.history[-1]["val_loss"], rel=1e-6
    )


def test_run_files_are_those_of_the_history(logged):
    folder, model = logged
    with (folder / "history.csv").open() as file:
        read = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert read == model.history
    assert len(read) == 2
    assert max(coloured(folder / "curves.png")) > 400  # one curve may lie upon the other
    assert {entry.name for entry in folder.iterdir()} == {
        "train",
        "validation",
        "run.yaml",
        "history.csv",
        "curves.png",
    }


def test_two_loggers_made_at_once_get_two_folders(tmp_path):
    """Eight threads ask at the same moment; every folder exists and is taken once."""
    (tmp_path / "name" / "version_3").mkdir(parents=True)
    loggers, barrier = [RunLogger(tmp_path, "name") for _ in range(8)], threading.Barrier(8)
    found = []

    def ask(logger):
        barrier.wait()
        found.append(logger.log_dir)

    threads = [threading.Thread(target=ask, args=(logger,)) for logger in loggers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [
        str(tmp_path / "name" / f"version_{n}") for n in (10, 11, 4, 5, 6, 7, 8, 9)
    ]
    assert [logger.log_dir for logger in loggers] == [logger.log_dir for logger in loggers], (
        "asked again, the same"
    )


class Scripted(SignsFunctional):
    """Its validation figures are written in the script, so that the best epoch is known."""

    script: tuple[float, ...] = (3.0, 1.0, 2.0)

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        if self.validation_metrics:
            self.validation_metrics["val_loss"] = self.script[self.current_epoch]


def fit_scripted(folder, small_signs, script, callback, **kwargs):
    model = Scripted()
    model.script = script
    runner = trainer(folder, max_epochs=len(script), callbacks=[callback], **kwargs)
    runner.fit(model, data_of(small_signs, batch_size=30))
    return model, runner


def load(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("script", "mode", "best"),
    [
        ((3.0, 1.0, 2.0), "min", 1),
        ((3.0, 1.0, 2.0), "max", 0),
        ((2.0, 1.0, 1.0), "min", 1),
        ((3.0, 2.0, 1.0), "min", 2),
        ((math.nan, 2.0, 1.0, 3.0), "min", 2),
        ((2.0, math.nan, 1.0, 3.0), "min", 2),
    ],
    ids=["min", "max", "first of equals", "last", "diverged at first", "diverged between"],
)
def test_checkpoints_are_the_last_epoch_and_the_best(tmp_path, small_signs, script, mode, best):
    callback = RunCheckpoint("val_loss", mode)
    model, _ = fit_scripted(tmp_path, small_signs, script, callback)
    folder = tmp_path / "checkpoints"
    assert {entry.name for entry in folder.iterdir()} == {"last.ckpt", "best.ckpt"}
    assert load(folder / "last.ckpt")["epoch"] == len(script) - 1
    assert load(folder / "best.ckpt")["epoch"] == callback.best_epoch == best
    assert callback.best_model_path == str(folder / "best.ckpt")
    for name, value in load(folder / "last.ckpt")["state_dict"].items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize("keep_best", [True, False])
def test_best_exists_only_where_something_may_be_chosen(tmp_path, small_signs, keep_best):
    fit_scripted(tmp_path, small_signs, (2.0, 1.0), RunCheckpoint(keep_best=keep_best))
    assert (tmp_path / "checkpoints" / "best.ckpt").exists() is keep_best


def plain(value, path="checkpoint"):
    """Raises for anything in nested containers that is not a tensor or a plain value; exact types,
    no subclasses.
    """
    if type(value) in (dict, list, tuple):
        for key, item in value.items() if type(value) is dict else enumerate(value):
            assert type(key) in (str, int), path
            plain(item, f"{path}[{key!r}]")
    else:
        assert value is None or type(value) in (str, int, float, bool, torch.Tensor), (
            f"{path}: {type(value)}"
        )


def test_checkpoints_hold_tensors_and_plain_values_only(tmp_path, small_signs):
    """They load with weights_only=True, and the history in them is the run's."""
    model, _ = fit_scripted(tmp_path, small_signs, (2.0, 1.0, 3.0), RunCheckpoint())
    for name, epochs in (("last.ckpt", 3), ("best.ckpt", 2)):
        checkpoint = load(tmp_path / "checkpoints" / name)
        # An OrderedDict, which torch itself allows.
        checkpoint["state_dict"] = dict(checkpoint["state_dict"])
        plain(checkpoint)
        assert unpack_history(checkpoint["signs_lightning"]["history"]) == model.history[:epochs]
        assert checkpoint["hyper_parameters"]["num_classes"] == 6


def test_a_resumed_run_keeps_the_best_of_the_first_part(tmp_path, small_signs):
    """Best value 1 at epoch 1; the resumed epochs, both worse, leave best.ckpt alone and `best`
    still names it.
    """
    fit_scripted(tmp_path, small_signs, (3.0, 1.0), RunCheckpoint())
    folder, callback = tmp_path / "checkpoints", RunCheckpoint()
    model = Scripted()
    model.script = (math.inf, math.inf, 2.0, 1.5)
    runner = trainer(tmp_path, max_epochs=4, callbacks=[callback])
    runner.fit(
        model,
        data_of(small_signs, batch_size=30),
        ckpt_path=folder / "last.ckpt",
        weights_only=True,
    )
    assert [row["val_loss"] for row in model.history] == [3.0, 1.0, 2.0, 1.5]
    assert load(folder / "last.ckpt")["epoch"] == 3
    assert load(folder / "best.ckpt")["epoch"] == 1
    assert (callback.best_value, callback.best_epoch) == (1.0, 1)
    assert callback.best_model_path == str(folder / "best.ckpt")


def test_last_is_written_within_an_epoch_too(tmp_path, small_signs):
    """every_n_steps=3 of 4 steps: a run that ends after step 3 has that step's checkpoint."""

    class Cut(SignsFunctional):
        def training_step(self, batch, batch_idx):
            if batch_idx == 3:
                raise RuntimeError("cut")
            return super().training_step(batch, batch_idx)

    runner = trainer(tmp_path, max_epochs=1, callbacks=[RunCheckpoint(every_n_steps=3)])
    with pytest.raises(RuntimeError, match="cut"):
        runner.fit(Cut(), data_of(small_signs, batch_size=15))
    assert load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 3
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_an_error_before_the_run_is_not_covered_up(tmp_path):
    """The data's own InputError comes out, although the checkpoints' folder is not known yet."""
    runner = trainer(tmp_path, callbacks=[RunCheckpoint()])
    with pytest.raises(InputError, match=r"nowhere\.h5"):
        runner.fit(SignsFunctional(), H5DataModule(str(tmp_path / "nowhere.h5")))
