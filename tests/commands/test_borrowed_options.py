"""A borrowed option leads to the right one, and that one works."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from signs_lightning.commands.borrowed_options import OPTIONS

FIT = {  # what people type behind `fit` → what they are told to write
    "--epochs 5": "--trainer.max_epochs 5",
    "--lr 0.01": "--model.lr 0.01",
    "--learning-rate=0.01": "--model.lr 0.01",
    "--batch-size 32": "--data.batch_size 32",
    "--batch_size 32": "--data.batch_size 32",
    "--data hands.h5": "--data.train_file hands.h5",
    "--gpus 1": "--trainer.accelerator gpu --trainer.devices 1",
    "--device cpu": "--trainer.accelerator cpu",
    "--device cuda:0": "--trainer.accelerator gpu",
    "--output_dir 'my runs'": "--trainer.default_root_dir 'my runs'",
    "--seed 1": "--seed_everything 1",
    "--workers 0": "--data.num_workers 0",
    "--resume runs/last.ckpt": "--ckpt_path runs/last.ckpt",
    "--val_split 0.2": "--data.val_fraction 0.2",
    "--img_size 64": "--data.image_size 64",
    "--optimizer sgd": "--model.optimizer SGD",
    "--epochs": "--trainer.max_epochs VALUE",
}
OTHERS = {  # the same of whole command lines
    "fit --classes 6": "Unknown option '--classes'. Leave it out: the number of classes is the "
    "data's.",
    "fit --optimizer adam": "Unknown option '--optimizer'. Leave it out for Keras's Adam, or write "
    "--model.optimizer SGD",
    "fit --model resnet50": "Unknown model 'resnet50'. Write --model SignsResNet50",
    "fit --config quickstart": "No such file: quickstart. Write --config configs/quickstart.yaml",
    "fit hands.h5": "'hands.h5' has no option before it. Write --data.train_file hands.h5, or "
    "--model FromKeras --model.path hands.h5 for a model of Keras",
    "fit model.keras": "'model.keras' has no option before it. Write --model FromKeras "
    "--model.path model.keras",
    "fit last.ckpt": "'last.ckpt' has no option before it. To resume it, write --ckpt_path "
    "last.ckpt",
    "fit mine.yaml": "'mine.yaml' has no option before it. Write --config mine.yaml",
    "test --ckpt run": "Unknown option '--ckpt'. Write --ckpt_path run",
    "test --data hands.h5": "Unknown option '--data'. Write --data.test_file hands.h5",
    "validate --data hands.h5": "Unknown option '--data'. Write --data.val_file hands.h5",
    "predict --model m.h5": "Unknown option '--model'. Write --ckpt_path m.h5",
    "predict --image a.png": "Unknown option '--image'. Write --images a.png",
    "train --epochs 5": "Unknown verb 'train'; there are fit, validate, test, inspect, convert, "
    "summary, predict, import-keras, report, export, demo. Did you mean 'fit'?",
}


@pytest.mark.parametrize("typed", FIT)
def test_borrowed_options_of_fit(typed, cli):
    done = cli("fit", *shlex.split(typed))
    name = typed.partition(" ")[0].partition("=")[0]
    assert (done.code, done.err) == (2, f"Unknown option '{name}'. Write {FIT[typed]}\n")


@pytest.mark.parametrize("typed", OTHERS)
def test_other_first_mistakes(typed, cli):
    done = cli(*typed.split())
    assert (done.code, done.err) == (2, f"{OTHERS[typed]}\n")


def test_without_a_gpu(cli, small_signs):
    args = ("--data.train_file", small_signs[0], "--trainer.max_epochs", 1)
    done = cli("fit", "--config", "configs/gpu.yaml", *args)
    advice = "--trainer.accelerator cpu"
    assert (done.code, done.err) == (
        2, f"A GPU is asked for, and PyTorch finds none. Add {advice}\n",
    )  # fmt: skip
    assert cli("fit", "--config", "configs/gpu.yaml", *args, *advice.split()).code == 0


def test_every_suggestion_is_an_option(cli):
    """All of them on one command line; those of `predict` are refused for the file alone."""
    values = {"precision": "32", "shuffle": "true", "compile": "false", "max_epochs": "3"}
    values |= {"label_smoothing": "0.1", "image_size": "64", "val_fraction": "0.2", "lr": "0.1"}
    suggested = {text for text in OPTIONS["fit"].values() if "gpu" not in text}
    args = ["--trainer.accelerator", "cpu", "--model.optimizer", "SGD"]
    for text in sorted(suggested - {"--ckpt_path {}", "--model PretrainedResNet50"}):
        name = text.removesuffix(" {}").rpartition(".")[2]
        args += text.format(values.get(name, "1")).split()
    done = cli("fit", *args, "--print_config")
    assert done.code == 0, done.err
    texts = [text for text in OPTIONS["predict"].values() if "--images" not in text]
    args = [word for text in texts for word in text.format(1).split()]
    assert cli("predict", *args).err.startswith("No such checkpoint: 1.")


def test_files_may_come_first(cli, tmp_path):
    """`predict RUN hand.png`; what a verb says of the file shows that it was taken."""
    for verb in ("test", "validate", "summary", "predict", "export --format onnx --output m.onnx"):
        name, *rest = verb.split()
        found = cli(name, "absent.ckpt", *rest)
        expected = cli(name, "--ckpt_path", "absent.ckpt", *rest)
        assert found.code == 2
        assert found == expected
    found = cli("predict", "absent.ckpt", "a.png", "b.png", "--data.test_file", "c.h5")
    assert found.err == "--images and --data.test_file are both given. Drop one of them.\n"


def test_a_mistake_is_answered_before_pytorch_is_imported(tmp_path):
    script = (
        "import sys; from signs_lightning.__main__ import main; code = main(sys.argv[1:]); "
        "print(code, 'torch' in sys.modules, 'jsonargparse' in sys.modules)"
    )
    for args, expected in ((["fit", "--epochs", "5"], "2 False False"), (["--version"], "0 ")):
        done = subprocess.run(
            [sys.executable, "-c", script, *args], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.stdout.splitlines()[-1].startswith(expected), done.stderr


def test_a_configuration_may_still_be_given_as_data(cli):
    Path("data.yaml").write_text("batch_size: 7")
    done = cli("fit", "--data", "data.yaml", "--print_config")
    assert done.code == 0, done.err
    assert "batch_size: 7" in done.out
