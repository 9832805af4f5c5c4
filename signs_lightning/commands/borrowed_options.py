"""Names the right option for one that other trainers have, before anything slow is imported."""

from __future__ import annotations

import shlex
from pathlib import Path

from signs_lightning.commands.argv import given_options, resolve_packaged_config
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

RUNS = ("fit", "validate", "test")
# Names without - and _ → what to write here, with the value in place of {}.
CHECKPOINT = {
    **dict.fromkeys(("ckpt", "checkpoint", "checkpointpath", "weights"), "--ckpt_path {}"),
    **dict.fromkeys(("resume", "resumefrom", "run", "load", "loadfrom"), "--ckpt_path {}"),
}
FILES = ("data", "file", "dataset", "datapath")
SHARED = {
    **dict.fromkeys(("batchsize", "bs", "batch"), "--data.batch_size {}"),
    **dict.fromkeys(("workers", "numworkers"), "--data.num_workers {}"),
    **dict.fromkeys(("imgsize", "imagesize", "inputsize", "targetsize"), "--data.image_size {}"),
    **dict.fromkeys(("gpus", "numgpus"), "--trainer.accelerator gpu --trainer.devices {}"),
    **dict.fromkeys(("testfile", "testdata", "testdir"), "--data.test_file {}"),
    "precision": "--trainer.precision {}",
}
OPTIONS = {
    "fit": CHECKPOINT
    | SHARED
    | {
        **dict.fromkeys(("epochs", "numepochs", "nepochs", "maxepochs"), "--trainer.max_epochs {}"),
        "trainer.epochs": "--trainer.max_epochs {}",
        **dict.fromkeys(("lr", "learningrate"), "--model.lr {}"),
        **dict.fromkeys(
            (
                "data",
                "dataset",
                "datapath",
                "datadir",
                "train",
                "trainfile",
                "traindata",
                "trainpath",
                "traindir",
            ),
            "--data.train_file {}",
        ),
        **dict.fromkeys(("valfile", "valdata", "valdir", "validationdata"), "--data.val_file {}"),
        **dict.fromkeys(
            ("valsplit", "validationsplit", "valfraction", "validationfraction"),
            "--data.val_fraction {}",
        ),
        **dict.fromkeys(
            ("outputdir", "outdir", "output", "savedir", "logdir"),
            "--trainer.default_root_dir {}",
        ),
        **dict.fromkeys(("seed", "randomseed", "randomstate"), "--seed_everything {}"),
        "shuffle": "--data.shuffle {}",
        "compile": "--model.compile {}",
        "labelsmoothing": "--model.label_smoothing {}",
        "pretrained": "--model PretrainedResNet50",
        "patience": "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor val_loss "
        "--trainer.callbacks.patience {}",
    },
    "validate": CHECKPOINT | SHARED | dict.fromkeys(FILES, "--data.val_file {}"),
    "test": CHECKPOINT | SHARED | dict.fromkeys(FILES, "--data.test_file {}"),
    "predict": CHECKPOINT
    | {
        **dict.fromkeys(("image", "img", "input", "picture", "pictures", "path"), "--images {}"),
        **dict.fromkeys(("data", "file", "testfile", "dataset"), "--data.test_file {}"),
        **dict.fromkeys(("imgsize", "imagesize"), "--data.image_size {}"),
        **dict.fromkeys(("model", "modelpath"), "--ckpt_path {}"),
        **dict.fromkeys(("out", "outputfile", "csv"), "--output {}"),
        "batchsize": "--batch_size {}",
    },
}
DEVICES = {"cpu": "cpu", "cuda": "gpu", "gpu": "gpu", "mps": "mps"}
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"}
MODELS = {
    **dict.fromkeys(("resnet", "resnet50"), "SignsResNet50"),
    **dict.fromkeys(("signs", "functional"), "SignsFunctional"),
    **dict.fromkeys(("happy", "sequential"), "HappySequential"),
    "keras": "FromKeras --model.path FILE",
}
CONFIGS = (".yaml", ".yml", ".json")


def check_borrowed_options(verb: str, args: list[str]) -> None:
    """Check that no option is another trainer's name for one of this one.

    Args:
        verb: the verb.
        args: what follows it.

    Raises:
        InputError: there is one; the message has what to write.
    """
    if verb == "fit" and args and not args[0].startswith("-"):
        raise InputError(f"'{shorten(args[0])}' has no option before it. {_place(args[0])}")
    for option, value in given_options(args):
        advice = _advice(verb, option, value)
        if advice is not None:
            raise InputError(f"Unknown option '--{shorten(option)}'. {advice}")
        if verb in RUNS and option == "model" and value.lower() in MODELS:
            model = MODELS[value.lower()]
            raise InputError(f"Unknown model '{shorten(value)}'. Write --model {model}")
        if option in ("config", "c") and not Path(value).exists():
            packaged = f"configs/{value}.yaml"
            if Path(resolve_packaged_config("--config", packaged)).is_file():
                raise InputError(f"No such file: {shorten(value)}. Write --config {packaged}")


def _advice(verb: str, option: str, value: str) -> str | None:
    name = option.lower().replace("-", "").replace("_", "")
    word = value.partition(":")[0].lower()
    if verb in RUNS and name in ("numclasses", "classes"):
        return "Leave it out: the number of classes is the data's."
    if verb in RUNS and name == "device":
        return f"Write --trainer.accelerator {DEVICES.get(word, 'auto')}"
    if verb == "fit" and name == "optimizer":
        if word not in OPTIMIZERS:
            return "Leave it out for Keras's Adam, or write --model.optimizer SGD"
        return f"Write --model.optimizer {OPTIMIZERS[word]}"
    is_ours = option == "batch_size" and verb == "predict"
    is_config = option == "data" and (value.endswith(CONFIGS) or value[:1] in ("", "{"))
    names = OPTIONS.get(verb, {})
    if name not in names or is_ours or is_config:
        return None
    return f"Write {names[name].format(shlex.quote(value) if value else 'VALUE')}"


def _place(word: str) -> str:
    """Return what to write for a file or folder behind `fit`."""
    path, quoted = Path(word), shlex.quote(word)
    if path.suffix in CONFIGS:
        return f"Write --config {quoted}"
    if path.suffix == ".ckpt" or (path / "checkpoints").is_dir():
        return f"To resume it, write --ckpt_path {quoted}"
    model = f"--model FromKeras --model.path {quoted}"
    if path.suffix == ".keras":
        return f"Write {model}"
    data = f"Write --data.train_file {quoted}"
    return f"{data}, or {model} for a model of Keras" if path.suffix == ".h5" else data
