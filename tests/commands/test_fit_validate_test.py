"""The main job from the command line: fit, what a run leaves, and that a run folder alone is enough
afterwards.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
import yaml

import signs_lightning

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def k_of_n(text):
    """The first "k/n = " in a text: images classified right, of all."""
    found = re.search(r"(\d+/\d+) = ", text)
    assert found is not None, text
    return found[1]


def fit(cli, files, *args):
    """A short fit of the functional model."""
    train, test = files
    done = cli(
        "fit", "--data.train_file", train, "--data.test_file", test, "--trainer.max_epochs", 2,
        *args,
    )  # fmt: skip
    assert done.code == 0, done.err
    return done


@pytest.fixture
def run(cli, small_signs):
    """A run folder of two epochs, relative to the working directory."""
    fit(cli, small_signs, "--name", "first")
    return Path("lightning_logs/first/version_0")


def test_a_run_leaves_everything(cli, small_signs):
    """The documented files are there, the screen says where, and it says nothing else."""
    done = fit(cli, small_signs)
    folder = Path("lightning_logs/signs_functional/version_0")
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "run.yaml", "checkpoints", "history.csv", "curves.png", "train",
        "validation",
    }  # fmt: skip
    # The test file chooses nothing.
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert done.out.count("Validation is the test file") == 1
    for name in ("last.ckpt", "curves.png", f"tensorboard --logdir {folder.parent}", "1,310"):
        assert name in done.out
    assert done.err == ""
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert [row["epoch"] for row in rows] == ["0", "1"]


def test_best_checkpoint_where_validation_is_not_the_test_file(cli, small_signs):
    """best.ckpt holds the epoch with the smallest validation loss, and is what `test` takes from
    the folder.
    """
    fit(cli, small_signs, "--data.val_fraction", 0.25, "--trainer.max_epochs", 4, "--model.lr", 0.1)
    folder = Path("lightning_logs/signs_functional/version_0")
    with (folder / "history.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    best = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == losses.index(min(losses))


def test_test_gives_what_fit_printed(cli, fork, small_signs):
    """`test` in another process, from the checkpoint and a file, finds the k/n that the fit printed
    at its end.
    """
    done = fit(cli, small_signs, "--data.batch_size", 7)
    line = next(x for x in done.out.splitlines() if x.startswith("validation accuracy"))
    printed = k_of_n(line)
    checkpoint = "lightning_logs/signs_functional/version_0/checkpoints/last.ckpt"
    other = fork("test", "--ckpt_path", checkpoint).wait()
    assert (other.code, other.err) == (0, "")
    assert k_of_n(other.out.splitlines()[-1]) == printed
    named = cli("test", "--ckpt_path", checkpoint, "--data.test_file", small_signs[1])
    assert named.out == other.out
    runs = list(Path("lightning_logs/signs_functional").iterdir())
    assert len(runs) == 1, "a test leaves no run folder"


def test_verbs_agree_on_a_run_folder(cli, run):
    """test, validate and predict need the run folder alone, and count the same images right."""
    found = [
        k_of_n(cli(verb, "--ckpt_path", run).out.replace("\n", " "))
        for verb in ("test", "validate", "predict")
    ]
    assert len(set(found)) == 1
    with open("predictions.csv") as file:
        rows = list(csv.DictReader(file))
    correct = sum(row["label"] == row["class"] for row in rows)
    assert f"{correct}/{len(rows)}" == found[0]
    for row in rows:
        probabilities = [float(value) for key, value in row.items() if key.startswith("p(")]
        assert sum(probabilities) == pytest.approx(1, abs=1e-6)


def test_config_runs_again_as_it_is(cli, run):
    """config.yaml of a run gives the same history once more."""
    assert cli("fit", "--config", run / "config.yaml").code == 0
    assert (run.parent / "version_1/history.csv").read_text() == (run / "history.csv").read_text()


@pytest.mark.slow
def test_config_of_a_resumed_run_runs_again_from_the_start(cli, run):
    """It names no checkpoint: the same four epochs once more, in a folder of their own."""
    assert cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 4).code == 0
    assert cli("fit", "--config", run / "config.yaml").code == 0
    again = run.parent / "version_1"
    assert (again / "history.csv").read_text() == (run / "history.csv").read_text()
    assert (again / "checkpoints/last.ckpt").is_file()


@pytest.mark.slow
def test_config_names_the_checkpoint_that_a_run_began_from(cli, run):
    """Weights from elsewhere are part of the run: they are named before and after it is resumed."""
    Path("model.ckpt").write_bytes((run / "checkpoints/last.ckpt").read_bytes())
    options = ("--trainer.max_epochs", 3, "--name", "tuned")
    assert cli("fit", "--ckpt_path", "model.ckpt", *options).code == 0
    folder = Path("lightning_logs/tuned/version_0")
    for epochs in (4, 5):
        assert yaml.safe_load((folder / "config.yaml").read_text())["ckpt_path"] == "model.ckpt"
        assert cli("fit", "--ckpt_path", folder, "--trainer.max_epochs", epochs).code == 0
    again = cli("fit", "--config", folder / "config.yaml")
    assert again.code == 0, again.err
    history = (folder / "history.csv").read_text()
    assert (folder.parent / "version_1/history.csv").read_text() == history


def test_without_logger_nothing_is_written(cli, small_signs):
    """No run folder, and the user's own config.yaml in the working directory stays as it is."""
    own = f"data: {{train_file: {small_signs[0]}}}\ntrainer: {{max_epochs: 1, logger: false}}\n"
    Path("config.yaml").write_text(own)
    done = cli("fit", "--config", "config.yaml")
    assert done.code == 0, done.err
    assert Path("config.yaml").read_text() == own
    assert [path.name for path in Path().iterdir()] == ["config.yaml"]
    assert "curves" not in done.out


def test_a_logger_of_one_s_own_comes_beside_the_run_folder(cli, small_signs):
    """One with a folder replaces the run's; one without, such as those of web services, gets the
    run's own beside it.
    """
    fit(cli, small_signs, "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "own")
    assert Path("own/lightning_logs/version_0/history.csv").is_file()
    assert not Path("lightning_logs").exists()
    fit(cli, small_signs, "--trainer.logger", "loggers.Elsewhere")
    assert Path("lightning_logs/signs_functional/version_0/history.csv").is_file()
    assert not Path("history.csv").exists()


def test_figures_of_part_of_the_validation_data_say_so(cli, small_signs):
    """One batch of three, five images: k of 5, not of all twelve."""
    done = fit(cli, small_signs, "--trainer.limit_val_batches", 0.5, "--data.batch_size", 5)
    assert "/5 = " in done.out
    # Which is over: nothing is validated again.
    done = cli("fit", "--ckpt_path", "lightning_logs/signs_functional/version_0")
    assert "/5 = " in done.out
    done = cli("validate", "--ckpt_path", "lightning_logs/signs_functional/version_0")
    assert "/5 = " in done.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--checkpoint.monitor", "val_acc"),
         "There is no figure val_acc to choose best.ckpt by; there are epoch, loss, accuracy, "),
        (("--checkpoint.mode", "minimum"), "minimum"),
        (("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_acc"),
         "Give EarlyStopping another `monitor`"),
        (("--model.augmentation",
          "[{class_path: torchvision.transforms.v2.RandomCrop, init_args: {size: 80}}]"),
         "RandomCrop"),
    ],
)  # fmt: skip
def test_settings_that_show_in_training_end_in_a_sentence(cli, small_signs, flags, message):
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--data.val_fraction", 0.2,
        "--trainer.max_epochs", 1, *flags,
    )  # fmt: skip
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            (),
            ("--model.schedule", "cosine"),
            "begun with schedule none and cannot be resumed with schedule cosine",
        ),
        (
            ("--model.schedule", "one_cycle"),
            ("--model.schedule", "cosine"),
            "begun with schedule one_cycle",
        ),
        (
            ("--model.schedule", "cosine"),
            ("--model.warmup", 0.2),
            "begun with warmup none and cannot be resumed with warmup 0.2",
        ),
        (
            (),
            ("--model.optimizer", "torch.optim.SGD"),
            "begun with optimizer KerasAdam and cannot be resumed with optimizer SGD",
        ),
        (
            (),
            ("--model.lr_scheduler", "ExponentialLR", "--model.lr_scheduler.gamma", 0.9),
            "begun with lr_scheduler none and cannot be resumed with lr_scheduler ExponentialLR",
        ),
    ],
)
def test_a_run_cannot_go_on_with_another_schedule_or_optimizer(
    cli, small_signs, first, then, message
):
    """Their states do not fit: a sentence, and neither config.yaml nor the checkpoint changes."""
    fit(cli, small_signs, *first)
    run = Path("lightning_logs/signs_functional/version_0")
    names = ("config.yaml", "history.csv", "checkpoints/last.ckpt")
    before = {name: (run / name).read_bytes() for name in names}
    done = cli("fit", "--ckpt_path", run, *then)
    assert done.code == 2
    assert message in done.err
    assert {name: (run / name).read_bytes() for name in before} == before


def test_flags_beat_what_the_checkpoint_remembers(cli, run):
    """A learning rate given with --ckpt_path is the optimizer's at the first resumed step, and
    config.yaml's.
    """
    done = cli("fit", "--ckpt_path", run, "--model.lr", 0.0123, "--trainer.max_epochs", 3)
    assert done.code == 0, done.err
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert state["epoch"] == 2
    assert [group["lr"] for group in state["optimizer_states"][0]["param_groups"]] == [0.0123]
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["lr"] == 0.0123
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]  # it went on in its folder


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            ("--model.optimizer", "signs_lightning.models.keras_adam.KerasAdam"),
            ("--model.optimizer.amsgrad", "true"),
            "begun with amsgrad False, and its optimizer kept nothing that "
            "amsgrad True could continue from",
        ),
        (
            ("--model.optimizer", "RMSprop"),
            ("--model.optimizer.momentum", 0.9),
            "begun with momentum 0.0, and its optimizer kept nothing that "
            "momentum 0.9 could continue from",
        ),
        (
            ("--model.lr_scheduler", "CosineAnnealingLR", "--model.lr_scheduler.T_max", 2),
            ("--model.lr_scheduler.T_max", 4),
            "begun with lr_scheduler T_max 2 and cannot be resumed with 4",
        ),
        (
            ("--trainer.max_epochs", 3),
            ("--trainer.max_epochs", 1),
            "The run has 3 epochs already, more than --trainer.max_epochs 1.",
        ),
    ],
)
def test_settings_that_a_run_cannot_go_on_with(cli, small_signs, first, then, message):
    """A sentence, and nothing in the folder changes."""
    fit(cli, small_signs, *first)
    run = Path("lightning_logs/signs_functional/version_0")
    files = [path for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name]
    before = {path: path.read_bytes() for path in files}
    done = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3, *then)
    assert done.code == 2
    assert message in done.err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_plateau_scheduler_goes_on_with_other_patience(cli, small_signs):
    """What it waits for is not of the past: the setting given anew is that of the resumed run."""
    plateau = ("--model.lr_scheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau")
    fit(cli, small_signs, *plateau, "--model.lr_scheduler.patience", 2)
    run = Path("lightning_logs/signs_functional/version_0")
    more = ("--trainer.max_epochs", 3, "--model.lr_scheduler.patience", 9)
    done = cli("fit", "--ckpt_path", run, *more)
    assert done.code == 0, done.err
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["lr_schedulers"][0]
    assert (state["patience"], state["last_epoch"]) == (9, 3)


def test_a_checkpoint_from_before_settings_were_kept(cli, run, small_signs):
    """The first runs remembered less of their training; they are tested and go on all the same."""
    path = run / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for name in ("settings", "scheduler_settings", "lr_scheduler"):
        del checkpoint["signs_lightning"]["training"][name]
    torch.save(checkpoint, path)
    assert cli("test", "--ckpt_path", run, "--data.test_file", small_signs[1]).code == 0
    assert cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3).code == 0


def test_a_model_class_of_ones_own(cli, small_signs, monkeypatch, tmp_path):
    """Its checkpoint says that the class must be named; then it is tested and goes on."""
    (tmp_path / "mymodel.py").write_text(
        "from signs_lightning import SignsFunctional\n\n\nclass Mine(SignsFunctional):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    fit(cli, small_signs, "--model", "mymodel.Mine", "--name", "mine")
    run = Path("lightning_logs/mine/version_0")
    done = cli("test", "--ckpt_path", run)
    assert done.code == 2
    assert "holds a model of the class 'mymodel.Mine', which is imported only where" in done.err
    command = f"python -m signs_lightning test --ckpt_path {run} --model mymodel.Mine"
    assert done.err.splitlines()[1] == command
    assert cli("test", "--ckpt_path", run, "--model", "mymodel.Mine").code == 0
    done = cli("fit", "--ckpt_path", run, "--model", "mymodel.Mine", "--trainer.max_epochs", 3)
    assert done.code == 0, done.err
    assert len((run / "history.csv").read_text().splitlines()) == 4


def test_a_model_from_a_file_of_its_own(cli, small_signs):
    """`--model model.yaml`: config.yaml is whole all the same, and the run goes on."""
    Path("model.yaml").write_text("class_path: SignsFunctional\ninit_args: {lr: 0.002}\n")
    fit(cli, small_signs, "--model", "model.yaml", "--name", "mine")
    run = Path("lightning_logs/mine/version_0")
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["lr"] == 0.002
    assert not (run / "model.yaml").exists()
    (run / "config.yaml").write_text("model: [")  # edited by hand, to no good
    assert cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3).code == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["lr"] == 0.002


def test_config_of_a_run_in_use_stays(cli, small_signs, run):
    """Another fit has just begun there and has no checkpoint yet: every file stays as it was."""
    fcntl = pytest.importorskip("fcntl")
    shutil.rmtree(run / "checkpoints")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    handle = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = cli("fit", "--ckpt_path", run, "--data.batch_size", 7)
    finally:
        os.close(handle)
    assert done.code == 2
    assert "is in use by another fit" in done.err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_best_of_a_run_that_goes_on_elsewhere(cli, small_signs):
    """Chosen anew there: the checkpoint that the printed figure belongs to is in the folder."""
    split = ("--data.train_file", small_signs[0], "--data.val_fraction", 0.3)
    assert cli("fit", *split, "--trainer.max_epochs", 3, "--name", "first").code == 0
    more = ("--trainer.max_epochs", 4, "--trainer.default_root_dir", "elsewhere", "--model.lr", 5.0)
    done = cli("fit", "--ckpt_path", "lightning_logs/first/version_0", *more)
    assert done.code == 0, done.err
    assert "(best epoch, 4 of 4)" in done.out
    run = Path("elsewhere/lightning_logs/first/version_0")
    state = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert state["epoch"] == 3


@pytest.mark.slow
def test_a_logger_with_a_folder_of_its_own(cli, small_signs):
    """Below the working directory it is remembered like anything else; elsewhere a checkpoint may
    not send anyone.
    """
    csv_logger = ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir")
    fit(cli, small_signs, *csv_logger, "logs/a")
    run = Path("logs/a/lightning_logs/version_0")
    assert cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 3).code == 0
    fit(cli, small_signs, *csv_logger, Path("logs/b").absolute())
    assert cli("test", "--ckpt_path", "logs/b/lightning_logs/version_0").code == 0
    done = cli("fit", "--ckpt_path", "logs/b/lightning_logs/version_0", "--trainer.max_epochs", 3)
    assert done.code == 2
    assert "which could run code or write elsewhere: refused" in done.err


@pytest.mark.filterwarnings("ignore:You requested to overfit:UserWarning")
def test_overfit_batches_of_streamed_images(cli, small_signs):
    """Lightning's own order takes the place of the shuffled one."""
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--data.reading", "streamed",
        "--data.batch_size", 8, "--trainer.max_epochs", 1, "--trainer.overfit_batches", 2,
    )  # fmt: skip
    assert done.code == 0, done.err


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_logger_whose_package_is_missing(cli, small_signs):
    """What the logger itself says, in a sentence."""
    done = cli("fit", "--data.train_file", small_signs[0], "--trainer.logger", "WandbLogger")
    assert done.code == 2
    sentence = "lightning.pytorch.loggers.WandbLogger cannot be made: Requirement 'wandb"
    assert done.err.startswith(sentence)


def test_optimizer_settings_given_anew_beat_those_of_the_saved_state(cli, run):
    """weight_decay and Keras's epsilon, neither of which is the learning rate; what is not given
    stays.
    """
    optimizer = "--model.optimizer"
    done = cli(
        "fit", "--ckpt_path", run, "--trainer.max_epochs", 3,
        optimizer, "signs_lightning.models.keras_adam.KerasAdam",
        f"{optimizer}.weight_decay", 0.25, f"{optimizer}.eps", 1e-3,
    )  # fmt: skip
    assert done.code == 0, done.err
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    group = state["optimizer_states"][0]["param_groups"][0]
    assert (group["weight_decay"], group["keras_eps"]) == (0.25, 1e-3)
    assert (group["betas"], group["lr"]) == ((0.9, 0.999), 1e-3)
    assert state["optimizer_states"][0]["state"][0]["step"] > 0


@pytest.mark.slow
def test_resume_under_another_root_copies_the_history(cli, run):
    """With an explicit root a resumed run makes a new folder, whose history begins with the old
    one.
    """
    before = (run / "history.csv").read_text()
    more = ("--trainer.max_epochs", 3, "--trainer.default_root_dir", "other")
    assert cli("fit", "--ckpt_path", run, *more).code == 0
    after = Path("other/lightning_logs/first/version_0/history.csv").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 4
    assert (run / "history.csv").read_text() == before


def test_a_folder_without_checkpoint_starts_anew(cli, run):
    """`fit` on a run folder that has no checkpoint yet says so and begins."""
    (run / "checkpoints/last.ckpt").unlink()
    done = cli("fit", "--ckpt_path", run)
    assert done.code == 0, done.err
    assert "has no checkpoint yet: the run starts anew" in done.out


def test_checkpoint_is_primitive_and_complete(run):
    """The checkpoint loads with weights_only=True and rebuilds the model in Python."""
    path = run / "checkpoints/last.ckpt"
    plain = (str, int, float, bool, type(None), torch.Tensor)

    def check(value):
        if isinstance(value, dict):
            for part in value.values():
                check(part)
        elif isinstance(value, list | tuple):
            for part in value:
                check(part)
        else:
            assert isinstance(value, plain), type(value)

    check(torch.load(path, weights_only=True))
    model = signs_lightning.SignsFunctional.load_from_checkpoint(path, weights_only=True)
    assert model.num_classes == 6
    assert len(model.history) == 2


def test_any_optimizer_scheduler_loss_and_metric_by_configuration(cli, small_signs):
    """What the configuration names reaches the run."""

    def described(class_path, **init_args):
        return {"class_path": class_path, "init_args": init_args}

    scheduler = described("torch.optim.lr_scheduler.StepLR", step_size=1, gamma=0.1)
    metric = described("torchmetrics.classification.MulticlassF1Score", num_classes=6)
    model = described(
        "SignsFunctional",
        lr=0.05,
        optimizer=described("torch.optim.SGD", momentum=0.9),
        lr_scheduler=scheduler,
        loss=described("torch.nn.CrossEntropyLoss", label_smoothing=0.1),
        metrics=[metric],
    )
    Path("mine.yaml").write_text(yaml.safe_dump({"model": model}))
    fit(cli, small_signs, "--config", "mine.yaml")
    folder = Path("lightning_logs/mine/version_0")
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    group = state["optimizer_states"][0]["param_groups"][0]
    assert group["momentum"] == 0.9
    assert group["lr"] == pytest.approx(0.05 * 0.1**2)
    assert "val_MulticlassF1Score" in (folder / "history.csv").read_text().splitlines()[0]
    assert cli("test", "--ckpt_path", folder).code == 0


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("HappySequential", marks=pytest.mark.slow),
        "SignsFunctional",
        pytest.param("SignsResNet50", marks=pytest.mark.slow),
    ],
)
def test_three_models_on_two_classes(cli, small_smiles, model):
    """Each model trains on two-class data by its bare name; its loss falls."""
    train, test = small_smiles
    width = ["--model.width", 8] if model == "SignsResNet50" else []
    done = cli(
        "fit", "--model", model, *width, "--data.train_file", train, "--data.test_file", test,
        "--data.batch_size", 20, "--trainer.max_epochs", 12,
    )  # fmt: skip
    assert done.code == 0, done.err
    history = next(Path("lightning_logs").glob("*/version_0/history.csv"))
    with history.open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]


def test_image_size_resizes(cli, small_signs, tmp_path):
    """Data of 64×64 through a model of 32×32; a file of another size needs --data.image_size and
    says so.
    """
    fit(cli, small_signs, "--data.image_size", 32, "--name", "small")
    run = "lightning_logs/small/version_0"
    assert cli("test", "--ckpt_path", run).code == 0
    with h5py.File(small_signs[1]) as old, h5py.File("wide.h5", "w") as new:
        new["test_set_x"] = old["test_set_x"][:, :, ::2]
        new["test_set_y"] = old["test_set_y"][()]
    fit(cli, small_signs, "--name", "plain")
    test = ("test", "--ckpt_path", "lightning_logs/plain/version_0", "--data.test_file", "wide.h5")
    refused = cli(*test)
    assert refused.code == 2
    assert "Add `--data.image_size 64`" in refused.err
    again = cli(*test, "--data.image_size", 64)
    assert again.code == 0, again.err


def test_help_needs_no_torch():
    """The table of verbs is printed without importing torch."""
    code = (
        "import sys; from signs_lightning.__main__ import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in ("fit", "validate", "test", "predict"))


def test_fast_dev_run_leaves_nothing(cli, small_signs):
    """`--trainer.fast_dev_run true` runs one batch and writes no run folder."""
    done = fit(cli, small_signs, "--trainer.fast_dev_run", "true")
    assert "1,310" in done.out
    assert not Path("lightning_logs").exists()


def test_checkpoint_of_a_notebook(cli, small_signs):
    """A checkpoint that a plain Trainer wrote, without the command line, is enough for it; arrays
    are not replaced by drawn data.
    """
    from lightning import Trainer

    trainer = Trainer(max_epochs=1, accelerator="cpu", **QUIET)
    data = signs_lightning.H5DataModule(str(small_signs[0]), test_file=str(small_signs[1]))
    trainer.fit(signs_lightning.SignsFunctional(), data)
    trainer.save_checkpoint("file.ckpt")
    done = cli("test", "--ckpt_path", "file.ckpt")
    assert done.code == 0, done.err
    assert "/12 = " in done.out
    with h5py.File(small_signs[0]) as file:
        arrays = file["train_set_x"][()], file["train_set_y"][()]
    data = signs_lightning.H5DataModule(arrays, test_file=arrays)
    trainer.fit(signs_lightning.SignsFunctional(), data)
    trainer.save_checkpoint("arrays.ckpt")
    refused = cli("test", "--ckpt_path", "arrays.ckpt")
    assert refused.code == 2
    sentence = "The model saw arrays, which are not at hand any more. Name a file with "
    assert refused.err == f"{sentence}--data.test_file.\n"
    assert cli("test", "--ckpt_path", "arrays.ckpt", "--data.test_file", small_signs[1]).code == 0


@pytest.mark.parametrize(
    "form", [["--config", "configs/quickstart.yaml"], ["--config=configs/quickstart.yaml"]]
)
def test_configs_come_with_the_package(cli, small_signs, form):
    """`configs/NAME.yaml` is found from any folder."""
    fit(cli, small_signs, *form, "--trainer.max_epochs", 1)
    assert Path("lightning_logs/quickstart/version_0/config.yaml").is_file()


def test_a_test_file_without_class_list_need_not_show_every_class(cli, run, small_signs):
    """Images of three of six classes in a file that lists none: the model keeps its six."""
    with h5py.File(small_signs[1]) as old, h5py.File("few.h5", "w") as new:
        few = old["test_set_y"][()] < 3
        new["x"], new["y"] = old["test_set_x"][()][few], old["test_set_y"][()][few]
    done = cli("test", "--ckpt_path", run, "--data.test_file", "few.h5")
    assert done.code == 0, done.err
    assert f"/{few.sum()} = " in done.out


def test_a_warning_is_one_line(fork, small_signs):
    """The same file to train and to validate on: said once, without the place in the code."""
    data = ["--data.train_file", small_signs[0], "--data.val_file", small_signs[0]]
    done = fork("fit", *data, "--trainer.max_epochs", 1).wait()
    assert done.code == 0
    sentence = "serves for training and for validation: the validation figures mean nothing."
    assert done.err == f"{small_signs[0]} {sentence}\n"


@pytest.mark.parametrize(("capability", "said"), [("AVX2", True), ("AVX512", False)])
def test_bfloat16_without_instructions_is_announced(
    cli, small_signs, monkeypatch, capability, said
):
    """A processor that has to emulate bfloat16 is many times slower: a message says so."""
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    done = cli(
        "fit", "--data.train_file", small_signs[0], "--trainer.precision", "bf16-mixed",
        "--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--data.batch_size", 2,
        "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert ("has no bfloat16 instructions" in done.out) == said
