"""The cases that both sides run, each with few images and steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

RUN = "lightning_logs/run/version_0"
FIT = "fit --name run --trainer.accelerator cpu --data.batch_size 8"
# 48 images, six steps an epoch
SIGNS = "--data.train_file {data}/signs_train.h5 --data.val_fraction 0.2"
SMILES = "--data.train_file {data}/smiles_train.h5 --data.val_fraction 0.2"
PREDICT = f"predict --ckpt_path {RUN} --data.test_file {{data}}"
TEST = f"test --trainer.accelerator cpu --ckpt_path {RUN} --data.test_file {{data}}"
SCHEDULER = "torch.optim.lr_scheduler.ReduceLROnPlateau"
TRANSFORMS = "torchvision.transforms.v2"
DRAWING = """python
import h5py, numpy
from signs_lightning import DrawnSigns, DrawnSmiles
for name, drawn in (("signs", DrawnSigns(60, 12)), ("smiles", DrawnSmiles(40, 12))):
    for path in drawn.files(Path("cache")):
        with h5py.File(path) as file:
            for key, values in file.items():
                numpy.save(f"{name}_{key}.npy", values[()])
"""
NOTEBOOK = """python
import h5py, lightning, numpy, torch
from signs_lightning import H5DataModule, SignsFunctional, export_keras, from_keras
lightning.seed_everything(3)
with h5py.File(r"{data}/signs_train.h5") as file:
    images, labels = file["train_set_x"][()], file["train_set_y"][()]
model = SignsFunctional(lr=0.01)
quiet = {"logger": False, "enable_checkpointing": False}
trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet)
trainer.fit(model, H5DataModule((images, labels), val_fraction=0.2, batch_size=8))
trainer.save_checkpoint("model.ckpt")
export_keras(model, "model.keras")
for name, classifier in (("trained", model), ("imported", from_keras("model.keras"))):
    numpy.save(f"{name}.npy", classifier.eval().predict(torch.from_numpy(images)).numpy())
"""


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: what it is called on the screen, and its folder.
        commands: what follows `python -m signs_lightning`, or "python" and lines of code; run in
            the case's folder. {data}, {golden} and {tree} stand for folders.
        quick: whether it is part of `--quick`.
        after: an earlier case: both sides begin with a copy of the folder that BASE left, or, where
            `own`, each with its own.
        own: see `after`.
        stop: optimizer step before which the last command is sent a signal, and the signal.
        processes: whether `fit` starts further processes.
    """

    name: str
    commands: tuple[str, ...]
    quick: bool = False
    after: str = ""
    own: bool = False
    stop: tuple[int, str] | None = None
    processes: bool = False


def write_data(drawn: Path, folder: Path) -> None:
    """Write BASE's drawn images contiguous, in packed chunks, as floats, as pictures."""
    folder.mkdir()
    for name in ("signs", "smiles"):
        for part in ("train", "test"):
            images, labels = (np.load(drawn / f"{name}_{part}_set_{key}.npy") for key in "xy")
            mirrored = [images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]]
            packed = {"chunks": (7, *images.shape[1:]), "compression": "gzip"}
            floats = images.astype(np.float32) / np.float32(510)  # every other byte is half-way
            for layout, stored, options in (
                ("", images, {}),
                ("_packed", np.concatenate(mirrored), packed),
                ("_float", floats, {}),
            ):
                with h5py.File(folder / f"{name}_{part}{layout}.h5", "w") as file:
                    file.create_dataset(f"{part}_set_x", data=stored, **options)
                    file[f"{part}_set_y"] = np.tile(labels, len(stored) // len(images))
                    file["list_classes"] = np.load(drawn / f"{name}_list_classes.npy")
    (folder / "pictures").mkdir()
    for number, image in enumerate(np.load(drawn / "signs_test_set_x.npy")):
        picture = Image.fromarray(image).resize((50 + 9 * number, 83))
        picture.save(folder / f"pictures/{number:02}.png")


def all_cases(configs: dict[str, str], golden: list[str], onnx: bool) -> list[Case]:
    """List the cases in order; the first draws what `write_data` then writes.

    Args:
        configs: text of each configuration that both sides have, by its path in the tree of BASE.
        golden: Keras files such as `signs/trained.keras` in the folder of golden files.
        onnx: whether ONNX files can be written and run.
    """
    cases = [Case("drawn pictures", (DRAWING,), quick=True)]
    cases += [_of_configuration(name, text) for name, text in configs.items()]
    packed = "--data.train_file {data}/signs_train_packed.h5"
    for name, options, quick in (
        ("mapped", "mapped", False),
        ("mapped, two workers", "mapped --data.num_workers 2", False),
        ("mapped floats", "mapped --data.train_file {data}/signs_train_float.h5", True),
        ("mapped, resized", "mapped --data.image_size [48,40]", False),
        ("streamed", f"streamed --data.shuffle_buffer 4 {packed}", True),
        ("resident", f"resident {packed}", True),
    ):
        fit = f"{FIT} {SIGNS} --trainer.max_epochs 2 --data.reading {options}"
        cases.append(Case(f"reading {name}", (fit,), quick))
    two = f"{FIT} {SIGNS} --trainer.max_epochs 2 --trainer.devices 2 --trainer.strategy ddp"
    cases.append(Case("two processes", (two,), quick=True, processes=True))
    cases.append(Case("notebook", (NOTEBOOK,), quick=True))
    cases += [*_resumes(), *_of_trained()]
    for name, options, quick in (
        ("SignsFunctional", SIGNS, True),
        ("HappySequential", SMILES, False),
        ("SignsResNet50", f"{SIGNS} --model.width 4 --trainer.limit_train_batches 2", False),
    ):
        fit = f"{FIT} --model {name} {options} --trainer.max_epochs 1"
        cases.append(_of_exports(name, fit, onnx, quick))
    return cases + [_of_golden(file, onnx) for file in golden]


def _of_configuration(name: str, text: str) -> Case:
    kind = "smiles" if "DrawnSmiles" in text else "signs"
    short = "--trainer.max_epochs 3"
    if "ResNet50" in text:
        short = "--trainer.max_epochs 1 --trainer.limit_train_batches 3"
    fit = f"--config {{tree}}/{name} {short}"
    if "quickstart" in name:  # draws its own data
        plain = f"fit --name run --trainer.accelerator cpu {fit}"
        return Case(name, (plain, f"predict --ckpt_path {RUN}", f"test --ckpt_path {RUN}"))
    files = f"--data.train_file {{data}}/{kind}_train.h5 --data.test_file {{data}}/{kind}_test.h5"
    look = (f"{PREDICT}/{kind}_test.h5", f"{TEST}/{kind}_test.h5")
    quick = "recipes" not in name and "course" not in name
    return Case(name, (f"{FIT} {files} {fit}", *look), quick)


def _resumes() -> Iterator[Case]:
    """List runs that end inside an epoch and are resumed.

    By each side its own and by both that of BASE; and begun anew from its config.yaml.
    """
    callbacks = (
        "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val_loss "
        "--trainer.callbacks.patience=50"
    )
    plateau = (
        f"--model.lr_scheduler {SCHEDULER} --model.lr_scheduler.patience 0 "
        "--model.lr_scheduler.threshold 0.02"
    )
    average = "--trainer.callbacks+=EMAWeightAveraging --trainer.callbacks.decay=0.9"
    mixing = (
        f"'--model.augmentation=[{{class_path: {TRANSFORMS}.RandomAffine, "
        f"init_args: {{degrees: 10}}}}, "
        f"{{class_path: {TRANSFORMS}.MixUp, init_args: {{alpha: 0.2}}}}]'"
    )
    for name, options, stop in (
        ("plateau, early stopping", f"{plateau} {callbacks}", (9, "SIGTERM")),
        ("one cycle, averaging", f"--model.schedule one_cycle {mixing} {average}", (11, "SIGKILL")),
    ):
        first = f"{name}: {stop[1]} inside an epoch"
        fit = f"{FIT} {SIGNS} --trainer.max_epochs 4 --checkpoint.every_n_steps 2 {options}"
        again = (f"fit --ckpt_path {RUN}", f"{PREDICT}/signs_test.h5", f"{TEST}/signs_test.h5")
        yield Case(first, (fit,), quick=True, stop=stop)
        yield Case(f"{name}: resumed", again, quick="plateau" in name, after=first, own=True)
        yield Case(f"{name}: BASE's run resumed here", again, quick=True, after=first)
        anew = (f"fit --config {RUN}/config.yaml",)
        yield Case(f"{name}: BASE's config.yaml here", anew, after=first)


def _of_trained() -> Iterator[Case]:
    """A run of BASE in the hands of the other verbs."""
    first = "a trained model"
    yield Case(first, (f"{FIT} {SIGNS} --trainer.max_epochs 2",), quick=True)
    look = (f"{PREDICT}/signs_test.h5", f"{TEST}/signs_test.h5")
    yield Case("BASE's model predicts here", look, quick=True, after=first)
    pictures = (f"predict --ckpt_path {RUN} --images {{data}}/pictures",)
    yield Case("loose pictures", pictures, quick=True, after=first)


def _of_exports(name: str, fit: str, onnx: bool, quick: bool) -> Case:
    """All formats; Keras files are read again, which `compare` does with the others."""
    kind = "smiles" if SMILES in fit else "signs"
    commands = [fit, f"export --ckpt_path {RUN} --format torch --output model.pt2"]
    commands += [f"export --ckpt_path {RUN} --format onnx --output model.onnx"] if onnx else []
    for form, file in (
        ("keras", "model.keras"),
        ("keras-h5", "model.h5"),
        ("keras-weights", "model.weights.h5"),
    ):
        commands.append(f"export --ckpt_path {RUN} --format {form} --output {file}")
        data = f"--data.test_file {{data}}/{kind}_test.h5"
        commands.append(f"predict --ckpt_path {file} {data} --output {form}.csv")
    return Case(f"exporting {name}", tuple(commands), quick)


def _of_golden(file: str, onnx: bool) -> Case:
    """A file of Keras's own: imported, exported, imported again, trained on."""
    kind = file.partition("/")[0]
    data = f"--data.test_file {{golden}}/{kind}_test.h5"
    # The epochs that Keras trained count, where a file has its optimizer.
    fresh = " --fresh_optimizer true" if "/trained" in file and "weights" not in file else ""
    commands = [
        f"import-keras {{golden}}/{file} --output model.ckpt",
        f"predict --ckpt_path model.ckpt {data}",
        "export --ckpt_path model.ckpt --format keras --output again.keras",
        f"predict --ckpt_path again.keras {data} --output again.csv",
        f"{FIT} --ckpt_path model.ckpt --data.train_file {{golden}}/{kind}_train.h5 "
        f"--trainer.max_epochs 1{fresh}",
    ]
    commands += ["export --ckpt_path model.ckpt --format onnx --output model.onnx"] if onnx else []
    if file == "signs/trained.keras":
        commands.append("import-keras again.keras --output again.ckpt")
    return Case(f"golden {file}", tuple(commands), quick=file == "signs/trained.keras")
