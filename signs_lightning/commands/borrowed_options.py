"""Other trainers' names for options, and what to write here."""

from __future__ import annotations

import shlex

from signs_lightning.commands.argv import KERAS_SUFFIXES

RUNS = ("fit", "validate", "test")
CONFIGS = (".yaml", ".yml", ".json")
MODEL_FILES = (*KERAS_SUFFIXES, ".ckpt", ".onnx", ".pt", ".pth")
NONE_NEEDED = "Leave it out: a GPU is used where there is one."


def _same(names: str, text: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), text)


# Names without - and _ → what to write here, with the value in place of {}.
CHECKPOINT = _same(
    "ckpt checkpoint checkpointpath weights resume resumefrom resumefromcheckpoint run rundir load "
    "loadfrom loadweights modelpath modelfile pretrainedmodel",
    "--ckpt_path {}",
)
SHARED = {
    **_same("batchsize bs batch b", "--data.batch_size {}"),
    **_same("workers numworkers nworkers j", "--data.num_workers {}"),
    **_same("imgsize imagesize inputsize targetsize size", "--data.image_size {}"),
    **_same("gpus numgpus ngpus", "--trainer.accelerator gpu --trainer.devices {}"),
    **_same("gpu cuda usegpu", "--trainer.accelerator gpu"),
    **_same("cpu nogpu nocuda usecpu", "--trainer.accelerator cpu"),
    **_same("fp16 amp mixedprecision", "--trainer.precision 16-mixed"),
    **_same("bf16", "--trainer.precision bf16-mixed"),
    **_same("testfile testdata testdir testset", "--data.test_file {}"),
    **_same("classnames", "--data.class_names {}"),
    **_same("quiet silent", "--trainer.enable_progress_bar false"),
    "precision": "--trainer.precision {}",
}
FIT = {
    **_same("epochs epoch numepochs nepochs maxepoch maxepochs e", "--trainer.max_epochs {}"),
    **_same("steps numsteps maxsteps iterations", "--trainer.max_steps {}"),
    **_same("stepsperepoch", "--trainer.limit_train_batches {}"),
    **_same("lr learningrate", "--model.lr {}"),
    **_same(
        "data dataset datapath datadir path train trainfile traindata trainpath traindir trainset",
        "--data.train_file {}",
    ),
    **_same("val valfile valdata valdir valset validationdata", "--data.val_file {}"),
    **_same(
        "valsplit validationsplit valfraction validationfraction valsize testsize testsplit",
        "--data.val_fraction {}",
    ),
    **_same("csv labels labelsfile", "--data.train_labels_file {}"),
    **_same("noshuffle", "--data.shuffle false"),
    **_same(
        "outputdir outdir output out o savedir savepath logdir workdir checkpointdir",
        "--trainer.default_root_dir {}",
    ),
    **_same("seed randomseed randomstate", "--seed_everything {}"),
    **_same("runname experimentname", "--name {}"),
    **_same("cfg conf configfile", "--config {}"),
    **_same("keras fromkeras kerasmodel", "--model FromKeras --model.path {}"),
    **_same("scheduler lrschedule", "--model.schedule {}"),
    **_same("dryrun smoketest", "--trainer.fast_dev_run true"),
    **_same("gradclip clipgrad maxgradnorm", "--trainer.gradient_clip_val {}"),
    **_same("gradaccum accumulate gradaccumulationsteps", "--trainer.accumulate_grad_batches {}"),
    **_same("wandb usewandb", "--trainer.logger WandbLogger"),
    **_same("mlflow", "--trainer.logger MLFlowLogger"),
    **_same("weightdecay wd", "--model.optimizer AdamW --model.optimizer.weight_decay {}"),
    **_same("momentum", "--model.optimizer SGD --model.optimizer.momentum {}"),
    **_same("classweight", "--model.class_weights {}"),
    **_same(
        "patience earlystopping",
        "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor val_loss "
        "--trainer.callbacks.patience {}",
    ),
    "shuffle": "--data.shuffle {}",
    "compile": "--model.compile {}",
    "labelsmoothing": "--model.label_smoothing {}",
    "pretrained": "--model PretrainedResNet50",
}
EVALUATED = "data file dataset datapath datadir"
PICTURES = {
    **_same("image img input i picture pictures path source", "--images {}"),
    **_same(f"{EVALUATED} testfile testdata", "--data.test_file {}"),
    **_same("imgsize imagesize size", "--data.image_size {}"),
    **_same("batchsize bs", "--batch_size {}"),
}
OUTPUT = _same("out o outputfile outputdir outdir outputpath csv saveto savepath", "--output {}")
OPTIONS = {
    "fit": CHECKPOINT | SHARED | FIT,
    "validate": CHECKPOINT | SHARED | _same(EVALUATED, "--data.val_file {}"),
    "test": CHECKPOINT | SHARED | _same(EVALUATED, "--data.test_file {}"),
    "predict": CHECKPOINT | PICTURES | OUTPUT,
    "report": CHECKPOINT | _same(f"{EVALUATED} testfile", "--data.test_file {}") | OUTPUT,
    "export": CHECKPOINT
    | OUTPUT
    | _same("to type fmt", "--format {}")
    | {name: f"--format {name}" for name in ("onnx", "keras", "torch")},
    "summary": {name: text for name, text in CHECKPOINT.items() if name != "pretrainedmodel"},
    "demo": CHECKPOINT | _same("share public", "--host 0.0.0.0"),
    "convert": _same("imagesize imgsize", "--size {}") | OUTPUT,
    "import-keras": OUTPUT | _same("ckpt ckptpath", "--output {}"),
}
MODEL_NAMES = ("model.name", "model.type", "model.class", "model_name", "model-name", "model_type")
ACCELERATORS = {"cpu": "cpu", "cuda": "gpu", "gpu": "gpu", "mps": "mps"}
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"}
SCHEDULES = {"cosine": "cosine_annealing", "onecycle": "one_cycle"}
MODELS = {
    **_same("resnet resnet50", "SignsResNet50"),
    **_same("signs functional cnn", "SignsFunctional"),
    **_same("happy sequential", "HappySequential"),
    "keras": "FromKeras --model.path FILE",
}


def find_advice(verb: str, option: str, value: str) -> str | None:
    """Return what to write for another trainer's option, or None if it is none.

    Args:
        verb: the verb.
        option: the option without dashes; what stands before its last dot does not count.
        value: what was given with it.
    """
    if verb not in OPTIONS:
        return None
    name = plain_name(option)
    word = value.partition(":")[0].lower()
    if verb in RUNS and name in ("numclasses", "classes", "nclasses"):
        return "Leave it out: the number of classes is the data's."
    if name in ("device", "accelerator"):
        return (
            f"Write --trainer.accelerator {ACCELERATORS.get(word, 'auto')}"
            if verb in RUNS
            else NONE_NEEDED
        )
    if verb not in RUNS and name in ("gpu", "gpus", "cuda", "cpu"):
        return NONE_NEEDED
    if verb == "fit" and name == "optimizer":
        if word not in OPTIMIZERS:
            return "Leave it out for Keras's Adam, or write --model.optimizer SGD"
        return f"Write --model.optimizer {OPTIMIZERS[word]}"
    if verb == "fit" and name == "metrics" and word in ("accuracy", "acc"):
        return "Leave it out: loss and accuracy are always shown."
    if verb == "fit" and name == "loss" and "crossentropy" in plain_name(word):
        return "Leave it out: that is the loss of a classifier."
    if verb == "fit" and name in ("adam", *OPTIMIZERS):
        return find_advice(verb, "optimizer", name)
    is_model = name in ("arch", "architecture", "network", "net", "backbone")
    if verb in RUNS and (is_model or option in MODEL_NAMES):
        return f"Write --model {MODELS.get(word, 'SignsResNet50')}"
    if verb == "fit" and name == "verbose":
        return "Leave it out; a quiet run takes --trainer.enable_progress_bar false"
    if verb == "fit" and name in ("patience", "earlystopping") and not value.isdigit():
        value = "3"
    if verb == "fit" and name in ("augment", "augmentation", "aug"):
        return "Name transforms in a configuration, as configs/recipes/signs_functional_best.yaml."
    if verb == "fit" and name == "scheduler":
        value = SCHEDULES.get(plain_name(word), value)
    text = OPTIONS.get(verb, {}).get(name)
    if verb == "fit" and text == "--ckpt_path {}" and value.endswith(KERAS_SUFFIXES):
        text = "--model FromKeras --model.path {}"
    if verb not in RUNS and name == "model" and value.endswith(MODEL_FILES):
        text = "--ckpt_path {}"
    return (
        None if text is None else f"Write {text.format(shlex.quote(value) if value else 'VALUE')}"
    )


def plain_name(option: str) -> str:
    """`trainer.max-epochs` → `maxepochs`"""
    return option.rpartition(".")[2].lower().replace("-", "").replace("_", "")
