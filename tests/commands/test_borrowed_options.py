"""What people type who come from another trainer leads to the right option, and that one works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from signs_lightning.__main__ import VERBS
from signs_lightning.commands.argv import resolve_packaged_config
from signs_lightning.commands.borrowed_options import OPTIONS
from signs_lightning.commands.check_options import check_options
from signs_lightning.commands.known_models import import_lazy_model

FIT = {  # what people type behind `fit` → what they are told to write
    "--epochs 5": "--trainer.max_epochs 5",
    "--lr 0.01": "--model.lr 0.01",
    "--batch-size 32": "--data.batch_size 32",
    "--batch_size 32": "--data.batch_size 32",
    "--data hands.h5": "--data.train_file hands.h5",
    "--gpus 1": "--trainer.accelerator gpu --trainer.devices 1",
    "--device cpu": "--trainer.accelerator cpu",
    "--model resnet50": "--model SignsResNet50",
    "--config quickstart": "--config configs/quickstart.yaml",
    "--ckpt runs/last.ckpt": "--ckpt_path runs/last.ckpt",
    "--output_dir 'my runs'": "--trainer.default_root_dir 'my runs'",
    "--seed 1": "--seed_everything 1",
    "--workers 0": "--data.num_workers 0",
    "--resume runs/last.ckpt": "--ckpt_path runs/last.ckpt",
    "--val_split 0.2": "--data.val_fraction 0.2",
    "--img_size 64": "--data.image_size 64",
    # Beyond the first twenty mistakes.
    "--learning-rate=0.01": "--model.lr 0.01",
    "--device cuda:0": "--trainer.accelerator gpu",
    "--optimizer sgd": "--model.optimizer SGD",
    "--epochs": "--trainer.max_epochs VALUE",
    "-e 5": "--trainer.max_epochs 5",
    "-lr 0.1": "--model.lr 0.1",
    "--max_epochs 3": "--trainer.max_epochs 3",
    "--trainer.epochs 3": "--trainer.max_epochs 3",
    "--data.max_epochs 3": "--trainer.max_epochs 3",
    "--model.batch_size 8": "--data.batch_size 8",
    "--model.learning_rate 0.1": "--model.lr 0.1",
    "--optimizer.lr 0.1": "--model.lr 0.1",
    "--accelerator gpu": "--trainer.accelerator gpu",
    "--cpu": "--trainer.accelerator cpu",
    "--train_file hands.h5": "--data.train_file hands.h5",
    "--data.batchsize 16": "--data.batch_size 16",
    "--trainer.max-epochs 3": "--trainer.max_epochs 3",
    "--val hands.h5": "--data.val_file hands.h5",
    "--fp16": "--trainer.precision 16-mixed",
    "--scheduler cosine": "--model.schedule cosine_annealing",
    "--lr_scheduler StepLR --model.lr_scheduler.step_size 3": "--model.lr_scheduler StepLR",
    "--weight_decay 0.01": "--model.optimizer AdamW --model.optimizer.weight_decay 0.01",
    "--early-stopping 3": "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor val_loss "
    "--trainer.callbacks.patience 3",
    "--arch resnet": "--model SignsResNet50",
    "--keras model.h5": "--model FromKeras --model.path model.h5",
    "--weights model.h5": "--model FromKeras --model.path model.h5",
    "--model.name resnet50": "--model SignsResNet50",
    "--data.path hands.h5": "--data.train_file hands.h5",
    "--checkpoint last.ckpt": "--ckpt_path last.ckpt",
    "--no-shuffle": "--data.shuffle false",
    "--cfg mine.yaml": "--config mine.yaml",
    "--config signs_functional_best": "--config configs/recipes/signs_functional_best.yaml",
    "--class_names [cat,dog]": "--data.class_names '[cat,dog]'",
}
OTHERS = {  # the same of whole command lines
    "fit --classes 6": "Unknown option '--classes'. Leave it out: the number of classes is the "
    "data's.",
    "fit --optimizer adam": "Unknown option '--optimizer'. Leave it out for Keras's Adam, or write "
    "--model.optimizer SGD",
    "fit --metrics accuracy": "Unknown option '--metrics'. Leave it out: loss and accuracy are "
    "always shown.",
    "fit --loss categorical_crossentropy": "Unknown option '--loss'. Leave it out: that is the "
    "loss of a classifier.",
    "fit --trainer.min_epoch 3": "Unknown option '--trainer.min_epoch'. Did you mean "
    "--trainer.min_epochs 3?",
    "fit --trainer.max_ep 3": "Unknown option '--trainer.max_ep'. Did you mean "
    "--trainer.max_epochs 3?",
    "fit --model.optimiser SGD": "Unknown option '--model.optimiser'. Did you mean "
    "--model.optimizer SGD?",
    "fit --modle HappySequential": "Unknown option '--modle'. Did you mean --model "
    "HappySequential?",
    "fit --model.width 8": "Unknown option '--model.width'. SignsResNet50 has it. Write --model "
    "SignsResNet50 --model.width 8",
    "fit --zqzq 1": "Unknown option '--zqzq'. See --help_all for all of them.",
    "fit hands.h5": "'hands.h5' has no option before it. Write --data.train_file hands.h5, or "
    "--model FromKeras --model.path hands.h5 for a model of Keras",
    "fit model.keras": "'model.keras' has no option before it. Write --model FromKeras "
    "--model.path model.keras",
    "fit last.ckpt": "'last.ckpt' has no option before it. To resume it, write --ckpt_path "
    "last.ckpt",
    "fit mine.yaml": "'mine.yaml' has no option before it. Write --config mine.yaml",
    "fit quickstart": "'quickstart' has no option before it. Write --config "
    "configs/quickstart.yaml",
    "fit resnet50": "'resnet50' has no option before it. Write --model SignsResNet50",
    "fit help": "'help' has no option before it. Write fit --help",
    "fit --data.train_file a.h5 b.h5": "'b.h5' has no option before it. For several values write "
    "--data.train_file '[a.h5,b.h5]'",
    "fit --data.image_size 64 48": "'48' has no option before it. For several values write "
    "--data.image_size '[64,48]'",
    "fit --seed_everything 1 hands.h5 --name x": "'hands.h5' has no option before it. Write "
    "--data.train_file hands.h5, or --model FromKeras --model.path hands.h5 for a model of Keras",
    "fit max_epochs=5": "'max_epochs=5' has no option before it. Write --trainer.max_epochs 5",
    "fit data.batch_size=5": "'data.batch_size=5' has no option before it. Write "
    "--data.batch_size=5",
    "fit data=hands.h5": "'data=hands.h5' has no option before it. Write --data.train_file "
    "hands.h5",
    "fit quickstart.yaml": "'quickstart.yaml' has no option before it. Write --config "
    "configs/quickstart.yaml",
    "fit --model model.h5": "--model is model.h5, expected a model's name. Write "
    "--model FromKeras --model.path model.h5",
    "fit --config configs/quickstrat.yaml": "No such file: configs/quickstrat.yaml. Did you mean "
    "--config configs/quickstart.yaml?",
    "fit --config configs/signs_functional_best.yaml": "No such file: "
    "configs/signs_functional_best.yaml. Did you mean --config "
    "configs/recipes/signs_functional_best.yaml?",
    "fit --data.train_file": "--data.train_file has no value. Write one after it.",
    "fit --model.lr --name x": "--model.lr has no value. Write one after it.",
    "fit --data.shuffle --name x": "--data.shuffle has no value. Write one after it.",
    "fit --help traner": "No option begins with 'traner'; see fit --help. Did you mean 'trainer'?",
    "test run hands.h5": "'hands.h5' has no option before it. Write --data.test_file hands.h5",
    "test": "There is no trained model to test. Name its checkpoint or run folder first, as in "
    "`test RUN`.",
    "test --model m.keras": "--model is m.keras, expected a model's name. Write "
    "--ckpt_path m.keras",
    "test --ckpt run": "Unknown option '--ckpt'. Write --ckpt_path run",
    "test --data hands.h5": "Unknown option '--data'. Write --data.test_file hands.h5",
    "validate --data hands.h5": "Unknown option '--data'. Write --data.val_file hands.h5",
    "predict --model m.h5": "Unknown option '--model'. Write --ckpt_path m.h5",
    "predict --image a.png": "Unknown option '--image'. Write --images a.png",
    "predict run a.png --device cpu": "Unknown option '--device'. Leave it out: a GPU is used "
    "where there is one.",
    "predict": "No model is named. Name its checkpoint or run folder: predict RUN",
    "predict a.png": "a.png is a picture, and no model is named before it. Write predict RUN a.png",
    "summary resnet50": "No such file: resnet50. Write summary --model SignsResNet50",
    "summary --model resnet50": "Unknown model 'resnet50'. Write --model SignsResNet50",
    "report run --out page": "Unknown option '--out'. Write --output page",
    "report run a.h5": "'a.h5' has no option before it; see --help.",
    "export run --onnx": "Unknown option '--onnx'. Write --format onnx",
    "demo --checkpoint run": "Unknown option '--checkpoint'. Write --ckpt_path run",
    "import-keras m.h5 -o m.ckpt": "Unknown option '-o'. Write --output m.ckpt",
    "train --epochs 5": f"Unknown verb 'train'; there are {', '.join(VERBS)}. Did you mean 'fit'?",
}
SUGGESTED = re.compile(r"(?:Write|mean) (.*?)(?:, or .*|\?)?$")


@pytest.fixture(scope="module")
def parse() -> Callable[[str, list[str]], Any]:
    """Return a function that parses arguments as a verb does, with one parser for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        from config_schema import build_parser
    import_lazy_model()
    parsers = {verb: build_parser(verb) for verb in ("fit", "test")}

    def parse_args(verb: str, args: list[str]) -> Any:
        args = [resolve_packaged_config(*pair) for pair in zip(["", *args], args, strict=False)]
        return parsers[verb].parse_args(args)

    return parse_args


@pytest.mark.parametrize("typed", FIT)
def test_borrowed_options_of_fit(
    typed: str, cli: Callable, parse: Callable, tmp_path: Path
) -> None:
    """The message names the right option, and the parser takes that one."""
    (tmp_path / "mine.yaml").write_text("name: mine")
    done = cli("fit", *shlex.split(typed))
    name, _, value = typed.replace("=", " ").partition(" ")
    unknown = {"--model": f"Unknown model '{value}'", "--config": f"No such file: {value}"}
    expected = f"{unknown.get(name, f'Unknown option {name!r}')}. Write {FIT[typed]}\n"
    assert (done.code, done.err) == (2, expected)
    rest = "--model.lr_scheduler.step_size 3" if "StepLR" in typed else ""
    words = shlex.split(f"{FIT[typed]} {rest}")
    words = [{"VALUE": "7"}.get(word, word) for word in words]
    check_options("fit", words)
    parse("fit", words)


@pytest.mark.parametrize("typed", OTHERS)
def test_other_first_mistakes(typed: str, cli: Callable) -> None:
    """One sentence with what to write."""
    done = cli(*typed.split())
    assert (done.code, done.err) == (2, f"{OTHERS[typed]}\n")


@pytest.mark.parametrize("typed", [x for x in OTHERS if x.startswith(("fit ", "test "))])
def test_what_is_suggested_is_taken(typed: str, parse: Callable, tmp_path: Path) -> None:
    """By the check that comes first and by the parser, or it is a help."""
    match = SUGGESTED.search(OTHERS[typed].partition("; see")[0])
    if match is None or "--help" in match[1] or match[1].startswith("one after"):
        return
    if match[1].endswith(".yaml") and "configs/" not in match[1]:
        return  # a configuration of the user's own
    words = shlex.split(match[1])
    run = ["--ckpt_path", "run"] if typed.startswith("test") and "run" not in words else []
    check_options(typed.split()[0], run + words)
    parse(typed.split()[0], words)


@pytest.mark.parametrize("name", ["gpu", "ddp"])
def test_without_a_gpu(name: str, cli: Callable, small_signs: Any) -> None:
    """The advice is followed, for one process; several would be started anew."""
    args = ("--data.train_file", small_signs[0], "--trainer.max_epochs", 1)
    done = cli("fit", "--config", f"configs/{name}.yaml", *args)
    advice = "--trainer.accelerator cpu"
    assert (done.code, done.err) == (
        2, f"A GPU is asked for, and PyTorch finds none. Add {advice}\n",
    )  # fmt: skip
    if name == "gpu":
        done = cli("fit", "--config", "configs/gpu.yaml", *args, *advice.split())
        assert done.code == 0, done.err


@pytest.mark.slow
def test_without_a_gpu_ddp_trains_in_one_process(tmp_path: Path, small_signs: Any) -> None:
    """The advice on `configs/ddp.yaml` is followed, in a process of its own."""
    line = "fit --config configs/ddp.yaml --trainer.max_epochs 1 --trainer.accelerator cpu"
    command = [sys.executable, "-m", "signs_lightning", *line.split()]
    command += ["--data.train_file", str(small_signs[0])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lightning_logs/ddp/version_0/checkpoints/last.ckpt").is_file()


@pytest.mark.slow
def test_every_suggestion_is_an_option(cli: Callable, parse: Callable) -> None:
    """Each on a command line of its own; those of `predict` are refused for the file alone."""
    values = {"precision": "32", "shuffle": "true", "compile": "false", "schedule": "cosine"}
    values |= {"label_smoothing": "0.1", "class_weights": "[1,2]", "class_names": "[a,b]"}
    for text in set(OPTIONS["fit"].values()) - {"--config {}"}:
        name = text.removesuffix(" {}").rpartition(".")[2]
        words = shlex.split(text.format(values.get(name, "1")))
        check_options("fit", words)
        parse("fit", words)
    texts = set(OPTIONS["predict"].values()) - {"--images {}", "--ckpt_path {}"}
    args = [word for text in texts for word in text.format(1).split()]
    assert cli("predict", "absent", *args).err.startswith("No such checkpoint: absent.")


def test_a_mistake_is_answered_before_pytorch_is_imported(tmp_path: Path) -> None:
    """Nor is the parser; so it is no matter of seconds, and help is neither."""
    script = (
        "import sys; from signs_lightning.__main__ import main\n"
        "for line in sys.argv[1:]:\n"
        "    try: code = main(line.split())\n"
        "    except SystemExit as stop: code = stop.code\n"
        "    print(code, 'torch' in sys.modules, 'jsonargparse' in sys.modules)"
    )
    lines = {
        "fit --epochs 5": 2,
        "test --trainer.max_epohcs 5": 2,
        "fit --model.lrr 5": 2,
        "fit --help": 0,
        "fit --help data": 0,
        "predict --device cpu": 2,
        "report --help_all": 0,
        "--version": 0,
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *lines], capture_output=True, text=True, cwd=tmp_path
    )
    found = re.findall(r"^(\d) (\w+) (\w+)$", done.stdout, re.MULTILINE)
    assert found == [(str(code), "False", "False") for code in lines.values()], done.stderr


def test_a_configuration_may_still_be_given_as_data(cli: Callable) -> None:
    """`--data FILE` is Lightning's for a section, and of other trainers for the data."""
    Path("data.yaml").write_text("batch_size: 7")
    done = cli("fit", "--data", "data.yaml", "--print_config")
    assert done.code == 0, done.err
    assert "batch_size: 7" in done.out
